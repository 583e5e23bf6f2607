"""Matching pursuit over a whole recording: stretches, rounds, and when to stop.

A recording that fits into memory is one stretch, and each atom is the best of all. A longer one is worked in stretches,
in rounds: in a round every stretch gives the atoms that take at least so much energy as the round asks for, so that all
stretches come down together, as they would in one. What a round takes too much is put back. Between visits a stretch
is only sound: its inner products are worked out anew from what is left, which is exact, so that atoms of neighbours
which reach into it need no care, and what the thresholds of the inner products leave behind does not add up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.learned import LearnedDictionary
from .correlations import Correlations, add_atoms, correlate, lattice, take_best
from .dictionaries import Dictionary
from .inner_products import build_tables
from .reprojection import cycle, solve_along
from .settings import Variant
from .waveforms import Waveforms

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Rows = tuple[Integers, NDArray[np.complex128], Floats]  # atoms `[N, 3]`, amplitudes `[N, channels]`, energies `[N]`

STATE_BYTES = 320 << 20  # of a stretch's inner products, energies and trees
CHUNK = 2000  # atoms between two looks at the clock: some 0.1 s
GROWTH = 0.25  # by how much cyclic pursuit grows before it goes around
ROUNDS = 3  # times that it goes around in the end
WORTH = 1e-3  # of what is left: goes around again while it gains so much
CLOSE = 1e-4  # of the goal: 0.0004 dB
FAINT = 1e-14  # of the recording's energy: atoms that take less are rounding
FIRST_ROUND_S = 0.1  # seconds of what may be left that an atom of the first round takes; the last take about 0.02
FIRST_SHARE = 0.3  # of the mean energy for each atom of a budget, where there is no other goal
STEPS = (math.log(1.05), math.log(8.0))  # how far a round comes down, least and most


@dataclass(frozen=True)
class Limits:
    """When to stop: energy that may be left, atoms at most, and who says that it is enough (None: nobody).

    `on_progress` is told the atoms so far and the energy that is left, and returns False to end it.
    """

    goal: float
    atoms: int | None
    on_progress: Callable[[int, float], bool] | None = None


class Space(Protocol):
    """Atoms that a pursuit may choose from. An atom is a row of three numbers: block, frame and bin.

    Attributes:
        kind: of the numbers in which a sound is kept.
        pad: samples by which atoms reach over the ends of a sound, at most.
        grain: edges of stretches are multiples of so many samples.
    """

    kind: np.dtype[Any]
    pad: int
    grain: int

    def bytes_per_sample(self, channels: int) -> float:
        """Of the state of a stretch, for each sample of it."""

    def first_frames(self, first: int, end: int) -> Integers:
        """The frames, of each block, from which those of a stretch count."""

    def open(self, sound: NDArray[np.floating], first: int, end: int) -> Any:
        """The state of a stretch of padded sound."""

    def take(
        self, state: Any, variant: Variant, limits: tuple[float, float, float], rows: Rows, count: int
    ) -> tuple[int, float]:
        """Take atoms until the rows are full or a limit is reached; the first `count` rows are chosen already.

        `limits` are the energy that is left, that at which to stop, and that which an atom takes at least. Returns how
        many are chosen, and the energy that is left.
        """

    def cycle(self, state: Any, left: float, rows: Rows) -> float:
        """Put each atom back and choose again; returns the energy that is left."""

    def places(self, first_frames: Integers, atoms: Integers) -> Integers:
        """Of the references of atoms, in samples of the recording."""

    def add(
        self, sound: NDArray[np.floating], places: Integers, atoms: Integers, amplitudes: NDArray[Any], sign: float
    ) -> None:
        """Add atoms to a padded sound, or take them away."""


class Waves:
    """The space of a dictionary of windows on a lattice of times and frequencies.

    Args:
        dictionary: of atoms.
        threshold: of inner products, see `inner_products.build_tables`.
    """

    def __init__(self, dictionary: Dictionary, threshold: float) -> None:
        self.dictionary, self.tables = dictionary, build_tables(dictionary, threshold)
        self.kind: np.dtype[Any] = self.tables.real.dtype
        self.pad, self.grain = dictionary.longest, dictionary.longest_hop

    def bytes_per_sample(self, channels: int) -> float:
        """Of two numbers for each atom and channel, and its energy."""
        values = sum(block.bins / block.hop for block in self.dictionary.blocks)
        return values * (2 * channels + 1) * self.kind.itemsize

    def first_frames(self, first: int, end: int) -> Integers:
        """Of the lattice."""
        return lattice(self.dictionary, first, end)[0]

    def open(self, sound: NDArray[np.floating], first: int, end: int) -> Correlations:
        """All inner products."""
        return correlate(self.dictionary, self.tables, sound, self.pad, first, end)

    def take(
        self, state: Correlations, variant: Variant, limits: tuple[float, float, float], rows: Rows, count: int
    ) -> tuple[int, float]:
        """By `correlations.take_best`, or `reprojection.solve_along`."""
        if variant in ("orthogonal", "gradient"):
            end, left = solve_along(self.tables, state, *limits, *rows, count, variant == "orthogonal")
            return int(end), float(left)
        atoms, amplitudes, energies = (values[count:] for values in rows)
        found, left = take_best(self.tables, state, *limits, atoms, amplitudes, energies)
        return count + int(found), float(left)

    def cycle(self, state: Correlations, left: float, rows: Rows) -> float:
        """By `reprojection.cycle`."""
        return float(cycle(self.tables, state, left, *rows, len(rows[0])))

    def places(self, first_frames: Integers, atoms: Integers) -> Integers:
        """Frames lie whole hops apart."""
        return np.asarray((first_frames[atoms[:, 0]] + atoms[:, 1]) * self.tables.hop[atoms[:, 0]])

    def add(
        self, sound: NDArray[np.floating], places: Integers, atoms: Integers, amplitudes: NDArray[Any], sign: float
    ) -> None:
        """Sample by sample."""
        block, bins = np.ascontiguousarray(atoms[:, 0]), np.ascontiguousarray(atoms[:, 2])
        add_atoms(self.tables, sound, block, places + self.pad, bins, np.ascontiguousarray(amplitudes), sign)


@dataclass(frozen=True)
class Chosen:
    """N atoms of a dictionary.

    Attributes:
        block: index in the dictionary, `[N]`.
        place: of the reference, in samples of the recording, `[N]`.
        bin: of the frequency, or of the atom in its block, `[N]`.
        amplitude: complex, a of 2 Re(a g), and real of learned atoms, `[N, channels]`.
        complete: False where it was asked to end early.
    """

    block: NDArray[np.int64]
    place: NDArray[np.int64]
    bin: NDArray[np.int64]
    amplitude: NDArray[np.complex128]
    complete: bool = True


@dataclass
class _Stretch:
    """A part of the recording: atoms that belong to its samples (those that begin in them, or the middle of whose
    window lies there), and what was chosen of them."""

    first: int
    end: int
    channels: int
    first_frame: NDArray[np.int64]
    atoms: NDArray[np.int64] = field(init=False)
    amplitudes: NDArray[np.complex128] = field(init=False)
    energies: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.atoms = np.empty((0, 3), np.int64)
        self.amplitudes = np.empty((0, self.channels), np.complex128)
        self.energies = np.empty(0)

    def __len__(self) -> int:
        return len(self.atoms)

    @property
    def rows(self) -> Rows:
        """What was chosen, and with what amplitudes and energies."""
        return self.atoms, self.amplitudes, self.energies

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Keep only the atoms at `rows`."""
        self.atoms, self.amplitudes, self.energies = self.atoms[rows], self.amplitudes[rows], self.energies[rows]

    def room(self, count: int) -> None:
        """Make room for so many atoms more."""
        self.atoms = np.concatenate([self.atoms, np.zeros((count, 3), np.int64)])
        self.amplitudes = np.concatenate([self.amplitudes, np.zeros((count, self.channels), np.complex128)])
        self.energies = np.concatenate([self.energies, np.zeros(count)])

    def merge(self) -> None:
        """Make one atom of those that were taken more than once, where the first stands."""
        _, first, which = np.unique(self.atoms, axis=0, return_index=True, return_inverse=True)
        if len(first) == len(self):
            return
        target = first[which.reshape(-1)]
        again = target != np.arange(len(self))
        np.add.at(self.amplitudes, target[again], self.amplitudes[again])
        np.add.at(self.energies, target[again], self.energies[again])
        self.keep(~again)


