"""Density control: modes where they gain most for their numbers, none where they gain least.

Growth alone is greedy: an atom found early may be worth little once its neighbours are there. So a fit takes more atoms
than it may keep, drops what explains least when all other amplitudes are solved again (backward elimination after
forward selection, as in Zhang's FoBa, 2011), and spends what that frees on partials of the atoms that are left, which
cost half of what a new atom does. What 3D Gaussian splatting does by chance is done here by exact gains.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from ..core.columns import NUMBERS_OF_MODE, NUMBERS_OF_STRIKE
from ..dsp.parallel import side_by_side
from .growth import LARGEST, offers_of
from .modal import BLOCK, Basis, mode_norms, modes_touching
from .refine import mode_gains, restraint_of, solve_amplitudes
from .search import Candidate, Shape, search_partials
from .state import FAINT, Change, Limits, Problem, State, accept, price_of, residual_in, samples_in, turns, windows_for

DROPPED_AT_ONCE = 0.2  # share of all modes: gains are those of leaving out one, and change as others go

ALIKE = 0.5  # overlap from which modes are not dropped at once
DOUBLE = 0.98  # overlap from which two modes of an atom are alike: 0.4 of the damping apart
SHARED = 0.01  # of its own energy: what one of two alike explains at most that go as one
STEPS = 2  # of conjugate gradients over all amplitudes after each change
PRUNINGS = 4  # rounds, at most

T = TypeVar("T")


@dataclass(frozen=True)
class Partial:
    """A further mode that an atom with a free slot could have: the atom's place, and where and how much it explains."""

    place: int
    found: Candidate


@dataclass(frozen=True)
class Drops:
    """What modes `[A, M]`, or atoms `[A, 1]`, are worth, and up to what worth they may go."""

    worth: Tensor
    least: float


