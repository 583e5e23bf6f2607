"""Second-order refinement: Levenberg-Marquardt steps on all parameters of all atoms of a window at once.

The step solves (J^T J + lambda diag(J^T J)) delta = J^T r with the residual r taken exactly, sample by sample, and
J^T J in closed form (`modal.normal_matrix`). Steps are accepted only where the energy of the residual falls, so an
approximate J^T J costs speed, never truth. Several windows are stepped side by side, each with its own damping.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..core.columns import MIN_ATTACK_S, MIN_ONSET_S
from .modal import (
    OF_MODE,
    OF_STRIKE,
    Atoms,
    Basis,
    Pairs,
    Slots,
    amplitude_matrix,
    fast_dtype,
    gradient,
    mode_norms,
    mode_pairs,
    normal_matrix,
)

# Largest change of a parameter in one step: well inside the basin that a quadratic model sees.
MAX_STEP_ONSET = 600.0  # samples
MAX_STEP_LOG = 0.8  # of attack and damping
MAX_STEP_OMEGA = 0.01  # radians a sample
MIN_ATTACK = 1.0  # samples; the poles of a shorter one would overflow within a block
TRIES = 4
LESS_DAMPING, MORE_DAMPING = 0.5, 6.0
MIN_DAMPING = 1e-6
# Share of a mode's own energy that is added to the cost, times the share of the recording's energy that is still
# unexplained. Without it pairs of modes grow huge and cancel each other, which sounds right until one of them is
# edited. A mode that stands alone lacks so much of its amplitude, far less than is unexplained.
RESTRAINT = 1e-2
# What is added of it however little is left: a mode lacks a hundred-thousandth, and pairs as loud as ten are not had.
LEAST_RESTRAINT = 1e-5
STALLED = 1e-5  # a step that lowers the energy by a smaller share ends the refinement: 0.00004 dB


@dataclass(frozen=True)
class Bounds:
    """Where parameters may go; samples and radians a sample, onsets relative to the window.

    Attributes:
        earliest: of onsets, float64 `[G]`.
        latest: of onsets, float64 `[G]`.
        omega: lowest and highest.
        log_attack: shortest and longest.
        log_damping: slowest and fastest.
    """

    earliest: Tensor
    latest: Tensor
    omega: tuple[float, float]
    log_attack: tuple[float, float]
    log_damping: tuple[float, float] = (math.log(1 / 60_000), math.log(1 / 8))  # T60 of 0.4 million and 55 samples

    def windows(self, rows: Tensor) -> Bounds:
        """The bounds of the windows at `rows`."""
        return replace(self, earliest=self.earliest[rows], latest=self.latest[rows])


def bounds_for(rate: int, earliest: Tensor, latest: Tensor, low: float, high: float) -> Bounds:
    """Bounds for onsets in `[earliest, latest]` `[G]`, from -2 s where that begins at 0, and omega in `[low, high]`."""
    shortest = max(MIN_ATTACK_S * rate, MIN_ATTACK)
    attack = (math.log(shortest), math.log(0.7 * rate))  # a longer swell is several events
    return Bounds(torch.where(earliest <= 0, MIN_ONSET_S * rate, earliest), latest, (low, high), attack)


@dataclass(frozen=True)
class Windows:
    """What atoms should sound like.

    Attributes:
        target: float64 `[G, B, N]`; 0 from `samples` on.
        samples: of each window, int64 `[G]`.
        bounds: of the parameters.
        restraint: share of a mode's own energy that is added to the cost, float64 `[G]`.
    """

    target: Tensor
    samples: Tensor
    bounds: Bounds
    restraint: Tensor

    def at(self, rows: Tensor) -> Windows:
        """The windows at `rows`."""
        return Windows(self.target[rows], self.samples[rows], self.bounds.windows(rows), self.restraint[rows])

    def left_by(self, basis: Basis) -> Tensor:
        """The residual `[G, B, N]` that atoms leave."""
        return cut(self.target - basis.render(), self.samples)


@dataclass(frozen=True)
class Refined:
    """Atoms after refinement, the residual `[G, B, N]` that they leave, and the damping `[G]` to go on with."""

    atoms: Atoms
    residual: Tensor
    damping: Tensor


@dataclass(frozen=True)
class Solved:
    """The basis of atoms whose amplitudes were solved, and the residual `[G, B, N]` that they leave."""

    basis: Basis
    left: Tensor


def restraint_of(residual: Tensor, energy: float) -> float:
    """The restraint where `residual` is left of a recording of so much energy."""
    return RESTRAINT * float(residual.square().sum()) / max(energy, 1e-300) + LEAST_RESTRAINT


def refine(start: Basis, windows: Windows, steps: int, damping: Tensor) -> Refined:
    """Up to `steps` Levenberg-Marquardt steps in each window, fewer once its energy hardly falls.

    Args:
        start: of the atoms, with onsets relative to their windows.
        windows: the targets.
        steps: at most.
        damping: lambda to start with, float64 `[G]`.
    """
    atoms, residual = start.atoms, windows.left_by(start)
    cost = _cost(atoms, windows, residual)
    damping = damping.clone()
    pairs, worked = None, 0
    basis: Basis | None = start
    going = (
        torch.ones_like(cost, dtype=torch.bool) if atoms.onset.shape[1] else torch.zeros_like(cost, dtype=torch.bool)
    )
    for _ in range(steps):
        rows = torch.nonzero(going)[:, 0]
        if not len(rows):
            break
        everyone = len(rows) == len(going)
        part = (
            _Trial(atoms, residual, cost, damping)
            if everyone
            else _Trial(atoms.windows(rows), residual[rows], cost[rows], damping[rows])
        )
        if pairs is None or len(rows) != worked:  # the windows still going only become fewer
            pairs, worked = mode_pairs(part.atoms, windows.samples[rows]), len(rows)
        stepped = _step(part, windows if everyone else windows.at(rows), pairs, basis if everyone else None)
        basis = stepped.basis
        fell = part.cost - stepped.cost
        going[rows] = fell >= STALLED * part.cost
        if everyone:
            atoms, residual, cost, damping = stepped.atoms, stepped.residual, stepped.cost, stepped.damping
        else:
            atoms = _put(atoms, rows, stepped.atoms)
            residual, cost = residual.index_copy(0, rows, stepped.residual), cost.index_copy(0, rows, stepped.cost)
            damping = damping.index_copy(0, rows, stepped.damping)
    return Refined(atoms, residual, damping)


@dataclass(frozen=True)
class _Trial:
    """Atoms of G windows, what they leave, what that costs, and the damping; `basis` where it is known."""

    atoms: Atoms
    residual: Tensor
    cost: Tensor
    damping: Tensor
    basis: Basis | None = None


def _step(start: _Trial, windows: Windows, pairs: Pairs, basis: Basis | None) -> _Trial:
    """One step in every window; where no damping makes the cost fall, nothing changes."""
    atoms, residual, cost, damping = start.atoms, start.residual, start.cost, start.damping
    basis = basis or Basis(atoms, residual.shape[1], fast_dtype(atoms))
    vector, matrix = _normal_equations(basis, residual, windows, pairs)
    pending = torch.ones_like(cost, dtype=torch.bool)
    best = start
    for attempt in range(TRIES):
        moved = _move(atoms, factor_of(matrix, damping).solve(vector), windows.bounds)
        trial = Basis(moved, residual.shape[1], fast_dtype(moved))
        left = windows.left_by(trial)
        trial_cost = _cost(moved, windows, left)
        better = pending & (trial_cost < best.cost)
        if attempt == 0 and bool(better.all()):
            return _Trial(moved, left, trial_cost, (damping * LESS_DAMPING).clamp(min=MIN_DAMPING), trial)
        best = _Trial(
            _where(better, moved, best.atoms),
            torch.where(better[:, None, None], left, best.residual),
            torch.where(better, trial_cost, best.cost),
            damping,
        )
        pending &= ~better
        damping = torch.where(better, damping * LESS_DAMPING, torch.where(pending, damping * MORE_DAMPING, damping))
        if not bool(pending.any()):
            break
    return replace(best, damping=damping.clamp(min=MIN_DAMPING))


def _where(better: Tensor, one: Atoms, other: Atoms) -> Atoms:
    def chosen(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(better.view(-1, *[1] * (a.dim() - 1)), a, b)

    return Atoms(*(chosen(getattr(one, name), getattr(other, name)) for name in Atoms.__dataclass_fields__))


def _put(atoms: Atoms, rows: Tensor, part: Atoms) -> Atoms:
    names = Atoms.__dataclass_fields__
    return Atoms(*(getattr(atoms, name).index_copy(0, rows, getattr(part, name)) for name in names))


def solve_amplitudes(
    basis: Basis, windows: Windows, left: Tensor, steps: int, ridge: float = 1e-6, precise: bool = False
) -> Solved:
    """Complex amplitudes, all together, that leave less: least squares by preconditioned conjugate gradients.

    The matrix of closed forms, which leaves out pairs of modes that hardly overlap, is what the true gradient is
    preconditioned with: the residual gets no louder, whatever it leaves out (Hestenes and Stiefel 1952).

    Args:
        basis: of the atoms, with the amplitudes to begin with.
        windows: the targets.
        left: what those leave of them, float64 `[G, B, N]`.
        steps: of conjugate gradients.
        ridge: added to the diagonal of the matrix.
        precise: the matrix is, for modes that nearly cancel each other.
    """
    atoms, slots = basis.atoms, basis.slots
    if not atoms.omega.numel():
        return Solved(basis, left)
    matrix = amplitude_matrix(atoms, windows.samples, precise)
    matrix.diagonal(dim1=1, dim2=2).mul_(1.0 + windows.restraint[:, None])
    factor = factor_of(matrix, torch.full_like(windows.target[:, 0, 0], ridge))
    norms = windows.restraint[:, None] * mode_norms(atoms, windows.samples)
    held = (slots.of_atoms(norms) * slots.used)[..., None]  # [G, K, 1]
    amp = slots.gather(torch.view_as_real(atoms.amp))  # [G, K, 2]

    def preconditioned(left: Tensor, amp: Tensor) -> tuple[Tensor, Tensor]:
        """A direction `[G, K, 2]`, and how steep it is `[G]`."""
        slope = slots.gather(gradient(basis, left)[..., :2]) - held * amp
        direction = factor.solve(slope.flatten(1)).view_as(slope)
        return direction, (slope * direction).sum((1, 2))

    direction, fall = preconditioned(left, amp)
    for step in range(steps):
        sound = cut(basis.with_amplitudes(_complex(slots, direction)).render(), windows.samples)
        curvature = sound.square().sum((1, 2)) + (held * direction.square()).sum((1, 2))
        size = torch.where(curvature > 0, fall / curvature.clamp(min=1e-300), 0.0)
        amp, left = amp + size[:, None, None] * direction, left - size[:, None, None] * sound
        if step + 1 < steps:
            better, now = preconditioned(left, amp)
            direction = better + torch.where(fall > 0, now / fall.clamp(min=1e-300), 0.0)[:, None, None] * direction
            fall = now
    return Solved(basis.with_amplitudes(_complex(slots, amp)), left)


def _complex(slots: Slots, amp: Tensor) -> Tensor:
    """Amplitudes of all slots, complex128 `[G, A, M]`, of those of the modes `[G, K, 2]`."""
    return torch.view_as_complex(slots.spread(amp))


def mode_gains(atoms: Atoms, samples: Tensor) -> Tensor:
    """Energy by which the residual would grow without each mode, the other amplitudes solved again, `[G, A, M]`.

    With G the Gram matrix of all 2K amplitude functions and a mode's block of its inverse P, leaving the mode out costs
    c^T P^-1 c (the Schur complement). An unused slot has 0; infinite where rounding leaves no telling.
    """
    if not bool(atoms.used.any()):
        return torch.zeros_like(atoms.omega)
    slots = atoms.slots
    windows, modes = slots.place.shape
    matrix = amplitude_matrix(atoms, samples, precise=True)
    matrix = matrix + matrix.tril(-1).transpose(1, 2)
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    scale = torch.where(diagonal > 0, diagonal.clamp(min=1e-300).rsqrt(), 0.0)
    matrix = matrix * scale[:, :, None] * scale[:, None]
    lifted = 1e-6 + (scale == 0).to(scale.dtype)
    inverse = torch.linalg.inv(matrix + torch.diag_embed(lifted)).view(windows, modes, 2, modes, 2)
    blocks = inverse.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)  # [G, K, 2, 2]
    amp = torch.view_as_real(slots.gather(atoms.amp)) / scale.view(windows, modes, 2).clamp(min=1e-150)
    gains = torch.einsum("gki,gkij,gkj->gk", amp, torch.linalg.inv(blocks), amp)
    return slots.spread(torch.where(gains >= 0, gains, torch.inf))


def cut(signal: Tensor, samples: Tensor) -> Tensor:
    """A signal `[G, B, N]` with zeros from `samples` `[G]` on, where the recording has ended."""
    length = signal.shape[1] * signal.shape[2]
    if bool((samples >= length).all()):
        return signal
    inside = torch.arange(length, device=signal.device).view(signal.shape[1:]) < samples[:, None, None]
    return signal * inside


def _cost(atoms: Atoms, windows: Windows, residual: Tensor) -> Tensor:
    """Energy of the residual and the restraint, float64 `[G]`."""
    own = mode_norms(atoms, windows.samples) * torch.view_as_real(atoms.amp).square().sum((-1, -2))
    return residual.square().sum((1, 2)) + windows.restraint * own.sum(1)


def _normal_equations(basis: Basis, residual: Tensor, windows: Windows, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """J^T r `[G, Q]` and J^T J `[G, Q, Q]`, the restraint in both."""
    atoms, slots = basis.atoms, basis.slots
    matrix = normal_matrix(atoms, windows.samples, pairs)
    slopes = gradient(basis, residual)
    norms = slots.of_atoms(windows.restraint[:, None] * mode_norms(atoms, windows.samples)) * slots.used
    norms = norms[..., None]  # [G, K, 1]
    strike = slopes[..., OF_MODE:].sum(2).flatten(1)
    own = slots.gather(slopes[..., :OF_MODE])
    own = torch.cat([own[..., :2] - norms * torch.view_as_real(slots.gather(atoms.amp)), own[..., 2:]], dim=-1)
    vector = torch.cat([strike, own.flatten(1)], dim=1)
    lift = torch.cat([norms, norms, torch.zeros_like(norms)], dim=-1).flatten(1)
    matrix.diagonal(dim1=1, dim2=2)[:, strike.shape[1] :] += lift
    return vector, matrix


@dataclass(frozen=True)
class Factor:
    """Cholesky factors of damped matrices `[G, Q, Q]` whose parameters were scaled so that the diagonal is 1."""

    lower: Tensor
    scale: Tensor

    def solve(self, vector: Tensor) -> Tensor:
        """The solutions `[G, Q]`, float64; 0 of a matrix that no damping makes positive definite."""
        right = (vector * self.scale)[..., None].to(self.lower.dtype)
        step = torch.cholesky_solve(right, self.lower)[..., 0] * self.scale.double()
        return step.nan_to_num(0.0, 0.0, 0.0)


def factor_of(matrix: Tensor, damping: Tensor) -> Factor:
    """Factors of matrices `[G, Q, Q]`, of which the lower triangle is taken, with dampings `[G]` on their diagonals.

    The damping is raised until the matrix is positive definite in floating point. The diagonal is held above rounding:
    an atom of which the window has hardly anything can get a negative one.
    """
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    floor = 1e-12 * diagonal.amax(1, keepdim=True).clamp(min=1e-24)
    scale = diagonal.clamp(min=floor).rsqrt()
    scaled = (matrix * scale[:, :, None]).mul_(scale[:, None])
    while True:
        scaled.diagonal(dim1=1, dim2=2).copy_((1.0 + damping)[:, None].expand_as(diagonal))
        lower, failed = torch.linalg.cholesky_ex(scaled)
        if not bool(failed.any()) or not bool(damping.isfinite().all()):
            return Factor(lower, scale)
        damping = torch.where(failed > 0, damping * MORE_DAMPING, damping)


def _move(atoms: Atoms, step: Tensor, bounds: Bounds) -> Atoms:
    count = atoms.onset.shape[1]
    shared = step[:, : OF_STRIKE * count].view(len(step), count, OF_STRIKE)  # ln d, ln attack, onset
    own = step[:, OF_STRIKE * count :].reshape(len(step), -1, OF_MODE)
    own = atoms.slots.spread(own)  # Re c, Im c, omega

    def moved(value: Tensor, change: Tensor, largest: float, within: tuple[float, float]) -> Tensor:
        return (value + change.clamp(-largest, largest)).clamp(*within)

    onset = atoms.onset + shared[..., 2].clamp(-MAX_STEP_ONSET, MAX_STEP_ONSET)
    onset = torch.minimum(torch.maximum(onset, bounds.earliest[:, None]), bounds.latest[:, None])
    omega = moved(atoms.omega, own[..., 2], MAX_STEP_OMEGA, bounds.omega)
    turn = omega * (onset - atoms.onset)[..., None]  # the carrier stays where it is
    return atoms.moved(
        onset=onset,
        log_damping=moved(atoms.log_damping, shared[..., 0], MAX_STEP_LOG, bounds.log_damping),
        log_attack=moved(atoms.log_attack, shared[..., 1], MAX_STEP_LOG, bounds.log_attack),
        omega=omega,
        amp=(atoms.amp + torch.complex(own[..., 0], own[..., 1])) * torch.polar(torch.ones_like(turn), turn),
    )
