"""The fitting loop: search, newcomers, sweeps, pruning, until a stopping rule holds; then a polish.

An alternating descent conditional gradient method (Boyd, Schiebinger and Recht 2015) with damped modes as its atoms
(Goodwin and Vetterli 1999) and a variable number of them under one onset. There is one residual for the whole file.
A file is worked on in stretches of about 1.5 s; an atom belongs to the stretch in which it starts and sees a window of
that stretch and the next, and what rings beyond is carried over into the residual.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..core.columns import MODES_PER_ATOM, NUMBERS_OF_MODE, NUMBERS_OF_STRIKE, STRETCH_S
from .modal import BLOCK, Atoms, Basis, join, no_atoms
from .refine import Bounds, Refined, bounds_for, cut, mode_gains, refine, solve_amplitudes
from .search import Candidate, pick, search, search_partials, to_atoms
from .settings import FitSettings

LOWEST_HZ = 20.0
MARGIN = 8  # blocks by which an onset may leave its stretch
FAINT = 1e-12  # of the recording's energy: what lies 120 dB down is rounding, not sound
NEWCOMER_DAMPING, SWEEP_DAMPING = 1e-2, 1e-3
TAIL_NEPERS = 11.5  # a tail is carried on until it is 100 dB down
ROUNDS = 16  # at least, so that few atoms are chosen with care
MIN_SAMPLES = 64  # a shorter recording has no room for a mode


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
        atoms: by stretch, with onsets in samples from the start of the recording.
        candidates: by stretch, or None where the residual changed since they were found.
        damping: by stretch, of the last sweep.
    """

    residual: Tensor
    atoms: list[Atoms]
    candidates: list[list[Candidate] | None]
    damping: list[float]


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

    def bounds(self, stretch: Stretch) -> Bounds:
        """Bounds of the parameters, relative to the stretch's window."""
        begin = (stretch.begin - MARGIN) * BLOCK if stretch.begin else 0
        end = min((stretch.end + MARGIN) * BLOCK, self.samples - 16)
        offset = stretch.low * BLOCK
        return bounds_for(self.rate, begin - offset, end - offset, self.low, self.high)

    def window_samples(self, stretch: Stretch) -> int:
        """Samples of the recording in the window."""
        return min(stretch.high * BLOCK, self.samples) - stretch.low * BLOCK


