"""The tables of columns: the one place where the name, unit, range and meaning of every number of an event stand.

Validation, the header of an events file, help texts, the optimiser's scales and `docs/atom.md` are made from it.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Scale = Literal["linear", "log", "angle"]

SILENT_DB = -200.0  # the level of an unused slot; nothing at or under it sounds
MODES_PER_ATOM = 4
AIR_BANDS = 24
NOISE_FREQ = f"freq{MODES_PER_ATOM}_hz"  # the column that holds the centre of an atom's noise too
NUMBERS_OF_STRIKE = 3  # what `--budget` counts: onset, attack and decay,
NUMBERS_OF_MODE = 3  # frequency, level and phase,
NUMBERS_OF_BURST = 1  # the level of the noise,
NUMBERS_OF_BAND = 1  # its frequency, where the mode of the same slot has not paid for it,
NUMBERS_OF_PAN = 1  # and in two channels the place between them
NUMBERS_OF_WINDOW = 2  # of an event of kind `gabor`: onset and duration,
NUMBERS_OF_TONE = 1  # its frequency,
NUMBERS_OF_SIDE = 2  # level and phase for each channel,
NUMBERS_OF_KIND = 1  # and the glide and the shape, each where it is not 0
VECTOR = tuple(f"v{number}" for number in range(1, 17))  # numbers that a model decodes to the sound of an event
NUMBERS_OF_ATOM = 2  # of an event of kind `learned`: onset and atom,
NUMBERS_OF_AMPLITUDE = 1  # and level with its sign for each channel
NUMBERS_OF_PLACE = 2  # of such an event beside its vector: onset and gain
AIR_FRAMES_PER_S = 1.0
STRETCH_S = 32768 / 22050  # the unit of `--atoms` and `--budget`: the original's 2^15 samples at 22 050 Hz

MIN_ONSET_S = -2.0
MAX_ONSET_S = 86400.0
MIN_ATTACK_S, MAX_ATTACK_S = 2e-4, 10.0
MAX_DECAY_S = 600.0
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1000, 384_000  # in Hz
MAX_CHANNELS = 64
STEREO = 2  # channels, between which atoms have their places
MAX_FREQ_HZ = MAX_SAMPLE_RATE / 2
MAX_LEVEL_DB = 60.0
NEPERS_PER_T60 = math.log(1000.0)  # 60 dB
BELL, DAMPED, COSINE, CLICK = range(4)  # the shapes of windows of kind `gabor`
PI = 3.1415928  # the float32 above pi, so that a phase of pi stays in range after rounding

# Rounding steps of a quantised file whose phases are rounded to whole turns; finer ones are in proportion. Each error
# costs about the energy of an error of one turn of phase, by the theory in `core/grids.py`.
PHASE_STEP = 1.0  # turns
FREQ_STEP = 1.0  # turns in the time that the mode rings
LEVEL_STEP = 54.6  # dB: 2 pi nepers
DECAY_STEP = 18.1  # octaves: 2 x 2 pi nepers
ATTACK_STEP = 1.94  # of the compressed scale of `core/grids.py`, which runs from 0 to 1
ONSET_STEP = 6.28  # times that of the rise
NOISE_STEP = 2.0  # dB, at any rate: so much is hardly heard in noise
AIR_STEP = 2.0
PAN_STEP = 1 / 32  # an error of half of it lies 36 dB under the atom


@dataclass(frozen=True)
class Column:
    """One number of an event.

    `low` and `high` bound what a file may hold. `scale` is how the number is stepped and compared: `linear`, `log`
    (in ratios) or `angle` (modulo 2 pi). `step` is the rounding step of a quantised file, as `core/grids.py` explains.
    `default` is what events have that lack the column.
    """

    name: str
    unit: str
    low: float
    high: float
    scale: Scale
    meaning: str
    step: float = 1.0
    default: float = 0.0


def _mode(slot: int) -> tuple[Column, ...]:
    of = f"of mode {slot}"
    freq = f"freq{slot}_hz"
    meaning = f"frequency {of}" + (" and centre of the noise" if freq == NOISE_FREQ else "")
    return (
        Column(freq, "Hz", 0.0, MAX_FREQ_HZ, "log", meaning, FREQ_STEP),
        Column(
            f"level{slot}_db",
            "dBFS",
            SILENT_DB,
            MAX_LEVEL_DB,
            "linear",
            f"peak level {of} as heard; -200: unused",
            LEVEL_STEP,
        ),
        Column(f"phase{slot}_rad", "rad", -PI, PI, "angle", f"phase {of} at the onset", PHASE_STEP),
    )


ATOM_COLUMNS: tuple[Column, ...] = (
    Column(
        "onset_s",
        "s",
        MIN_ONSET_S,
        MAX_ONSET_S,
        "linear",
        "start of the event, from the start of the recording",
        ONSET_STEP,
    ),
    Column(
        "attack_s",
        "s",
        MIN_ATTACK_S,
        MAX_ATTACK_S,
        "log",
        "time constant of the rise, of all modes and the noise",
        ATTACK_STEP,
    ),
    Column(
        "decay_s", "s", 0.0, MAX_DECAY_S, "log", "time in which all modes and the noise fall by 60 dB (T60)", DECAY_STEP
    ),
    *(column for slot in range(1, MODES_PER_ATOM + 1) for column in _mode(slot)),
    Column(
        "noise_level_db",
        "dBFS",
        SILENT_DB,
        MAX_LEVEL_DB,
        "linear",
        "RMS level of the noise at its peak; -200: none",
        NOISE_STEP,
    ),
)

PAN_COLUMN = Column(
    "pan", "", -1.0, 1.0, "linear", "place between left (-1) and right (1) of all its modes and noise", PAN_STEP
)

SHAPES = {"bell": BELL, "damped": DAMPED, "cosine": COSINE, "sample": CLICK}  # of windows, by their names
_SHAPES_TOLD = ", ".join(f"{number} {name}" for name, number in SHAPES.items())
MIN_WINDOW_S, MAX_WINDOW_S = 1e-6, 600.0
MAX_CHIRP_HZ_S = 1e9  # a glide over the whole band within a window of ten samples


def _level(name: str, of: str) -> Column:
    return Column(name, "dBFS", SILENT_DB, MAX_LEVEL_DB, "linear", f"peak level of the wave{of}; -200: silent")


def _phase(name: str, of: str) -> Column:
    return Column(name, "rad", -PI, PI, "angle", f"phase{of}, in the middle of the window; a damped one's at its start")


GABOR_COLUMNS: tuple[Column, ...] = (
    Column("onset_s", "s", MIN_ONSET_S, MAX_ONSET_S, "linear", "start of the window, from the start of the recording"),
    Column("duration_s", "s", MIN_WINDOW_S, MAX_WINDOW_S, "log", "length of the window"),
    Column("freq_hz", "Hz", 0.0, MAX_FREQ_HZ, "log", "frequency of the wave"),
    _level("level_db", ""),
    _phase("phase_rad", ""),
    Column(
        "chirp_hz_s", "Hz/s", -MAX_CHIRP_HZ_S, MAX_CHIRP_HZ_S, "linear",
        "how fast the frequency rises; freq_hz is where the phase is",
    ),
    Column("shape", "", BELL, CLICK, "linear", f"of the window: {_SHAPES_TOLD}"),
)  # fmt: skip
GABOR_RIGHT = (_level("level_right_db", " on the right"), _phase("phase_right_rad", " on the right"))


MAX_VECTOR = 100.0  # far beyond what music has: mean about 0, deviation about 1
SIAM_COLUMNS: tuple[Column, ...] = (
    Column("onset_s", "s", MIN_ONSET_S, MAX_ONSET_S, "linear", "start of the event, from the start of the recording"),
    Column("gain_db", "dB", SILENT_DB, MAX_LEVEL_DB, "linear", "level of the event; -200: silent"),
    *(Column(name, "", -MAX_VECTOR, MAX_VECTOR, "linear", "of the vector that the model decodes") for name in VECTOR),
)


MAX_ATOM = 65535.0  # of a dictionary's atoms, counted from 0


def _signs(name: str, of: str) -> Column:
    return Column(name, "", -1.0, 1.0, "linear", f"sign of the atom{of}: 1, or -1 upside down")


LEARNED_COLUMNS: tuple[Column, ...] = (
    Column("onset_s", "s", MIN_ONSET_S, MAX_ONSET_S, "linear", "start of the atom, from the start of the recording"),
    Column("duration_s", "s", MIN_WINDOW_S, MAX_WINDOW_S, "log", "length of the atom, which the dictionary knows too"),
    Column("atom", "", 0.0, MAX_ATOM, "linear", "number of the atom in its dictionary, from 0"),
    Column("level_db", "dBFS", SILENT_DB, MAX_LEVEL_DB, "linear", "peak level of the atom; -200: silent"),
    _signs("sign", ""),
)
LEARNED_RIGHT = (
    Column("level_right_db", "dBFS", SILENT_DB, MAX_LEVEL_DB, "linear", "peak level on the right; -200: silent"),
    _signs("sign_right", " on the right"),
)


@dataclass(frozen=True)
class Kind:
    """A kind of events: its columns, and which of them hold what all kinds have.

    Attributes:
        columns: of one channel.
        stereo: further columns of two channels.
        slots: names of frequency, level and phase of each of the modes that an event may have.
        stereo_slots: of further modes in two channels.
        noise: names of frequency and level of an event's noise; empty where the kind has none.
        lasting: the column that says how long an event sounds; empty where only a model knows.
        gain: the column that holds the level of an event as a whole; empty where its modes have theirs.
        gain_right: the same on the right, of two channels.
        decoded: whether a model says what an event sounds like: it has neither frequencies nor a length of its own.
    """

    columns: tuple[Column, ...]
    stereo: tuple[Column, ...]
    slots: tuple[tuple[str, str, str], ...]
    stereo_slots: tuple[tuple[str, str, str], ...]
    noise: tuple[str, str] | tuple[()]
    lasting: str
    gain: str = ""
    gain_right: str = ""
    decoded: bool = False

    @property
    def has_vectors(self) -> bool:
        """Whether its model makes atoms of it."""
        return any(column.name in VECTOR for column in self.columns)


KINDS: dict[str, Kind] = {
    "atoms": Kind(
        columns=ATOM_COLUMNS,
        stereo=(PAN_COLUMN,),
        slots=tuple((f"freq{slot}_hz", f"level{slot}_db", f"phase{slot}_rad") for slot in range(1, MODES_PER_ATOM + 1)),
        stereo_slots=(),
        noise=(NOISE_FREQ, "noise_level_db"),
        lasting="decay_s",
    ),
    "gabor": Kind(
        columns=GABOR_COLUMNS,
        stereo=GABOR_RIGHT,
        slots=(("freq_hz", "level_db", "phase_rad"),),
        stereo_slots=(("freq_hz", "level_right_db", "phase_right_rad"),),
        noise=(),
        lasting="duration_s",
    ),
    "siam": Kind(
        columns=SIAM_COLUMNS,
        stereo=(PAN_COLUMN,),
        slots=(),
        stereo_slots=(),
        noise=(),
        lasting="",
        gain="gain_db",
        decoded=True,
    ),
    "learned": Kind(
        columns=LEARNED_COLUMNS,
        stereo=LEARNED_RIGHT,
        slots=(),
        stereo_slots=(),
        noise=(),
        lasting="",
        gain="level_db",
        gain_right="level_right_db",
        decoded=True,
    ),
}


WET_COLUMN = Column(
    "wet", "", 0.0, 1.0, "linear", "how much of `render --wet` it takes: 0 stays out of the room", default=1.0
)

OPTIONAL_COLUMNS = {WET_COLUMN.name: WET_COLUMN}  # of every kind, which an edit may add; they stand last


def columns_of(kind: str, channels: int, optional: Collection[str] = ()) -> tuple[Column, ...]:
    """The table of a set of events: that of its kind, what each event is in two channels, and what else.

    Args:
        kind: of events.
        channels: of the recording.
        optional: names of those of `OPTIONAL_COLUMNS` that there are.

    >>> len(columns_of("atoms", 1)), columns_of("atoms", 2)[-1].name, columns_of("atoms", 1, ["wet"])[-1].name
    (16, 'pan', 'wet')
    """
    further = tuple(column for name, column in OPTIONAL_COLUMNS.items() if name in optional)
    return KINDS[kind].columns + (KINDS[kind].stereo if channels == STEREO else ()) + further
