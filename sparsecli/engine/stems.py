"""Stems: sets of events that make up one, so that their renderings add up to its own.

Every event is in one stem, and so is the air. Bursts keep their noise, which hangs on the event and not on its
neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.columns import SILENT_DB
from ..core.events import Events, notes_of
from ..core.selection import check_expression, select, selects_air
from .editing import keep
from .notes import group_notes, note_table
from .settings import SplitBy

REST, AIR, RESIDUAL = "rest", "air", "residual"  # names of stems that no part may have
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}")


@dataclass(frozen=True)
class Stem:
    """Some of a set of events, with the air or without.

    Attributes:
        name: as a file is called for it.
        events: which.
    """

    name: str
    events: Events


@dataclass(frozen=True)
class Part:
    """A stem that is asked for by name: what an expression selects."""

    name: str
    expression: str


def part_of(text: str) -> Part:
    """A part from `NAME=EXPR`.

    Raises:
        ValueError: there is no such name, or the expression makes no sense.

    >>> part_of("bass=freq < 200")
    Part(name='bass', expression='freq < 200')
    """
    name, _, expression = text.partition("=")
    if not _NAME.fullmatch(name) or name.lower() in (REST, AIR, RESIDUAL):
        raise ValueError(f"{name[:60]!r} cannot name a part; write NAME=EXPR, the name of letters and digits")
    check_expression(expression)
    return Part(name, expression)


def split_by(events: Events, by: SplitBy, parts: Sequence[Part] = ()) -> list[Stem]:
    """Stems of all events: the parts that are asked for, or else one for each note or event, then what is left.

    Args:
        events: E of them.
        by: `note`: a stem for each label, or where there are none for each note that `group_notes` finds, as
            `note07.A4`; `event`: for each event by its id, as `event07`.
        parts: where there are any, these instead. What several of them select is in the first of them.

    Returns:
        The stems that are not empty; what is in no other in `rest`, and the air in `air`.
    """
    if parts:
        groups = [(part.name, select(events, part.expression)) for part in parts]
        with_air = next((part.name for part in parts if selects_air(part.expression)), AIR)
    else:
        groups, with_air = (_notes(events) if by == "note" else _events(events)), AIR
    stems, left = [], np.ones(len(events), np.bool_)
    for name, rows in groups:
        stems.append(Stem(name, keep(events, rows & left, air=name == with_air)))
        left &= ~rows
    stems.append(Stem(REST, keep(events, left)))
    if with_air == AIR:
        stems.append(Stem(AIR, keep(events, np.zeros_like(left), air=True)))
    return [stem for stem in stems if len(stem.events) or (stem.events.air > SILENT_DB).any()]


def _notes(events: Events) -> list[tuple[str, NDArray[np.bool_]]]:
    """Each note's name and rows, in the order of their labels."""
    labelled = events if notes_of(events) else group_notes(events)
    names = {note.note: f".{note.name.replace('#', 's')}" for note in note_table(labelled)}
    labels = np.unique(labelled.note[labelled.note >= 0]).tolist()
    digits = len(str(max(labels, default=0)))
    return [(f"note{label:0{digits}}{names.get(label, '')}", labelled.note == label) for label in labels]


def _events(events: Events) -> list[tuple[str, NDArray[np.bool_]]]:
    """Each event's name and row."""
    digits = len(str(int(events.id.max(initial=0))))
    return [(f"event{int(name):0{digits}}", events.id == name) for name in events.id]
