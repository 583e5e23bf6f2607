"""The fitting loop: growth, density control and sweeps over all atoms, in the order of a plan, until it is done."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..core.columns import STRETCH_S
from .amplitudes import solve_all, sound_of
from .density import fill, merge, prune, thin
from .growth import grow, is_good_enough
from .modal import BLOCK, Atoms, join, no_atoms, stack
from .refine import restraint_of
from .settings import Effort, FitSettings
from .state import Limits, Problem, State, begun, by_stretch, make_stretches, reached
from .sweeping import Watch, sweep_all

MIN_SAMPLES = 64  # a shorter recording has no room for a mode
LAST_STEPS = 4  # of conjugate gradients over all amplitudes at the end
GROWTH = 0.85  # of the time of a fit, where no density control follows,
RELOCATION = 1.6  # which takes so many times as much as growth
UNHEARD_DB = 50.0  # under a recording: what two modes in place of one are not worth their numbers for
KEPT = 0.6  # of the atoms that a fit begins with
CHANGE_STEPS = 3  # over all atoms after each step of density control

Tell = Callable[[float, int, float], bool]
Keep = Callable[[int, State], None]
Step = Callable[[Problem, State, Limits, Watch, Callable[[State], None]], bool]


def pursue(
    target: Tensor,
    rate: int,
    settings: FitSettings,
    spend: int,
    tell: Tell,
    keep: Keep = lambda phase, state: None,
    start: tuple[int, State] | None = None,
    plan: list[Step] | None = None,
) -> Atoms:
    """Atoms for a recording.

    Args:
        target: float64 `[samples]`.
        rate: in Hz.
        settings: the stopping rules among them.
        spend: how many numbers may be used at most.
        tell: told the share of the work that is done, and the number of atoms and the SNR in dB so far; what it returns
            says whether to go on.
        keep: given the phase and the state after each round, from which a later call may go on to the same result.
        start: such a phase and state.
        plan: what to do, one after the other; None: what the settings' effort asks for.

    Returns:
        Atoms `[1, A]` with onsets in samples, in no particular order.
    """
    samples = len(target)
    energy = float(target.square().sum())
    stretches = make_stretches(samples, rate)
    problem = Problem(samples, rate, energy, stretches, settings, target.device)
    if samples < MIN_SAMPLES or energy == 0:
        return no_atoms(device=target.device)
    blocks = -(-samples // BLOCK)
    whole = torch.nn.functional.pad(target, (0, blocks * BLOCK - samples)).view(blocks, BLOCK)
    first, state = start or (0, begun(whole, [no_atoms(device=target.device) for _ in stretches]))
    limits = Limits(most_atoms(settings, samples / rate), spend)
    growth = 1 / len(plan) if plan else GROWTH / (1 + RELOCATION * settings.effort.relocations)
    steps = plan or plan_of(settings.effort)
    for phase, step in enumerate(steps[first:], first):
        watch = _watch_of(phase, len(steps), growth, limits, tell)
        going = step(problem, state, limits, watch, partial(keep, phase))
        if not going:
            break
        keep(phase + 1, state)
    thin(problem, state, limits)  # where it was stopped in the midst of more
    return solve_all(join(state.atoms), state.residual, samples, restraint_of(state.residual, energy), LAST_STEPS)[0]


def _watch_of(phase: int, phases: int, growth: float, limits: Limits, tell: Tell) -> Watch:
    """What tells how far all is, from how far a phase is: the first is the share `growth`, the others are the rest."""

    def watch(atoms: int, snr_db: float) -> bool:
        grown = growth * min(1.0, atoms / limits.atoms)
        share = grown if phase == 0 else growth + (1 - growth) * phase / phases
        return tell(share, atoms, snr_db)

    return watch


def plan_of(effort: Effort) -> list[Step]:
    """What a fit does, one after the other. A step changes the state and says whether to go on."""
    steps: list[Step] = [_grown(1.0)]
    for _ in range(effort.relocations):
        steps += [_hold, _grown(effort.over), _swept(CHANGE_STEPS), _thinned(effort.under), _swept(CHANGE_STEPS)]
        steps += [*_spent(effort.under, effort.fills, CHANGE_STEPS), _keep_better]
    return [*steps, _pruned, _merged, _filled(1.0, False), _swept(effort.polish_steps)]


def rounds_of(count: int) -> list[Step]:
    """What a fit does that begins with atoms: it keeps what explains most, spends the rest in so many turns."""
    begin = [_swept(1), _hold, _thinned(KEPT), _swept(1)]
    return [*begin, *_spent(KEPT, count, 1), _keep_better, _filled(1.0, False), _swept(CHANGE_STEPS)]


def _spent(share: float, turns: int, steps: int) -> list[Step]:
    """From a share of the numbers to all of them, in so many turns: on partials, on new atoms, and steps over all."""
    levels = (share + (1 - share) * turn / turns for turn in range(1, turns + 1))
    return [step for level in levels for step in (_filled(level, True), _grown(level), _swept(steps))]


def _grown(share: float) -> Step:
    def step(problem: Problem, state: State, limits: Limits, watch: Watch, keep: Callable[[State], None]) -> bool:
        if is_good_enough(problem, state):
            return True
        return grow(problem, state, limits.of(share), watch, keep)

    return step


def _thinned(share: float) -> Step:
    def step(problem: Problem, state: State, limits: Limits, watch: Watch, keep: Callable[[State], None]) -> bool:
        if not is_good_enough(problem, state):
            thin(problem, state, limits.of(share))
        return True

    return step


def _filled(share: float, beside_newcomers: bool) -> Step:
    def step(problem: Problem, state: State, limits: Limits, watch: Watch, keep: Callable[[State], None]) -> bool:
        if not is_good_enough(problem, state):
            fill(problem, state, limits.of(share), beside_newcomers)
        return True

    return step


def _hold(problem: Problem, state: State, limits: Limits, watch: Watch, keep: Callable[[State], None]) -> bool:
    state.held = stack(state.atoms).packed()
    return True


def _keep_better(problem: Problem, state: State, limits: Limits, watch: Watch, keep: Callable[[State], None]) -> bool:
    """Go back to the atoms that were held where they leave less."""
    assert state.held is not None
    if is_good_enough(problem, state):  # nothing was tried
        state.held = None
        return True
    held, blocks = by_stretch(state.held), len(state.residual)
    left = state.residual + sound_of(join(state.atoms), blocks) - sound_of(join(held), blocks)
    left.flatten()[problem.samples :] = 0.0
    if float(left.square().sum()) < float(state.residual.square().sum()):
        state.residual, state.atoms, state.candidates = left, held, [None for _ in held]
    state.held = None
    return True


def _pruned(problem: Problem, state: State, limits: Limits, watch: Watch, keep: Callable[[State], None]) -> bool:
    prune(problem, state)
    return True


def _merged(problem: Problem, state: State, limits: Limits, watch: Watch, keep: Callable[[State], None]) -> bool:
    """Modes that share what one of them would explain become one, where that leaves no more that can be heard."""
    held = stack(state.atoms).packed()
    if not merge(problem, state):
        return True
    going = sweep_all(problem, state, CHANGE_STEPS, watch)
    if reached(problem, state)[1] < UNHEARD_DB:
        state.held = held
        _keep_better(problem, state, limits, watch, keep)
    return going


def _swept(steps: int) -> Step:
    def step(problem: Problem, state: State, limits: Limits, watch: Watch, keep: Callable[[State], None]) -> bool:
        return sweep_all(problem, state, steps, watch)

    return step


def most_atoms(settings: FitSettings, duration_s: float) -> int:
    """How many atoms the density allows for the whole recording; at least one."""
    return max(1, round(settings.density * duration_s / STRETCH_S))
