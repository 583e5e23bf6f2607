"""Windowed sinusoids: events of kind `gabor` to sound.

    x(t) = A w((t - onset) / duration) cos(2 pi f u + pi chirp u^2 + phase),   u = t - peak

The peak, from which u counts and where the phase is taken, is the middle of a bell and of a cosine's window, and the
start of a damped one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from ..core.columns import BELL, CLICK, DAMPED, NEPERS_PER_T60
from ..core.partials import DAMPED_ATTACK
from ..core.windows import DAMPED_PEAK, PEAK_AT

Floats = NDArray[np.float64]

# Given to what is compiled, not read by it: compiled code that is kept would hold on to the values that it has seen.
_STRIKE = (DAMPED_ATTACK, DAMPED_PEAK)


@dataclass(frozen=True)
class Waves:
    """E windowed waves.

    Attributes:
        shape: of the windows, `[E]`.
        onset_s, duration_s: of the windows, `[E]`.
        freq_hz: where the phase is, `[E]`.
        chirp_hz_s: how fast the frequency rises, `[E]`.
        amplitude: A exp(i phase), `[channels, E]`.
    """

    shape: NDArray[np.int64]
    onset_s: Floats
    duration_s: Floats
    freq_hz: Floats
    chirp_hz_s: Floats
    amplitude: NDArray[np.complex128]


def render_gabor(waves: Waves, samples: int, rate: int) -> Floats:
    """The sum of windowed waves, `[channels, samples]`, single samples left out.

    Args:
        waves: what lies at or above half the rate is left out.
        samples: to render.
        rate: in Hz.
    """
    out = np.zeros((len(waves.amplitude), samples))
    heard = (waves.freq_hz < rate / 2) & (waves.duration_s > 0) & (waves.shape != CLICK)
    columns = (waves.shape, waves.onset_s, waves.duration_s, waves.freq_hz, waves.chirp_hz_s, PEAK_AT[waves.shape])
    chosen = [np.ascontiguousarray(column[heard]) for column in columns]
    _add_windows(out, *chosen, np.ascontiguousarray(waves.amplitude[:, heard]), rate, *_STRIKE)  # type: ignore[call-arg]
    return out


def render_clicks(onset_s: Floats, amplitude: Floats, samples: int, rate: int) -> Floats:
    """Single samples of signed amplitudes `[channels, E]` at the nearest places, `[channels, samples]`."""
    out = np.zeros((len(amplitude), samples))
    place = np.rint(onset_s * rate).astype(np.int64)
    inside = (place >= 0) & (place < samples)
    for channel, values in zip(out, amplitude, strict=True):
        np.add.at(channel, place[inside], values[inside])
    return out


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_windows(out, shape, onset_s, duration_s, freq_hz, chirp_hz_s, peak_at, amplitude, rate, attack, peak):  # type: ignore[no-untyped-def]
    """Add sinusoids to `out` `[channels, samples]`, all factors by recurrences in double precision."""
    channels, samples = out.shape
    for row in range(shape.size):
        first = max(0, math.ceil(onset_s[row] * rate - 1e-6))  # what float32 rounds a whole sample to is one
        last = min(samples, math.ceil((onset_s[row] + duration_s[row]) * rate - 1e-6))
        if first >= last:
            continue
        at, step = (first / rate - onset_s[row]) / duration_s[row], 1 / (duration_s[row] * rate)
        u = first / rate - onset_s[row] - peak_at[row] * duration_s[row]
        # carrier z = exp(i theta(u)); z(n + 1) = z(n) turn(n), turn(n + 1) = turn(n) bend
        theta = 2 * math.pi * (freq_hz[row] * u + chirp_hz_s[row] * u * u / 2)
        rise = 2 * math.pi * (freq_hz[row] / rate + chirp_hz_s[row] * (u / rate + 0.5 / rate**2))
        bend = 2 * math.pi * chirp_hz_s[row] / rate**2
        z, turn, bent = np.exp(1j * theta), np.exp(1j * rise), np.exp(1j * bend)
        if shape[row] == DAMPED:
            fall, falls = math.exp(-NEPERS_PER_T60 * at), math.exp(-NEPERS_PER_T60 * step)
            gap, gaps = math.exp(-at / attack), math.exp(-step / attack)
            for sample in range(first, last):
                level = (1 - gap) ** 2 * fall / peak
                for channel in range(channels):
                    a = amplitude[channel, row]
                    out[channel, sample] += level * (a.real * z.real - a.imag * z.imag)
                z *= turn
                turn *= bent
                fall *= falls
                gap *= gaps
            continue
        is_bell = shape[row] == BELL
        angle = (2 if is_bell else 1) * math.pi
        w, wheel = np.exp(1j * angle * at), np.exp(1j * angle * step)
        for sample in range(first, last):
            level = (1 - w.real) / 2 if is_bell else w.imag
            for channel in range(channels):
                a = amplitude[channel, row]
                out[channel, sample] += level * (a.real * z.real - a.imag * z.imag)
            z *= turn
            turn *= bent
            w *= wheel
