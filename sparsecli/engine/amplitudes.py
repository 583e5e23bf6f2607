"""All amplitudes of a recording solved at once: linear least squares by preconditioned conjugate gradients.

Sounds and correlations run over the whole recording, so that an atom answers for its tail too. What the gradient is
preconditioned with are the normal matrices of neighbours in onset, which makes few steps enough (Hestenes and Stiefel
1952).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..dsp.parallel import side_by_side
from .modal import BLOCK, Atoms, Basis, Slots, amplitude_matrix, gradient, mode_norms
from .refine import Factor, factor_of

PART = 64  # atoms, neighbours in onset, whose normal matrix is known
SPAN = 512  # blocks that are rendered or correlated together
TAIL_NEPERS = 11.5  # a tail is carried on until it is 100 dB down
RIDGE = 1e-6


@dataclass(frozen=True)
class Span:
    """Atoms that sound in the blocks `[begin, end)`: their places `rows` in a set."""

    rows: Tensor
    begin: int
    end: int


def solve_all(atoms: Atoms, residual: Tensor, samples: int, restraint: float, steps: int) -> tuple[Atoms, Tensor]:
    """Atoms with amplitudes that leave less of a recording.

    Args:
        atoms: `[1, A]`, onsets in samples from its start.
        residual: float64 `[B, N]`, what the atoms leave of it now.
        samples: its length.
        restraint: share of a mode's own energy that is added to the cost.
        steps: of conjugate gradients.

    Returns:
        The atoms, and what they leave then.
    """
    parts = _parts(atoms)
    if not parts:
        return atoms, residual
    spans = [span for rows in parts for span in spans_of(atoms, rows, len(residual))]
    whole = torch.tensor([samples], device=residual.device)
    held = (restraint * mode_norms(atoms, whole))[0, :, None, None]  # [A, 1, 1]
    factors = side_by_side(lambda rows: _factor(atoms, rows, samples, restraint), parts)
    amp = torch.view_as_real(atoms.amp[0])  # [A, M, 2]

    def downhill(residual: Tensor, amp: Tensor) -> Tensor:
        return _correlate(atoms, spans, residual) - held * amp

    def preconditioned(slope: Tensor) -> Tensor:
        def solved(part: tuple[Tensor, tuple[Slots, Factor]]) -> Tensor:
            rows, (slots, factor) = part
            step = factor.solve(slots.gather(slope[rows][None]).flatten(1))
            return slots.spread(step.view(len(step), -1, 2))[0]

        steps = side_by_side(solved, list(zip(parts, factors, strict=True)))
        return slope.index_copy(0, torch.cat(parts), torch.cat(steps))

    slope = downhill(residual, amp)
    direction = preconditioned(slope)
    fall = (slope * direction).sum()
    for _ in range(steps):
        sound = _render(replace(atoms, amp=_complex(direction)), spans, len(residual))
        sound.flatten()[samples:] = 0.0
        curvature = sound.square().sum() + (held * direction.square()).sum()
        if not float(curvature) > 0:
            break
        size = fall / curvature
        amp, residual = amp + size * direction, residual - size * sound
        slope = downhill(residual, amp)
        better = preconditioned(slope)
        before, fall = fall, (slope * better).sum()
        direction = better + (fall / before) * direction
    return replace(atoms, amp=_complex(amp)), residual


def spans_of(atoms: Atoms, rows: Tensor, blocks: int) -> Iterator[Span]:
    """The blocks of a recording in which the atoms at `rows` sound, without those that have faded."""
    faded = torch.ceil((atoms.onset[0] + TAIL_NEPERS * torch.exp(-atoms.log_damping[0])) / BLOCK)
    begin = max(0, int(torch.floor(atoms.onset[0, rows].min() / BLOCK)))
    while len(rows) and begin < blocks:
        end = min(begin + SPAN, blocks, max(begin + 1, int(faded[rows].max())))
        yield Span(rows, begin, end)
        rows, begin = rows[faded[rows] > end], end


def sound_of(atoms: Atoms, blocks: int) -> Tensor:
    """The sound of atoms `[1, A]`, float64 `[blocks, N]`."""
    return _render(atoms, [span for rows in _parts(atoms) for span in spans_of(atoms, rows, blocks)], blocks)


def _parts(atoms: Atoms) -> list[Tensor]:
    """Places of neighbours in onset."""
    return [rows for rows in torch.split(torch.argsort(atoms.onset[0], stable=True), PART) if len(rows)]


def _render(atoms: Atoms, spans: list[Span], blocks: int) -> Tensor:
    sounds = side_by_side(lambda span: _basis(atoms, span).render()[0], spans)
    out = torch.zeros(blocks, BLOCK, dtype=torch.float64, device=atoms.onset.device)
    for span, sound in zip(spans, sounds, strict=True):
        out[span.begin : span.end] += sound
    return out


def _correlate(atoms: Atoms, spans: list[Span], residual: Tensor) -> Tensor:
    """Slope of minus half the residual's energy over the amplitudes, `[A, M, 2]`."""

    def slope(span: Span) -> Tensor:
        return gradient(_basis(atoms, span), residual[None, span.begin : span.end])[0, ..., :2]

    out = torch.zeros(*atoms.omega.shape[1:], 2, dtype=torch.float64, device=residual.device)
    for span, part in zip(spans, side_by_side(slope, spans), strict=True):
        out[span.rows] += part
    return out


def _complex(amp: Tensor) -> Tensor:
    """Amplitudes `[A, M, 2]` as those of a set of atoms, complex128 `[1, A, M]`."""
    return torch.view_as_complex(amp.contiguous())[None]


def _basis(atoms: Atoms, span: Span) -> Basis:
    return Basis(atoms.columns(span.rows).shift(-span.begin * BLOCK), span.end - span.begin)


def _factor(atoms: Atoms, rows: Tensor, samples: int, restraint: float) -> tuple[Slots, Factor]:
    """Where the modes of the atoms at `rows` stand, and the factor of their normal matrix."""
    part = atoms.columns(rows)
    matrix = amplitude_matrix(part, torch.tensor([samples], device=rows.device))
    matrix.diagonal(dim1=1, dim2=2).mul_(1.0 + restraint)
    return part.slots, factor_of(matrix, torch.full((1,), RIDGE, dtype=torch.float64, device=rows.device))
