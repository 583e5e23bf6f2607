"""What a fit works on: the recording in stretches, one residual for all of it, and how atoms are exchanged in it.

A file is worked on in stretches of about 1.5 s; an atom belongs to the stretch in which it starts and sees a window of
that stretch and the next, and what rings beyond is carried over into the residual. Every other stretch is worked at
once, since their windows do not touch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..core.columns import NUMBERS_OF_MODE, NUMBERS_OF_STRIKE, STRETCH_S
from .amplitudes import TAIL_NEPERS
from .modal import BLOCK, Atoms, Basis, join, no_atoms
from .refine import Windows, bounds_for, cut
from .search import Candidate
from .settings import FitSettings

LOWEST_HZ = 20.0
MARGIN = 8  # blocks by which an onset may leave its stretch
FAINT = 1e-12  # of the recording's energy: what lies 120 dB down is rounding, not sound
SWEEP_DAMPING = 1e-3  # of the first sweep
TOGETHER = 128  # atoms of a stretch that are stepped jointly, at most: the cost of a step grows with their cube


@dataclass(frozen=True)
class Stretch:
    """Blocks `[begin, end)` in which its atoms start, and the window `[low, high)` that they see."""

    begin: int
    end: int
    low: int
    high: int


@dataclass
class State:
    """All that a round changes.

    Attributes:
        residual: float64 `[B, N]`, what the atoms have not explained.
        atoms: by stretch, windows of one, with onsets in samples from the start of the recording.
        candidates: by stretch, or None where the residual changed since they were found.
        damping: by stretch, of the last sweep.
        searches: by stretch, how often it was searched.
        held: atoms `[stretches, A]` of an earlier state within the limits, to go back to if what follows is no better.
    """

    residual: Tensor
    atoms: list[Atoms]
    candidates: list[list[Candidate] | None]
    damping: list[float]
    searches: list[int]
    held: Atoms | None = None

    def copy(self) -> State:
        """A state that later rounds leave as it is."""
        return State(
            self.residual.clone(),
            list(self.atoms),
            list(self.candidates),
            list(self.damping),
            list(self.searches),
            self.held,
        )

    @property
    def count(self) -> int:
        """Atoms in all."""
        return sum(int(atoms.present.sum()) for atoms in self.atoms)

    @property
    def numbers(self) -> int:
        """Numbers in use."""
        return sum(count_numbers(atoms) for atoms in self.atoms)


def begun(residual: Tensor, atoms: list[Atoms]) -> State:
    """A state `[B, N]` with the atoms of each stretch, before anything is known of it."""
    count = len(atoms)
    return State(residual, atoms, [None] * count, [SWEEP_DAMPING] * count, [0] * count)


def by_stretch(atoms: Atoms) -> list[Atoms]:
    """Atoms `[stretches, A]` as windows of one, without padding."""
    each = [atoms.windows(slice(index, index + 1)) for index in range(len(atoms.onset))]
    return [own.packed() if bool(own.used.any()) else no_atoms(device=own.onset.device) for own in each]


@dataclass(frozen=True)
class Change:
    """What a stretch's atoms are to become: `still` ones stay as they are, `new` ones replace the `old`."""

    index: int
    still: Atoms
    old: Atoms
    new: Atoms


@dataclass(frozen=True)
class Limits:
    """How many atoms and numbers there may be."""

    atoms: int
    numbers: int

    def of(self, share: float) -> Limits:
        """A share of both, or more than the whole."""
        return Limits(max(1, round(share * self.atoms)), int(share * self.numbers))


@dataclass(frozen=True)
class Problem:
    """What stays the same during a fit: samples, their rate in Hz, the stretches and the settings."""

    samples: int
    rate: int
    energy: float
    stretches: list[Stretch]
    settings: FitSettings
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def low(self) -> float:
        """Lowest frequency in radians a sample."""
        return 2 * math.pi * LOWEST_HZ / self.rate

    @property
    def high(self) -> float:
        """Highest frequency in radians a sample: the bandwidth, or just under the Nyquist frequency."""
        return min(2 * math.pi * self.settings.bandwidth_hz / self.rate, 0.985 * math.pi)

    def window_samples(self, stretch: Stretch) -> int:
        """Samples of the recording in the window."""
        return min(stretch.high * BLOCK, self.samples) - stretch.low * BLOCK


