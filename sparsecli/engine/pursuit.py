"""The fitting loop: search, newcomers, sweeps, pruning, until a stopping rule holds; then a polish.

An alternating descent conditional gradient method (Boyd, Schiebinger and Recht 2015) with damped modes as its atoms
(Goodwin and Vetterli 1999), several of them under one onset, attack and decay. There is one residual for the whole
file. A file is worked on in stretches of about 1.5 s; an atom belongs to the stretch in which it starts and sees a
window of that stretch and the next, and what rings beyond is carried over into the residual. Every other stretch is
worked at once, since their windows do not touch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from ..core.columns import ATOM_COLUMNS, MODES_PER_ATOM, NUMBERS_OF_MODE, NUMBERS_OF_STRIKE, STRETCH_S
from ..dsp.parallel import side_by_side
from .amplitudes import TAIL_NEPERS, solve_all
from .modal import BLOCK, Atoms, Basis, join, no_atoms, stack, touching
from .refine import Refined, Windows, bounds_for, cut, mode_gains, refine, restraint_of, solve_amplitudes
from .search import Candidate, pick, search, search_partials, sharpen, to_atoms
from .settings import FitSettings

LOWEST_HZ = 20.0
MARGIN = 8  # blocks by which an onset may leave its stretch
FAINT = 1e-12  # of the recording's energy: what lies 120 dB down is rounding, not sound
NEWCOMER_RIDGE, SWEEP_DAMPING = 1e-3, 1e-3
ROUNDS, MOST_ROUNDS = 16, 64  # so that few atoms are chosen with care, and many in time
MIN_SAMPLES = 64  # a shorter recording has no room for a mode
CHUNK_ATOMS = 16  # worked in one batch: few atoms of many stretches, or many of one
TOGETHER = 128  # atoms of a stretch that are stepped jointly, at most: the cost of a step grows with their cube
NEAR = 0.05  # overlap with a newcomer from which an atom is refined with it
LAST_STEPS = 4  # of conjugate gradients over all amplitudes at the end
RIVALRY = 0.5  # newcomers still to come explain less than those of this round
RELOCATED = 0.25  # share of the atoms that a relocation drops


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
    """

    residual: Tensor
    atoms: list[Atoms]
    candidates: list[list[Candidate] | None]
    damping: list[float]

    def copy(self) -> State:
        """A state that later rounds leave as it is."""
        return State(self.residual.clone(), list(self.atoms), list(self.candidates), list(self.damping))

    @property
    def count(self) -> int:
        """Atoms in all."""
        return sum(int(atoms.present.sum()) for atoms in self.atoms)

    @property
    def numbers(self) -> int:
        """Numbers in use."""
        return sum(count_numbers(atoms) for atoms in self.atoms)


@dataclass(frozen=True)
class Change:
    """What a stretch's atoms are to become: `still` ones stay as they are, `new` ones replace the `old`."""

    index: int
    still: Atoms
    old: Atoms
    new: Atoms


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


Watch = Callable[[int, float], bool]
Keep = Callable[[int, State], None]


