"""Strikes, events and atoms drawn over the whole of their ranges, alike for the same seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsecli.core.columns import (
    AIR_BANDS,
    MAX_ATTACK_S,
    MIN_ATTACK_S,
    MIN_ONSET_S,
    MODES_PER_ATOM,
    NOISE_FREQ,
    SILENT_DB,
    VECTOR,
)
from sparsecli.core.events import Events, Header, events_from_columns
from sparsecli.engine.modal import Atoms
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


def draw_events(
    seed: int, count: int, duration_s: float, sample_rate: int, shortest_attack_s: float = 0.001, noise: bool = False
) -> Events:
    """Events of -40 to 0 dB from 0.2 s before the start to the end, a fifth of their slots unused.

    With `noise` two thirds of them have a burst, with a mode in its slot or without, and there is air of -60 to -40 dB
    a band.
    """
    draw = Draw(seed)
    columns = {
        "onset_s": draw.between(-0.2, duration_s, count),
        "attack_s": draw.ratios(shortest_attack_s, 0.3, count),
        "decay_s": draw.ratios(0.01, 10, count),
        "noise_level_db": draw.between(-50, -20, count),
    }
    noise_hz = draw.ratios(100, 8000, count)
    silent = draw.between(0, 1, count) > (2 / 3 if noise else 0)
    columns["noise_level_db"][silent] = SILENT_DB
    for slot in range(1, MODES_PER_ATOM + 1):
        mode = {
            "freq_hz": draw.ratios(30, 10_000, count),
            "level_db": draw.between(-40, 0, count),
            "phase_rad": draw.between(-3, 3, count),
        }
        unused = draw.between(0, 1, count) > 0.8
        for quantity, values in mode.items():
            name, _, unit = quantity.partition("_")
            values[unused] = SILENT_DB if name == "level" else 0.0
            columns[f"{name}{slot}_{unit}"] = values
    columns[NOISE_FREQ] = torch.where(silent, columns[NOISE_FREQ], noise_hz)
    frames = max(1, round(duration_s)) if noise else 0
    return events_from_columns(
        Header(duration_s=duration_s, sample_rate=sample_rate, seed=seed),
        {name: values.numpy() for name, values in columns.items()},
        draw.between(-60, -40, 1, frames, AIR_BANDS).numpy(),
    )


def draw_vectors(
    seed: int, count: int, duration_s: float = 2.0, sample_rate: int = 22050, channels: int = 1, **header: Any
) -> Events:
    """Events of kind `siam` of -40 to 0 dB with vectors of normal numbers, in the order of their onsets, without air.

    Their model's name is `tiny`, and its SHA-256 64 times `a`, unless told otherwise.
    """
    draw = Draw(seed)
    columns = {
        "onset_s": np.sort(draw.between(0.0, duration_s, count)),
        "gain_db": draw.between(-40, 0, count),
        "pan": draw.between(-1, 1, count),
        **dict(zip(VECTOR, np.random.default_rng(seed).standard_normal((len(VECTOR), count)), strict=True)),
    }
    known = {"kind": "siam", "model_name": "tiny", "model_sha256": "a" * 64, **header}
    made = Header(duration_s=duration_s, sample_rate=sample_rate, channels=channels, **known)
    return events_from_columns(made, columns, np.zeros((channels, 0, AIR_BANDS)))


def strikes(
    onset_s: Sequence[float],
    freq_hz: Sequence[float],
    level_db: float = -20.0,
    decay_s: float = 0.3,
    duration_s: float = 1.0,
    **header: Any,
) -> Events:
    """Events of one mode each, of 5 ms of attack; without air, and in two channels in the middle."""
    count, silent = len(onset_s), np.zeros(len(onset_s))
    columns = {name: silent for slot in range(1, MODES_PER_ATOM + 1) for name in (f"freq{slot}_hz", f"phase{slot}_rad")}
    columns |= {f"level{slot}_db": np.full(count, SILENT_DB) for slot in range(1, MODES_PER_ATOM + 1)}
    columns |= {"noise_level_db": np.full(count, SILENT_DB), "pan": silent}
    columns |= {"onset_s": np.array(onset_s), "attack_s": np.full(count, 0.005), "decay_s": np.full(count, decay_s)}
    columns |= {"freq1_hz": np.array(freq_hz), "level1_db": np.full(count, level_db)}
    known = Header(duration_s=duration_s, **{"sample_rate": 22050, **header})
    return events_from_columns(known, columns, np.zeros((known.channels, 0, AIR_BANDS)))


def draw_atoms(
    seed: int,
    count: int,
    samples: float,
    modes: int = 3,
    onset: tuple[float, float] = (-1000.0, 300.0),
    attack: tuple[float, float] = (4.4, 5000.0),
    decay: tuple[float, float] = (8.0, 60_000.0),
    omega: tuple[float, float] = (0.006, 3.09),
) -> Atoms:
    """Atoms `[1, count]` of a fit, in samples and radians a sample, over all that a fit at 22 050 Hz may reach.

    Onsets lie between `onset[0]` and `onset[1]` after `samples`; `decay` are times 1 / d. The first `modes` slots of
    each are in use; what stands in the others is nothing that may matter.
    """
    draw = Draw(seed)
    slots = (1, count, MODES_PER_ATOM)
    used = (torch.arange(MODES_PER_ATOM) < modes).expand(slots)
    return Atoms(
        onset=draw.between(onset[0], samples + onset[1], 1, count),
        log_attack=draw.ratios(*attack, 1, count).log(),
        log_damping=-draw.ratios(*decay, 1, count).log(),
        omega=draw.ratios(*omega, *slots),
        amp=torch.complex(draw.normal(*slots), draw.normal(*slots)) * used,
        used=used,
    )


def modes_of_atoms(atoms: Atoms) -> Modes:
    """Atoms `[1, A]` as strikes for a sample rate of 1."""
    return Modes(
        onset_s=atoms.onset[0],
        attack_s=atoms.log_attack[0].exp(),
        freq_hz=atoms.omega[0] / (2 * math.pi),
        decay_s=(math.log(1000) / atoms.log_damping[0].exp())[:, None].expand_as(atoms.omega[0]),
        amplitude=atoms.amp[0].abs(),
        phase_rad=atoms.amp[0].angle(),
    )
