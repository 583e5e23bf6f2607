"""Wavelet scattering of orders 1 and 2, and the same on random paths.

Mallat, Group invariant scattering, CPAM 65 (2012); Anden and Mallat, Deep scattering spectrum, IEEE TSP 62 (2014). With
wavelets psi of 8 an octave, psi' of one an octave and a low-pass phi of some 0.2 s,

    S1(t, l) = |x * psi_l| * phi        S2(t, l, m) = ||x * psi_l| * psi'_m| * phi,

S1 is a spectrogram that a small shift hardly changes, and S2 says how each of its bands is modulated: what a rattle, a
tremolo or rain is. Random paths: Mitcheltree, Lostanlen, Benetos and Lagrange, SCRAPL, arXiv 2602.11145; the mean over
paths drawn evenly is an unbiased estimate of that over all.

Moduli do not care for the carrier, so each band is brought down to 0 Hz and kept at twice its own width only: all
bands together take no more samples than the signal has. Own code, because kymatio 0.3.0 cannot be imported with scipy
1.17 or later.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..dsp.filterbanks import REACH, morlet, wavelet_centres_hz, wavelet_width_hz
from .spectra import FLOOR, SILENCE, Compare

PER_OCTAVE, PER_OCTAVE_2 = 8, 1
LOWEST_HZ = 40.0
HIGHEST = 0.4  # of the rate: the wavelet is to end under the Nyquist frequency
LOWEST_RATE_HZ = 4.0  # of modulations
WINDOW_S = 0.2  # of phi: its standard deviation in frequency is 1 / this
TINY = 1e-3  # of the floor, under the root of a modulus
RANDOM_PATHS = 10  # at a step: about what the multi-resolution STFT costs


@dataclass(frozen=True)
class _Group:
    """Wavelets of like width: their response on a slice of the spectrum.

    Attributes:
        first: bin of the spectrum at which the slice of each begins, int64 `[L]`.
        response: `[L, n]`, on the n bins of the slice.
        size: samples at which their moduli are kept.
        band_hz: how fast these may change, Hz.
    """

    first: Tensor
    response: Tensor
    size: int
    band_hz: float


def scattering(signal: Tensor, rate: int, paths: Sequence[int] | None = None) -> list[Tensor]:
    """Scattering coefficients, path by path.

    A path is a group of wavelets of one octave, by themselves (order 1) or followed by one wavelet of modulation.

    Args:
        signal: `[G, T]`.
        rate: in Hz.
        paths: which of the `count_paths`; None: all.

    Returns:
        `[G, L, frames]` for each path, L wavelets; frames of about half of phi's length.
    """
    return _coefficients(signal, rate, paths, 0.0)


def count_paths(samples: int, rate: int) -> int:
    """How many paths there are for signals of so many samples."""
    return len(_paths(_plan_size(samples, rate), rate))


def against_scattering(reference: Tensor, rate: int, random_paths: int | None = None) -> Compare:
    """Distance of log coefficients in nepers, `[G, L, frames]` for each path, over the number of paths.

    Floored 80 dB under the largest coefficient of the reference.

    Args:
        reference: `[G, T]`.
        rate: in Hz.
        random_paths: compare on so many paths, drawn by the step; None: on all.
    """
    largest = torch.stack([own.amax((1, 2)) for own in scattering(reference, rate)]).amax(0)
    floor = FLOOR * largest[:, None, None].clamp(min=SILENCE)
    known = _coefficients(reference, rate, None, TINY * floor)
    logarithms = [(own.clamp(min=0) + floor).log() for own in known]  # what phi's cut edge leaves may lie under 0

    def compare(estimate: Tensor, step: int) -> tuple[Tensor, ...]:
        chosen = list(range(len(known)))
        if random_paths is not None:
            drawn = torch.randperm(len(known), generator=torch.Generator().manual_seed(step))
            chosen = sorted(drawn[:random_paths].tolist())
        found = _coefficients(estimate, rate, chosen, TINY * floor)
        return tuple(
            ((own.clamp(min=0) + floor).log() - logarithms[path]).abs() / len(chosen)
            for path, own in zip(chosen, found, strict=True)
        )

    return compare


def _coefficients(signal: Tensor, rate: int, paths: Sequence[int] | None, tiny: Tensor | float) -> list[Tensor]:
    size = _plan_size(signal.shape[-1], rate)
    every = _paths(size, rate)
    groups, modulations = _plan(size, rate, signal.dtype, signal.device)
    spectrum = torch.fft.rfft(signal, n=size, norm="forward")  # [G, bins]
    moduli: dict[int, Tensor] = {}
    found = []
    for path in range(len(every)) if paths is None else paths:
        group, modulation = every[path]
        if group not in moduli:
            moduli[group] = torch.fft.rfft(_modulus(spectrum, groups[group], tiny), norm="forward")  # [G, L, bins]
        transform = moduli[group]
        if modulation is not None:
            transform = torch.fft.rfft(_modulus_2(transform, modulations[modulation], tiny), norm="forward")
        found.append(_averaged(transform, size, rate))
    return found


def _modulus(spectrum: Tensor, group: _Group, tiny: Tensor | float) -> Tensor:
    """|x * psi| of the wavelets of a group, `[G, L, size]`."""
    bins = group.first[:, None] + torch.arange(group.response.shape[1], device=spectrum.device)
    band = spectrum[:, bins] * group.response  # [G, L, n]
    return _absolute(torch.fft.ifft(band, n=group.size, norm="forward"), tiny)


def _modulus_2(transform: Tensor, group: _Group, tiny: Tensor | float) -> Tensor:
    """||x * psi| * psi'|, `[G, L, size]`, for the half spectra `[G, L, bins]` of moduli."""
    first = int(group.first[0])
    band = transform[..., first : first + group.response.shape[1]] * group.response[0, : transform.shape[-1] - first]
    return _absolute(torch.fft.ifft(band, n=group.size, norm="forward"), tiny)


