"""Bands equal on the ERB-rate scale, and interpolation between them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # who only needs the bands can do without
    from torch import Tensor


def erb_rate(freq_hz: float) -> float:
    """ERB-rate of a frequency (Glasberg and Moore 1990): equivalent rectangular bandwidths below it.

    >>> round(erb_rate(1000.0), 2)
    15.62
    """
    return 21.4 * math.log10(1 + freq_hz / 229)


def erb_rate_to_hz(erbs: float) -> float:
    """The inverse of `erb_rate`.

    >>> round(erb_rate_to_hz(erb_rate(1000.0)), 6)
    1000.0
    """
    return 229 * (10 ** (erbs / 21.4) - 1)


def band_edges_hz(nyquist_hz: float, bands: int) -> list[float]:
    """The `bands + 1` edges of bands equal on the ERB-rate scale from 0 Hz to `nyquist_hz`."""
    return [erb_rate_to_hz(erb_rate(nyquist_hz) * index / bands) for index in range(bands + 1)]


def interpolate(place: Tensor, values: Tensor) -> Tensor:
    """Linear interpolation along the first axis of `values`, constant beyond its ends.

    Args:
        place: `[P]`, positions in rows; row j stands at j.
        values: `[R, ...]`.

    Returns:
        `[P, ...]`.

    >>> import torch
    >>> interpolate(torch.tensor([-1.0, 0.5, 9.0]), torch.tensor([1.0, 3.0])).tolist()
    [1.0, 2.0, 3.0]
    """
    place = place.clamp(0, len(values) - 1)
    low = place.floor().long().clamp(max=max(0, len(values) - 2))
    part = (place - low).reshape(-1, *[1] * (values.dim() - 1))
    return values[low] * (1 - part) + values[(low + 1).clamp(max=len(values) - 1)] * part
