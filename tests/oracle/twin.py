"""The slow twin: the formulas of an atom as they stand on paper, a loop over strikes and modes in float64.

Every fast path is compared with it, in values and in gradients.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sparsecli.synth.modes import Modes


def render_slowly(modes: Modes, samples: int, sample_rate: int, start: int = 0) -> Tensor:
    """x(t) = sum_m A_m E(u) e^{-d_m u} cos(2 pi f_m u + phi_m), u = t - onset >= 0, E(u) = (1 - e^{-u / attack})^2.

    Returns float64 `[samples]`; differentiable in all of `modes`.
    """
    out = torch.zeros(samples, dtype=torch.float64)
    time_s = (start + torch.arange(samples, dtype=torch.float64)) / sample_rate
    for e in range(len(modes.onset_s)):
        sounding = time_s >= modes.onset_s[e]
        u = torch.where(sounding, time_s - modes.onset_s[e], 0.0)  # E(0) = 0
        envelope = (1 - torch.exp(-u / modes.attack_s[e])).square()
        for m in range(modes.freq_hz.shape[1]):
            if modes.freq_hz[e, m] >= sample_rate / 2 or modes.decay_s[e, m] == 0:
                continue
            damping = math.log(1000) / modes.decay_s[e, m]  # nepers a second: 60 dB in decay_s
            turn = 2 * math.pi * modes.freq_hz[e, m] * u + modes.phase_rad[e, m]
            out = out + modes.amplitude[e, m] * envelope * torch.exp(-damping * u) * torch.cos(turn)
    return out
