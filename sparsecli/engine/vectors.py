"""Events of kind `siam` as ordinary atoms, which sound the same and need no model, and what is heard of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..core.columns import VECTOR
from ..core.events import Events, events_from_columns
from ..core.selection import select, selects_air
from ..models.siam import Siam
from .editing import keep
from .settings import RenderSettings
from .siam import atoms_of
from .timing import new_ids
from .transforms import by_chance, moved


@dataclass(frozen=True)
class Decoded:
    """Atoms of events.

    Attributes:
        atoms: A of them, with the air, and the noise of their events.
        of: the row of the event of each, `[A]`.
    """

    atoms: Events
    of: NDArray[np.int64]


def decode(events: Events, siam: Siam) -> Decoded:
    """Events as atoms. The first atom of an event keeps its id, and all of them its note, place and share of a room.

    Args:
        events: of kind `siam`, of this model.
        siam: the model.
    """
    vectors = np.stack([events.column(name) for name in VECTOR], axis=-1)
    rows = atoms_of(siam, events.onset_s, events.column("gain_db"), vectors)
    columns = dict(rows.columns)
    columns |= {name: events.column(name)[rows.event] for name in ("pan", "wet") if name in events.columns}
    header = replace(events.header, kind="atoms", model_name="", model_sha256="")
    atoms = events_from_columns(header, columns, events.air)
    first = np.append(True, np.diff(rows.event) > 0)[: len(rows.event)]
    ids = events.id[rows.event]
    ids[~first] = new_ids(events.id, int((~first).sum()))
    seeds = events.noise_seed[rows.event]
    return Decoded(replace(atoms, id=ids, note=events.note[rows.event], noise_seed=seeds), rows.event)


def keep_heard(events: Events, siam: Siam, expression: str) -> Events:
    """Those events of which an expression selects a sound, and the air or none; all that it can ask of atoms is known.

    Raises:
        SelectionError: the expression makes no sense.
    """
    there = decode(events, siam)
    rows = np.zeros(len(events), np.bool_)
    rows[there.of[select(there.atoms, expression)]] = True
    return keep(events, rows, air=selects_air(expression))


def heard(events: Events, siam: Siam, settings: RenderSettings) -> Events:
    """Atoms of events as a rendering wants them: chance changes the vectors, all else what they sound like."""
    return moved(decode(by_chance(events, settings), siam).atoms, settings)
