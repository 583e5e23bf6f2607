from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from sparsecli.core.columns import AIR_BANDS, SILENT_DB
from sparsecli.dsp.bands import band_edges_hz
from sparsecli.synth import air as air_module
from sparsecli.synth.air import HOP, air_frames, air_gains, render_air

RATE = 44_100
NYQUIST = 22_050.0
SECONDS = 8


def widths_hz(nyquist_hz: float = NYQUIST) -> Tensor:
    edges = torch.tensor(band_edges_hz(nyquist_hz, AIR_BANDS), dtype=torch.float64)
    return edges[1:] - edges[:-1]


def flat_db(nyquist_hz: float = NYQUIST) -> Tensor:
    """White noise of -30 dB in all, `[24]`."""
    return -30 + 10 * torch.log10(widths_hz(nyquist_hz) / nyquist_hz)


def power_between(sound: Tensor, low_hz: float, high_hz: float, rate: int = RATE) -> float:
    power = torch.fft.rfft(sound.double()).abs().square() * 2 / len(sound) ** 2
    freq_hz = torch.fft.rfftfreq(len(sound), 1 / rate, dtype=torch.float64)
    return float(power[(freq_hz >= low_hz) & (freq_hz < high_hz)].sum())


def levels_db(sound: Tensor, nyquist_hz: float, rate: int = RATE) -> Tensor:
    """`[24]`."""
    edges = band_edges_hz(nyquist_hz, AIR_BANDS)
    return torch.tensor(
        [10 * math.log10(power_between(sound, low, high, rate)) for low, high in itertools.pairwise(edges)]
    ).double()


@pytest.mark.parametrize(
    ("nyquist_hz", "rate"), [(22050.0, 44100), (11025.0, 44100), (4000.0, 44100), (24000.0, 88200)]
)
@pytest.mark.parametrize("kind", ["flat", "equal", "falling"])
def test_bands_have_the_levels_asked_for(nyquist_hz: float, rate: int, kind: str):
    asked = {
        "flat": flat_db(nyquist_hz),
        "equal": torch.full((AIR_BANDS,), -40.0).double(),
        "falling": -40.0 - torch.arange(AIR_BANDS).double(),
    }[kind]
    sound = render_air(asked[None], 1, SECONDS * rate, rate, nyquist_hz)
    error = levels_db(sound, nyquist_hz, rate) - asked
    # The lowest bands, of 50 Hz or less, hold a few hundred random bins: worst 0.44, and 0.22 of the upper half.
    assert float(error.abs().max()) < 1
    assert float(error[AIR_BANDS // 2 :].abs().max()) < 0.3


def test_levels_that_jump_from_band_to_band():
    """Interpolation between the middles of bands softens jumps."""
    asked = -50 + 10 * torch.rand(AIR_BANDS, generator=torch.Generator().manual_seed(0)).double()
    error = levels_db(render_air(asked[None], 1, SECONDS * RATE, RATE, NYQUIST), NYQUIST) - asked
    assert float(error.abs().max()) < 2  # worst 1.4, of jumps up to 10 dB


@pytest.mark.parametrize(("nyquist_hz", "rate"), [(11025.0, 44100), (4000.0, 44100), (24000.0, 88200)])
def test_nothing_above_the_source_s_nyquist_frequency(nyquist_hz: float, rate: int):
    sound = render_air(flat_db(nyquist_hz)[None], 1, SECONDS * rate, rate, nyquist_hz)
    above = power_between(sound, 1.02 * nyquist_hz, rate, rate) / power_between(sound, 0, rate, rate)
    assert 10 * math.log10(above) < -55  # worst -56.7: the windows' side lobes


def test_levels_are_interpolated_over_time():
    """Frames stand at j + 0.5 s; between them levels move in a straight line in dB, beyond the ends they stay."""
    frames = torch.stack([flat_db(), flat_db() - 40, flat_db() - 20])
    sound = render_air(frames, 3, 3 * RATE, RATE, NYQUIST).double()
    for time_s, expected_db in [
        (0.1, 0),
        (0.5, 0),
        (0.75, -10),
        (1.0, -20),
        (1.5, -40),
        (2.0, -30),
        (2.5, -20),
        (2.9, -20),
    ]:
        half = RATE // 50  # 20 ms to either side, over which a slope of 40 dB a second adds 0.01 dB
        around = sound[round(time_s * RATE) - half :][: 2 * half]
        # 1764 samples of white noise: a deviation of 0.15 dB; worst 0.48, in the dip between two slopes.
        assert 10 * math.log10(float(around.square().mean())) == pytest.approx(expected_db - 30, abs=0.8), time_s


def test_gains_on_the_frames_and_bands():
    """At a frame and the middle of a band, the gain is that of white noise with the band's density."""
    air_db = torch.tensor([-40.0, -60.0])[:, None] + torch.arange(AIR_BANDS)
    centre_hz = band_edges_hz(NYQUIST, 2 * AIR_BANDS)[21]  # of band 10
    gains = air_gains(air_db, torch.tensor([0.5, 1.0, 1.5]), torch.tensor([centre_hz, NYQUIST]), NYQUIST, RATE)
    density = -10 * math.log10(float(widths_hz()[10]) / (RATE / 2))
    expected = 10 ** ((torch.tensor([-30.0, -40.0, -50.0]) + density) / 20)
    assert torch.allclose(gains[:, 0], expected, rtol=1e-4)
    assert not gains[:, 1].any()


def test_silence_stays_silent():
    silence = torch.full((2, AIR_BANDS), SILENT_DB)
    assert not render_air(silence, 1, 5000, RATE, NYQUIST).any()
    assert not render_air(silence[:0], 1, 5000, RATE, NYQUIST).any()
    assert render_air(flat_db()[None], 1, 0, RATE, NYQUIST).shape == (0,)


@pytest.mark.parametrize("chunk_hops", [1, 3, 10])
def test_chunks_do_not_show(chunk_hops: int, monkeypatch: pytest.MonkeyPatch):
    frames, samples = torch.stack([flat_db(), flat_db() - 20]), 12 * HOP + 17
    whole = render_air(frames, 5, samples, RATE, NYQUIST)
    monkeypatch.setattr(air_module, "CHUNK_HOPS", chunk_hops)
    chunked = render_air(frames, 5, samples, RATE, NYQUIST)
    assert whole.shape == chunked.shape == (samples,)
    assert float((whole - chunked).abs().max()) < 1e-6 * float(whole.abs().max())  # rounding


def test_a_longer_output_begins_alike_and_another_seed_does_not():
    frames = flat_db()[None]
    long, short = (render_air(frames, 5, samples, RATE, NYQUIST) for samples in (9 * HOP, 2 * HOP + 100))
    assert float((long[: len(short)] - short).abs().max()) < 1e-6 * float(long.abs().max())
    other = render_air(frames, 6, 9 * HOP, RATE, NYQUIST)
    assert abs(float(torch.corrcoef(torch.stack([long, other]))[0, 1])) < 4 / math.sqrt(9 * HOP)


@pytest.mark.parametrize(("duration_s", "frames"), [(0.0, 1), (0.01, 1), (1.4, 1), (1.6, 2), (3600.0, 3600)])
def test_about_one_frame_a_second(duration_s: float, frames: int):
    assert air_frames(duration_s) == frames
