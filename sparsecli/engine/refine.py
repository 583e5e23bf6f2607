"""Second-order refinement: Levenberg-Marquardt steps on all parameters of a group of atoms at once.

The step solves (J^T J + lambda diag(J^T J)) delta = J^T r with the residual r taken exactly, sample by sample, and
J^T J in closed form (`modal.normal_matrix`), which costs a few milliseconds for 64 atoms. Steps are accepted only where
the energy of the residual falls, so an approximate J^T J costs speed, never truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..core.columns import MIN_ATTACK_S, MIN_ONSET_S
from .modal import Atoms, Basis, gradient, gram, normal_matrix, positions

# Largest change of a parameter in one step: well inside the basin that a quadratic model sees.
MAX_STEP_ONSET = 600.0  # samples
MAX_STEP_LOG = 0.8  # of attack and damping
MAX_STEP_OMEGA = 0.01  # radians a sample
TRIES = 4
LESS_DAMPING, MORE_DAMPING = 0.25, 6.0
MIN_DAMPING = 1e-6
# Share of a mode's own energy that is added to the cost. Without it pairs of modes grow huge and cancel each other,
# which sounds right until one of them is edited. It costs a mode that stands alone about 1e-4 of its amplitude.
RESTRAINT = 1e-4
STALLED = 1e-5  # a step that lowers the energy by a smaller share ends the refinement: 0.00004 dB


@dataclass(frozen=True)
class Bounds:
    """Where parameters may go; samples and radians a sample, onsets relative to the window."""

    onset: tuple[float, float]
    omega: tuple[float, float]
    log_attack: tuple[float, float]
    log_damping: tuple[float, float] = (math.log(1 / 60_000), math.log(1 / 8))  # T60 of 0.4 million and 55 samples


def bounds_for(rate: int, begin: float, end: float, low: float, high: float) -> Bounds:
    """Bounds for onsets in `[begin, end]` (from -2 s where `begin` is 0) and frequencies in `[low, high]`."""
    attack = (math.log(MIN_ATTACK_S * rate), math.log(0.7 * rate))  # a longer swell is several events
    return Bounds((MIN_ONSET_S * rate if begin <= 0 else begin, end), (low, high), attack)


@dataclass(frozen=True)
class Refined:
    """Atoms after refinement, the residual `[B, N]` that they leave, and the damping to go on with."""

    atoms: Atoms
    residual: Tensor
    damping: float


def refine(atoms: Atoms, target: Tensor, samples: int, bounds: Bounds, steps: int, damping: float) -> Refined:
    """Up to `steps` Levenberg-Marquardt steps.

    Args:
        atoms: with onsets relative to the window.
        target: float64 `[B, N]`, what they should sound like; 0 from `samples` on.
        samples: of the window.
        bounds: of the parameters.
        steps: at most; fewer once the energy hardly falls.
        damping: lambda to start with.
    """
    blocks = target.shape[0]
    basis = Basis(atoms, blocks)
    residual = cut(target - basis.render(), samples)
    cost = residual.square().sum() + _restraint(atoms, samples)
    for _ in range(steps if len(atoms) else 0):
        vector, matrix = _normal_equations(basis, residual, samples)
        for _ in range(TRIES):
            moved = _move(atoms, _solve(matrix, vector, damping), bounds)
            trial = Basis(moved, blocks)
            left = cut(target - trial.render(), samples)
            trial_cost = left.square().sum() + _restraint(moved, samples)
            if trial_cost < cost:
                break
            damping *= MORE_DAMPING
        else:
            break
        stalled = bool(cost - trial_cost < STALLED * cost)
        atoms, basis, residual, cost = moved, trial, left, trial_cost
        damping = max(damping * LESS_DAMPING, MIN_DAMPING)
        if stalled:
            break
    return Refined(atoms, residual, damping)


def solve_amplitudes(atoms: Atoms, target: Tensor, samples: int, ridge: float = 1e-6) -> Atoms:
    """The atoms with all complex amplitudes solved jointly by ridge least squares against `target` `[B, N]`.

    Two rounds, because the matrix is an integral and the gradient a sum: the second removes what that difference left.
    """
    if not len(atoms.owner):
        return atoms
    index = _amplitude_rows(atoms)
    atoms = replace(atoms, amp=torch.zeros_like(atoms.amp))
    matrix = normal_matrix(atoms, samples)[index][:, index]
    for _ in range(2):
        basis = Basis(atoms, target.shape[0])
        vector = gradient(basis, cut(target - basis.render(), samples))[:, :2].flatten()
        step = _solve(matrix, vector, ridge).view(-1, 2)
        atoms = replace(atoms, amp=atoms.amp + torch.complex(step[:, 0], step[:, 1]))
    return atoms


def mode_gains(atoms: Atoms, samples: int) -> Tensor:
    """Energy by which the residual would grow without each mode, the other amplitudes solved again, `[K]`.

    With G the Gram matrix of all 2K amplitude functions and a mode's block of its inverse P, leaving the mode out costs
    c^T P^-1 c (the Schur complement).
    """
    count, index = len(atoms.owner), _amplitude_rows(atoms)
    matrix = normal_matrix(atoms, samples)[index][:, index]
    scale = matrix.diagonal().clamp(min=1e-300).rsqrt()
    matrix = matrix * scale[:, None] * scale + 1e-9 * torch.eye(len(index), dtype=matrix.dtype, device=matrix.device)
    inverse = torch.linalg.inv(matrix) * scale[:, None] * scale
    blocks = inverse.view(count, 2, count, 2).diagonal(dim1=0, dim2=2).permute(2, 0, 1)  # [K, 2, 2]
    amp = torch.view_as_real(atoms.amp)
    return torch.einsum("ki,kij,kj->k", amp, torch.linalg.inv(blocks), amp).clamp(min=0)


def _amplitude_rows(atoms: Atoms) -> Tensor:
    """Where the real and imaginary amplitudes stand in the vector of all parameters, int64 `[2K]`."""
    return positions(atoms)[:, :2].flatten()


def cut(signal: Tensor, samples: int) -> Tensor:
    """A signal `[B, N]` with zeros from `samples` on, where the recording has ended."""
    if samples >= signal.numel():
        return signal
    flat = signal.flatten()
    return torch.cat([flat[:samples], torch.zeros_like(flat[samples:])]).view_as(signal)


def _mode_norms(atoms: Atoms, samples: int) -> Tensor:
    """Energy of each mode for an amplitude of 1, `[K]`."""
    each = torch.arange(len(atoms.owner), device=atoms.amp.device)
    return 0.5 * gram(atoms, samples, each, each)[:, 0, 0].real.clamp(min=0)


def _restraint(atoms: Atoms, samples: int) -> Tensor:
    """What the modes' own energies add to the cost, a number."""
    return RESTRAINT * (_mode_norms(atoms, samples) * atoms.amp.abs().square()).sum()


