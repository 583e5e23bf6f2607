"""Spectral optimal transport: how far energy has to be moved along frequency to make one spectrum the other.

Torres, Peeters and Richard, Unsupervised harmonic parameter estimation using differentiable DSP and spectral optimal
transport, arXiv 2312.14507. In one dimension the squared 2-Wasserstein distance of two distributions is that of their
quantile functions,

    W^2 = integral over u from 0 to 1 of (Q_S(u) - Q_R(u))^2,

so that, unlike a difference bin by bin, it has a slope however far apart two partials are. Each spectrum is normalised
first: levels are not seen, and want another loss beside this one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .spectra import SILENCE, Compare, powers

FFT_SIZE = 2048
LEVELS = 512  # at which quantile functions are compared
LEAST = 1e-9  # of a frame's power, spread over all bins: a quantile is to be found in each


def quantiles(spectrum: Tensor, levels: int = LEVELS) -> Tensor:
    """The quantile functions of distributions over bins, each bin's mass spread evenly over its width.

    Args:
        spectrum: `[..., bins]`, not negative; normalised here.
        levels: at (k + 1/2) / levels of all mass.

    Returns:
        `[..., levels]`, in bins from the lower edge of the first.

    >>> quantiles(torch.tensor([0.0, 1.0, 1.0]).double(), 4).tolist()  # half in the second bin
    [1.25, 1.75, 2.25, 2.75]
    """
    share = spectrum / spectrum.sum(-1, keepdim=True).clamp(min=1e-30)
    edges = torch.nn.functional.pad(share.cumsum(-1), (1, 0))  # [..., bins + 1]
    u = (torch.arange(levels, dtype=spectrum.dtype, device=spectrum.device) + 0.5) / levels * edges[..., -1:]
    place = torch.searchsorted(edges.detach().contiguous(), u.detach().contiguous(), right=True) - 1
    place = place.clamp(0, spectrum.shape[-1] - 1)
    below, inside = edges.gather(-1, place), share.gather(-1, place)
    part = torch.where(inside > 0, (u - below) / inside.clamp(min=1e-30), 0.5)
    return place + part


def spectral_transport(estimate: Tensor, reference: Tensor, rate: int) -> Tensor:
    """Squared 2-Wasserstein distance along frequency of the power spectra of each frame, in kHz^2.

    Frames count by their share of the reference's energy: those of silence have no spectrum to speak of.

    Args:
        estimate: `[G, T]`.
        reference: `[G, T]`.
        rate: in Hz.

    Returns:
        `[G, frames]`.
    """
    return against_transport(reference, rate)(estimate, 0)[0]


def against_transport(reference: Tensor, rate: int) -> Compare:
    """`spectral_transport` of any estimate against a reference `[G, T]`."""
    width_khz = rate / FFT_SIZE / 1000
    power = powers(reference, FFT_SIZE)
    energy = power.sum(-1)
    weight = energy / energy.mean(-1, keepdim=True).clamp(min=SILENCE**2)
    least = LEAST * power.mean((1, 2), keepdim=True).clamp(min=SILENCE**2)
    known = quantiles(power + least)

    def compare(estimate: Tensor, step: int) -> tuple[Tensor, ...]:
        found = quantiles(powers(estimate, FFT_SIZE) + least)
        return (weight * ((found - known) * width_khz).square().mean(-1),)

    return compare
