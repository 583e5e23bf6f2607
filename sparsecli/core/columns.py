"""The tables of columns: the one place where the name, unit, range and meaning of every number of an event stand.

Validation, the header of an events file, help texts, the optimiser's scales and `docs/atom.md` are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scale = Literal["linear", "log", "angle"]

SILENT_DB = -200.0  # the level of an unused slot; nothing at or under it sounds
MODES_PER_ATOM = 3
AIR_BANDS = 24
NUMBERS_OF_STRIKE = 2  # what `--budget` counts: onset and attack,
NUMBERS_OF_MODE = 4  # frequency, decay, level and phase,
NUMBERS_OF_BURST = 2  # level and frequency
AIR_FRAMES_PER_S = 1.0
STRETCH_S = 32768 / 22050  # the unit of `--atoms` and `--budget`: the original's 2^15 samples at 22 050 Hz

MIN_ONSET_S = -2.0
MAX_ONSET_S = 86400.0
MIN_ATTACK_S, MAX_ATTACK_S = 2e-4, 10.0
MAX_DECAY_S = 600.0
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1000, 384_000  # in Hz
MAX_CHANNELS = 64
MAX_FREQ_HZ = MAX_SAMPLE_RATE / 2
MAX_LEVEL_DB = 60.0
PI = 3.1415928  # the float32 above pi, so that a phase of pi stays in range after rounding


@dataclass(frozen=True)
class Column:
    """One number of an event.

    `low` and `high` bound what a file may hold. `scale` is how the number is stepped and compared: `linear`, `log`
    (in ratios) or `angle` (modulo 2 pi).
    """

    name: str
    unit: str
    low: float
    high: float
    scale: Scale
    meaning: str


def _mode(slot: int) -> tuple[Column, ...]:
    of = f"of mode {slot}"
    return (
        Column(f"freq{slot}_hz", "Hz", 0.0, MAX_FREQ_HZ, "log", f"frequency {of}"),
        Column(f"decay{slot}_s", "s", 0.0, MAX_DECAY_S, "log", f"time in which {of[3:]} falls by 60 dB (T60)"),
        Column(f"level{slot}_db", "dBFS", SILENT_DB, MAX_LEVEL_DB, "linear", f"peak level {of} as heard; -200: unused"),
        Column(f"phase{slot}_rad", "rad", -PI, PI, "angle", f"phase {of} at the onset"),
    )


ATOM_COLUMNS: tuple[Column, ...] = (
    Column("onset_s", "s", MIN_ONSET_S, MAX_ONSET_S, "linear", "start of the event, from the start of the recording"),
    Column("attack_s", "s", MIN_ATTACK_S, MAX_ATTACK_S, "log", "time constant of the rise, shared by all modes"),
    *(column for slot in range(1, MODES_PER_ATOM + 1) for column in _mode(slot)),
    Column("noise_level_db", "dBFS", SILENT_DB, MAX_LEVEL_DB, "linear", "peak RMS level of the burst; -200: none"),
    Column("noise_hz", "Hz", 0.0, MAX_FREQ_HZ, "log", "centre frequency of the noise burst"),
)

COLUMNS_OF_KIND: dict[str, tuple[Column, ...]] = {"atoms": ATOM_COLUMNS}
