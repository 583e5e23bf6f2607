"""Damped modes to sound: one strike sets several modes ringing.

    x(t) = sum_m A_m E(u) e^{-d_m u} cos(2 pi f_m u + phi_m),   u = t - onset >= 0,   E(u) = (1 - e^{-u / attack})^2

Never K oscillators on T samples: on blocks of N samples that begin with the first one after the onset,

    e^{(-d + i w) u} = e^{(-d + i w) (b N + lag)} e^{(-d + i w) n},   u = b N + lag + n,   0 <= lag, n; lag < 1 sample,

so an atom is a matrix product [B, 2 M] x [2 M, N] under its envelope. Atoms of like length are one batch, on blocks
that all share: each of those holds the end of one own block and the start of the next, a product [B, 4 M] x [4 M, N].
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.columns import NEPERS_PER_T60

BLOCK = 256  # samples; near the square root of a typical support, which balances the factors of the product
SUPPORT_DB = 80.0  # an atom ends where all its modes are this far under their peaks
BATCH_SAMPLES = 1 << 22  # of all atoms of a batch together; bounds memory to some tens of MB


@dataclass(frozen=True)
class Modes:
    """E strikes of M modes; any of the tensors may require gradients.

    Attributes:
        onset_s: float64 `[E]`.
        attack_s: `[E]`.
        freq_hz: `[E, M]`; a mode at or above the Nyquist frequency is silent.
        decay_s: `[E, M]`, T60; a mode of 0 is silent.
        amplitude: `[E, M]`, A of the formula; 0 for an unused slot.
        phase_rad: `[E, M]`.
    """

    onset_s: Tensor
    attack_s: Tensor
    freq_hz: Tensor
    decay_s: Tensor
    amplitude: Tensor
    phase_rad: Tensor

    def take(self, rows: Tensor) -> Modes:
        """The strikes at the indices `rows`."""
        return Modes(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def envelope_peak(attack_s: Tensor, decay_s: Tensor) -> Tensor:
    """Maximum over u of E(u) e^{-d u}, the ratio of a mode's audible peak to its amplitude A.

    With x = attack d the maximum lies at u = attack ln(1 + 2 / x) and is (2 / (2 + x))^2 (x / (2 + x))^x.

    >>> round(float(envelope_peak(torch.tensor(1e-9), torch.tensor(1.0))), 6)  # no attack: the peak is A
    1.0
    """
    x = attack_s * NEPERS_PER_T60 / decay_s.clamp(min=1e-9)
    return (2 / (2 + x)).square() * torch.exp(-x * torch.log1p(2 / x.clamp(min=1e-12)))


def support_s(attack_s: Tensor, decay_s: Tensor, fall_db: float = SUPPORT_DB) -> Tensor:
    """Seconds from the onset until E(u) e^{-d u} stays `fall_db` under its peak; 0 for a decay of 0. Shapes broadcast.

    As E <= 1, that is so once e^{-d u} = 10^{-fall_db / 20} peak.

    >>> round(float(support_s(torch.tensor(1e-9), torch.tensor(0.6))), 6)  # no attack: 80 dB at 60 dB in 0.6 s
    0.8
    """
    peak = envelope_peak(attack_s, decay_s).clamp(min=1e-30)
    nepers = fall_db * math.log(10) / 20 - torch.log(peak)  # from A, not from the peak
    return nepers * decay_s / NEPERS_PER_T60


def audible_samples(modes: Modes, sample_rate: int) -> Tensor:
    """Samples from the onset until all modes of a strike are 80 dB under their peaks, int64 `[E]`; 0 if none sounds."""
    with torch.no_grad():
        length_s = support_s(modes.attack_s[:, None], modes.decay_s, SUPPORT_DB)
        sounding = (modes.amplitude != 0) & (modes.decay_s > 0) & (modes.freq_hz < sample_rate / 2)
        return torch.where(sounding, length_s * sample_rate, 0.0).amax(-1).ceil().long()


def render_modes(modes: Modes, samples: int, sample_rate: int, start: int = 0, gains: Tensor | None = None) -> Tensor:
    """The sum of all strikes over `[start, start + samples)`.

    Args:
        modes: E strikes.
        samples: length of the result.
        sample_rate: in Hz.
        start: first sample; rendering in pieces equals rendering whole.
        gains: `[channels, E]`, what of each strike goes to each channel; None for one channel that takes all.

    Returns:
        float32 `[samples]`, or `[channels, samples]` where gains are given, on the device of `modes`.

    Shape:
        - Input: E strikes `[E]` and `[E, M]`
        - Output: `[samples]` or `[channels, samples]`
    """
    grid = _grid(samples, start)
    channels = 1 if gains is None else len(gains)
    outs = [torch.zeros(len(grid), BLOCK, device=modes.onset_s.device) for _ in range(channels)]
    for rows, place, inside, sound in _sounds(modes, grid, sample_rate):
        for channel, out in enumerate(outs):
            heard = sound if gains is None else sound * gains[channel, rows].to(sound.dtype)[:, None, None]
            outs[channel] = out.index_add(0, place[inside], heard[inside])
    cut = [out.flatten()[start - grid.start * BLOCK :][:samples] for out in outs]
    return cut[0] if gains is None else torch.stack(cut)


def render_each(modes: Modes, samples: int, sample_rate: int, start: int = 0) -> Tensor:
    """Each strike by itself over `[start, start + samples)`, float32 `[E, samples]`: `render_modes` before the sum."""
    grid = _grid(samples, start)
    out = torch.zeros(len(modes.onset_s), len(grid), BLOCK, device=modes.onset_s.device)
    for rows, place, inside, sound in _sounds(modes, grid, sample_rate):
        out[rows[:, None].expand_as(place)[inside], place[inside]] = sound[inside]
    return out.flatten(1)[:, start - grid.start * BLOCK :][:, :samples]


def _grid(samples: int, start: int) -> range:
    """The blocks of the file's grid that hold the samples `[start, start + samples)`."""
    return range(start // BLOCK, -(-(start + samples) // BLOCK))


def _sounds(modes: Modes, grid: range, sample_rate: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Batches of strikes on a grid.

    Yields:
        rows `[e]` of the strikes, the blocks `[e, width]` of the grid on which they lie, which of these are inside the
        grid and audible `[e, width]`, and the sound `[e, width, N]` there.
    """
    device, grid_start, blocks = modes.onset_s.device, grid.start, len(grid)
    length = audible_samples(modes, sample_rate)
    onset = (modes.onset_s.detach() * sample_rate).floor().long()
    first = torch.div(onset, BLOCK, rounding_mode="floor").clamp(min=grid_start)
    last = torch.div(onset + length, BLOCK, rounding_mode="floor").clamp(max=grid_start + blocks - 1)
    count = torch.where(length > 0, last - first + 1, 0).clamp(min=0)  # blocks to render  [E]
    for rows, width in _batches(count):
        sound = _render_batch(modes.take(rows), first[rows], width, sample_rate)  # [e, width, N]
        place = first[rows][:, None] - grid_start + torch.arange(width, device=device)  # [e, width]
        inside = (place < blocks) & (place < first[rows][:, None] - grid_start + count[rows][:, None])
        yield rows, place, inside, sound


def _batches(count: Tensor) -> list[tuple[Tensor, int]]:
    """Indices of strikes of like length with the blocks each batch renders; lengths are rounded up to powers of two."""
    batches = []
    widths = torch.where(count > 0, 2 ** count.clamp(min=1).double().log2().ceil(), 0).long()
    for width in sorted(set(widths.tolist()) - {0}):
        rows = torch.nonzero(widths == width)[:, 0]
        size = max(1, BATCH_SAMPLES // (width * BLOCK))
        batches += [(chunk, min(width, int(count[chunk].max()))) for chunk in torch.split(rows, size)]
    return batches


def _render_batch(modes: Modes, first: Tensor, width: int, sample_rate: int) -> Tensor:
    """Sound of each strike on `width` blocks from its block `first`, float32 `[E, width, N]`."""
    device = first.device
    n = torch.arange(BLOCK, device=device)
    onset = modes.onset_s.double() * sample_rate
    head = onset.detach().ceil().long()  # first sample at or after the onset
    lead = torch.remainder(head, BLOCK)[:, None]  # of the own blocks against the shared ones  [E, 1]
    own = (first * BLOCK)[:, None] + lead + torch.arange(-1, width, device=device) * BLOCK  # starts  [E, width + 1]
    since = (own - onset[:, None])[..., None]  # [E, width + 1, 1], float64
    begun = own[..., None] >= head[:, None, None]
    since = torch.where(begun, since, 0.0)
    omega = 2 * math.pi * modes.freq_hz.double() / sample_rate  # [E, M]
    damping = NEPERS_PER_T60 / (modes.decay_s.double() * sample_rate).clamp(min=1e-9)
    silent = (modes.freq_hz >= sample_rate / 2) | (modes.decay_s <= 0)
    amplitude = torch.where(silent, 0.0, modes.amplitude).float()
    turn = torch.remainder(omega[:, None] * since + modes.phase_rad.double()[:, None], 2 * math.pi).float()
    fade = torch.exp(-damping[:, None] * since).float() * (amplitude[:, None] * begun)  # [E, width + 1, M]
    left = torch.cat([fade * torch.cos(turn), fade * -torch.sin(turn)], dim=-1)  # [E, width + 1, 2M]
    within = torch.remainder(n - lead, BLOCK)[:, None]  # place in the own block of each n  [E, 1, N]
    swing = torch.remainder(omega[..., None] * within, 2 * math.pi).float()  # [E, M, N]
    inner = torch.exp(-damping[..., None] * within).float()
    right = torch.cat([inner * torch.cos(swing), inner * torch.sin(swing)], dim=1)  # [E, 2M, N]
    next_one = (n >= lead)[:, None]  # [E, 1, N]
    sound = torch.bmm(
        torch.cat([left[:, :-1], left[:, 1:]], dim=-1), torch.cat([right * ~next_one, right * next_one], dim=1)
    )  # [E, width, N]
    start = (first[:, None] + torch.arange(width, device=device)) * BLOCK - onset[:, None]  # [E, width]
    elapsed = (start[..., None] + n).clamp(min=0).float()  # [E, width, N]
    return sound * torch.expm1(-elapsed / (modes.attack_s * sample_rate).float()[:, None, None]).square()
