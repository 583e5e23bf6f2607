"""The state of a fit that begins with atoms, and the rounds that it takes from there."""

from __future__ import annotations

import torch
from torch import Tensor

from .amplitudes import solve_all, sound_of
from .modal import BLOCK, Atoms
from .refine import restraint_of
from .settings import FitSettings
from .state import Problem, State, begun, make_stretches

STEPS = 8  # of conjugate gradients over the amplitudes that it begins with, which other hands solved


def state_from(atoms: Atoms, target: Tensor, rate: int, settings: FitSettings) -> State:
    """The state in which atoms `[1, A]` are all that was found.

    Args:
        atoms: onsets in samples from the start of the recording; modes outside the band of the fit are left out.
        target: the recording, float64 `[samples]`.
        rate: in Hz.
        settings: of the fit.
    """
    samples, blocks = len(target), -(-len(target) // BLOCK)
    stretches = make_stretches(samples, rate)
    whole = torch.nn.functional.pad(target, (0, blocks * BLOCK - samples)).view(blocks, BLOCK)
    problem = Problem(samples, rate, float(target.square().sum()), stretches, settings, target.device)
    atoms = atoms.without((atoms.omega < problem.low) | (atoms.omega > problem.high)).packed()
    residual = whole - sound_of(atoms, blocks)
    residual.flatten()[samples:] = 0.0
    atoms, residual = solve_all(atoms, residual, samples, restraint_of(residual, problem.energy), STEPS)
    begins = torch.tensor([stretch.begin * BLOCK for stretch in stretches], device=target.device)
    place = (torch.searchsorted(begins, atoms.onset[0].contiguous(), right=True) - 1).clamp(min=0)  # [A]
    each = [atoms.columns(torch.nonzero(place == index)[:, 0]) for index in range(len(stretches))]
    return begun(residual, each)
