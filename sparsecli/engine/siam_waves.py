"""What the eye says as waves, how much of a band they explain, and a few Gauss-Newton steps that make them exact."""

from __future__ import annotations

import torch
from torch import Tensor

from ..models.siam import LOOKS_AT

BEFORE = 1.5  # lengths of the window that a band begins before the middle of the window
BLOCKS = 64  # of a window
STEPS = 6

NUDGE = 2e-3  # of a parameter, by which its slope is taken
FURTHEST = (0.25, 0.7, 0.7, 0.8)  # that a step moves onset, ln attack, ln 1/d and frequency
DAMPING, LESS, MORE = 1e-2, 0.3, 8.0


def waves_of(said: Tensor) -> Tensor:
    """The modes that the eye says, on the points of their bands, complex `[K, 256]`: E(u) e^{-d u} e^{i w u}.

    Taken in the middle of the part of each block after the onset, times the share of the block that this part is, so
    that it has a slope where the onset moves.

    Args:
        said: `[K, >= 4]`, as `Siam` gives it: onset in L, ln attack / L, ln 1/d / L, radians in L.
    """
    onset, attack, ring, turn = said[:, :4].unsqueeze(-1).unbind(1)  # [K, 1]
    end = (torch.arange(LOOKS_AT, device=said.device, dtype=said.dtype) + 1) / BLOCKS - BEFORE - onset
    part = (end * BLOCKS).clamp(0.0, 1.0)
    u = (end - 0.5 * part / BLOCKS).clamp(min=0.0)
    envelope = (-torch.expm1(-u * torch.exp(-attack))).square() * torch.exp(-u * torch.exp(-ring)) * part
    return torch.polar(envelope, turn * u)


def shares_of(bands: Tensor, said: Tensor) -> Tensor:
    """Energy that modes explain of bands when their amplitudes are solved, float `[K]`, in units of the peak's.

    |<r, w>|^2 / <w, w> times what the wave under the Hann window of the peak explains itself.
    """
    waves = waves_of(said)
    product = torch.view_as_real((bands * waves.conj()).sum(1)).square().sum(1)
    norm = torch.view_as_real(waves).square().sum((1, 2)).clamp(min=1e-6)
    return product / norm / _HANN_NORM


_HANN_NORM = BLOCKS / 1.5  # (sum h)^2 / sum h^2 of a Hann window of 64 points, for a peak of 1


def sharpen(bands: Tensor, said: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Answers that explain more of their bands, amplitudes solved (variable projection; Golub and Pereyra 1973).

    With c w the best multiple of a wave w(theta), the slopes c dw/dtheta lose what is along w, which the amplitude
    takes care of (Kaufman 1975), and the step solves (J^T J + lambda diag) delta = J^T (r - c w). A step that explains
    less is not taken.

    Args:
        bands: complex64 `[K, 256]`.
        said: float32 `[K, 4]`.
        steps: at most.

    Returns:
        Answers `[K, 4]` and the shares `[K]` that they explain.
    """
    damping = torch.full_like(said[:, 0], DAMPING)
    share = shares_of(bands, said)
    furthest = torch.tensor(FURTHEST, dtype=said.dtype, device=said.device)
    for _ in range(steps):
        wave = waves_of(said)  # [K, 256]
        norm = wave.abs().square().sum(1).clamp(min=1e-9)
        amplitude = (bands * wave.conj()).sum(1) / norm
        left = bands - amplitude[:, None] * wave
        slopes = torch.stack([waves_of(said + nudge) - wave for nudge in NUDGE * torch.eye(4, device=said.device)], 1)
        slopes = slopes / NUDGE  # [K, 4, 256]
        along = (slopes * wave.conj()[:, None]).sum(2) / norm[:, None]
        slopes = (slopes - along[..., None] * wave[:, None]) * amplitude[:, None, None]
        matrix = torch.matmul(slopes, slopes.mH).real
        vector = (slopes.conj() * left[:, None]).sum(2).real
        diagonal = matrix.diagonal(dim1=1, dim2=2).clamp(min=1e-6)
        matrix = matrix + torch.diag_embed(diagonal * damping[:, None] + 1e-6)
        step = torch.linalg.solve_ex(matrix, vector[..., None])[0][..., 0].nan_to_num(0.0, 0.0, 0.0)
        trial = said + torch.minimum(torch.maximum(step, -furthest), furthest)
        found = shares_of(bands, trial)
        better = found > share
        said = torch.where(better[:, None], trial, said)
        share = torch.where(better, found, share)
        damping = (damping * torch.where(better, LESS, MORE)).clamp(1e-4, 1e4)
    return said, share
