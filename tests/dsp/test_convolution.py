from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from sparsecli.dsp.convolution import convolve


def noise(seed: int, channels: int, samples: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((channels, samples)).astype(np.float32)


def convolve_slowly(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """The sum of the response, moved to each sample and times it, float64."""
    channels, length = max(len(samples), len(response)), samples.shape[1] + response.shape[1] - 1
    out = np.zeros((channels, length))
    for channel in range(channels):
        sound, own = samples[min(channel, len(samples) - 1)], response[min(channel, len(response) - 1)]
        for n, value in enumerate(sound.astype(np.float64)):
            out[channel, n : n + len(own)] += value * own
    return out


@pytest.mark.parametrize("block", [1, 7, 16, 64, 1 << 18])
@pytest.mark.parametrize(
    ("length", "response_length"), [(1, 1), (5, 1), (1, 5), (50, 50), (50, 17), (17, 50), (64, 16)]
)
def test_it_is_the_sum_of_moved_responses(length: int, response_length: int, block: int):
    samples, response = noise(1, 1, length), noise(2, 1, response_length)
    slow = convolve_slowly(samples, response)
    # Rounded to float32 once: half a step of the greatest.
    np.testing.assert_allclose(convolve(samples, response, block), slow, rtol=0, atol=2**-24 * abs(slow).max())


@pytest.mark.parametrize(("channels", "of_response"), [(1, 2), (2, 1), (2, 2)])
def test_one_channel_goes_with_all(channels: int, of_response: int):
    samples, response = noise(3, channels, 40), noise(4, of_response, 30)
    out = convolve(samples, response, 16)
    assert out.shape == (2, 69) and out.dtype == np.float32
    np.testing.assert_allclose(out, convolve_slowly(samples, response), rtol=0, atol=1e-5)


def test_channels_that_do_not_go_together():
    with pytest.raises(ValueError, match="2 channels do not go with a response of 3"):
        convolve(noise(0, 2, 4), noise(0, 3, 4))


def test_nothing_is_nothing():
    assert convolve(noise(0, 1, 0), noise(0, 2, 5)).shape == (2, 0)


def test_memory_does_not_grow_with_the_length():
    """But for the result: blocks of both, however long they are."""
    response, peaks = noise(5, 1, 3000), []
    for length in (1 << 16, 1 << 20):
        samples = np.zeros((1, length), np.float32)
        tracemalloc.start()
        out = convolve(samples, response, 1 << 12)
        peaks.append(tracemalloc.get_traced_memory()[1] - out.nbytes)
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] < 1 << 20
