"""What `sparse edit` can be asked for: operations by name, what qualifies them, and the checks of both.

The options of the command, its help and the tables in docs/ are made from `OPERATIONS` and `QUALIFIERS`; what an
operation does stands in `operations.py`. Nothing heavy is imported here.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..core.columns import KINDS, PAN_COLUMN
from .settings import (
    MAX_GAIN_DB,
    MAX_PERTURB_OCTAVES,
    MAX_PITCH_SHIFT_SEMITONES,
    MAX_SEED,
    MAX_TIME_STRETCH,
    check_range,
)

WHERE = "where"
AS = "as"  # ordinary atoms of events that a model decodes
ATOMS_KIND = "atoms"
NOTES = "notes"  # said of a `where`: a note of which one event is selected is selected whole
AUTO = "auto"  # the tempo that is found in the onsets
DAY_S = 86400.0
ATOMS = (ATOMS_KIND,)  # what has decays, attacks and noise of its own
HEARD = tuple(name for name, kind in KINDS.items() if not kind.decoded)  # what has frequencies of its own
DECODED = tuple(name for name, kind in KINDS.items() if kind.has_vectors)
CHANGEABLE = tuple(name for name, kind in KINDS.items() if kind.has_vectors or not kind.decoded)
PLACED = tuple(name for name, kind in KINDS.items() if PAN_COLUMN in kind.stereo)
FILE = "FILE"  # the metavar of what names an events file


@dataclass(frozen=True)
class Step:
    """One thing to do: an operation's name, or `where`, with its value and what qualifies it."""

    name: str
    value: Any = None
    qualifiers: dict[str, Any] = field(default_factory=dict)

    def as_object(self) -> dict[str, Any]:
        """As it stands in the header of an events file."""
        return {"do": self.name, **({} if self.value is None else {"value": self.value}), **self.qualifiers}


@dataclass(frozen=True)
class Asked:
    """What a user may ask for.

    Attributes:
        name: as the command line has it, without its dashes.
        metavar: of its value; empty where it takes none.
        kind: of its value; bool where it takes none.
        meaning: one line.
        low: least value, of a number.
        high: greatest.
    """

    name: str
    metavar: str
    kind: type
    meaning: str
    low: float = -math.inf
    high: float = math.inf

    def check(self, value: Any) -> None:
        """Raise ValueError where a number is out of range."""
        if self.kind in (int, float):
            check_range(f"--{self.name}", value, self.low, self.high)


@dataclass(frozen=True)
class Qualifier(Asked):
    """What qualifies operations, the same for all of a command line; `default` where it is not given."""

    default: Any = None


@dataclass(frozen=True)
class Operation(Asked):
    """One operation.

    Attributes:
        qualifiers: names of those that it knows.
        kinds: of events that it can be done to.
    """

    qualifiers: tuple[str, ...] = ()
    kinds: tuple[str, ...] = tuple(KINDS)

    @property
    def takes_file(self) -> bool:
        """Whether its value names an events file."""
        return self.metavar == FILE


A = TypeVar("A", bound=Asked)


def _by_name(*asked: A) -> dict[str, A]:
    return {one.name: one for one in asked}


QUALIFIERS: dict[str, Qualifier] = _by_name(
    Qualifier("about", "S", float, "The moment that --time-stretch leaves where it is.", -DAY_S, DAY_S, 0.0),
    Qualifier("tempo", "BPM|auto", str, "Quarters a minute, of --quantize; auto: of the onsets.", default="120"),
    Qualifier("strength", "SHARE", float, "How far --quantize moves onsets; 0.5: half of the way.", 0.0, 1.0, 1.0),
    Qualifier("times", "N", int, "How many copies --duplicate makes.", 1, 10_000, 1),
    Qualifier("amount", "SHARE", float, "How far --morph goes; 1: all the way.", 0.0, 1.0, 0.5),
    Qualifier("seed", "N", int, "Of what is random.", 0, MAX_SEED, 0),
)