def pursue(
    target: Tensor,
    rate: int,
    settings: FitSettings,
    spend: int,
    watch: Watch,
    keep: Keep = lambda phase, state: None,
    start: tuple[int, State] | None = None,
) -> Atoms:
    """Atoms for a recording.

    Args:
        target: float64 `[samples]`.
        rate: in Hz.
        settings: the stopping rules among them.
        spend: how many numbers may be used at most.
        watch: told the number of atoms and the SNR in dB so far; what it returns says whether to go on.
        keep: given the phase and the state after each round, from which a later call may go on to the same result.
        start: such a phase and state.

    Returns:
        Atoms `[1, A]` with onsets in samples, in no particular order.
    """
    samples = len(target)
    energy = float(target.square().sum())
    stretches = make_stretches(samples, rate)
    problem = Problem(samples, rate, energy, stretches, settings, target.device)
    blocks = -(-samples // BLOCK)
    state = State(
        torch.nn.functional.pad(target, (0, blocks * BLOCK - samples)).view(blocks, BLOCK),
        [no_atoms(device=target.device) for _ in stretches],
        [None for _ in stretches],
        [SWEEP_DAMPING for _ in stretches],
    )
    if samples < MIN_SAMPLES or energy == 0:
        return no_atoms(device=target.device)
    most, effort = most_atoms(settings, samples / rate), settings.effort
    phase = 0
    if start is not None:
        phase, state = start
    while phase <= effort.polish_rounds + effort.relocations:
        if phase == 0:
            going = _grow(problem, state, most, spend, watch, keep)
            _prune(problem, state)
        elif phase <= effort.polish_rounds:
            going = _sweep_all(problem, state, effort.polish_steps, watch)
        else:
            going, state = _relocate(problem, state, most, spend, watch)
        if not going:
            break
        phase += 1
        keep(phase, state)
    return solve_all(join(state.atoms), state.residual, samples, restraint_of(state.residual, energy), LAST_STEPS)[0]


def _relocate(problem: Problem, state: State, most: int, spend: int, watch: Watch) -> tuple[bool, State]:
    """Drop the weakest atoms and find as many new ones; the better of both states, and whether to go on."""
    before = state.copy()
    _drop_weakest(problem, state, RELOCATED)
    going = _grow(problem, state, most, spend, watch)
    going = going and _sweep_all(problem, state, problem.settings.effort.polish_steps, watch)
    better = reached(problem, state)[1] > reached(problem, before)[1]
    return going, state if better else before


def most_atoms(settings: FitSettings, duration_s: float) -> int:
    """How many atoms the density allows for the whole recording; at least one."""
    return max(1, round(settings.density * duration_s / STRETCH_S))


def count_numbers(atoms: Atoms) -> int:
    """Numbers in use."""
    return NUMBERS_OF_STRIKE * int(atoms.present.sum()) + NUMBERS_OF_MODE * int(atoms.used.sum())


def apart(stretches: list[Stretch]) -> list[list[int]]:
    """Indices of stretches in groups of which no two windows touch: every other one, or fewer where they are short."""
    step = 1
    while any(one.high > other.low for one, other in zip(stretches, stretches[step:], strict=False)):
        step += 1
    return [list(range(first, len(stretches), step)) for first in range(min(step, len(stretches)))]


def _chunks(indices: list[int], atoms: list[Atoms]) -> list[list[int]]:
    """Places in `indices` that are worked in one batch: about `CHUNK_ATOMS` atoms."""
    most = max(own.onset.shape[1] for own in atoms)
    size = max(1, CHUNK_ATOMS // max(most, 1))
    return [list(range(begin, min(begin + size, len(indices)))) for begin in range(0, len(indices), size)]


def reached(problem: Problem, state: State) -> tuple[int, float]:
    """Atoms so far, and the SNR in dB."""
    left = float(state.residual.square().sum())
    return state.count, 10 * math.log10(problem.energy / max(left, 1e-20 * problem.energy))


def _is_good_enough(problem: Problem, state: State) -> bool:
    goal = problem.settings.snr_db
    return goal is not None and reached(problem, state)[1] >= goal


def _price(problem: Problem, stretch: Stretch, residual: Tensor) -> float:
    """Energy that a number must explain to be worth having (Schwarz 1978).

    n / 2 ln(residual energy) must fall by more than ln(n) / 2 for each number, times `settings.price`.
    """
    n = problem.window_samples(stretch)
    return problem.settings.price * float(residual.square().sum()) * math.log(n) / n


def _grow(
    problem: Problem, state: State, most: int, spend: int, watch: Watch, keep: Keep = lambda phase, state: None
) -> bool:
    """Rounds of newcomers until a stopping rule holds; False if it was `watch` that ended them."""
    while newcomers := _newcomers(problem, state, most, spend):
        for group in apart(problem.stretches):
            if busy := [index for index in group if newcomers[index]]:
                _advance(problem, state, busy, [newcomers[index] for index in busy])
                if not watch(*reached(problem, state)):
                    return False
        keep(0, state)
        if _is_good_enough(problem, state):
            break
    return True


def _newcomers(problem: Problem, state: State, most: int, spend: int) -> list[list[Candidate]]:
    """The best candidates of the whole file for this round, by stretch; an empty list where nothing is left to add."""
    settings = problem.settings
    expected = settings.atoms or (settings.budget or 0) // len(ATOM_COLUMNS) or settings.density
    batch = max(1, min(settings.effort.newcomers, expected // ROUNDS), expected // MOST_ROUNDS)
    stale = [index for index, found in enumerate(state.candidates) if found is None]

    def look(index: int) -> list[Candidate]:
        stretch = problem.stretches[index]
        window, offset = state.residual[stretch.low : stretch.high], stretch.low * BLOCK
        begin, end = stretch.begin * BLOCK - offset, min(stretch.end * BLOCK, problem.samples - 16) - offset
        price = _price(problem, stretch, window) * (NUMBERS_OF_STRIKE + NUMBERS_OF_MODE)
        residual = window.flatten().float()
        everything = search(residual, begin, end, problem.low, problem.high)
        found = pick(everything, batch, max(price, FAINT * problem.energy))
        return [sharpen(residual, candidate, end) for candidate in found]

    for index, found in zip(stale, side_by_side(look, stale), strict=True):
        state.candidates[index] = found
    offers = [(found.gain, index, found) for index, all_ in enumerate(state.candidates) for found in all_ or []]
    offers.sort(key=lambda offer: (-offer[0], offer[1]))
    largest = NUMBERS_OF_STRIKE + MODES_PER_ATOM * NUMBERS_OF_MODE
    room = min(most - state.count, (spend - state.numbers) // largest, batch * len(problem.stretches))
    accepted = offers[: max(room, 0)]
    if not accepted:
        return []
    chosen: list[list[Candidate]] = [[] for _ in problem.stretches]
    for _, index, candidate in accepted:
        chosen[index].append(candidate)
    return chosen


def _advance(problem: Problem, state: State, indices: list[int], candidates: list[list[Candidate]]) -> None:
    """Let newcomers into stretches whose windows do not touch, and refine them with the atoms around them."""

    restraint = restraint_of(state.residual, problem.energy)

    def struck(place: int) -> Atoms:
        index = indices[place]
        new = _strike(problem, state, restraint, [index], [candidates[place]])
        return new.packed().shift(problem.stretches[index].low * BLOCK)

    new = side_by_side(struck, range(len(indices)))
    changes = [_around(problem, state, index, own) for index, own in zip(indices, new, strict=True)]
    _sweep(problem, state, changes, problem.settings.effort.sweep_steps)


def _around(problem: Problem, state: State, index: int, new: Atoms) -> Change:
    """Newcomers of a stretch and the atoms that overlap with them, to be refined together."""
    stretch, own = problem.stretches[index], state.atoms[index]
    low = stretch.low * BLOCK
    near = touching(own.shift(-low), new.shift(-low), _samples(problem, stretch), NEAR)[0].any(1)
    if int(near.sum()) > TOGETHER:
        distance = (own.onset[0, :, None] - new.onset[0]).abs().amin(1)
        near &= distance <= distance[near].kthvalue(TOGETHER).values
    old = own.columns(near)
    return Change(index, own.columns(~near), old, join([old, new]))


def _strike(
    problem: Problem, state: State, restraint: float, indices: list[int], candidates: list[list[Candidate]]
) -> Atoms:
    """Newcomers in the residual of their stretches, `[G, n]`: their modes are found one by one, amplitudes solved."""
    residual = _residual(problem, state, indices)
    windows = _windows(problem, restraint, indices, residual)
    new = stack([to_atoms(wanted, problem.device) for wanted in candidates])
    new = solve_amplitudes(new, windows, NEWCOMER_RIDGE)
    for slot in range(1, MODES_PER_ATOM):
        left = windows.left_by(Basis(new, residual.shape[1])).flatten(1)
        for place, (index, wanted) in enumerate(zip(indices, candidates, strict=True)):
            price = _price(problem, problem.stretches[index], left[place])
            omega, gain = search_partials(left[place].float(), wanted, problem.low, problem.high)
            new.omega[place, : len(wanted), slot] = omega
            least = max(NUMBERS_OF_MODE * price, FAINT * problem.energy, _rivals_gain(problem, wanted))
            new.used[place, : len(wanted), slot] = gain > least
        new = solve_amplitudes(new, windows, NEWCOMER_RIDGE)
    return new


def _rivals_gain(problem: Problem, wanted: list[Candidate]) -> float:
    """Energy that a further mode must explain so that its numbers are not better spent on another atom.

    Where numbers are counted, a share of what the weakest newcomer explains for each of its own.
    """
    if problem.settings.budget is None or problem.settings.atoms is not None or not wanted:
        return 0.0
    return RIVALRY * NUMBERS_OF_MODE / (NUMBERS_OF_STRIKE + NUMBERS_OF_MODE) * min(rival.gain for rival in wanted)


def _sweep_all(problem: Problem, state: State, steps: int, watch: Watch) -> bool:
    """Refine all atoms; False if `watch` ended it."""
    for changes in _turns(problem, state):
        _sweep(problem, state, changes, steps)
        if not watch(*reached(problem, state)):
            return False
    return True


def _turns(problem: Problem, state: State) -> Iterator[list[Change]]:
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


def _residual(problem: Problem, state: State, indices: list[int]) -> Tensor:
    """The residual in the windows of stretches, padded to the longest, `[G, B, N]`."""
    stretches = [problem.stretches[index] for index in indices]
    blocks = max(stretch.high - stretch.low for stretch in stretches)
    parts = [state.residual[stretch.low : stretch.high] for stretch in stretches]
    return torch.stack([torch.nn.functional.pad(part, (0, 0, 0, blocks - len(part))) for part in parts])


def _samples(problem: Problem, stretch: Stretch) -> Tensor:
    """Samples of the recording in the window of a stretch, `[1]`."""
    return torch.tensor([problem.window_samples(stretch)], device=problem.device)


def _windows(problem: Problem, restraint: float, indices: list[int], target: Tensor) -> Windows:
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


def _sweep(problem: Problem, state: State, changes: list[Change], steps: int) -> None:
    """Refine new atoms of stretches whose windows do not touch; they replace the old where the energy falls."""
    restraint = restraint_of(state.residual, problem.energy)

    def refined(chunk: list[int]) -> tuple[Tensor, Refined]:
        places = [changes[place].index for place in chunk]
        offsets = [problem.stretches[index].low * BLOCK for index in places]
        held = _residual(problem, state, places)
        old = stack([changes[place].old.shift(-offset) for place, offset in zip(chunk, offsets, strict=True)])
        new = stack([changes[place].new.shift(-offset) for place, offset in zip(chunk, offsets, strict=True)])
        damping = torch.tensor([state.damping[index] for index in places], device=problem.device, dtype=torch.float64)
        windows = _windows(problem, restraint, places, held + Basis(old, held.shape[1]).render())
        return held, refine(new, windows, steps, damping)

    chunks = _chunks([change.index for change in changes], [change.new for change in changes])
    for chunk, (held, result) in zip(chunks, side_by_side(refined, chunks), strict=True):
        for row, place in enumerate(chunk):
            change, stretch = changes[place], problem.stretches[changes[place].index]
            length = stretch.high - stretch.low
            left, before = result.residual[row, :length], held[row, :length]
            if float(left.square().sum()) > float(before.square().sum()):
                state.candidates[change.index] = []  # nothing to be gained from these
                continue
            after = result.atoms.windows(slice(row, row + 1)).packed()
            _accept(problem, state, replace(change, new=after.shift(stretch.low * BLOCK)), left - before)
            state.damping[change.index] = min(max(float(result.damping[row]), SWEEP_DAMPING / 10), 1.0)


def _accept(problem: Problem, state: State, change: Change, difference: Tensor) -> None:
    """Put a stretch's atoms in place and add the `difference` that they make to the residual in its window.

    Tails beyond the window are exchanged too, and may reach into one that was worked beside it: hence a difference.
    """
    stretch = problem.stretches[change.index]
    state.residual[stretch.low : stretch.high] += difference
    for atoms, sign in ((change.old, 1.0), (change.new, -1.0)):
        tail = _tail(atoms, stretch.high, len(state.residual))
        state.residual[stretch.high : stretch.high + len(tail)] += sign * tail
    if stretch.high < len(state.residual):
        state.residual.flatten()[problem.samples :] = 0.0
    state.atoms[change.index] = join([change.still, change.new])
    for other, neighbour in enumerate(problem.stretches):
        if neighbour.low < stretch.high and stretch.low < neighbour.high:
            state.candidates[other] = None


def _tail(atoms: Atoms, begin: int, end: int) -> Tensor:
    """Sound in the blocks from `begin` to `end`, or as long as it lasts, float64 `[B, N]`."""
    lasting = (begin * BLOCK - atoms.onset) * atoms.log_damping.exp() < TAIL_NEPERS
    ringing = atoms.without(~lasting[..., None] & atoms.used).packed()
    if not ringing.onset.numel() or begin >= end:
        return torch.zeros(0, BLOCK, dtype=torch.float64, device=atoms.onset.device)
    last = float((ringing.onset + TAIL_NEPERS * torch.exp(-ringing.log_damping)).max())
    blocks = min(end - begin, max(1, math.ceil(last / BLOCK) - begin))
    return Basis(ringing.shift(-begin * BLOCK), blocks).render()[0]


def _prune(problem: Problem, state: State) -> None:
    """Drop modes that explain less than their price, and atoms without modes; solve the other amplitudes again."""

    def pruned(restraint: float, change: Change) -> Solved | None:
        stretch = problem.stretches[change.index]
        price = NUMBERS_OF_MODE * _price(problem, stretch, state.residual[stretch.low : stretch.high])
        least = max(price, FAINT * problem.energy)
        dropped = change.old.used & (_gains(problem, change) < least)
        if not bool(dropped.any()):
            return None
        solved = _without(problem, state, restraint, change, dropped)
        bearable = 2 * int(dropped.sum()) * least  # modes that nearly cancel each other cannot be judged one by one
        return solved if solved.growth <= bearable else None

    _solve_again(problem, state, pruned)


def _drop_weakest(problem: Problem, state: State, share: float) -> None:
    """Drop the atoms that explain least for their numbers, a share of all of them; solve the other amplitudes again."""

    def worths(change: Change) -> Tensor:
        return _gains(problem, change)[0].sum(-1) / (NUMBERS_OF_STRIKE + NUMBERS_OF_MODE * change.old.used[0].sum(-1))

    every = [worth for changes in _turns(problem, state) for worth in side_by_side(worths, changes)]
    limit = torch.cat(every).quantile(share) if every else 0.0

    def lightened(restraint: float, change: Change) -> Solved | None:
        dropped = change.old.used & (worths(change) < limit)[None, :, None]
        return _without(problem, state, restraint, change, dropped) if bool(dropped.any()) else None

    _solve_again(problem, state, lightened)


@dataclass(frozen=True)
class Solved:
    """What atoms become, and the difference `[B, N]` to the residual of their window, with its growth in energy."""

    change: Change
    difference: Tensor
    growth: float


def _gains(problem: Problem, change: Change) -> Tensor:
    """Energy that each mode of the old atoms of a stretch explains, `[1, A, M]`."""
    stretch = problem.stretches[change.index]
    return mode_gains(change.old.shift(-stretch.low * BLOCK), _samples(problem, stretch))


def _without(problem: Problem, state: State, restraint: float, change: Change, dropped: Tensor) -> Solved:
    """The old atoms of a stretch without the modes at `dropped` `[1, A, M]`, their other amplitudes solved again."""
    low, held = problem.stretches[change.index].low * BLOCK, _residual(problem, state, [change.index])
    local = change.old.shift(-low)
    windows = _windows(problem, restraint, [change.index], held + Basis(local, held.shape[1]).render())
    atoms = solve_amplitudes(local.without(dropped).packed(), windows)
    left = windows.left_by(Basis(atoms, held.shape[1]))
    growth = float(left.square().sum() - held.square().sum())
    return Solved(replace(change, new=atoms.shift(low)), (left - held)[0], growth)


def _solve_again(problem: Problem, state: State, solve: Callable[[float, Change], Solved | None]) -> None:
    """Put in place what `solve` makes of all atoms under a restraint, where it makes anything."""
    for changes in _turns(problem, state):
        restraint = restraint_of(state.residual, problem.energy)
        for solved in side_by_side(partial(solve, restraint), changes):
            if solved is not None:
                _accept(problem, state, solved.change, solved.difference)