def thin(problem: Problem, state: State, limits: Limits) -> None:
    """Drop the modes, or atoms, that explain least until the limits are kept; the other amplitudes are solved again."""
    while state.count > limits.atoms or state.numbers > max(limits.numbers, 0):
        by_atom = state.count > limits.atoms
        worths = _survey(problem, state, lambda change: _worths(change, gains_of(problem, change), by_atom))  # noqa: B023
        every = torch.cat([worth.flatten() for part in worths for worth in part])
        here = int(every.isfinite().sum())
        over = state.count - limits.atoms if by_atom else -(-(state.numbers - limits.numbers) // NUMBERS_OF_MODE)
        least = float(every.kthvalue(max(1, min(over, round(DROPPED_AT_ONCE * here)))).values)
        _solve_again(problem, state, [[Drops(worth, least) for worth in part] for part in worths], _dropped(problem))


def prune(problem: Problem, state: State) -> None:
    """Drop the modes that explain less than their price."""

    def look(change: Change) -> Drops:
        stretch = problem.stretches[change.index]
        price = price_of(problem, stretch, state.residual[stretch.low : stretch.high])
        worth = _worths(change, gains_of(problem, change), False)
        return Drops(worth, max(price, FAINT * problem.energy))

    for _ in range(PRUNINGS):
        plans = _survey(problem, state, look)
        if not any(bool((one.worth <= one.least).any()) for part in plans for one in part):
            break
        _solve_again(problem, state, plans, _dropped(problem))


def merge(problem: Problem, state: State) -> bool:
    """Drop the modes that share with one like them what it would explain; whether there are any.

    Two modes of an atom that cannot be told apart are one, unless they beat: then each explains much of what it sounds.
    """

    def look(change: Change) -> Drops:
        shared = _shared(problem, change, gains_of(problem, change))
        return Drops(torch.where(shared, 0.0, torch.inf).to(change.old.onset.dtype), 0.0)

    plans = _survey(problem, state, look)
    if not any(bool((one.worth <= one.least).any()) for part in plans for one in part):
        return False
    _solve_again(problem, state, plans, _dropped(problem))
    return True


def fill(problem: Problem, state: State, limits: Limits, beside_newcomers: bool) -> None:
    """Spend the numbers that are left on partials of atoms that have a slot to spare.

    Beside newcomers, only what would explain more for each number than the new atoms that the search offers: what those
    may take is left to them.
    """
    found = _survey(problem, state, lambda change: _offers(problem, state, change))
    gains = [one.found.gain for part in found for offers in part for one in offers]
    ranked = [(gain / NUMBERS_OF_MODE, NUMBERS_OF_MODE) for gain in gains]
    if beside_newcomers:
        ranked += [(gain / (NUMBERS_OF_STRIKE + NUMBERS_OF_MODE), LARGEST) for gain, _, _ in offers_of(problem, state)]
    room, least = limits.numbers - state.numbers, math.inf
    for worth, cost in sorted(ranked, reverse=True):
        room -= cost
        if room < 0:
            break
        least = worth * NUMBERS_OF_MODE if cost == NUMBERS_OF_MODE else least
    chosen = [[[one for one in offers if one.found.gain >= least] for offers in part] for part in found]
    _solve_again(problem, state, chosen, _with)


def _survey(problem: Problem, state: State, look: Callable[[Change], T]) -> list[list[T]]:
    """What `look` tells of all atoms, turn by turn."""
    return [side_by_side(look, changes) for changes in turns(problem, state)]


def _worths(change: Change, gains: Tensor, by_atom: bool) -> Tensor:
    """Energy that each mode of the old atoms explains for each number that its end would free, `[A, M]`.

    By atom: all that it explains, `[A, 1]`. Infinite where there is no mode.
    """
    used = change.old.used[0]
    if by_atom:
        return torch.where(used.any(-1), gains.sum(-1), torch.inf)[:, None]
    alone = used.sum(-1, keepdim=True) == 1
    return torch.where(used, gains / (NUMBERS_OF_MODE + NUMBERS_OF_STRIKE * alone), torch.inf)


def _shared(problem: Problem, change: Change, gains: Tensor) -> Tensor:
    """Which modes are like a louder one of the same old atom and explain little of what they sound, bool `[A, M]`."""
    stretch, old = problem.stretches[change.index], change.old
    samples = samples_in(problem, stretch)
    near = modes_touching(old, old, samples, DOUBLE)[0].diagonal().permute(2, 0, 1)  # [A, M, M]
    loud, slot = old.amp[0].abs(), torch.arange(near.shape[-1], device=near.device)
    quieter = (loud[..., None] < loud[:, None]) | ((loud[..., None] == loud[:, None]) & (slot[:, None] > slot))
    sounds = mode_norms(old.shift(-stretch.low * BLOCK), samples)[0, :, None] * loud.square()
    return (near & quieter).any(-1) & (gains < SHARED * sounds)


def gains_of(problem: Problem, change: Change) -> Tensor:
    """Energy that each mode of the old atoms of a stretch explains, `[A, M]`."""
    stretch = problem.stretches[change.index]
    return mode_gains(change.old.shift(-stretch.low * BLOCK), samples_in(problem, stretch))[0]


def _offers(problem: Problem, state: State, change: Change) -> list[Partial]:
    """Partials for the old atoms of a stretch that are worth their numbers and do not overlap, best first."""
    stretch, old = problem.stretches[change.index], change.old
    free = torch.nonzero(~old.used[0].all(-1) & old.present[0])[:, 0].tolist()
    window = state.residual[stretch.low : stretch.high]
    strikes = [
        Candidate(0.0, max(onset, -Shape.MOST_LEAD), 0.0, Shape(attack, damping))
        for onset, attack, damping in zip(
            (old.onset[0, free] - stretch.low * BLOCK).tolist(),
            old.log_attack[0, free].exp().tolist(),
            old.log_damping[0, free].exp().tolist(),
            strict=True,
        )
    ]
    omegas, gains = search_partials(window.flatten().float(), strikes, problem.low, problem.high)
    found = zip(free, strikes, omegas.tolist(), gains.tolist(), strict=True)
    offers = [Partial(place, replace(strike, omega=omega, gain=gain)) for place, strike, omega, gain in found]
    offers.sort(key=lambda one: (-one.found.gain, one.place))
    least = max(NUMBERS_OF_MODE * price_of(problem, stretch, window), FAINT * problem.energy)
    chosen: list[Partial] = []
    for one in offers:
        apart = (old.omega[0, one.place] - one.found.omega).abs() > one.found.shape.damping
        if not bool((apart | ~old.used[0, one.place]).all()):
            continue  # one that is there has not been fitted well
        if one.found.gain > least and not any(one.found.near(other.found) for other in chosen):
            chosen.append(one)
    return chosen


def _dropped(problem: Problem) -> Callable[[Change, Drops], Change | None]:
    """What leaves out those modes that explain least and do not overlap: of two alike, each is worth nothing alone."""

    def without(change: Change, drops: Drops) -> Change | None:
        alike = modes_touching(change.old, change.old, samples_in(problem, problem.stretches[change.index]), ALIKE)[0]
        alike = alike.any(-1).any(-1) if drops.worth.shape[1] == 1 else alike.transpose(1, 2).flatten(2).flatten(0, 1)
        flat, taken = drops.worth.flatten(), torch.zeros(drops.worth.numel(), dtype=torch.bool)
        for place in torch.argsort(flat, stable=True).tolist():
            if flat[place] > drops.least:
                break
            taken[place] = not bool((alike[place] & taken).any())
        if not bool(taken.any()):
            return None
        return replace(change, new=change.old.without(taken.view_as(drops.worth)[None]).packed())

    return without


def _with(change: Change, partials: list[Partial]) -> Change | None:
    """The change that gives partials to atoms, with no amplitude yet."""
    if not partials:
        return None
    used, omega = change.old.used.clone(), change.old.omega.clone()
    for one in partials:
        slot = int(torch.nonzero(~used[0, one.place])[0])
        used[0, one.place, slot] = True
        omega[0, one.place, slot] = one.found.omega
    return replace(change, new=replace(change.old, used=used, omega=omega))


def _solve_again(
    problem: Problem, state: State, plans: list[list[T]], changed: Callable[[Change, T], Change | None]
) -> None:
    """Put in place what `changed` makes of all atoms by their plans, turn by turn, with all amplitudes solved again."""
    for changes, plan in zip(turns(problem, state), plans, strict=True):
        wanted = [one for one in map(changed, changes, plan) if one is not None]
        restraint = restraint_of(state.residual, problem.energy)
        for solved, difference in side_by_side(lambda one: _solved(problem, state, restraint, one), wanted):  # noqa: B023
            accept(problem, state, solved, difference)


def _solved(problem: Problem, state: State, restraint: float, change: Change) -> tuple[Change, Tensor]:
    """The change with the amplitudes of its new atoms solved, and the difference `[B, N]` to the residual.

    From those that are there, or from nothing: where a mode goes that others cancelled, they begin much too loud.
    """
    low, held = problem.stretches[change.index].low * BLOCK, residual_in(problem, state, [change.index])
    local, new = change.old.shift(-low), change.new.shift(-low)
    windows = windows_for(problem, restraint, [change.index], held + Basis(local, held.shape[1]).render())
    there = Basis(new, held.shape[1])
    silent = there.with_amplitudes(torch.zeros_like(new.amp))
    begun = ((there, windows.left_by(there)), (silent, windows.target))
    tried = [solve_amplitudes(basis, windows, left, STEPS, precise=True) for basis, left in begun]
    found = min(tried, key=lambda one: float(one.left.square().sum()))
    return replace(change, new=found.basis.atoms.shift(low)), (found.left - held)[0]