_SEMITONES, _DB, _STRETCH = MAX_PITCH_SHIFT_SEMITONES, MAX_GAIN_DB, MAX_TIME_STRETCH
OPERATIONS: dict[str, Operation] = _by_name(
    Operation(AS, ATOMS_KIND, str, "All events that a model decodes as atoms, which need it no more.", kinds=DECODED),
    Operation(
        "pitch-shift", "ST", float, "Transpose by semitones; 0.01 is a cent.", -_SEMITONES, _SEMITONES, kinds=HEARD
    ),
    Operation("to-scale", "SCALE", str, "Each note to the nearest of a scale, such as 'D minor'.", kinds=HEARD),
    Operation("shift", "S", float, "Later by seconds; earlier with a minus.", -DAY_S, DAY_S),
    Operation(
        "time-stretch", "R", float, "Onsets and decays times a factor; 2 is slower.", 1 / _STRETCH, _STRETCH, ("about",)
    ),
    Operation(
        "quantize", "1/N", str, "Onsets of notes to a grid: 1/4, 1/16, 1/8t (triplets), 1/4. (dotted).",
        qualifiers=("tempo", "strength"),
    ),
    Operation("gain", "DB", float, "Louder; softer with a minus.", -_DB, _DB),
    Operation("fade-in", "S", float, "From -60 dB over the first seconds, by onset.", 0.0, DAY_S),
    Operation("fade-out", "S", float, "To -60 dB over the last seconds, by onset.", 0.0, DAY_S),
    Operation("decay", "R", float, "Decays times a factor; peaks stay as loud.", 1e-3, 1e3, kinds=ATOMS),
    Operation("attack", "R", float, "Attacks times a factor; peaks stay as loud.", 1e-3, 1e3, kinds=ATOMS),
    Operation("brightness", "DB", float, "Tilt of levels, in dB an octave about 1 kHz.", -60.0, 60.0, kinds=HEARD),
    Operation("noise", "DB", float, "Noise of events louder; softer with a minus.", -_DB, _DB, kinds=ATOMS),
    Operation("pan", "PLACE", float, "Place in a set of two channels: -1 left, 1 right.", -1.0, 1.0, kinds=PLACED),
    Operation("wet", "SHARE", float, "How much of render --wet they take; 0: out of the room.", 0.0, 1.0),
    Operation("air", "DB", float, "The air louder, whatever is selected; softer with a minus.", -_DB, _DB),
    Operation("mute", "", bool, "Remove."),
    Operation("keep", "", bool, "Remove all else."),
    Operation(
        "duplicate", "S", float, "Copies, each so many seconds after the one before; --times says how many.",
        -DAY_S, DAY_S, ("times",),
    ),
    Operation("reverse", "", bool, "Notes in the opposite order: what began first begins last."),
    Operation(
        "random-times", "", bool, "Notes at random times, evenly over the recording.", qualifiers=("seed",)
    ),
    Operation("random-events", "", bool, "Events trade sounds, or get new vectors; times stay.", qualifiers=("seed",)),
    Operation(
        "perturb", "OCTAVES", float, "One random change of sound, the same for all.", 0.0, MAX_PERTURB_OCTAVES,
        ("seed",), kinds=CHANGEABLE,
    ),
    Operation("sort", "QUANTITY", str, "Rows by a quantity; with a minus before it, the greatest first."),
    Operation("merge", FILE, str, "Add the events of a file, at their times."),
    Operation("append", FILE, str, "Add the events of a file, after the end."),
    Operation("subtract", FILE, str, "Remove what a file has too."),
    Operation("intersect", FILE, str, "Keep only what a file has too."),
    Operation(
        "morph", FILE, str, "Towards the events of a file, as far as --amount.",
        qualifiers=("amount",), kinds=ATOMS,
    ),
)  # fmt: skip


def parameter_of(name: str) -> str:
    """What Python calls an operation or a qualifier.

    >>> parameter_of("pitch-shift"), parameter_of("as")
    ('pitch_shift', 'as_')
    """
    return name.replace("-", "_") + "_" * keyword.iskeyword(name)


def check_step(step: Step) -> None:
    """Raise ValueError, naming the option that cures it, for a step that no events could take."""
    try:
        if step.name == WHERE:
            from ..core.selection import check_expression

            check_expression(step.value)
            return
        operation = OPERATIONS[step.name]
        operation.check(step.value)
        for name, value in step.qualifiers.items():
            QUALIFIERS[name].check(value)
        if step.name == AS and step.value != ATOMS_KIND:
            raise ValueError(f"--{AS} {step.value} is not a choice; choose {ATOMS_KIND}")
        if "tempo" in operation.qualifiers:
            _check_grid(step.value, step.qualifiers.get("tempo", QUALIFIERS["tempo"].default))
        elif step.name == "to-scale":
            from .scales import scale_of

            scale_of(step.value)
        elif step.name == "sort":
            from ..core.quantities import find_quantity

            find_quantity(step.value.removeprefix("-"))
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith("--") else f"--{step.name} {step.value}: {text}") from None


def _check_grid(division: str, tempo: str) -> None:
    from .timing import tempo_grid_s

    tempo_grid_s(120.0, division)
    check_tempo(tempo)


def check_tempo(tempo: str) -> None:
    """Raise ValueError for what is neither quarters a minute nor `auto`."""
    if tempo == AUTO:
        return
    try:
        quarters = float(tempo)
    except ValueError:
        raise ValueError(f"--tempo {tempo} is neither a number nor {AUTO}") from None
    check_range("--tempo", quarters, 4.0, 1000.0)


def steps_of(operations: Sequence[dict[str, Any]]) -> list[Step]:
    """The steps that stand in the header of an events file. Raises ValueError for what is not known here."""
    steps = []
    for given in operations:
        name = str(given.get("do"))
        qualifiers = {key: value for key, value in given.items() if key not in ("do", "value")}
        known = {NOTES} if name == WHERE else set(OPERATIONS[name].qualifiers) if name in OPERATIONS else None
        if known is None or not qualifiers.keys() <= known:
            raise ValueError(f"its operation {name!r} is not known here")
        steps.append(Step(name, given.get("value"), qualifiers))
        check_step(steps[-1])
    return steps