def pursue(
    samples: NDArray[np.float32],
    rate: int,
    dictionary: Dictionary | LearnedDictionary,
    limits: Limits,
    variant: Variant,
    threshold: float,
) -> Chosen:
    """Decompose a recording.

    Args:
        samples: `[channels, samples]`; all channels share the atoms, each with its own amplitude.
        rate: in Hz.
        dictionary: of atoms.
        limits: when to stop.
        variant: of the pursuit.
        threshold: of inner products, see `inner_products.build_tables` and `waveforms.build_banks`; 0 works in double
            precision.
    """
    if isinstance(dictionary, LearnedDictionary):
        return _Pursuit(samples, rate, Waveforms(dictionary, threshold), limits, variant).run()
    return _Pursuit(samples, rate, Waves(dictionary, threshold), limits, variant).run()


class _Pursuit:
    def __init__(self, samples: NDArray[np.float32], rate: int, space: Space, limits: Limits, variant: Variant) -> None:
        self.space, self.limits, self.variant, self.rate = space, limits, variant, rate
        self.length, self.pad = samples.shape[1], space.pad  # atoms reach over the ends
        self.sound = np.pad(samples.astype(space.kind, copy=False), ((0, 0), (self.pad, self.pad)))
        self.whole = self.left = self._energy()
        self.stretches = list(self._cut(len(samples)))
        self.stopped = False

    def run(self) -> Chosen:
        """The atoms."""
        single = len(self.stretches) == 1
        least = self.whole * FAINT if single else self._first_least()
        while self.left > self.limits.goal * (1 + CLOSE) and self.whole > 0 and not self._full() and not self.stopped:
            before, sizes = self.left, [len(stretch) for stretch in self.stretches]
            for stretch in self.stretches:
                if not self.stopped:
                    self._visit(stretch, least, single)
            self.left = self._energy()
            if not single and not self.stopped:
                self._put_back(before, sizes)
            if least <= self.whole * FAINT and sizes == [len(stretch) for stretch in self.stretches]:
                break  # nothing is left that an atom could take
            least = least if single else max(self._next_least(least), self.whole * FAINT)
        return self._chosen()

    def _cut(self, channels: int) -> list[_Stretch]:
        """The stretches: as long as their state may be, in whole grains."""
        longest, step = int(STATE_BYTES / self.space.bytes_per_sample(channels)), self.space.grain
        size = max(longest // step, 4 * self.pad // step, 1) * step
        edges = [*range(0, max(1, self.length + 1 - size // 4), size), self.length + 1]  # no crumb at the end
        return [_Stretch(first, end, channels, self.space.first_frames(first, end)) for first, end in pairwise(edges)]

    def _energy(self) -> float:
        """Of what is left of the recording."""
        inside = self.sound[:, self.pad : self.pad + self.length]
        blocks = range(0, self.length, 1 << 20)
        return float(sum(np.square(inside[:, at : at + (1 << 20)], dtype=np.float64).sum() for at in blocks))

    def _full(self) -> bool:
        return self.limits.atoms is not None and sum(map(len, self.stretches)) >= self.limits.atoms

    def _visit(self, stretch: _Stretch, least: float, single: bool) -> None:
        """Take atoms of a stretch; of the only one as far as the limits say."""
        state = self.space.open(self.sound, stretch.first, stretch.end)
        old = len(stretch)
        before = (stretch.atoms.copy(), stretch.amplitudes.copy())
        goal = self.limits.goal if single else 0.0
        left = self.left
        while left > goal and not self.stopped:
            most = CHUNK if self.variant != "cyclic" else max(8, int(GROWTH * len(stretch)))
            if single and self.limits.atoms is not None:
                most = min(most, self.limits.atoms - len(stretch))
            wanted, left = self._take(state, stretch, most, left, goal, least)
            self._tell(left, single)
            if wanted:
                break
        if self.variant == "cyclic":
            left = self._go_around(state, stretch, left)
        self.left = left
        if old and self.variant != "plain":  # amplitudes of atoms chosen before have changed too
            self._add(stretch, *before, 1)
            self._add(stretch, stretch.atoms, stretch.amplitudes, -1)
        else:
            self._add(stretch, stretch.atoms[old:], stretch.amplitudes[old:], -1)
        stretch.merge()

    def _take(
        self, state: Any, stretch: _Stretch, most: int, left: float, goal: float, least: float
    ) -> tuple[bool, float]:
        """Take at most so many atoms; whether that is the end, and the energy that is left."""
        if most <= 0:
            return True, left
        count = len(stretch)
        stretch.room(most)
        end, left = self.space.take(state, self.variant, (left, goal, least), stretch.rows, count)
        stretch.keep(np.arange(count + most) < end)
        if self.variant == "cyclic":
            left = self.space.cycle(state, left, stretch.rows)
        return end < count + most, left

    def _go_around(self, state: Any, stretch: _Stretch, left: float) -> float:
        """Choose all atoms of a stretch again, a few times."""
        for _ in range(ROUNDS):
            before = left
            left = self.space.cycle(state, left, stretch.rows)
            if before - left < WORTH * left or self.stopped:
                break
        return left

    def _tell(self, left: float, single: bool) -> None:
        if self.limits.on_progress is not None and not self.limits.on_progress(sum(map(len, self.stretches)), left):
            self.stopped = True

    def _add(
        self, stretch: _Stretch, atoms: NDArray[np.int64], amplitudes: NDArray[np.complex128], sign: float
    ) -> None:
        """Add atoms of a stretch to the sound, or take them away."""
        self.space.add(self.sound, self.space.places(stretch.first_frame, atoms), atoms, amplitudes, sign)

    # Rounds of several stretches

    def _first_least(self) -> float:
        """What an atom of the first round takes at least: more than those of the last will."""
        starts = [self.whole / 10]
        if self.limits.goal > 0:
            starts.append(FIRST_ROUND_S * self.limits.goal / (self.length / self.rate))
        if self.limits.atoms is not None:
            starts.append(FIRST_SHARE * self.whole / self.limits.atoms)
        return max(starts[1:], default=starts[0])

    def _next_least(self, least: float) -> float:
        """What an atom of the next round takes at least: by how the last factor of two of it paid, straight in logs."""
        energies = np.concatenate([stretch.energies for stretch in self.stretches])
        last = energies < 2 * least
        drops = []
        if self.limits.goal > 0:
            slope = math.log1p(float(energies[last].sum()) / max(self.left, 1e-300)) / math.log(2)
            drops.append(math.log(max(self.left / self.limits.goal, 1.0)) / max(slope, 1e-6))
        if self.limits.atoms is not None and len(energies):
            slope = math.log(len(energies) / max(1, len(energies) - int(last.sum()))) / math.log(2)
            drops.append(math.log(max(self.limits.atoms / len(energies), 1.0)) / max(slope, 1e-6))
        return least * math.exp(-min(max(min(drops, default=STEPS[1]), STEPS[0]), STEPS[1]))

    def _put_back(self, before: float, sizes: list[int]) -> None:
        """Put back the least atoms of a round, if it took more than it should.

        Args:
            before: energy that was left when it began.
            sizes: atoms of each stretch then.
        """
        new = np.concatenate([stretch.energies[size:] for stretch, size in zip(self.stretches, sizes, strict=True)])
        order = np.argsort(-new, kind="stable")
        enough = len(new)
        if self.left < self.limits.goal:
            # What atoms of the round are worth together is less than the sum, as they overlap.
            share = (before - self.left) / max(float(new.sum()), 1e-300)
            enough = 1 + int(np.searchsorted(np.cumsum(new[order]) * share, before - self.limits.goal))
        if self.limits.atoms is not None:
            enough = min(enough, self.limits.atoms - sum(sizes))
        if enough >= len(new):
            return
        kept = np.zeros(len(new), np.bool_)
        kept[order[:enough]] = True
        at = 0
        for stretch, size in zip(self.stretches, sizes, strict=True):
            rows = np.concatenate([np.ones(size, np.bool_), kept[at : at + len(stretch) - size]])
            at += len(stretch) - size
            self._add(stretch, stretch.atoms[~rows], stretch.amplitudes[~rows], 1)
            stretch.keep(rows)
        self.left = self._energy()

    def _chosen(self) -> Chosen:
        """All atoms."""
        blocks, places, bins, amplitudes = [], [], [], []
        for stretch in self.stretches:
            blocks.append(stretch.atoms[:, 0])
            places.append(self.space.places(stretch.first_frame, stretch.atoms))
            bins.append(stretch.atoms[:, 2])
            amplitudes.append(stretch.amplitudes)
        block, place, bins_ = (np.concatenate(parts) for parts in (blocks, places, bins))
        return Chosen(block, place, bins_, np.concatenate(amplitudes), not self.stopped)
