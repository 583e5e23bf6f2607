"""New atoms: what the search of the residual offers, the best of the whole recording first.

An alternating descent conditional gradient method (Boyd, Schiebinger and Recht 2015) with damped modes as its atoms
(Goodwin and Vetterli 1999), several of them under one onset, attack and decay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from ..core.columns import ATOM_COLUMNS, MODES_PER_ATOM, NUMBERS_OF_MODE, NUMBERS_OF_STRIKE
from ..dsp.parallel import side_by_side
from .modal import BLOCK, Atoms, Basis, fast_dtype, join, stack, touching
from .refine import Solved, restraint_of, solve_amplitudes
from .search import Candidate, Shape, pick, search, search_partials, shapes_of, sharpen, to_atoms
from .settings import FitSettings
from .state import (
    FAINT,
    MARGIN,
    TOGETHER,
    Change,
    Limits,
    Problem,
    State,
    apart,
    price_of,
    reached,
    residual_in,
    samples_in,
    windows_for,
)  # fmt: skip
from .sweeping import Watch, sweep

NEWCOMER_RIDGE = 1e-3
ROUNDS, MOST_ROUNDS = 16, 64  # so that few atoms are chosen with care, and many in time
WORTHWHILE = 0.6  # of a round: for fewer numbers than that takes, partials are found at the cost of one search
CARE, MOST_STEPS = 24, 8  # few atoms, of which all others depend, are stepped more often: it costs little
WITH_CARE = 4  # searches of a stretch in which all shapes are tried: of its first atoms, of which all others depend
NEAR = 0.01  # overlap with a newcomer from which an atom is refined with it
LARGEST = NUMBERS_OF_STRIKE + MODES_PER_ATOM * NUMBERS_OF_MODE  # numbers that a new atom may take
RIVALRY = 1.0  # newcomers still to come explain less than those of this round, and partials may yet join them


def grow(
    problem: Problem,
    state: State,
    limits: Limits,
    watch: Watch,
    keep: Callable[[State], None] = lambda state: None,
) -> bool:
    """Rounds of newcomers until a stopping rule holds; False if it was `watch` that ended them."""
    while newcomers := _newcomers(problem, state, limits):
        for group in apart(problem.stretches):
            if busy := [index for index in group if newcomers[index]]:
                _advance(problem, state, busy, [newcomers[index] for index in busy])
                if not watch(*reached(problem, state)):
                    return False
        keep(state)
        if is_good_enough(problem, state):
            break
    return True


def is_good_enough(problem: Problem, state: State) -> bool:
    """Whether the SNR that was asked for is reached."""
    goal = problem.settings.snr_db
    return goal is not None and reached(problem, state)[1] >= goal


def _batch(settings: FitSettings) -> int:
    """Newcomers to each stretch in a round, at most."""
    expected = settings.atoms or (settings.budget or 0) // len(ATOM_COLUMNS) or settings.density
    return max(1, min(settings.effort.newcomers, expected // ROUNDS), expected // MOST_ROUNDS)


def offers_of(problem: Problem, state: State) -> list[tuple[float, int, Candidate]]:
    """The candidates of all stretches, best first: the energy that each would explain, its stretch, and itself."""
    batch = _batch(problem.settings)
    most_turns = min(problem.settings.effort.search_turns, batch)
    stale = [index for index, found in enumerate(state.candidates) if found is None]

    def look(index: int) -> list[Candidate]:
        stretch = problem.stretches[index]
        window, offset = state.residual[stretch.low : stretch.high], stretch.low * BLOCK
        begin, end = stretch.begin * BLOCK - offset, min(stretch.end * BLOCK, problem.samples - 16) - offset
        price = price_of(problem, stretch, window) * (NUMBERS_OF_STRIKE + NUMBERS_OF_MODE)
        residual = window.flatten().float()
        turns = 1 if state.searches[index] < WITH_CARE else most_turns
        for turn in range(turns):  # the others only where these offer nothing
            shapes = shapes_of((state.searches[index] + turn) % turns, turns)
            everything = search(residual, begin, end, problem.low, problem.high, shapes)
            if found := pick(everything, batch, max(price, FAINT * problem.energy)):
                earliest = begin - MARGIN * BLOCK if begin > 0 else begin - Shape.MOST_LEAD
                return [sharpen(residual, candidate, earliest, end) for candidate in found]
        return []

    for index, found in zip(stale, side_by_side(look, stale), strict=True):
        state.candidates[index] = found
        state.searches[index] += 1
    offers = [(found.gain, index, found) for index, all_ in enumerate(state.candidates) for found in all_ or []]
    return sorted(offers, key=lambda offer: (-offer[0], offer[1]))


def _newcomers(problem: Problem, state: State, limits: Limits) -> list[list[Candidate]]:
    """The best candidates of the whole file for this round, by stretch; an empty list where nothing is left to add."""
    offers, batch = offers_of(problem, state), _batch(problem.settings)
    most, affordable = batch * len(problem.stretches), (limits.numbers - state.numbers) // LARGEST
    accepted = offers[: max(0, min(limits.atoms - state.count, affordable, most))]
    if not accepted or affordable < WORTHWHILE * most:
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
    most = max(change.new.onset.shape[1] for change in changes)
    sweep(problem, state, changes, max(problem.settings.effort.sweep_steps, min(CARE // most, MOST_STEPS)))


def _around(problem: Problem, state: State, index: int, new: Atoms) -> Change:
    """Newcomers of a stretch and the atoms that overlap with them, to be refined together."""
    stretch, own = problem.stretches[index], state.atoms[index]
    low = stretch.low * BLOCK
    near = touching(own.shift(-low), new.shift(-low), samples_in(problem, stretch), NEAR)[0].any(1)
    if int(near.sum()) > TOGETHER:
        distance = (own.onset[0, :, None] - new.onset[0]).abs().amin(1)
        near &= distance <= distance[near].kthvalue(TOGETHER).values
    old = own.columns(near)
    return Change(index, own.columns(~near), old, join([old, new]))


def _strike(
    problem: Problem, state: State, restraint: float, indices: list[int], candidates: list[list[Candidate]]
) -> Atoms:
    """Newcomers in the residual of their stretches, `[G, n]`: their modes are found one by one, amplitudes solved."""
    residual = residual_in(problem, state, indices)
    windows = windows_for(problem, restraint, indices, residual)
    new, left = stack([to_atoms(wanted, problem.device) for wanted in candidates]), windows.target

    def solved(atoms: Atoms, left: Tensor, steps: int) -> Solved:
        basis = Basis(atoms, residual.shape[1], fast_dtype(atoms))
        return solve_amplitudes(basis, windows, left, steps, NEWCOMER_RIDGE)

    found = solved(new, left, 1)
    for slot in range(1, MODES_PER_ATOM):
        new, left = found.basis.atoms, found.left
        used, frequencies = new.used.clone(), new.omega.clone()
        for place, (index, wanted) in enumerate(zip(indices, candidates, strict=True)):
            price = price_of(problem, problem.stretches[index], left[place])
            omega, gain = search_partials(left[place].flatten().float(), wanted, problem.low, problem.high)
            frequencies[place, : len(wanted), slot] = omega
            least = max(NUMBERS_OF_MODE * price, FAINT * problem.energy, _rivals_gain(problem, wanted))
            used[place, : len(wanted), slot] = gain > least
        last = slot == MODES_PER_ATOM - 1
        found = solved(replace(new, used=used, omega=frequencies), left, 1 + last)  # which sweeps will put right
    return found.basis.atoms


def _rivals_gain(problem: Problem, wanted: list[Candidate]) -> float:
    """Energy that a further mode must explain so that its numbers are not better spent on another atom.

    Where numbers are counted, a share of what the weakest newcomer explains for each of its own.
    """
    if problem.settings.budget is None or problem.settings.atoms is not None or not wanted:
        return 0.0
    return RIVALRY * NUMBERS_OF_MODE / (NUMBERS_OF_STRIKE + NUMBERS_OF_MODE) * min(rival.gain for rival in wanted)
