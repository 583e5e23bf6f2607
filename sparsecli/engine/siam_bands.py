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

from ..dsp.parallel import side_by_side
from ..models.siam import LOOKS_AT, Siam
from .siam_waves import BEFORE, BLOCKS, STEPS, shares_of, sharpen

HOP = 4  # windows begin L / 4 apart
AT_ONCE = 256  # bands that the eye looks at together: few enough to share among cores
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
    highest = min(gain.shape[1] - 2, int(high * size / (2 * math.pi)) + 1)
    inner = gain[1:-1, lowest:highest]
    peak = inner > 0
    for step, aside in ((0, -1), (0, 1), (-1, 0), (1, 0), (0, -2), (0, 2)):
        peak &= inner >= gain[1 + step : len(gain) - 1 + step, lowest + aside : highest + aside]
    frame, bin_ = torch.nonzero(peak, as_tuple=True)
    frame, bin_ = frame + 1, bin_ + lowest
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
        cut = padded.unfold(0, length, 1)[peaks.middle[rows]].view(-1, LOOKS_AT, block)
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


def ask(model: Siam, sound: Tensor, peaks: Peaks, most: int) -> tuple[Peaks, Tensor, Tensor]:
    """What made the peaks of a sound, of those of any scales that it explains best, at most so many.

    Returns:
        The peaks, what the eye says of them, sharpened, float32 `[K, 5]`, and the energy that this explains `[K]`.
    """
    parts = [peaks.at(torch.nonzero(peaks.scale == scale)[:, 0]) for scale in model.shape.scales]
    pieces = [part.at(rows) for part in parts for rows in _split(len(part.scale))]
    answers = side_by_side(lambda piece: _ask(model, sound, piece), pieces)
    peaks, band = join_peaks(pieces), torch.cat([band for band, _ in answers])
    said = torch.cat([answer for _, answer in answers])
    gain = shares_of(band, said) * peaks.gain
    best = torch.argsort(gain, descending=True, stable=True)[:most]
    peaks, said, band = peaks.at(best), said[best], band[best]
    sharper = side_by_side(lambda rows: sharpen(band[rows], said[rows, :4], STEPS), _split(len(best)))
    share = torch.cat([share for _, share in sharper])
    said = torch.cat([torch.cat([answer for answer, _ in sharper]), said[:, 4:]], dim=1)
    return peaks, said, share * peaks.gain


def _split(count: int) -> list[slice]:
    """Parts of so many rows that are worked side by side; one at least."""
    return [slice(begin, begin + AT_ONCE) for begin in range(0, max(count, 1), AT_ONCE)]


def _ask(model: Siam, sound: Tensor, peaks: Peaks) -> tuple[Tensor, Tensor]:
    """The bands of peaks of one scale, and what the eye says of them."""
    with torch.no_grad():  # which holds for one thread alone
        bands, _ = bands_of(sound, peaks)
        return bands, model.eye(bands, extra_of(peaks)).float()
