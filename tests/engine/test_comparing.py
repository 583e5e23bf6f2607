from __future__ import annotations

import numpy as np
import pytest

from sparsecli.core.audio import Audio
from sparsecli.engine.comparing import compare

RATE = 22050


def audio(channels: int = 1, seconds: float = 0.5, rate: int = RATE, gain: float = 1.0) -> Audio:
    """Two low tones, which any of the rates here can hold; the same in every channel."""
    t = np.arange(round(seconds * rate)) / rate
    tones = 0.3 * np.sin(2 * np.pi * 440 * t) + 0.2 * np.sin(2 * np.pi * 1000 * t)
    return Audio(np.tile(gain * tones, (channels, 1)).astype(np.float32), rate)


def test_alike_in_form_needs_no_notice():
    result = compare(audio(channels=2), audio(channels=2, gain=0.9))
    assert result.notices == ()
    assert (result.channels, result.sample_rate, result.duration_s) == (2, RATE, 0.5)
    assert result.quality.snr_db == pytest.approx(20, abs=1e-4)  # float32 samples


@pytest.mark.parametrize("channels", [(1, 2), (2, 1), (8, 2)])
def test_other_channels_are_folded_and_said(channels: tuple[int, int]):
    result = compare(audio(channels[0]), audio(channels[1]))
    assert result.channels == 1
    assert result.notices == (f"{channels[0]} and {channels[1]} channels: both folded to mono",)
    assert result.quality.snr_db is not None and result.quality.snr_db > 120  # of the mean of equal channels


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_another_rate_is_resampled_and_said(rate: int):
    result = compare(audio(), audio(rate=rate))
    assert result.sample_rate == RATE
    assert result.notices == (f"the estimate is resampled from {rate} to {RATE} Hz",)
    # The tones are cut off at both ends, where a resampler rings: worst 64.5 dB.
    assert result.quality.snr_db is not None and result.quality.snr_db > 60


@pytest.mark.parametrize("seconds", [(0.5, 0.25), (0.25, 0.5)])
def test_the_common_part_is_compared_and_said(seconds: tuple[float, float]):
    result = compare(audio(seconds=seconds[0]), audio(seconds=seconds[1]))
    assert result.duration_s == pytest.approx(0.25, abs=1 / RATE)
    assert result.quality.snr_db == 200
    (notice,) = result.notices
    assert notice.startswith(f"the reference is {seconds[0]:.3f} s long and the estimate {seconds[1]:.3f} s")


def test_a_silent_reference_is_said():
    silence = Audio(np.zeros((1, 1000), np.float32), RATE)
    result = compare(silence, audio(seconds=1000 / RATE))
    assert result.quality.snr_db is None
    assert result.notices == ("the reference is silent: nothing to measure against",)


def test_nothing_in_common_is_refused():
    with pytest.raises(ValueError):
        compare(audio(), Audio(np.zeros((1, 0), np.float32), RATE))
