"""Atoms as a matrix of scaled numbers, in the units in which descent takes its steps.

The columns are those of the table of atoms (`core/columns.py`) without the noise, and their scales say what a step is:
ratios of attack, decay and frequency (`log`), radians of phase (`angle`), and, of what is `linear`, nepers of level and
tenths of a second of onset. So one learning rate suits all: 0.01 is 17 cents, 0.09 dB, 1 ms or a hundredth of a decay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..core.columns import (
    ATOM_COLUMNS,
    KINDS,
    MAX_LEVEL_DB,
    MIN_ATTACK_S,
    NEPERS_PER_T60,
    Column,
)
from ..synth.modes import Modes, envelope_peak
from .modal import Atoms

UNIT_OF = {"s": 0.1, "dBFS": 20 / math.log(10), "rad": 1.0}  # of a column that is not stepped in ratios
COLUMNS: tuple[Column, ...] = ATOM_COLUMNS[:-1]  # the noise is not descended to
PLACE = {column.name: index for index, column in enumerate(COLUMNS)}
ONSET, ATTACK, DECAY = (PLACE[name] for name in ("onset_s", "attack_s", "decay_s"))
FREQ, LEVEL, PHASE = ([PLACE[slot[part]] for slot in KINDS["atoms"].slots] for part in range(3))
WIDTH = len(COLUMNS)
SHORTEST_DECAY_S, LONGEST_DECAY_S = 2e-3, 60.0
LOWEST_HZ = 20.0
QUIETEST_DB = -150.0  # where a level stops falling


@dataclass
class Scaled:
    """E atoms.

    Attributes:
        numbers: float64 `[E, 15]`, the table's columns in scaled units. Phases are those at `anchor_s`.
        used: bool `[E, M]`, which slots hold a mode.
        anchor_s: float64 `[E]`. As the onset moves, the carrier stays where it is: it moves the envelope alone.
        extra: float64 `[E, M]`, ln(1 + further damping over the atom's own), for the damped surrogate; else 0.
    """

    numbers: Tensor
    used: Tensor
    anchor_s: Tensor
    extra: Tensor

    def __len__(self) -> int:
        return len(self.numbers)

    def copy(self) -> Scaled:
        """The same, which later steps leave as it is."""
        return Scaled(*(getattr(self, entry.name).detach().clone() for entry in fields(self)))

    def take(self, rows: Tensor) -> Scaled:
        """The atoms at `rows`."""
        return Scaled(*(getattr(self, entry.name)[rows] for entry in fields(self)))


def joined(parts: list[Scaled]) -> Scaled:
    """All atoms of `parts`."""
    return Scaled(*(torch.cat([getattr(part, entry.name) for part in parts]) for entry in fields(Scaled)))


def scale(column: Column, values: Tensor) -> Tensor:
    """Values of a column in scaled units."""
    return values.log() if column.scale == "log" else values / UNIT_OF[column.unit]


def unscale(column: Column, scaled: Tensor) -> Tensor:
    """The inverse of `scale`."""
    return scaled.exp() if column.scale == "log" else scaled * UNIT_OF[column.unit]


def values_of(atoms: Scaled, name: str) -> Tensor:
    """A column in its own unit, `[E]`."""
    return unscale(COLUMNS[PLACE[name]], atoms.numbers[:, PLACE[name]])


def _slots(atoms: Scaled, places: list[int]) -> Tensor:
    return unscale(COLUMNS[places[0]], atoms.numbers[:, places])


def peaks_of(atoms: Scaled) -> Tensor:
    """Peak amplitudes as heard, `[E, M]`; 0 where a slot is unused."""
    return torch.where(atoms.used, torch.exp(atoms.numbers[:, LEVEL]), 0.0)


def modes_of(atoms: Scaled) -> Modes:
    """The modes of scaled atoms, through which gradients flow."""
    onset_s, attack_s, decay_s = (values_of(atoms, name) for name in ("onset_s", "attack_s", "decay_s"))
    freq_hz = _slots(atoms, FREQ)
    own_s = decay_s[:, None] * torch.exp(-atoms.extra)
    turn = 2 * math.pi * freq_hz * (onset_s - atoms.anchor_s)[:, None]
    return Modes(
        onset_s=onset_s,
        attack_s=attack_s,
        freq_hz=freq_hz,
        decay_s=own_s,
        amplitude=peaks_of(atoms) / envelope_peak(attack_s[:, None], decay_s[:, None]),
        phase_rad=_slots(atoms, PHASE) + turn,
    )


def bounds_of(atoms: Scaled, first_s: float, last_s: float, highest_hz: float) -> tuple[Tensor, Tensor]:
    """Least and largest scaled numbers `[E, 15]`: those of the columns, and what can sound where it is fitted.

    Args:
        atoms: E of them.
        first_s: earliest onset.
        last_s: latest one.
        highest_hz: frequency.
    """
    limits = {
        "onset_s": (first_s, last_s),
        "attack_s": (MIN_ATTACK_S, 1.0),
        "decay_s": (SHORTEST_DECAY_S, LONGEST_DECAY_S),
    }
    low, high = torch.full((WIDTH,), -math.inf), torch.full((WIDTH,), math.inf)
    low, high = low.double(), high.double()
    for name, ends in limits.items():
        low[PLACE[name]], high[PLACE[name]] = scale(COLUMNS[PLACE[name]], torch.tensor(ends, dtype=torch.float64))
    low[FREQ], high[FREQ] = math.log(LOWEST_HZ), math.log(highest_hz)
    low[LEVEL], high[LEVEL] = (value / UNIT_OF["dBFS"] for value in (QUIETEST_DB, MAX_LEVEL_DB))
    place = atoms.numbers.device
    return low.to(place).expand(len(atoms), -1).clone(), high.to(place).expand(len(atoms), -1).clone()


def from_columns(columns: dict[str, Tensor], used: Tensor) -> Scaled:
    """Scaled atoms from columns `[E]` in their units; what unused slots hold does not matter if it is finite."""
    numbers = torch.stack([scale(column, columns[column.name].double()) for column in COLUMNS], dim=1)
    return Scaled(numbers, used, columns["onset_s"].double().clone(), torch.zeros_like(used, dtype=torch.float64))


def from_atoms(atoms: Atoms, rate: int) -> Scaled:
    """Fitted atoms `[1, A]`, in samples of `rate` Hz, as scaled ones."""
    onset_s, attack_s = atoms.onset[0] / rate, atoms.log_attack[0].exp() / rate
    decay_s = NEPERS_PER_T60 / (atoms.log_damping[0].exp() * rate)
    peak = atoms.amp[0].abs() * envelope_peak(attack_s, decay_s)[:, None]
    level_db = 20 * torch.log10(peak.clamp(min=10 ** (QUIETEST_DB / 20)))
    columns = {"onset_s": onset_s, "attack_s": attack_s, "decay_s": decay_s}
    for slot, (freq, level, phase) in enumerate(KINDS["atoms"].slots):
        columns[freq] = (atoms.omega[0, :, slot] * rate / (2 * math.pi)).clamp(min=LOWEST_HZ)
        columns[level], columns[phase] = level_db[:, slot], atoms.amp[0, :, slot].angle()
    return from_columns(columns, atoms.used[0].clone())


def to_atoms(atoms: Scaled, rate: int) -> Atoms:
    """Scaled atoms as fitted ones `[1, A]`, in samples of `rate` Hz."""
    modes = modes_of(atoms)
    decay_s = values_of(atoms, "decay_s")
    amp = torch.polar(modes.amplitude, modes.phase_rad)
    return Atoms(
        onset=(modes.onset_s * rate)[None],
        log_attack=torch.log(modes.attack_s * rate)[None],
        log_damping=torch.log(NEPERS_PER_T60 / (decay_s * rate))[None],
        omega=(modes.freq_hz * (2 * math.pi / rate))[None],
        amp=torch.where(atoms.used, amp, 0.0)[None],
        used=atoms.used[None],
    )
