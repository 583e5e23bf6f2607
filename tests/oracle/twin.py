"""The slow twin: the formulas of an atom as they stand on paper, a loop over strikes and modes in float64.

Every fast path is compared with it, in values and in gradients.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sparsecli.synth.modes import Modes
from sparsecli.synth.noise import Bursts, white_noise


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


def render_bursts_slowly(bursts: Bursts, samples: int, rate: int) -> Tensor:
    """w(t) = N E(u) e^{-d u} / max n(t) as docs/atom.md has it.

    Returns float64 `[samples]`.
    """
    out = torch.zeros(samples, dtype=torch.float64)
    for e in range(len(bursts.onset_s)):
        onset_s, attack_s, decay_s, level_db, centre_hz = (
            float(getattr(bursts, name)[e]) for name in ("onset_s", "attack_s", "decay_s", "level_db", "noise_hz")
        )
        damping = math.log(1000) / decay_s
        z = attack_s * damping
        peak = (2 / (2 + z)) ** 2 * (z / (2 + z)) ** z
        first = math.ceil(onset_s * rate)
        length = math.ceil((math.log(10**4) - math.log(peak)) / damping * rate)  # until e^{-d u} = 10^{-80 / 20} peak
        size = max(16, 2 ** math.ceil(math.log2(length)))
        freq_hz = torch.fft.fftfreq(size, 1 / rate, dtype=torch.float64).abs()
        band = torch.exp(-(9 / 2) * (freq_hz / centre_hz - 1) ** 2)
        beyond = math.sqrt(math.pi) * centre_hz / (3 * rate) * math.erfc(3 * (rate / 2 / centre_hz - 1))
        spectrum = torch.fft.fft(white_noise(bursts.seeds[e : e + 1], 0, size)[0].double())
        noise = torch.fft.ifft(spectrum * band).real / math.sqrt(float((band**2).mean()) + beyond)
        for i in range(max(first, 0), min(first + length, samples)):
            u = i / rate - onset_s
            envelope = (1 - math.exp(-u / attack_s)) ** 2 * math.exp(-damping * u) / peak
            out[i] += 10 ** (level_db / 20) * envelope * noise[i - first]
    return out
