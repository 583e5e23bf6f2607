"""Finding new modes: the residual is correlated with damped modes of every frequency and onset, by strided FFTs.

For a window w(u) = E(u) e^{-d u} of unit norm starting at t, the best real mode at frequency omega explains

    gain = 2 | sum_u r(t + u) w(u) e^{-i omega u} |^2

of the residual's energy (frequencies near 0 apart, where the mirror image overlaps), so that one short-time Fourier
transform for each shape of w scores all onsets and frequencies (Goodwin and Vetterli 1999).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from ..dsp.parallel import side_by_side
from .modal import Atoms, no_atoms

# Decay times 1/d in samples, a factor of about 3 apart: a mode whose decay lies between two of them still gives 95 %
# of its gain. From a click of 1.4 ms to a tone that hardly decays within a stretch, at 22 050 Hz.
DECAYS = (30.0, 90.0, 270.0, 800.0, 2400.0, 7200.0, 20000.0)
ATTACKS = (0.04, 0.6)  # in decay times: struck, and swelling
SHORTEST_ATTACK = 4.5  # samples
DECAY_TIMES = 3.5  # of a window; what is left then has a thousandth of the energy
HOP = 0.35  # in decay times
MIN_HOP, MAX_HOP = 16, 4096
FINER, FINEST = 8, 64  # a newcomer's onset is sought in steps this much finer, down to so many samples
SHARPER = 0.2  # an attack that is tried for it too, times its own
PEAKS_PER_SHAPE = 200
WEAKEST = 0.02  # of the best gain of a round; weaker ones wait, since they may be its side lobes


@dataclass(frozen=True)
class Shape:
    """One window: attack in samples and damping in nepers a sample."""

    attack: float
    damping: float

    MOST_LEAD: ClassVar[int] = 3000  # samples

    @property
    def length(self) -> float:
        """Time in samples over which the window has most of its energy."""
        return 2 / self.damping + 2 * self.attack

    @property
    def bandwidth(self) -> float:
        """Radians a sample within which two modes of this shape are not told apart."""
        return 4 * self.damping + 4 * math.pi / max(self.length, 64.0)

    @property
    def lead(self) -> int:
        """Samples before a recording at which its onset may lie, where the recording begins in the midst of it."""
        return min(int(0.5 / self.damping), self.MOST_LEAD)

    @property
    def hop(self) -> int:
        """Samples between the onsets that are tried."""
        return int(min(max(MIN_HOP, HOP / self.damping), MAX_HOP))

    def spectrum_size(self, samples: int) -> int:
        """Length of the transforms in a recording of `samples`: 2^k or 3 * 2^k, which are fast."""
        power = 1 << (self.window_length(samples) - 1).bit_length()
        return max(256, power * 3 // 4 if power * 3 // 4 >= self.window_length(samples) else power)

    def window_length(self, samples: int) -> int:
        """Samples of the window."""
        return int(min(samples, DECAY_TIMES / self.damping + 3 * self.attack))


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


def shapes_of(turn: int, turns: int) -> list[int]:
    """Places in `SHAPES` that are tried in one of so many turns: evenly over decays and attacks."""
    places = ((index, *divmod(index, len(ATTACKS))) for index in range(len(SHAPES)))
    return [index for index, decay, attack in places if (decay + attack * (turns // 2) - turn) % turns == 0]


def search(
    residual: Tensor, begin: int, end: int, low: float, high: float, shapes: Sequence[int] = range(len(SHAPES))
) -> list[Candidate]:
    """Candidates with onsets in `[begin, end)`, best first, as long as they explain a share `WEAKEST` of the best's.

    Args:
        residual: float32 `[T]`; windows see zeros beyond its ends.
        begin: earliest onset in samples; before it only half a decay time, and only where `begin` is 0 or less.
        end: first onset too late.
        low: lowest frequency, radians a sample.
        high: highest frequency.
        shapes: places in `SHAPES` of those that are tried.
    """
    found = side_by_side(lambda index: _search_shape(residual, index, begin, end, low, high), shapes)
    gain, onset, omega, shape = (torch.cat(parts) for parts in zip(*found, strict=True))
    strong = gain > max(0.0, WEAKEST * float(gain.max()))
    gain, onset, omega, shape = (values[strong] for values in (gain, onset, omega, shape))
    order = torch.argsort(gain, descending=True, stable=True)  # ties by shape, then by position
    rows = zip(*(values[order].tolist() for values in (gain, onset, omega, shape)), strict=True)
    return [Candidate(g, t, w, SHAPES[int(s)]) for g, t, w, s in rows]


def _search_shape(residual: Tensor, index: int, begin: int, end: int, low: float, high: float) -> tuple[Tensor, ...]:
    shape, samples = SHAPES[index], len(residual)
    window, size, hop = _window(shape, samples, residual.device), shape.spectrum_size(samples), shape.hop
    lead = shape.lead if begin <= 0 else 0
    begin = max(begin, 0) - lead
    count = max(1, -(-(end - begin) // hop))
    padded = torch.nn.functional.pad(residual, (lead, len(window) + hop))[begin + lead :]
    frames = padded.unfold(0, len(window), hop)[:count]
    first, last = _bins(size, low, high)
    gain = _gains(torch.fft.rfft(frames * window, n=size)[:, first:last])
    cell = max(1, int(shape.bandwidth * size / (4 * math.pi)))  # one peak for half the width of a mode
    gain = torch.nn.functional.pad(gain, (0, -gain.shape[1] % cell)).view(len(gain), -1, cell)
    peaks = gain.amax(dim=2)
    best, place = peaks.flatten().topk(min(PEAKS_PER_SHAPE, peaks.numel()))
    frame = torch.div(place, peaks.shape[1], rounding_mode="floor")
    bins = gain.view(-1, cell)[place].argmax(1)
    omega = (bins + place % peaks.shape[1] * cell + first).double() * (2 * math.pi / size)
    return best.double(), (frame * hop + begin).double(), omega, torch.full_like(place, index)


def _gains(spectrum: Tensor) -> Tensor:
    """Energy that a mode would explain, from its correlation with the residual."""
    return 2 * torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)


def _bins(size: int, low: float, high: float) -> tuple[int, int]:
    """First bin and the one after the last of a spectrum of `size` that lie in `[low, high]`."""
    return max(2, int(low * size / (2 * math.pi))), int(high * size / (2 * math.pi)) + 1


@lru_cache(maxsize=128)
def _window(shape: Shape, samples: int, device: torch.device) -> Tensor:
    u = torch.arange(shape.window_length(samples), dtype=torch.float64)
    window = (1 - torch.exp(-u / shape.attack)).square() * torch.exp(-shape.damping * u)
    unit: Tensor = window / window.norm()
    return unit.float().to(device)


def pick(candidates: list[Candidate], count: int, least_gain: float) -> list[Candidate]:
    """The best `count` candidates above `least_gain` of which no two are near each other."""
    chosen: list[Candidate] = []
    for candidate in candidates:
        if len(chosen) == count or candidate.gain < least_gain:
            break
        if not any(candidate.near(other) for other in chosen):
            chosen.append(candidate)
    return chosen


def sharpen(residual: Tensor, candidate: Candidate, begin: int, end: int) -> Candidate:
    """The candidate at the onset and with the attack at which it explains most, on a finer grid than was searched.

    Args:
        residual: float32 `[T]`.
        candidate: of a search in it.
        begin: earliest onset; before 0 only half a decay time.
        end: first onset too late.
    """
    best, step = candidate, candidate.shape.hop
    while step > FINEST:
        step = max(1, step // FINER)
        sharper = replace(best, shape=replace(best.shape, attack=max(SHARPER * best.shape.attack, SHORTEST_ATTACK)))
        tried = [_best_onset(residual, one, step, begin, end) for one in (best, sharper)]
        best = max([best, *tried], key=lambda one: one.gain)
    return best


def _best_onset(residual: Tensor, candidate: Candidate, step: int, begin: int, end: int) -> Candidate:
    """The candidate at the onset among its neighbours, `step` samples apart, at which it explains most."""
    window = _window(candidate.shape, len(residual), residual.device)
    onsets = round(candidate.onset) + step * torch.arange(-FINER, FINER + 1, device=residual.device)
    earliest = min(max(begin, 1 - candidate.shape.lead), candidate.onset)
    onsets = onsets[(onsets >= earliest) & (onsets < max(end, candidate.onset + 1))]
    first, last = int(onsets.min()), int(onsets.max()) + len(window)
    heard = torch.nn.functional.pad(residual, (max(0, -first), max(0, last - len(residual))))[max(0, first) :]
    frames = heard.unfold(0, len(window), 1)[onsets - first]
    turn = candidate.omega * torch.arange(len(window), device=residual.device, dtype=torch.float64)
    wave = torch.stack([window * turn.cos(), window * turn.sin()], dim=1).float()
    gains = 2 * (frames @ wave).square().sum(1)
    best = int(gains.argmax())
    return replace(candidate, gain=float(gains[best]), onset=float(onsets[best]))


def to_atoms(candidates: list[Candidate], device: torch.device) -> Atoms:
    """Atoms `[1, n]` of one mode each, with amplitudes still 0."""
    new = no_atoms(1, len(candidates), device)

    def column(values: list[float]) -> Tensor:
        return torch.tensor([values], dtype=torch.float64, device=device)

    new.used[..., 0] = True
    new.omega[..., 0] = column([c.omega for c in candidates])
    return replace(
        new,
        onset=column([c.onset for c in candidates]),
        log_attack=column([math.log(c.shape.attack) for c in candidates]),
        log_damping=column([math.log(c.shape.damping) for c in candidates]),
    )


def search_partials(residual: Tensor, candidates: list[Candidate], low: float, high: float) -> tuple[Tensor, Tensor]:
    """The best further mode under the onset, attack and decay of each candidate.

    Args:
        residual: float32 `[T]`.
        candidates: n of them.
        low: lowest frequency, radians a sample.
        high: highest frequency.

    Returns:
        Frequencies in radians a sample, and the energies that they would explain, float64 `[n]`.
    """
    samples, lead = len(residual), Shape.MOST_LEAD
    padded = torch.nn.functional.pad(residual, (lead, samples))
    omega = torch.zeros(len(candidates), dtype=torch.float64, device=residual.device)
    gain = torch.zeros_like(omega)
    for shape in dict.fromkeys(candidate.shape for candidate in candidates):
        rows = [index for index, candidate in enumerate(candidates) if candidate.shape == shape]
        window, size = _window(shape, samples, residual.device), shape.spectrum_size(samples)
        first, last = _bins(size, low, high)
        frames = torch.stack([padded[lead + round(candidates[row].onset) :][: len(window)] for row in rows])
        peak, index = _gains(torch.fft.rfft(frames * window, n=size)[:, first:last]).max(dim=1)
        omega[rows], gain[rows] = (index + first).double() * (2 * math.pi / size), peak.double()
    return omega, gain
