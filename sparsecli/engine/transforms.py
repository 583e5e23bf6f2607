"""What `render` may do to all events at once, chance, pitch, time and gain, as an edit of everything does it."""

from __future__ import annotations

from ..core.errors import SparseError
from ..core.events import Events
from ..core.selection import select, selects_air
from . import chance, editing, timing
from .settings import RenderSettings


def shift_pitch(events: Events, semitones: float) -> Events:
    """Every mode and burst moved by `semitones`; onsets, attacks, decays and the air stay.

    A frequency beyond the table's range is silent anyway and is held at its end.
    """
    return editing.shift_pitch(events, editing.every(events), semitones) if semitones else events


def stretch_time(events: Events, factor: float) -> Events:
    """Onsets, decays, the duration and the air's course times `factor`; attacks keep their sharpness."""
    return timing.stretch_all(events, factor) if factor != 1 else events


def change_gain(events: Events, gain_db: float) -> Events:
    """All levels, of modes, bursts and air, raised by `gain_db`; what is silent stays silent."""
    return editing.change_gain(events, editing.every(events), gain_db, air=True) if gain_db else events


def transformed(events: Events, settings: RenderSettings) -> Events:
    """Events as settings of a rendering want them: what chance does, then time, pitch and gain."""
    _check_learned(events, settings)
    return moved(by_chance(events, settings), settings)


def by_chance(events: Events, settings: RenderSettings) -> Events:
    """What chance does to events in a rendering."""
    all_of_them = editing.every(events)
    if settings.random_events:
        events = chance.random_events(events, all_of_them, settings.seed)
    if settings.random_times:
        events = timing.random_times(events, all_of_them, settings.seed)
    if settings.perturb_octaves:
        events = chance.perturb(events, all_of_them, settings.perturb_octaves, settings.seed)
    return events


def moved(events: Events, settings: RenderSettings) -> Events:
    """Events in the time, at the pitch and with the gain of a rendering."""
    events = stretch_time(events, settings.time_stretch)
    events = shift_pitch(events, settings.pitch_shift_semitones)
    return change_gain(events, settings.gain_db)


def _check_learned(events: Events, settings: RenderSettings) -> None:
    """Raise SparseError for what atoms of a learned dictionary cannot: they have no frequencies to change."""
    if not events.kind.decoded or events.kind.has_vectors:
        return
    for option, value in (("--pitch-shift", settings.pitch_shift_semitones), ("--perturb", settings.perturb_octaves)):
        if value:
            raise SparseError(
                option, f"events of kind {events.header.kind} have no frequencies to change", "leave it out"
            )


def keep_selected(events: Events, expression: str) -> Events:
    """What an expression selects: those of the events, and the air or none (docs/selection.md).

    Raises:
        SelectionError: the expression makes no sense.
    """
    return editing.keep(events, select(events, expression), air=selects_air(expression))
