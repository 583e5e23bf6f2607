"""Filter banks as responses over frequency: Morlet wavelets and gammatone filters."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .bands import erb_rate, erb_rate_to_hz

REACH = 3.0  # standard deviations of a Gaussian that count: -39 dB at the edge


def wavelet_centres_hz(low_hz: float, high_hz: float, per_octave: int) -> list[float]:
    """Centres from `high_hz` down, so many an octave, none under `low_hz`.

    >>> wavelet_centres_hz(100.0, 800.0, 1)
    [800.0, 400.0, 200.0, 100.0]
    """
    count = 1 + math.floor(per_octave * math.log2(high_hz / low_hz) + 1e-9)
    return [high_hz * 2 ** (-index / per_octave) for index in range(max(count, 0))]


def wavelet_width_hz(centre_hz: float, per_octave: int) -> float:
    """Standard deviation of the Gaussian response of a wavelet whose neighbours cross it at half its power.

    With r = 2^(1 / per_octave), neighbours at c and c / r meet at c / sqrt(r), where e^{-(c - c / sqrt(r))^2 / (2 s^2)}
    = 1 / sqrt(2).
    """
    return centre_hz * (1 - 2 ** (-0.5 / per_octave)) / math.sqrt(math.log(2))


def morlet(freq_hz: Tensor, centre_hz: Tensor, width_hz: Tensor) -> Tensor:
    """Response of Morlet wavelets: a Gaussian around the centre, less one around 0 that makes it 0 there (Mallat 2009).

    Args:
        freq_hz: `[..., F]`.
        centre_hz: `[...]`.
        width_hz: `[...]`, standard deviations.

    Returns:
        `[..., F]`, 1 at the centre but for the correction.

    >>> morlet(torch.tensor([0.0]), torch.tensor(100.0), torch.tensor(50.0)).item()
    0.0
    """
    centre, width = centre_hz[..., None], width_hz[..., None]
    at_zero = torch.exp(-0.5 * (centre / width).square())
    return torch.exp(-0.5 * ((freq_hz - centre) / width).square()) - at_zero * torch.exp(
        -0.5 * (freq_hz / width).square()
    )


def erb_centres_hz(low_hz: float, high_hz: float, bands: int) -> list[float]:
    """Centres equal on the ERB-rate scale from `low_hz` to `high_hz`.

    >>> [round(centre) for centre in erb_centres_hz(100.0, 1000.0, 3)]
    [100, 407, 1000]
    """
    low, high = erb_rate(low_hz), erb_rate(high_hz)
    return [erb_rate_to_hz(low + (high - low) * index / max(bands - 1, 1)) for index in range(bands)]


def erb_hz(freq_hz: float) -> float:
    """Equivalent rectangular bandwidth of the ear at a frequency (Glasberg and Moore 1990).

    >>> round(erb_hz(1000.0), 1)
    132.6
    """
    return 24.7 * (4.37e-3 * freq_hz + 1)


def gammatone(freq_hz: Tensor, centre_hz: Tensor, bandwidth_hz: Tensor) -> Tensor:
    """Complex response of gammatone filters of order 4, 1 at the centre (Patterson et al. 1992).

    The impulse response t^3 e^{-2 pi b t} cos(2 pi c t), b = 1.019 bandwidths, has the transform (1 + i (f - c) / b)^-4
    on the side of its centre; the mirror image, which is small but for the lowest channels, is left out.

    Args:
        freq_hz: `[F]`.
        centre_hz: `[C]`.
        bandwidth_hz: `[C]`, equivalent rectangular ones.

    Returns:
        Complex `[C, F]`.
    """
    detune = (freq_hz - centre_hz[:, None]) / (1.019 * bandwidth_hz[:, None])
    squared = torch.complex(torch.ones_like(detune), detune).square()
    return 1 / squared.square()