def make_stretches(samples: int, rate: int) -> list[Stretch]:
    """Stretches of about 1.486 s that cover a recording."""
    blocks = -(-samples // BLOCK)
    length = STRETCH_S * rate / BLOCK
    count = max(1, round(blocks / length))
    edges = [round(index * blocks / count) for index in range(count + 1)]
    return [
        Stretch(begin, end, max(0, begin - 2 * MARGIN), min(blocks, end + math.ceil(length)))
        for begin, end in itertools.pairwise(edges)
    ]


def pursue(target: Tensor, rate: int, settings: FitSettings, spend: int, watch: Callable[[int, float], bool]) -> Atoms:
    """Atoms for a recording.

    Args:
        target: float64 `[samples]`.
        rate: in Hz.
        settings: the stopping rules among them.
        spend: how many numbers may be used at most.
        watch: told the number of atoms and the SNR in dB so far; what it returns says whether to go on.

    Returns:
        Atoms with onsets in samples, in no particular order.
    """
    samples = len(target)
    energy = float(target.square().sum())
    stretches = make_stretches(samples, rate)
    problem = Problem(samples, rate, energy, stretches, settings, target.device)
    blocks = -(-samples // BLOCK)
    state = State(
        torch.nn.functional.pad(target, (0, blocks * BLOCK - samples)).view(blocks, BLOCK),
        [no_atoms(target.device) for _ in stretches],
        [None for _ in stretches],
        [SWEEP_DAMPING for _ in stretches],
    )
    if samples < MIN_SAMPLES or energy == 0:
        return no_atoms(target.device)
    most = most_atoms(settings, samples / rate)
    going = True
    while going and (newcomers := _newcomers(problem, state, most, spend)):
        for index in _even_then_odd(len(stretches)):
            if newcomers[index] and going:
                _advance(problem, state, index, newcomers[index])
                going = watch(*_reached(problem, state))
        going = going and not _is_good_enough(problem, state)
    for index in range(len(stretches)):
        _prune(problem, state, index)
    for _ in range(settings.polish_rounds if going else 0):
        for index in _even_then_odd(len(stretches)):
            _sweep(problem, state, index, settings.polish_steps)
            if not watch(*_reached(problem, state)):
                break
    return join(state.atoms)


def most_atoms(settings: FitSettings, duration_s: float) -> int:
    """How many atoms the density allows for the whole recording; at least one."""
    return max(1, round(settings.atoms * duration_s / STRETCH_S))


def count_numbers(atoms: Atoms) -> int:
    """Numbers in use."""
    return NUMBERS_OF_STRIKE * len(atoms) + NUMBERS_OF_MODE * len(atoms.owner)


def _even_then_odd(count: int) -> list[int]:
    return [*range(0, count, 2), *range(1, count, 2)]


def _reached(problem: Problem, state: State) -> tuple[int, float]:
    left = float(state.residual.square().sum())
    snr_db = 10 * math.log10(problem.energy / max(left, 1e-20 * problem.energy))
    return sum(len(atoms) for atoms in state.atoms), snr_db


def _is_good_enough(problem: Problem, state: State) -> bool:
    goal = problem.settings.snr_db
    return goal is not None and _reached(problem, state)[1] >= goal


def _price(problem: Problem, stretch: Stretch, residual: Tensor) -> float:
    """Energy that a number must explain to be worth having (Schwarz 1978).

    n / 2 ln(residual energy) must fall by more than ln(n) / 2 for each number, times `settings.price`.
    """
    n = problem.window_samples(stretch)
    return problem.settings.price * float(residual.square().sum()) * math.log(n) / n


def _newcomers(problem: Problem, state: State, most: int, spend: int) -> list[list[Candidate]]:
    """The best candidates of the whole file for this round, by stretch; an empty list where nothing is left to add."""
    settings = problem.settings
    batch = max(1, min(settings.newcomers, settings.atoms // ROUNDS))
    offers: list[tuple[float, int, Candidate]] = []
    for index, stretch in enumerate(problem.stretches):
        window = state.residual[stretch.low : stretch.high]
        offset = stretch.low * BLOCK
        found = state.candidates[index]
        if found is None:
            begin, end = stretch.begin * BLOCK - offset, min(stretch.end * BLOCK, problem.samples - 16) - offset
            least = max(
                _price(problem, stretch, window) * (NUMBERS_OF_STRIKE + NUMBERS_OF_MODE), FAINT * problem.energy
            )
            everything = search(window.flatten().float(), begin, end, problem.low, problem.high)
            found = pick(everything, batch, least)
            state.candidates[index] = found
        offers += [(candidate.gain, index, candidate) for candidate in found]
    offers.sort(key=lambda offer: (-offer[0], offer[1]))
    present = sum(len(atoms) for atoms in state.atoms)
    numbers = sum(count_numbers(atoms) for atoms in state.atoms)
    largest = NUMBERS_OF_STRIKE + MODES_PER_ATOM * NUMBERS_OF_MODE
    room = min(most - present, (spend - numbers) // largest, batch * len(problem.stretches))
    accepted = offers[: max(room, 0)]
    if not accepted:
        return []
    chosen: list[list[Candidate]] = [[] for _ in problem.stretches]
    for _, index, candidate in accepted:
        chosen[index].append(candidate)
    return chosen


def _advance(problem: Problem, state: State, index: int, candidates: list[Candidate]) -> None:
    """Let newcomers grow in the residual of their stretch, then sweep over all its atoms."""
    stretch = problem.stretches[index]
    window = state.residual[stretch.low : stretch.high]
    new = _grow(problem, stretch, to_atoms(candidates, problem.device), window)
    state.atoms[index], old = join([state.atoms[index], new.shift(stretch.low * BLOCK)]), state.atoms[index]
    _sweep(problem, state, index, problem.settings.sweep_steps, explained_by=old)


def _grow(problem: Problem, stretch: Stretch, new: Atoms, window: Tensor) -> Atoms:
    """Newcomers refined by themselves, then given their further modes one by one."""
    samples, bounds, settings = problem.window_samples(stretch), problem.bounds(stretch), problem.settings
    new = solve_amplitudes(new, window, samples)
    refined = refine(new, window, samples, bounds, settings.newcomer_steps, NEWCOMER_DAMPING)
    for _ in range(MODES_PER_ATOM - 1):
        least = NUMBERS_OF_MODE * _price(problem, stretch, refined.residual)
        gain, partial = search_partials(refined.atoms, refined.residual.flatten().float(), problem.low, problem.high)
        kept = gain > max(least, FAINT * problem.energy)
        if not bool(kept.any()):
            break
        grown = join_modes(refined.atoms, partial.take_modes(kept))
        grown = solve_amplitudes(grown, window, samples)
        refined = refine(grown, window, samples, bounds, settings.partial_steps, NEWCOMER_DAMPING)
    return refined.atoms


def join_modes(atoms: Atoms, more: Atoms) -> Atoms:
    """The same atoms with the modes of `more` added to their own."""
    columns = ("owner", "log_damping", "omega", "amp")
    return Atoms(
        atoms.onset, atoms.log_attack, *(torch.cat([getattr(atoms, name), getattr(more, name)]) for name in columns)
    )


def _sweep(problem: Problem, state: State, index: int, steps: int, explained_by: Atoms | None = None) -> None:
    """Refine all atoms of a stretch together; `explained_by` are those whose sound the residual already lacks."""
    stretch = problem.stretches[index]
    offset = stretch.low * BLOCK
    before = (state.atoms[index] if explained_by is None else explained_by).shift(-offset)
    window = state.residual[stretch.low : stretch.high]
    target = window + Basis(before, len(window)).render() if len(before) else window
    samples = problem.window_samples(stretch)
    refined = refine(
        state.atoms[index].shift(-offset), target, samples, problem.bounds(stretch), steps, state.damping[index]
    )
    _accept(problem, state, index, before, refined)


def _accept(problem: Problem, state: State, index: int, before: Atoms, refined: Refined) -> None:
    """Put refined atoms and what they leave in place; tails beyond the window are exchanged too."""
    stretch = problem.stretches[index]
    length = stretch.high - stretch.low
    state.residual[stretch.low : stretch.high] = refined.residual
    for atoms, sign in ((before, 1.0), (refined.atoms, -1.0)):
        tail = _tail(atoms, length, state.residual.shape[0] - stretch.high)
        state.residual[stretch.high : stretch.high + len(tail)] += sign * tail
    if stretch.high < len(state.residual):
        state.residual[-1:] = cut(state.residual[-1:], problem.samples - (len(state.residual) - 1) * BLOCK)
    state.atoms[index] = refined.atoms.shift(stretch.low * BLOCK)
    state.damping[index] = min(max(refined.damping, SWEEP_DAMPING / 10), 1.0)
    for other, neighbour in enumerate(problem.stretches):
        if neighbour.low < stretch.high and stretch.low < neighbour.high:
            state.candidates[other] = None


def _tail(atoms: Atoms, window_blocks: int, room: int) -> Tensor:
    """Sound after a window of `window_blocks` blocks, at most `room` blocks of it, float64 `[B, N]`."""
    lasting = (window_blocks * BLOCK - atoms.onset[atoms.owner]) * atoms.log_damping.exp() < TAIL_NEPERS
    ringing = atoms.take_modes(lasting)
    if not len(ringing.owner) or room <= 0:
        return torch.zeros(0, BLOCK, dtype=torch.float64, device=atoms.onset.device)
    end = float((ringing.onset[ringing.owner] + TAIL_NEPERS * torch.exp(-ringing.log_damping)).max())
    blocks = min(room, max(0, math.ceil(end / BLOCK) - window_blocks))
    return Basis(ringing.shift(-window_blocks * BLOCK), blocks).render()


def _prune(problem: Problem, state: State, index: int) -> None:
    """Drop modes that explain less than their price, and atoms without modes; solve the other amplitudes again."""
    stretch, atoms = problem.stretches[index], state.atoms[index]
    if not len(atoms.owner):
        return
    window = state.residual[stretch.low : stretch.high]
    offset, samples = stretch.low * BLOCK, problem.window_samples(stretch)
    local = atoms.shift(-offset)
    least = max(NUMBERS_OF_MODE * _price(problem, stretch, window), FAINT * problem.energy)
    kept = mode_gains(local, samples) >= least
    if bool(kept.all()):
        return
    target = window + Basis(local, len(window)).render()
    left = local.take_modes(kept)
    left = left.take(torch.unique(left.owner))
    left = solve_amplitudes(left, target, samples)
    residual = cut(target - Basis(left, len(window)).render(), samples)
    dropped = int((~kept).sum())
    if float(residual.square().sum()) > float(window.square().sum()) + 2 * dropped * least:
        return  # modes that nearly cancel each other cannot be judged one by one
    _accept(problem, state, index, local, Refined(left, residual, state.damping[index]))
