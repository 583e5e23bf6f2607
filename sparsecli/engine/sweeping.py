"""Steps on atoms that are there: of stretches whose windows do not touch, or of all, a turn at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..dsp.parallel import side_by_side
from .modal import BLOCK, Atoms, Basis, fast_dtype, stack
from .refine import Refined, refine, restraint_of
from .state import SWEEP_DAMPING, Change, Problem, State, accept, reached, residual_in, turns, windows_for

CHUNK_ATOMS = 16  # worked in one batch: few atoms of many stretches, or many of one

Watch = Callable[[int, float], bool]


def sweep_all(problem: Problem, state: State, steps: int, watch: Watch) -> bool:
    """Refine all atoms; False if `watch` ended it."""
    for changes in turns(problem, state):
        sweep(problem, state, changes, steps)
        if not watch(*reached(problem, state)):
            return False
    return True


def sweep(problem: Problem, state: State, changes: list[Change], steps: int) -> None:
    """Refine new atoms of stretches whose windows do not touch; they replace the old where the energy falls.

    The new ones begin with the old, as those are.
    """
    restraint = restraint_of(state.residual, problem.energy)

    def refined(chunk: list[int]) -> tuple[Tensor, Refined]:
        places = [changes[place].index for place in chunk]
        offsets = [problem.stretches[index].low * BLOCK for index in places]
        held = residual_in(problem, state, places)
        new = stack([changes[place].new.shift(-offset) for place, offset in zip(chunk, offsets, strict=True)])
        damping = torch.tensor([state.damping[index] for index in places], device=problem.device, dtype=torch.float64)
        basis = Basis(new, held.shape[1], fast_dtype(new))
        there = _first(new, [changes[place].old.onset.shape[1] for place in chunk])
        target = held + basis.with_amplitudes(there).render()
        return held, refine(basis, windows_for(problem, restraint, places, target), steps, damping)

    chunks = chunks_of([change.index for change in changes], [change.new for change in changes])
    for chunk, (held, result) in zip(chunks, side_by_side(refined, chunks), strict=True):
        for row, place in enumerate(chunk):
            change, stretch = changes[place], problem.stretches[changes[place].index]
            length = stretch.high - stretch.low
            left, before = result.residual[row, :length], held[row, :length]
            if float(left.square().sum()) > float(before.square().sum()):
                state.candidates[change.index] = []  # nothing to be gained from these
                continue
            after = result.atoms.windows(slice(row, row + 1)).packed()
            accept(problem, state, replace(change, new=after.shift(stretch.low * BLOCK)), left - before)
            state.damping[change.index] = min(max(float(result.damping[row]), SWEEP_DAMPING / 10), 1.0)


def _first(atoms: Atoms, counts: list[int]) -> Tensor:
    """Amplitudes of the first so many atoms of each window, `[G, A, M]`, and 0 for the others."""
    place = torch.arange(atoms.onset.shape[1], device=atoms.onset.device)
    chosen = place < torch.tensor(counts, device=place.device)[:, None]
    return torch.where(chosen[..., None], atoms.amp, 0.0)


def chunks_of(indices: list[int], atoms: list[Atoms]) -> list[list[int]]:
    """Places in `indices` that are worked in one batch: about `CHUNK_ATOMS` atoms."""
    most = max(own.onset.shape[1] for own in atoms)
    size = max(1, CHUNK_ATOMS // max(most, 1))
    return [list(range(begin, min(begin + size, len(indices)))) for begin in range(0, len(indices), size)]
