"""What the operations of `sparse edit` do, by their names in `steps.py`, and how a row of them is done to events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.events import Events
from ..core.selection import select, selects_air
from . import chance, combining, editing, morphing, scales, tempi, timing
from .steps import AS, AUTO, NOTES, OPERATIONS, QUALIFIERS, WHERE, Step

if TYPE_CHECKING:  # it brings torch, which most edits do without
    from .vectors import Decoded

Rows = NDArray[np.bool_]
Load = Callable[[str], Events]
Decode = Callable[[Events], "Decoded"]


@dataclass(frozen=True)
class Given:
    """What an operation is given.

    Attributes:
        events: as they are.
        rows: which it acts on, `[E]`.
        air: whether it acts on the air.
        value: of the step; None where it has none.
        qualified: what qualifies it, by name.
        load: reads another events file.
    """

    events: Events
    rows: Rows
    air: bool
    value: Any
    qualified: dict[str, Any]
    load: Load


Act = Callable[[Given], Events]


def _chosen(change: Callable[..., Events]) -> Act:
    """A change of chosen events by the value."""
    return lambda given: change(given.events, given.rows, given.value)


def _chosen_and_air(change: Callable[..., Events]) -> Act:
    """The same, of the air too where it is chosen."""
    return lambda given: change(given.events, given.rows, given.value, air=given.air)


def _with_file(change: Callable[[Events, Events], Events]) -> Act:
    """A change by the events of a file."""
    return lambda given: change(given.events, given.load(given.value))


def _by_chance(change: Callable[[Events, Rows, int], Events]) -> Act:
    return lambda given: change(given.events, given.rows, given.qualified["seed"])


def _stretch(given: Given) -> Events:
    about_s = given.qualified["about"]
    if given.air and given.rows.all() and about_s == 0:
        return timing.stretch_all(given.events, given.value)
    return timing.stretch_time(given.events, given.rows, given.value, about_s)


def _quantize(given: Given) -> Events:
    tempo, strength = given.qualified["tempo"], given.qualified["strength"]
    if tempo == AUTO:
        grid_s, start_s = tempi.find_grid(given.events, given.value)
    else:
        grid_s, start_s = timing.tempo_grid_s(float(tempo), given.value), 0.0
    return timing.quantize(given.events, given.rows, grid_s, strength, start_s)


ACTS: dict[str, Act] = {
    "pitch-shift": _chosen(editing.shift_pitch),
    "to-scale": _chosen(scales.snap_to_scale),
    "shift": _chosen_and_air(timing.shift_time),
    "time-stretch": _stretch,
    "quantize": _quantize,
    "gain": _chosen_and_air(editing.change_gain),
    "fade-in": _chosen_and_air(editing.fade_in),
    "fade-out": _chosen_and_air(editing.fade_out),
    "decay": _chosen(editing.scale_decay),
    "attack": _chosen(editing.scale_attack),
    "brightness": _chosen(editing.tilt),
    "noise": _chosen(editing.change_noise),
    "pan": _chosen(editing.set_pan),
    "wet": _chosen(editing.set_wet),
    "air": lambda given: editing.air_gain(given.events, given.value),
    "mute": lambda given: editing.mute(given.events, given.rows, air=given.air),
    "keep": lambda given: editing.keep(given.events, given.rows, air=given.air),
    "duplicate": lambda given: timing.duplicate(given.events, given.rows, given.value, given.qualified["times"]),
    "reverse": lambda given: timing.reverse(given.events, given.rows),
    "random-times": _by_chance(timing.random_times),
    "random-events": _by_chance(chance.random_events),
    "perturb": lambda given: chance.perturb(given.events, given.rows, given.value, given.qualified["seed"]),
    "sort": lambda given: editing.sort(given.events, given.value.removeprefix("-"), given.value.startswith("-")),
    "merge": _with_file(combining.merge),
    "append": _with_file(combining.concatenate),
    "subtract": _with_file(combining.subtract),
    "intersect": _with_file(combining.intersect),
    "morph": lambda given: morphing.morph(given.events, given.load(given.value), given.qualified["amount"]),
}


def no_model(events: Events) -> Decoded:
    """What decodes where there is no model. Raises ValueError."""
    raise ValueError(f"no model is at hand for --{AS}")


def do(events: Events, steps: Sequence[Step], load: Load, decode: Decode = no_model) -> Events:
    """Events after all steps, in their order.

    Args:
        events: E of them.
        steps: what to do. Before the first `where` all is selected, the air included; what a `where` selects stays
            selected, by its id, while it changes.
        load: reads another events file.
        decode: makes atoms of events that need a model.

    Raises:
        ValueError: a step cannot be done to these events.
    """
    chosen: NDArray[np.int64] | None
    chosen, air = None, True
    for step in steps:
        if step.name == WHERE:
            rows = select(events, step.value)
            chosen = events.id[editing.whole_notes(events, rows) if step.qualifiers.get(NOTES) else rows]
            air = selects_air(step.value)
            continue
        rows = np.isin(events.id, chosen) if chosen is not None else editing.every(events)
        if events.header.kind not in OPERATIONS[step.name].kinds:
            takes = " and ".join(OPERATIONS[step.name].kinds)
            cure = f"; make atoms of them before it with --{AS} atoms" if events.kind.has_vectors else ""
            told = f"--{step.name} is for events of kind {takes}, and these are of kind {events.header.kind}"
            raise ValueError(told + cure)
        if step.name == AS:
            decoded = decode(events)
            events, chosen = decoded.atoms, None if chosen is None else decoded.atoms.id[rows[decoded.of]]
            continue
        known = OPERATIONS[step.name].qualifiers
        qualified = {name: step.qualifiers.get(name, QUALIFIERS[name].default) for name in known}
        events = ACTS[step.name](Given(events, rows, air, step.value, qualified, load))
    return events
