"""Further tones of a strike: the strongest peaks of the residual's spectrum under its envelope."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ..core.columns import MODES_PER_ATOM
from ..dsp.parallel import side_by_side
from .modal import Atoms

DECAY_TIMES = 3.5  # of the window; what is left then has a thousandth of the energy
LONGEST = 1 << 16  # samples of a window
AT_ONCE = 1 << 20  # numbers of spectra that are worked together


def give_tones(residual: Tensor, atoms: Atoms, low: float, high: float) -> tuple[Atoms, Tensor]:
    """The atoms with those tones in their empty slots that explain most under their onsets, attacks and decays.

    For an envelope w the tone at frequency w explains 2 |sum r w e^{-i w u}|^2 / sum w^2, as in `search.py`; tones of
    one strike lie at least the width of the envelope's spectrum apart.

    Args:
        residual: float32 `[T]`.
        atoms: `[1, n]`.
        low: lowest frequency, radians a sample.
        high: highest frequency.

    Returns:
        The atoms with four tones each, the new ones without amplitude, and the energy that each tone explains of the
        residual by itself, float32 `[n, 4]`.
    """
    gains = torch.zeros(atoms.omega.shape[1:], device=residual.device)
    if not atoms.onset.shape[1]:
        return atoms, gains
    damping, attack = atoms.log_damping[0].exp(), atoms.log_attack[0].exp()
    lengths = (DECAY_TIMES / damping + 3 * attack).clamp(64, LONGEST)
    lengths = torch.minimum(lengths, len(residual) - atoms.onset[0]).clamp(min=64.0)
    sizes = torch.pow(2.0, torch.ceil(torch.log2(lengths)) + 1).long()  # twice the window: finer bins
    omega = atoms.omega.clone()
    parts = [
        (size, part)
        for size in torch.unique(sizes).tolist()
        for part in torch.split(torch.nonzero(sizes == size)[:, 0], max(1, AT_ONCE // size))
    ]

    def found(one: tuple[int, Tensor]) -> tuple[Tensor, Tensor]:
        size, part = one
        return _tones_of(residual, atoms.columns(part), lengths[part], size, low, high)

    for (_, part), (freqs, energies) in zip(parts, side_by_side(found, parts), strict=True):
        omega[0, part], gains[part] = freqs, energies
    return replace(atoms, omega=omega, used=torch.ones_like(atoms.used)), gains


def _tones_of(
    residual: Tensor, atoms: Atoms, lengths: Tensor, size: int, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """Frequencies of four tones `[n, 4]`, each in its slot, and the energies that they explain."""
    gain = _gains(residual, atoms, lengths, size)
    lowest, highest = max(2, math.ceil(low * size / (2 * math.pi))), int(high * size / (2 * math.pi)) + 1
    gain[:, :lowest], gain[:, highest:] = 0.0, 0.0
    bins = torch.arange(gain.shape[1], device=gain.device)
    rows = torch.arange(len(gain), device=gain.device)
    width = 2 * atoms.log_damping[0].exp() + 2 * math.pi / lengths
    width = (width * size / (2 * math.pi)).clamp(min=3.0)[:, None]
    omega, used = atoms.omega[0].clone(), atoms.used[0]
    at = omega * (size / (2 * math.pi))  # in bins
    gains = gain.gather(1, at.round().long().clamp(0, gain.shape[1] - 1))
    # Only peaks: the skirts of a loud tone are higher than a quiet one elsewhere.
    inner = gain[:, 1:-1]
    left = torch.nn.functional.pad(torch.where((inner >= gain[:, :-2]) & (inner >= gain[:, 2:]), inner, 0.0), (1, 1))
    for slot in range(MODES_PER_ATOM):
        left = torch.where(used[:, slot, None] & ((bins - at[:, slot, None]).abs() < width), 0.0, left)
    for slot in range(MODES_PER_ATOM):
        best = left.argmax(1).clamp(1, gain.shape[1] - 2)
        lower, top, upper = (gain[rows, best + step].double().clamp(min=1e-30).log() for step in (-1, 0, 1))
        bend = (lower - 2 * top + upper).clamp(max=-1e-9)
        offset = ((lower - upper) / (2 * bend)).clamp(-0.5, 0.5)  # the vertex of a parabola through three logarithms
        empty = ~used[:, slot]
        omega[:, slot] = torch.where(empty, (best + offset) * (2 * math.pi / size), omega[:, slot])
        gains[:, slot] = torch.where(empty, left[rows, best], gains[:, slot])
        left = torch.where(empty[:, None] & ((bins - best[:, None]).abs() < width), 0.0, left)
    return omega, gains


def _gains(residual: Tensor, atoms: Atoms, lengths: Tensor, size: int) -> Tensor:
    """Energy that a tone of each frequency explains under the envelopes of atoms, float32 `[n, size / 2 + 1]`."""
    onset, half = atoms.onset[0], size // 2
    first = torch.floor(onset).long()
    lead = max(0, -int(first.min()))
    padded = torch.nn.functional.pad(residual, (lead, half + 1))
    n = torch.arange(half, device=residual.device)
    u = (n - (onset - first)[:, None]).clamp(min=0.0).float()  # [n, half]
    envelope = torch.expm1(-u * torch.exp(-atoms.log_attack[0]).float()[:, None]).square()
    envelope *= torch.exp(-u * atoms.log_damping[0].exp().float()[:, None]) * (n < lengths[:, None])
    spectrum = torch.fft.rfft(padded.unfold(0, half, 1)[first + lead] * envelope, n=size)
    norm = envelope.square().sum(1, keepdim=True).clamp(min=1e-9)
    return torch.view_as_real(spectrum).square().sum(-1) * (2 / norm)
