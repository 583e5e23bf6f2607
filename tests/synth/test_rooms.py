from __future__ import annotations

import numpy as np
import pytest

from sparsecli.core.audio import Audio
from sparsecli.core.errors import SparseError
from sparsecli.dsp.quality import snr_db
from sparsecli.dsp.resample import resample
from sparsecli.synth.rooms import Response, in_room, room_response

RATE = 44100


def room(channels: int = 1, seconds: float = 0.3, rate: int = RATE, peak: float = 1.0) -> Audio:
    """Decaying noise, as files have it: the peak at full scale."""
    shape = np.exp(-6.9 * np.arange(round(seconds * rate)) / (seconds * rate))
    noise = np.random.default_rng(channels).standard_normal((channels, len(shape))) * shape
    return Audio((peak * noise / abs(noise).max()).astype(np.float32), rate, "church.wav")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("peak", [1.0, 0.01])
def test_white_noise_is_as_loud_in_any_room_as_dry(channels: int, peak: float):
    response = room_response(room(channels, peak=peak), RATE)
    white = np.random.default_rng(0).standard_normal((1, 4 * RATE)).astype(np.float32)
    wet = in_room(np.zeros_like(white), white, response)[:, RATE : 4 * RATE]
    # Measured over 3 s of noise, which the room makes to some 10 000 independent values: 0.05 dB.
    assert 10 * np.log10(np.square(wet).mean()) == pytest.approx(0, abs=0.2)


def test_the_balance_of_two_channels_stays():
    two = room(2)
    lopsided = Audio(two.samples * np.float32([[1], [0.1]]), RATE)
    left, right = np.square(room_response(lopsided, RATE).samples).sum(1)
    own = np.square(lopsided.samples).sum(1)
    assert left / right == pytest.approx(own[0] / own[1], rel=1e-5) and (left + right) / 2 == pytest.approx(1, rel=1e-5)


def test_as_it_is_an_impulse_is_the_response():
    own = room()
    response = room_response(own, RATE, normalize=False)
    np.testing.assert_array_equal(response.samples, own.samples)
    impulse = np.zeros((1, 3), np.float32)
    impulse[0, 1] = 1
    wet = in_room(np.zeros_like(impulse), impulse, response)
    np.testing.assert_allclose(wet[0, 1:-1], own.samples[0], atol=1e-7)


@pytest.mark.parametrize("normalize", [True, False])
def test_a_room_sounds_the_same_at_any_rate(normalize: bool):
    """What is rendered in it at 44.1 kHz and resampled is what is rendered at 22.05 kHz, away from the band's end."""
    t = np.arange(RATE) / RATE
    tones = sum(np.sin(2 * np.pi * freq_hz * t) for freq_hz in (200, 1500, 7000)) * np.hanning(RATE)
    high = np.float32([tones])
    low = resample(high[0], RATE, RATE // 2)[None]
    wet = [
        in_room(np.zeros_like(sound), sound, room_response(room(), rate, normalize))[0]
        for sound, rate in ((high, RATE), (low, RATE // 2))
    ]
    resampled = resample(wet[0], RATE, RATE // 2)
    count = min(len(resampled), len(wet[1]))
    assert snr_db(resampled[:count], wet[1][:count]) > 95  # 103, of the resampler


def test_the_dry_sound_stays_where_it_was_and_the_tail_is_whole():
    dry, send = np.ones((1, 10), np.float32), np.ones((1, 10), np.float32)
    out = in_room(dry, send, Response(np.float32([[0, 0, 0.5]])))
    assert out[0].tolist() == [1, 1, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 0.5, 0.5]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("of_room", [1, 2])
def test_two_channels_where_either_has_them(channels: int, of_room: int):
    sound = np.ones((channels, 10), np.float32)
    assert in_room(sound, sound, Response(np.ones((of_room, 4), np.float32))).shape == (max(channels, of_room), 13)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.ones((4, 10)), "church.wav: is a room of 4 channels; take one of 1 or 2"),
        (np.zeros((1, 10)), "church.wav: is a room without a sound; take an impulse response"),
    ],
)
def test_what_is_no_room(samples: np.ndarray, message: str):
    with pytest.raises(SparseError, match=message):
        room_response(Audio(samples.astype(np.float32), RATE, "church.wav"), RATE)


@pytest.mark.parametrize("rate", [RATE // 4, 8000, 44100, 96000])
@pytest.mark.parametrize("samples", [1, 2, 3, 500])
def test_a_response_however_short_is_whole_at_any_rate(samples: int, rate: int):
    response = room_response(Audio(np.ones((1, samples), np.float32), RATE), rate, normalize=False)
    assert response.samples.shape[1] - response.lead == -(-samples * rate // RATE)
    sound = np.ones((1, 5), np.float32)
    heard = in_room(sound, sound, response)
    assert heard.shape[1] >= 5 and heard[0, 0] > 1
