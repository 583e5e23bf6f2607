"""Strikes drawn over the whole of their ranges, alike for the same seed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sparsecli.core.columns import MAX_ATTACK_S, MIN_ATTACK_S, MIN_ONSET_S
from sparsecli.synth.modes import Modes, envelope_peak

SHORTEST_DECAY_S, LONGEST_DECAY_S = 1e-3, 100.0


class Draw:
    """Numbers of a seed, float64."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def between(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=self.generator, dtype=torch.float64)

    def ratios(self, low: float, high: float, *shape: int) -> Tensor:
        """Equally often in each octave."""
        return torch.exp(self.between(math.log(low), math.log(high), *shape))

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)


def draw_modes(seed: int, strikes: int, duration_s: float, sample_rate: int, slots: int = 3) -> Modes:
    """Strikes from 2 s before the start to 1 s after the end, of -40 to 0 dB; a third of the modes above Nyquist.

    A fifth of the slots are unused: zeros, as in an events file.
    """
    draw = Draw(seed)
    attack_s = draw.ratios(MIN_ATTACK_S, MAX_ATTACK_S, strikes)
    decay_s = draw.ratios(SHORTEST_DECAY_S, LONGEST_DECAY_S, strikes, slots)
    level_db = draw.between(-40, 0, strikes, slots)
    used = draw.between(0, 1, strikes, slots) < 0.8
    amplitude = 10 ** (level_db / 20) / envelope_peak(attack_s[:, None], decay_s)
    return Modes(
        onset_s=draw.between(MIN_ONSET_S, duration_s + 1, strikes),
        attack_s=attack_s,
        freq_hz=draw.ratios(20, 2 * sample_rate, strikes, slots) * used,
        decay_s=decay_s * used,
        amplitude=amplitude * used,
        phase_rad=draw.between(-math.pi, math.pi, strikes, slots) * used,
    )
