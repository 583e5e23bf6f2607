from __future__ import annotations

import numpy as np
import pytest

from sparsecli.core.columns import BELL, CLICK, COSINE, DAMPED, SHAPES
from sparsecli.core.windows import MEAN_SQUARES, PEAK_AT, envelope
from sparsecli.synth.gabor import Waves, render_clicks, render_gabor

RATE = 8000


def wave(shape: int = BELL, onset_s: float = 0.1, freq_hz: float = 440.0, chirp_hz_s: float = 0.0, a: complex = 0.5):
    columns = [np.array([value]) for value in (onset_s, 0.05, freq_hz, chirp_hz_s)]
    return Waves(np.array([shape]), *columns, np.array([[a]]))


def as_written(waves: Waves, samples: int) -> np.ndarray:
    """A w(x) cos(2 pi f u + pi chirp u^2 + phase), each sample by itself."""
    t, shape = np.arange(samples) / RATE, int(waves.shape[0])
    x = (t - waves.onset_s[0]) / waves.duration_s[0]
    u = t - waves.onset_s[0] - PEAK_AT[shape] * waves.duration_s[0]
    inside = (x >= 0) & (x < 1)
    angle = 2 * np.pi * waves.freq_hz[0] * u + np.pi * waves.chirp_hz_s[0] * u**2 + np.angle(waves.amplitude[0, 0])
    return np.abs(waves.amplitude[0, 0]) * np.where(inside, envelope(shape, x.clip(0, 1)), 0) * np.cos(angle)


@pytest.mark.parametrize("shape", [BELL, DAMPED, COSINE])
@pytest.mark.parametrize("onset_s", [-0.02, 0.10003, 0.18])
@pytest.mark.parametrize("chirp_hz_s", [0.0, -7000.0])
def test_recurrences_are_the_formula(shape: int, onset_s: float, chirp_hz_s: float):
    waves = wave(shape, onset_s, 1234.5, chirp_hz_s, 0.3 - 0.4j)
    np.testing.assert_allclose(render_gabor(waves, 1600, RATE)[0], as_written(waves, 1600), atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES.values())
def test_windows_peak_at_1_and_have_the_energy_that_is_stated(shape: int):
    at = (np.arange(20000) + 0.5) / 20000
    window = envelope(shape, at)
    assert window.max() == pytest.approx(1, abs=1e-4)
    assert (window**2).mean() == pytest.approx(MEAN_SQUARES[shape], rel=1e-5)
    if shape == BELL:
        assert MEAN_SQUARES[shape] == pytest.approx(3 / 8)
    if shape == DAMPED:
        assert 20 * np.log10(envelope(shape, np.ones(1))[0]) == pytest.approx(-53.9, abs=0.1)  # the attack takes 6.1 dB


def test_what_lies_at_or_above_half_the_rate_is_left_out():
    assert not render_gabor(wave(freq_hz=RATE / 2), 1600, RATE).any()
    assert render_gabor(wave(freq_hz=RATE / 2 - 1), 1600, RATE).any()


def test_clicks_are_single_samples_at_the_nearest_place():
    out = render_clicks(np.array([0.0, 3.4 / RATE, -1.0, 1.0]), np.array([[1.0, -2.0, 5.0, 5.0]]), 8, RATE)
    np.testing.assert_array_equal(out, [[1, 0, 0, -2, 0, 0, 0, 0]])
    assert not render_gabor(wave(CLICK), 1600, RATE).any()
