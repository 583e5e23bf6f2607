"""What an edit has changed: events by their ids, columns by how far they moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.events import Events
from ..core.quantities import Measured


@dataclass(frozen=True)
class ColumnChange:
    """One column of the events that both sets have.

    Attributes:
        name: of the column.
        changed: events in which it differs.
        least: least of the differences, new minus old, in the column's unit.
        most: greatest of them.
    """

    name: str
    changed: int
    least: float
    most: float


@dataclass(frozen=True)
class Diff:
    """What became of a set of events.

    Attributes:
        before: events then.
        after: events now.
        removed: that are gone.
        added: that are new.
        changed: that differ in some column.
        columns: those that differ anywhere, in the order of the table.
        air_changed: whether the air differs.
    """

    before: int
    after: int
    removed: int
    added: int
    changed: int
    columns: tuple[ColumnChange, ...]
    air_changed: bool


def diff_events(before: Events, after: Events) -> Diff:
    """Compare two sets, event by event of the same id."""
    _, old, new = np.intersect1d(before.id, after.id, return_indices=True)
    then, now = Measured(before), Measured(after)  # which know the defaults of columns that one of them lacks
    names = dict.fromkeys([*before.columns, *after.columns])
    moved = {name: now.column(name)[new].astype(np.float64) - then.column(name)[old] for name in names}
    columns = tuple(_change(name, values) for name, values in moved.items() if np.any(values))
    changed = np.any([values != 0 for values in moved.values()], axis=0) if len(old) else np.zeros(0, bool)
    return Diff(
        before=len(before),
        after=len(after),
        removed=len(before) - len(old),
        added=len(after) - len(new),
        changed=int(changed.sum()),
        columns=columns,
        air_changed=before.air.shape != after.air.shape or bool((before.air != after.air).any()),
    )


def _change(name: str, moved: NDArray[np.float64]) -> ColumnChange:
    differing = moved[moved != 0]
    return ColumnChange(name, len(differing), float(differing.min()), float(differing.max()))
