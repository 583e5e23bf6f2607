"""The windows of events of kind `gabor`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .columns import BELL, CLICK, COSINE, DAMPED, NEPERS_PER_T60, SHAPES
from .partials import DAMPED_ATTACK, envelope_peak

Floats = NDArray[np.float64]

DAMPED_PEAK = float(envelope_peak(np.asarray(DAMPED_ATTACK * NEPERS_PER_T60)))
PEAK_AT = np.array([{BELL: 0.5, DAMPED: 0.0, COSINE: 0.5, CLICK: 0.0}[shape] for shape in SHAPES.values()])
"""Where in its window the phase is taken, by shape, as a share of the duration."""


def envelope(shape: int, at: Floats) -> Floats:
    """The window of a shape at shares of its duration from 0 to 1, `[n]`; its peak is 1.

    A bell is Hann's window, a cosine's the sine window, and a damped one (1 - exp(-x / attack))^2 exp(-d x), the
    envelope of docs/atom.md, 54 dB down at its end. A sample is 1.

    >>> envelope(BELL, np.array([0.0, 0.25, 0.5])).round(3).tolist()
    [0.0, 0.5, 1.0]
    """
    if shape == BELL:
        return np.asarray(np.sin(np.pi * at) ** 2)
    if shape == COSINE:
        return np.asarray(np.sin(np.pi * at))
    if shape == DAMPED:
        return np.asarray(np.expm1(-at / DAMPED_ATTACK) ** 2 * np.exp(-NEPERS_PER_T60 * at) / DAMPED_PEAK)
    return np.ones_like(at)


_MIDDLES = (np.arange(4096) + 0.5) / 4096
MEAN_SQUARES = np.array([float(np.mean(envelope(shape, _MIDDLES) ** 2)) for shape in SHAPES.values()])
"""Mean of the squared window, by shape."""
