"""Finding new modes: the residual is correlated with damped modes of every frequency and onset, by strided FFTs.

For a window w(u) = E(u) e^{-d u} of unit norm starting at t, the best real mode at frequency omega explains

    gain = 2 | sum_u r(t + u) w(u) e^{-i omega u} |^2

of the residual's energy (frequencies near 0 apart, where the mirror image overlaps), so that one short-time Fourier
transform for each shape of w scores all onsets and frequencies (Goodwin and Vetterli 1999).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from .modal import Atoms

# Decay times 1/d in samples, a factor of about 3 apart: a mode whose decay lies between two of them still gives 95 %
# of its gain. From a click of 1.4 ms to a tone that hardly decays within a stretch, at 22 050 Hz.
DECAYS = (30.0, 90.0, 270.0, 800.0, 2400.0, 7200.0, 20000.0)
ATTACKS = (0.04, 0.6)  # in decay times: struck, and swelling
SHORTEST_ATTACK = 4.5  # samples
DECAY_TIMES = 5.0  # of a window; what is left then has 1 / 20 000 of the energy
HOP = 0.35  # in decay times
MIN_HOP, MAX_HOP = 16, 2048
PEAKS_PER_FRAME = 24
PEAKS_PER_SHAPE = 800
WEAKEST = 0.02  # of the best gain of a round; weaker ones wait, since they may be its side lobes


@dataclass(frozen=True)
class Shape:
    """One window: attack in samples and damping in nepers a sample."""

    attack: float
    damping: float

    @property
    def length(self) -> float:
        """Time in samples over which the window has most of its energy."""
        return 2 / self.damping + 2 * self.attack


SHAPES = tuple(Shape(max(SHORTEST_ATTACK, share * decay), 1 / decay) for decay in DECAYS for share in ATTACKS)


@dataclass(frozen=True)
class Candidate:
    """A mode worth trying: energy it would explain, onset in samples, frequency in radians a sample."""

    gain: float
    onset: float
    omega: float
    shape: Shape

    def near(self, other: Candidate) -> bool:
        """Whether the two overlap in time and frequency, so that their gains are not independent."""
        length = max(min(self.shape.length, other.shape.length), 64.0)
        bandwidth = 2 * (self.shape.damping + other.shape.damping) + 4 * math.pi / length
        end = min(self.onset + self.shape.length, other.onset + other.shape.length)
        return end > max(self.onset, other.onset) - 500 and abs(self.omega - other.omega) < bandwidth


def to_atoms(candidates: list[Candidate], device: torch.device) -> Atoms:
    """One atom of one mode for each candidate, with amplitudes still 0."""

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device)

    return Atoms(
        onset=column([c.onset for c in candidates]),
        log_attack=column([math.log(c.shape.attack) for c in candidates]),
        owner=torch.arange(len(candidates), device=device),
        log_damping=column([math.log(c.shape.damping) for c in candidates]),
        omega=column([c.omega for c in candidates]),
        amp=torch.zeros(len(candidates), dtype=torch.complex128, device=device),
    )


def search(residual: Tensor, begin: int, end: int, low: float, high: float) -> list[Candidate]:
    """Candidates with onsets in `[begin, end)`, best first.

    Args:
        residual: float32 `[T]`; windows see zeros beyond its ends.
        begin: earliest onset in samples; before it only half a decay time, and only where `begin` is 0 or less.
        end: first onset too late.
        low: lowest frequency, radians a sample.
        high: highest frequency.
    """
    found = [_search_shape(residual, index, begin, end, low, high) for index in range(len(SHAPES))]
    gain, onset, omega, shape = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = torch.argsort(gain, descending=True, stable=True)  # ties by shape, then by position
    rows = zip(*(values[order].tolist() for values in (gain, onset, omega, shape)), strict=True)
    return [Candidate(g, t, w, SHAPES[int(s)]) for g, t, w, s in rows if g > 0]


def _search_shape(residual: Tensor, index: int, begin: int, end: int, low: float, high: float) -> tuple[Tensor, ...]:
    shape, samples = SHAPES[index], len(residual)
    window = _window(shape, samples, residual.device)
    hop = int(min(max(MIN_HOP, HOP / shape.damping), MAX_HOP))
    lead = min(int(0.5 / shape.damping), 3000) if begin <= 0 else 0
    begin = max(begin, 0) - lead
    size = max(256, 1 << (len(window) - 1).bit_length())
    count = max(1, -(-(end - begin) // hop))
    padded = torch.nn.functional.pad(residual, (lead, len(window) + hop))[begin + lead :]
    frames = padded.unfold(0, len(window), hop)[:count]
    first, last = max(2, int(low * size / (2 * math.pi))), int(high * size / (2 * math.pi)) + 1
    spectrum = torch.fft.rfft(frames * window, n=size)[:, first:last]
    gain = 2 * torch.view_as_real(spectrum).square().sum(-1)
    peaks, bins = gain.topk(min(PEAKS_PER_FRAME, gain.shape[1]), dim=1)
    best, place = peaks.flatten().topk(min(PEAKS_PER_SHAPE, peaks.numel()))
    frame = torch.div(place, peaks.shape[1], rounding_mode="floor")
    omega = (bins.flatten()[place] + first).double() * (2 * math.pi / size)
    return best.double(), (frame * hop + begin).double(), omega, torch.full_like(place, index)


@lru_cache(maxsize=64)
def _window(shape: Shape, samples: int, device: torch.device) -> Tensor:
    length = int(min(samples, DECAY_TIMES / shape.damping + 3 * shape.attack))
    u = torch.arange(length, dtype=torch.float64)
    window = (1 - torch.exp(-u / shape.attack)).square() * torch.exp(-shape.damping * u)
    unit: Tensor = window / window.norm()
    return unit.float().to(device)


def pick(candidates: list[Candidate], count: int, least_gain: float) -> list[Candidate]:
    """The best `count` candidates above `least_gain` of which no two are near each other."""
    chosen: list[Candidate] = []
    for candidate in candidates:
        if len(chosen) == count or candidate.gain < max(least_gain, WEAKEST * candidates[0].gain):
            break
        if not any(candidate.near(other) for other in chosen):
            chosen.append(candidate)
    return chosen


def search_partials(atoms: Atoms, residual: Tensor, low: float, high: float) -> tuple[Tensor, Atoms]:
    """For each atom the best further mode under its own onset and attack.

    Args:
        atoms: A atoms.
        residual: float32 `[T]`, without their sound.
        low: lowest frequency, radians a sample.
        high: highest frequency.

    Returns:
        Gains `[A]`, 0 where there is nothing to add, and one mode for each atom: `atoms` with K = A.
    """
    samples, device = len(residual), residual.device
    first = atoms.onset.ceil().clamp(min=0)
    best = torch.zeros(len(atoms), dtype=torch.float64, device=device)
    omega, log_damping = torch.full_like(best, low), torch.zeros_like(best)
    attack = atoms.log_attack.exp()
    for decay in DECAYS:
        length = int(min(samples, DECAY_TIMES * decay + 3 * float(attack.max())))
        n = torch.arange(length, device=device)
        u = n + (first - atoms.onset)[:, None]
        window = (1 - torch.exp(-u / attack[:, None])).square() * torch.exp(-u / decay)  # [A, length]
        place = first.long()[:, None] + n
        rows = residual[place.clamp(max=samples - 1)] * (place < samples)
        size = max(256, 1 << (length - 1).bit_length())
        begin, end = max(2, int(low * size / (2 * math.pi))), int(high * size / (2 * math.pi)) + 1
        norm = (window * (place < samples)).square().sum(1).clamp(min=1e-30)
        spectrum = torch.fft.rfft(rows * window.float(), n=size)[:, begin:end]
        peak, index = (2 * torch.view_as_real(spectrum).square().sum(-1)).max(dim=1)
        gain = peak.double() / norm * (first < samples - MIN_HOP)
        better = gain > best
        best = torch.where(better, gain, best)
        omega = torch.where(better, (index + begin).double() * (2 * math.pi / size), omega)
        log_damping = torch.where(better, -math.log(decay), log_damping)
    modes = torch.arange(len(atoms), device=device)
    return best, Atoms(atoms.onset, atoms.log_attack, modes, log_damping, omega, torch.zeros_like(omega) + 0j)