def _normal_equations(basis: Basis, residual: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    atoms = basis.atoms
    matrix = normal_matrix(atoms, samples)
    vector = torch.zeros(len(matrix), dtype=torch.float64, device=matrix.device)
    vector.index_add_(0, positions(atoms).flatten(), gradient(basis, residual).flatten())
    rows, norms = _amplitude_rows(atoms), RESTRAINT * _mode_norms(atoms, samples).repeat_interleave(2)
    vector[rows] -= norms * torch.view_as_real(atoms.amp).flatten()
    matrix[rows, rows] += norms
    return vector, matrix


def _solve(matrix: Tensor, vector: Tensor, damping: float) -> Tensor:
    """The damped step; the damping is raised until the matrix is positive definite in floating point.

    The diagonal is held above rounding: an atom of which the window has hardly anything can get a negative one.
    """
    diagonal = matrix.diagonal()
    floor = 1e-12 * float(diagonal.max().clamp(min=1e-30))
    lifted = matrix + torch.diag(diagonal.clamp(min=floor) - diagonal)
    while True:
        factor, failed = torch.linalg.cholesky_ex(lifted + torch.diag(damping * diagonal.clamp(min=floor) + floor))
        if not failed:
            return torch.cholesky_solve(vector[:, None], factor)[:, 0]
        damping *= MORE_DAMPING


def _move(atoms: Atoms, step: Tensor, bounds: Bounds) -> Atoms:
    shared = step[: 2 * len(atoms)].view(-1, 2)  # ln attack, onset
    own = step[2 * len(atoms) :].view(-1, 4)  # Re c, Im c, ln d, omega

    def moved(value: Tensor, change: Tensor, largest: float, within: tuple[float, float]) -> Tensor:
        return (value + change.clamp(-largest, largest)).clamp(*within)

    onset = moved(atoms.onset, shared[:, 1], MAX_STEP_ONSET, bounds.onset)
    omega = moved(atoms.omega, own[:, 3], MAX_STEP_OMEGA, bounds.omega)
    turn = omega * (onset - atoms.onset)[atoms.owner]  # the carrier stays where it is
    return Atoms(
        onset=onset,
        log_attack=moved(atoms.log_attack, shared[:, 0], MAX_STEP_LOG, bounds.log_attack),
        owner=atoms.owner,
        log_damping=moved(atoms.log_damping, own[:, 2], MAX_STEP_LOG, bounds.log_damping),
        omega=omega,
        amp=(atoms.amp + torch.complex(own[:, 0], own[:, 1])) * torch.polar(torch.ones_like(turn), turn),
    )
