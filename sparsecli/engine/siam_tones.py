"""Further tones of a strike: the strongest peaks of the residual's spectrum under its envelope."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ..core.columns import MODES_PER_ATOM
from .modal import Atoms

DECAY_TIMES = 3.5  # of the window; what is left then has a thousandth of the energy
LONGEST = 1 << 16  # samples of a window
AT_ONCE = 1 << 22  # numbers of spectra that are worked together


def give_tones(residual: Tensor, atoms: Atoms, low: float, high: float) -> Atoms:
    """The atoms with the tones that explain most under their onsets, attacks and decays beside the one they have.

    For an envelope w the tone at frequency w explains 2 |sum r w e^{-i w u}|^2 / sum w^2, as in `search.py`; tones of
    one strike lie at least the width of the envelope's spectrum apart.

    Args:
        residual: float32 `[T]`.
        atoms: `[1, n]` with one tone each in the first slot; amplitudes stay 0.
        low: lowest frequency, radians a sample.
        high: highest frequency.
    """
    if not atoms.onset.shape[1]:
        return atoms
    damping, attack = atoms.log_damping[0].exp(), atoms.log_attack[0].exp()
    lengths = (DECAY_TIMES / damping + 3 * attack).clamp(64, LONGEST)
    lengths = torch.minimum(lengths, len(residual) - atoms.onset[0]).clamp(min=64.0)
    sizes = torch.pow(2.0, torch.ceil(torch.log2(lengths)) + 1).long()  # twice the window: finer bins
    omega, used = atoms.omega.clone(), atoms.used.clone()
    for size in torch.unique(sizes).tolist():
        rows = torch.nonzero(sizes == size)[:, 0]
        for part in torch.split(rows, max(1, AT_ONCE // size)):
            found, sounding = _tones_of(residual, atoms.columns(part), lengths[part], size, low, high)
            omega[0, part], used[0, part] = found, sounding
    return replace(atoms, omega=omega, used=used)


def _tones_of(
    residual: Tensor, atoms: Atoms, lengths: Tensor, size: int, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """Frequencies of four tones `[n, 4]`, the given one first, and which of them there are."""
    onset, damping = atoms.onset[0], atoms.log_damping[0].exp()
    half = size // 2
    first = torch.floor(onset).long()
    padded = torch.nn.functional.pad(residual, (max(0, -int(first.min())), half + 1))
    places = first + max(0, -int(first.min()))
    n = torch.arange(half, device=residual.device)
    u = (n - (onset - first)[:, None]).clamp(min=0.0).float()  # [n, half]
    envelope = torch.expm1(-u * torch.exp(-atoms.log_attack[0]).float()[:, None]).square()
    envelope *= torch.exp(-u * damping.float()[:, None]) * (n < lengths[:, None])
    spectrum = torch.fft.rfft(padded[places[:, None] + n] * envelope, n=size)
    gain = torch.view_as_real(spectrum).square().sum(-1)  # [n, bins]
    lowest, highest = max(2, math.ceil(low * size / (2 * math.pi))), int(high * size / (2 * math.pi)) + 1
    gain[:, :lowest], gain[:, highest:] = 0.0, 0.0
    bins = torch.arange(gain.shape[1], device=gain.device)
    width = ((2 * damping + 2 * math.pi / lengths) * size / (2 * math.pi)).clamp(min=3.0)
    omega = atoms.omega[0].clone()
    taken = torch.where((bins - (omega[:, :1] * size / (2 * math.pi))).abs() < width[:, None], 0.0, gain)
    sounding = torch.ones_like(omega, dtype=torch.bool)
    rows = torch.arange(len(gain), device=gain.device)
    for slot in range(1, MODES_PER_ATOM):
        best = taken.argmax(1).clamp(1, gain.shape[1] - 2)
        left, top, right = (gain[rows, best + step].double().clamp(min=1e-30).log() for step in (-1, 0, 1))
        bend = (left - 2 * top + right).clamp(max=-1e-9)
        offset = ((left - right) / (2 * bend)).clamp(-0.5, 0.5)
        omega[:, slot] = (best + offset) * (2 * math.pi / size)
        sounding[:, slot] = taken[rows, best] > 0
        taken = torch.where((bins - best[:, None]).abs() < width[:, None], 0.0, taken)
    return omega, sounding
