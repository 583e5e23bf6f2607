"""What the model looks at: peaks of the spectrum on several scales, and the band around each of them.

A scale has a window of L samples, a Hann window that finds peaks. The band of a peak at frequency w is the sound over
4 L samples, mixed down by e^{-i w n} and summed in blocks of L / 64: 256 complex numbers that hold all that a mode near
w does in that time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..models.siam import LOOKS_AT, Siam

BEFORE = 1.5  # lengths of the window that a band begins before the middle of the window
BLOCKS = 64  # of a window
HOP = 4  # windows begin L / 4 apart
CHUNK = 1 << 22  # numbers of spectra and bands that are worked together: some tens of MB


@dataclass(frozen=True)
class Peaks:
    """K peaks of spectra.

    Attributes:
        scale: length L of the window in samples, int64 `[K]`.
        middle: of the window, in samples of the recording, int64 `[K]`.
        omega: radians a sample, float64 `[K]`.
        gain: energy that the windowed wave explains, float32 `[K]`.
    """

    scale: Tensor
    middle: Tensor
    omega: Tensor
    gain: Tensor

    def at(self, rows: Tensor | slice) -> Peaks:
        """The peaks at `rows`."""
        return Peaks(*(getattr(self, field.name)[rows] for field in fields(self)))


def join_peaks(parts: list[Peaks]) -> Peaks:
    """All peaks of `parts`."""
    return Peaks(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Peaks)))


def find_peaks(sound: Tensor, scale: int, low: float, high: float, most: int) -> Peaks:
    """The strongest peaks of one scale.

    Args:
        sound: float32 `[T]`.
        scale: length L of the window.
        low: lowest frequency, radians a sample.
        high: highest frequency.
        most: how many at most.
    """
    hop, size = scale // HOP, 2 * scale
    window = torch.hann_window(scale, dtype=sound.dtype, device=sound.device)
    frames = max(1, -(-len(sound) // hop))
    at_once = max(8, CHUNK // size)
    found = []
    for first in range(0, frames, at_once):
        # One frame more to either side, so that what is a peak does not depend on where chunks end.
        begin, end = first - 1, min(first + at_once, frames) + 1
        start, stop = begin * hop - scale // 2, (end - 1) * hop + scale - scale // 2
        part = sound[max(0, start) : max(0, min(stop, len(sound)))]
        part = torch.nn.functional.pad(part, (max(0, -start), stop - max(0, start) - len(part)))
        spectrum = torch.fft.rfft(part.unfold(0, scale, hop) * window, n=size)
        found.append(_peaks_of(spectrum, begin, scale, low, high, most))
    peaks = join_peaks(found)
    order = torch.argsort(peaks.gain, descending=True, stable=True)[:most]
    return peaks.at(order)


def _peaks_of(spectrum: Tensor, begin: int, scale: int, low: float, high: float, most: int) -> Peaks:
    """Peaks of all frames but the first and the last of a spectrum `[frames, bins]`."""
    size = 2 * scale
    gain = torch.view_as_real(spectrum).square().sum(-1) * (2 / (0.375 * scale))
    lowest = max(2, math.ceil(low * size / (2 * math.pi)))
    highest = min(gain.shape[1] - 1, int(high * size / (2 * math.pi)) + 1)
    around = torch.nn.functional.max_pool2d(gain[None], (3, 5), stride=1, padding=(1, 2))[0]
    peak = (gain >= around) & (gain > 0)
    peak[[0, -1]] = False
    peak[:, :lowest] = False
    peak[:, highest:] = False
    frame, bin_ = torch.nonzero(peak, as_tuple=True)
    best = torch.argsort(gain[frame, bin_], descending=True, stable=True)[:most]
    frame, bin_ = frame[best], bin_[best]
    left, top, right = (gain[frame, bin_ + step].double().clamp(min=1e-30).log() for step in (-1, 0, 1))
    bend = (left - 2 * top + right).clamp(max=-1e-9)
    offset = ((left - right) / (2 * bend)).clamp(-0.5, 0.5)  # the vertex of a parabola through three logarithms
    return Peaks(
        scale=torch.full_like(frame, scale),
        middle=(frame + begin) * (scale // HOP),
        omega=(bin_ + offset) * (2 * math.pi / size),
        gain=gain[frame, bin_],
    )


def bands_of(sound: Tensor, peaks: Peaks) -> tuple[Tensor, Tensor]:
    """The bands of K peaks of one scale, normalised to their peaks.

    Args:
        sound: float32 `[T]`.
        peaks: all of the same scale.

    Returns:
        complex64 `[K, 256]`, and what they were divided by, complex64 `[K]`: sums over blocks of the amplitude and
        phase that the wave has at the peak.
    """
    if not len(peaks.scale):
        nothing = torch.zeros(0, LOOKS_AT, dtype=torch.complex64, device=sound.device)
        return nothing, nothing[:, 0]
    scale = int(peaks.scale[0])
    block, length = scale // BLOCKS, scale // BLOCKS * LOOKS_AT
    before = int(BEFORE * scale)
    padded = torch.nn.functional.pad(sound, (before, length))
    bands = []
    for rows in torch.split(torch.arange(len(peaks.scale), device=sound.device), max(1, CHUNK // length)):
        places = peaks.middle[rows, None, None] + block * torch.arange(LOOKS_AT, device=sound.device)[:, None]
        cut = padded[places + torch.arange(block, device=sound.device)]  # [k, 256, block]
        omega = peaks.omega[rows]
        within = _wave(omega[:, None] * torch.arange(block, device=sound.device))  # [k, block]
        across = omega[:, None] * (block * torch.arange(LOOKS_AT, device=sound.device) - before)
        sums = torch.bmm(cut, torch.view_as_real(within))  # [k, 256, 2]
        bands.append(torch.view_as_complex(sums) * _wave(across))
    band = torch.cat(bands)
    inner = slice(before // block - BLOCKS // 2, before // block + BLOCKS // 2)
    window = torch.hann_window(BLOCKS, dtype=torch.float32, device=sound.device)
    centre = (band[:, inner] * window).sum(1) / window.sum()
    centre = torch.where(centre.abs() > 1e-20, centre, torch.ones_like(centre))
    return band / centre[:, None], centre


def _wave(phase: Tensor) -> Tensor:
    """e^{-i phase}, complex64, of phases in double precision."""
    phase = torch.remainder(phase, 2 * math.pi).float()
    return torch.complex(phase.cos(), -phase.sin())


def extra_of(peaks: Peaks) -> Tensor:
    """What the eye is told beside a band: the logarithms of L and of the cycles in L, float32 `[K, 2]`."""
    scale = peaks.scale.double()
    return torch.stack([scale.log() / 2.5 - 3.0, (peaks.omega * scale).clamp(min=1.0).log() / 3 - 2.0], dim=1).float()


def waves_of(said: Tensor) -> Tensor:
    """The modes that the eye says, on the points of their bands, complex `[K, 256]`: E(u) e^{-d u} e^{i w u}.

    Taken in the middle of the part of each block after the onset, times the share of the block that this part is, so
    that it has a slope where the onset moves.

    Args:
        said: `[K, >= 4]`, as `Siam` gives it: onset in L, ln attack / L, ln 1/d / L, radians in L.
    """
    onset, attack, ring, turn = said[:, :4].unsqueeze(-1).unbind(1)  # [K, 1]
    end = (torch.arange(LOOKS_AT, device=said.device, dtype=said.dtype) + 1) / BLOCKS - BEFORE - onset
    part = (end * BLOCKS).clamp(0.0, 1.0)
    u = (end - 0.5 * part / BLOCKS).clamp(min=0.0)
    envelope = (-torch.expm1(-u * torch.exp(-attack))).square() * torch.exp(-u * torch.exp(-ring)) * part
    return torch.polar(envelope, turn * u)


def shares_of(bands: Tensor, said: Tensor) -> Tensor:
    """Energy that modes explain of bands when their amplitudes are solved, float `[K]`, in units of the peak's.

    |<r, w>|^2 / <w, w> times what the wave under the Hann window of the peak explains itself.
    """
    waves = waves_of(said)
    product = torch.view_as_real((bands * waves.conj()).sum(1)).square().sum(1)
    norm = torch.view_as_real(waves).square().sum((1, 2)).clamp(min=1e-6)
    return product / norm / _HANN_NORM


_HANN_NORM = BLOCKS / 1.5  # (sum h)^2 / sum h^2 of a Hann window of 64 points, for a peak of 1


def ask(model: Siam, sound: Tensor, peaks: Peaks) -> tuple[Tensor, Tensor]:
    """What the eye says of peaks of any scales, float32 `[K, 5]`, and the energy that this explains, `[K]`."""
    said = torch.zeros(len(peaks.scale), 5, device=sound.device)
    gain = torch.zeros(len(peaks.scale), device=sound.device)
    for scale in model.shape.scales:
        rows = torch.nonzero(peaks.scale == scale)[:, 0]
        own = peaks.at(rows)
        bands, _ = bands_of(sound, own)
        for part in torch.split(torch.arange(len(rows), device=sound.device), 1024):
            answer = model.eye(bands[part], extra_of(own.at(part)))
            said[rows[part]] = answer
            gain[rows[part]] = shares_of(bands[part], answer) * own.gain[part]
    return said, gain