def make_stretches(samples: int, rate: int) -> list[Stretch]:
    """Stretches of about 1.486 s that cover a recording."""
    blocks = -(-samples // BLOCK)
    length = STRETCH_S * rate / BLOCK
    count = max(1, round(blocks / length))
    edges = [round(index * blocks / count) for index in range(count + 1)]
    least = math.ceil(
        length / 2
    )  # beyond the end, where so few samples a second make the margins longer than stretches
    return [
        Stretch(begin, end, max(0, begin - 2 * MARGIN), min(blocks, max(after - 2 * MARGIN, end + least)))
        for begin, end, after in zip(edges, edges[1:], [*edges[2:-1], blocks + 2 * MARGIN, 0], strict=False)
    ]


def count_numbers(atoms: Atoms) -> int:
    """Numbers in use."""
    return NUMBERS_OF_STRIKE * int(atoms.present.sum()) + NUMBERS_OF_MODE * int(atoms.used.sum())


def apart(stretches: list[Stretch]) -> list[list[int]]:
    """Indices of stretches in groups of which no two windows touch: every other one, or fewer where they are short."""
    step = 1
    while any(one.high > other.low for one, other in zip(stretches, stretches[step:], strict=False)):
        step += 1
    return [list(range(first, len(stretches), step)) for first in range(min(step, len(stretches)))]


def reached(problem: Problem, state: State) -> tuple[int, float]:
    """Atoms so far, and the SNR in dB."""
    left = float(state.residual.square().sum())
    return state.count, 10 * math.log10(problem.energy / max(left, 1e-20 * problem.energy))


def price_of(problem: Problem, stretch: Stretch, residual: Tensor) -> float:
    """Energy that a number must explain to be worth having (Schwarz 1978).

    n / 2 ln(residual energy) must fall by more than ln(n) / 2 for each number, times `settings.price`.
    """
    n = problem.window_samples(stretch)
    return problem.settings.price * float(residual.square().sum()) * math.log(n) / n


def turns(problem: Problem, state: State) -> Iterator[list[Change]]:
    """All atoms, a turn at a time: of stretches that do not touch, so many of each as can be worked together.

    Those are neighbours in onset. What was yielded is to be accepted, or left as it is, before the next turn.
    """
    for group in apart(problem.stretches):
        turns = {index: -(-state.atoms[index].onset.shape[1] // TOGETHER) for index in group}
        for index in group:
            if turns[index] > 1:
                own = state.atoms[index]
                state.atoms[index] = own.columns(torch.argsort(own.onset[0], stable=True))
        left = {index: state.atoms[index].onset.shape[1] for index in group}
        for turn in range(max(turns.values())):
            changes = []
            for index in (index for index in group if turn < turns[index]):
                own, size = state.atoms[index], -(-left[index] // (turns[index] - turn))
                left[index] -= size
                still, old = own.columns(slice(size, None)), own.columns(slice(size))
                state.atoms[index] = join([still, old])  # those to come stand first
                changes.append(Change(index, still, old, old))
            yield changes


def residual_in(problem: Problem, state: State, indices: list[int]) -> Tensor:
    """The residual in the windows of stretches, padded to the longest, `[G, B, N]`."""
    stretches = [problem.stretches[index] for index in indices]
    blocks = max(stretch.high - stretch.low for stretch in stretches)
    parts = [state.residual[stretch.low : stretch.high] for stretch in stretches]
    return torch.stack([torch.nn.functional.pad(part, (0, 0, 0, blocks - len(part))) for part in parts])


def samples_in(problem: Problem, stretch: Stretch) -> Tensor:
    """Samples of the recording in the window of a stretch, `[1]`."""
    return torch.tensor([problem.window_samples(stretch)], device=problem.device)


def windows_for(problem: Problem, restraint: float, indices: list[int], target: Tensor) -> Windows:
    """What atoms of stretches should sound like, `[G, B, N]`, with the samples and bounds of their windows."""
    stretches = [problem.stretches[index] for index in indices]

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, device=problem.device, dtype=torch.float64)

    last = [min((stretch.end + MARGIN) * BLOCK, problem.samples - 16) - stretch.low * BLOCK for stretch in stretches]
    bounds = bounds_for(
        problem.rate,
        column([max(0, stretch.begin - MARGIN - stretch.low) * BLOCK for stretch in stretches]),
        column(last),
        problem.low,
        problem.high,
    )
    samples = column([problem.window_samples(stretch) for stretch in stretches])
    return Windows(cut(target, samples), samples, bounds, torch.full_like(samples, restraint))


def accept(problem: Problem, state: State, change: Change, difference: Tensor) -> None:
    """Put a stretch's atoms in place and add the `difference` that they make to the residual in its window.

    Tails beyond the window are exchanged too, and may reach into one that was worked beside it: hence a difference.
    """
    stretch = problem.stretches[change.index]
    state.residual[stretch.low : stretch.high] += difference
    for atoms, sign in ((change.old, 1.0), (change.new, -1.0)):
        tail = tail_of(atoms, stretch.high, len(state.residual))
        state.residual[stretch.high : stretch.high + len(tail)] += sign * tail
    if stretch.high < len(state.residual):
        state.residual.flatten()[problem.samples :] = 0.0
    state.atoms[change.index] = join([change.still, change.new])
    for other, neighbour in enumerate(problem.stretches):
        if neighbour.low < stretch.high and stretch.low < neighbour.high:
            state.candidates[other] = None


def tail_of(atoms: Atoms, begin: int, end: int) -> Tensor:
    """Sound in the blocks from `begin` to `end`, or as long as it lasts, float64 `[B, N]`."""
    lasting = (begin * BLOCK - atoms.onset) * atoms.log_damping.exp() < TAIL_NEPERS
    ringing = atoms.without(~lasting[..., None] & atoms.used).packed()
    if not ringing.onset.numel() or begin >= end:
        return torch.zeros(0, BLOCK, dtype=torch.float64, device=atoms.onset.device)
    last = float((ringing.onset + TAIL_NEPERS * torch.exp(-ringing.log_damping)).max())
    blocks = min(end - begin, max(1, math.ceil(last / BLOCK) - begin))
    return Basis(ringing.shift(-begin * BLOCK), blocks).render()[0]