def _absolute(values: Tensor, tiny: Tensor | float) -> Tensor:
    return torch.sqrt(torch.view_as_real(values).square().sum(-1) + tiny**2)


def _averaged(transform: Tensor, size: int, rate: int) -> Tensor:
    """What phi lets through of half spectra `[G, L, bins]`, `[G, L, frames]`."""
    frames = _frames(size, rate)
    kept = transform[..., : frames // 2 + 1]
    freq_hz = torch.arange(kept.shape[-1], device=transform.device, dtype=transform.real.dtype) * (rate / size)
    averaged: Tensor = torch.fft.irfft(kept * torch.exp(-0.5 * (freq_hz * WINDOW_S).square()), n=frames, norm="forward")
    return averaged


def _plan_size(samples: int, rate: int) -> int:
    """Length of the transforms: the next power of two that leaves room for phi at the end."""
    return 1 << math.ceil(math.log2(samples + WINDOW_S * rate))


def _frames(size: int, rate: int) -> int:
    return 1 << max(1, round(math.log2(2 * REACH * size / rate / WINDOW_S)))


def _paths(size: int, rate: int) -> list[tuple[int, int | None]]:
    """Group of wavelets, and wavelet of modulation or None."""
    groups, modulations = _plan(size, rate, torch.float64, torch.device("cpu"))
    return [
        (index, place)
        for index, group in enumerate(groups)
        for place in (None, *(m for m, one in enumerate(modulations) if one.band_hz < group.band_hz))
    ]


@lru_cache(maxsize=16)
def _plan(size: int, rate: int, dtype: torch.dtype, device: torch.device) -> tuple[list[_Group], list[_Group]]:
    """Wavelets by octaves, and wavelets of modulation one by one."""
    centres = wavelet_centres_hz(LOWEST_HZ, HIGHEST * rate, PER_OCTAVE)
    octaves = [centres[begin : begin + PER_OCTAVE] for begin in range(0, len(centres), PER_OCTAVE)]
    groups = [_group(octave, PER_OCTAVE, size, rate, dtype, device) for octave in octaves]
    fastest = groups[0].band_hz if groups else 0.0
    rates = wavelet_centres_hz(LOWEST_RATE_HZ, max(fastest, LOWEST_RATE_HZ) / 2, PER_OCTAVE_2)
    return groups, [_group([centre], PER_OCTAVE_2, size, rate, dtype, device) for centre in rates]


def _group(
    centres: Sequence[float], per_octave: int, size: int, rate: int, dtype: torch.dtype, device: torch.device
) -> _Group:
    spacing = rate / size
    widths = [wavelet_width_hz(centre, per_octave) for centre in centres]
    bins = max(2, math.ceil(2 * REACH * max(widths) / spacing))
    last = size // 2 + 1 - bins
    first = [min(max(round(centre / spacing - bins / 2), 0), last) for centre in centres]
    place = torch.tensor(first)[:, None] + torch.arange(bins)
    response = morlet(place.double() * spacing, torch.tensor(centres).double(), torch.tensor(widths).double())
    return _Group(
        torch.tensor(first, device=device),
        response.to(dtype=dtype, device=device),
        1 << math.ceil(math.log2(2 * bins)),  # a modulus is about twice as wide as its band
        2 * max(widths),
    )
