"""Sounds to learn from whose events are known: scenes of the own renderer, and fits of recordings."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..core.columns import NEPERS_PER_T60, SILENT_DB
from ..core.events import Events
from ..models.siam import MEAN, SPREAD, VECTOR, SiamShape, Strikes, strikes_of
from ..synth.modes import envelope_peak
from .amplitudes import sound_of
from .modal import BLOCK, Atoms, no_atoms

SCENE_S = 4.0
MOST_STRIKES = 160  # of a scene; the fewest are one
GAIN_DB = (-50.0, -6.0)
FLOOR_DB = (-90.0, -40.0)  # of the noise under a scene


@dataclass(frozen=True)
class Excerpt:
    """A sound, and the atoms that it is made of where they are known.

    Attributes:
        samples: float32 `[T]` at the model's rate.
        atoms: `[1, A]`, onsets in samples; None where nobody knows.
    """

    samples: Tensor
    atoms: Atoms | None = None


def draw_scene(shape: SiamShape, draw: torch.Generator, bank: Strikes | None = None) -> Excerpt:
    """Strikes at random times over a floor of noise.

    Args:
        shape: of the model that is to learn from it.
        draw: where chance comes from.
        bank: strikes of fits, which are transposed, stretched and mixed; None: strikes drawn from `MEAN` and `SPREAD`.
    """
    rate = shape.sample_rate
    samples = int(SCENE_S * rate)
    count = int(math.exp(_uniform(draw, 0.0, math.log(MOST_STRIKES))))
    strikes = draw_strikes(count, draw, bank)
    onset_s = torch.rand(count, generator=draw, dtype=torch.float64) * (SCENE_S + 0.5) - 0.5
    middle, spread = _uniform(draw, *GAIN_DB), _uniform(draw, 0.0, 12.0)
    gain_db = middle + spread * torch.randn(count, generator=draw, dtype=torch.float64)
    atoms = atoms_from(strikes, onset_s, gain_db, rate)
    sound = sound_of(atoms, -(-samples // BLOCK)).flatten()[:samples]
    floor = 10 ** (_uniform(draw, *FLOOR_DB) / 20)
    noise = torch.randn(samples, generator=draw)
    smooth = torch.nn.functional.avg_pool1d(noise[None], 5, stride=1, padding=2)[0]  # darker than white
    return Excerpt(sound.float() + floor * smooth, atoms)


def draw_strikes(count: int, draw: torch.Generator, bank: Strikes | None = None) -> Strikes:
    """So many strikes, out of a bank and varied, or drawn from `MEAN` and `SPREAD`."""
    if bank is None or not len(bank.attack_s):
        return strikes_of(torch.randn(count, VECTOR, generator=draw, dtype=torch.float64))
    rows = torch.randint(len(bank.attack_s), (count,), generator=draw)
    return _varied(Strikes(*(getattr(bank, name)[rows] for name in Strikes.__dataclass_fields__)), draw)


def _varied(strikes: Strikes, draw: torch.Generator) -> Strikes:
    """The same strikes at other pitches, lengths and phases."""
    count = len(strikes.attack_s)

    def spread(octaves: float) -> Tensor:
        return torch.exp2(octaves * (2 * torch.rand(count, generator=draw, dtype=torch.float64) - 1))

    length = spread(1.0)
    return replace(
        strikes,
        attack_s=strikes.attack_s * length * spread(0.5),
        decay_s=strikes.decay_s * length * spread(0.5),
        freq_hz=strikes.freq_hz * spread(1.0)[:, None],
        phase_rad=strikes.phase_rad
        + 2 * math.pi * torch.rand(strikes.phase_rad.shape, generator=draw, dtype=torch.float64),
    )


def _uniform(draw: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=draw))


def atoms_from(strikes: Strikes, onset_s: Tensor, gain_db: Tensor, rate: int) -> Atoms:
    """Atoms `[1, E]` of the tones of strikes, onsets in samples of `rate` Hz; tones beyond its band are left out."""
    attack_s = strikes.attack_s.clamp(2e-4, 5.0)
    decay_s = strikes.decay_s.clamp(2e-3, 120.0)
    used = (strikes.level_db > SILENT_DB) & (strikes.freq_hz < 0.49 * rate) & (strikes.freq_hz > 15.0)
    level = torch.pow(10.0, (strikes.level_db + gain_db[:, None]) / 20) / envelope_peak(attack_s, decay_s)[:, None]
    amp = torch.where(used, torch.polar(level, strikes.phase_rad), torch.zeros_like(level).to(torch.complex128))
    return replace(
        no_atoms(1, len(onset_s)),
        onset=(onset_s * rate)[None],
        log_attack=(attack_s * rate).clamp(min=1.0).log()[None],
        log_damping=(NEPERS_PER_T60 / (decay_s * rate)).log()[None],
        omega=torch.where(used, strikes.freq_hz * (2 * math.pi / rate), 1.0)[None],
        amp=amp[None],
        used=used[None],
    ).packed()


def strikes_of_events(events: Events) -> tuple[Strikes, Tensor, Tensor]:
    """Strikes without noise, onsets in seconds and gains in dB of events of kind `atoms`; those without tones not."""
    level_db = torch.from_numpy(events.modes("level_db"))
    slots = torch.argsort(level_db, dim=1, descending=True, stable=True)
    level_db = level_db.gather(1, slots)
    rows = torch.nonzero(level_db[:, 0] > SILENT_DB)[:, 0]
    gain_db = level_db[rows, 0]

    def of_modes(name: str) -> Tensor:
        return torch.from_numpy(events.modes(name)).gather(1, slots)[rows]

    def column(name: str) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(events.column(name)))[rows]

    own_db = torch.where(level_db[rows] > SILENT_DB, level_db[rows] - gain_db[:, None], SILENT_DB)
    strikes = Strikes(
        attack_s=column("attack_s"),
        decay_s=column("decay_s"),
        freq_hz=of_modes("freq_hz"),
        level_db=own_db,
        phase_rad=torch.remainder(of_modes("phase_rad"), 2 * math.pi),
        noise_level_db=column("noise_level_db") - gain_db,
        noise_hz=column("freq4_hz"),
        noise_decay_s=column("decay_s"),
    )
    return strikes, column("onset_s"), gain_db


assert len(MEAN) == len(SPREAD) == VECTOR
