"""Pure functions from events to events that move chosen ones in time.

A phase is that at the onset, so that a moved onset moves the wave with it. Where notes are labelled, what moves by the
place of its beginning (`quantize`, `reverse`, `random_times`) is the note with all its chosen events, which keep their
places in it; an event without a note moves by itself.

The recording grows where a moved event would otherwise be cut shorter than it was, and is never shortened. An event
that would begin more than 2 s before the recording, the most that a file holds, begins there as it would sound by then
(exact once its rise is over); what has died away before the recording is dropped, and so is what would begin after a
day. Of events that only a model can decode nobody knows here when they end: the recording grows as if they rang to its
end, and those that would begin too early are dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.columns import AIR_FRAMES_PER_S, MAX_ONSET_S, MIN_ONSET_S
from ..core.events import Events, make_noise_seeds
from ..io.events_header import MAX_EVENTS
from .editing import Floats, Mask, change_gain, every, finite, positive, scale_lasting, with_columns
from .extents import ends_s, loudest_db
from .notes import FAINT_DB

Integers = NDArray[np.int64]

FALL_DB = 60.0  # in one decay
GREATEST_LABEL = np.iinfo(np.int32).max


def shift_time(events: Events, rows: Mask, seconds: float, air: bool = False) -> Events:
    """Chosen events moved later by `seconds`, and the air's course where that is chosen.

    Raises:
        ValueError: `seconds` is not finite.
    """
    shift_s = float(finite("seconds", seconds))
    moved = _move(events, rows, np.full(int(rows.sum()), shift_s))
    if not air:
        return moved
    frames = max(events.air.shape[1], _frames_of(moved.header.duration_s))
    return replace(moved, air=air_at(events.air, np.arange(frames, dtype=np.float64) - shift_s * AIR_FRAMES_PER_S))


def stretch_time(events: Events, rows: Mask, factor: float, about_s: float = 0.0) -> Events:
    """Chosen events played `factor` times slower about the moment `about_s`, which stays: onsets and decays.

    Attacks keep their sharpness. `stretch_all` stretches the recording with its air.

    Raises:
        ValueError: `factor` is not above 0, or `about_s` is not finite.
    """
    positive("factor", factor)
    about = float(finite("about_s", about_s))
    onset_s, until_s = about + (np.stack([events.onset_s, _heard_until_s(events)]) - about) * factor
    return _placed(scale_lasting(events, rows, factor), rows, onset_s[rows], until_s[rows])


def stretch_all(events: Events, factor: float) -> Events:
    """Onsets, decays, the duration and the air's course times `factor`; attacks keep their sharpness.

    Raises:
        ValueError: `factor` is not above 0.
    """
    slow = scale_lasting(events, every(events), positive("factor", factor))
    duration_s = min(events.header.duration_s * factor, MAX_ONSET_S)
    # Frame j of the result stands at (j + 0.5) / factor of the air before.
    air = air_at(events.air, (np.arange(_frames_of(duration_s), dtype=np.float64) + 0.5) / factor - 0.5)
    header = replace(events.header, duration_s=duration_s)
    return within_file(replace(slow, header=header, onset_s=events.onset_s * factor, air=air))


def duplicate(events: Events, rows: Mask, offset_s: float, count: int = 1) -> Events:
    """Copies of the chosen events, 1, 2, ... `count` times `offset_s` later, after all others.

    Copies have new ids, labels of notes and noise. The air stays.

    Raises:
        ValueError: `offset_s` is not finite, `count` is negative, or there would be more events than a file may hold.
    """
    step_s, chosen = float(finite("offset_s", offset_s)), events.take(rows)
    if count < 0 or len(events) + count * len(chosen) > MAX_EVENTS:
        raise ValueError(f"{count} copies of {len(chosen)} events are not between none and {MAX_EVENTS} in all")
    if count == 0 or not len(chosen):
        return events
    times = np.repeat(np.arange(1, count + 1), len(chosen))
    which = np.tile(np.arange(len(chosen)), count)
    ids = new_ids(events.id, len(which))
    copies = replace(
        chosen.take(which),
        id=ids,
        noise_seed=make_noise_seeds(events.header.seed, ids),
        note=new_labels(events.note, chosen.note[which], times - 1),
    )
    onset_s = copies.onset_s + times * step_s
    until_s = _heard_until_s(chosen)[which] + times * step_s
    both = stack([events, copies])
    return _placed(both, np.arange(len(both)) >= len(events), onset_s, until_s)


def reverse(events: Events, rows: Mask) -> Events:
    """Chosen notes (and events without one) in the opposite order: what began first begins last.

    An atom cannot ring backwards. What is heard of a strike is its beginning, so that beginnings are mirrored, about
    the middle between the first and the last: the rhythm is the exact mirror image, and each sound keeps its own
    course. Twice is as before.
    """
    units = units_of(events, rows)
    if not len(units.onset_s):
        return events
    mirrored = units.onset_s.min() + units.onset_s.max() - units.onset_s
    return _move(events, rows, (mirrored - units.onset_s)[units.of])


def quantize(events: Events, rows: Mask, grid_s: float, strength: float = 1.0, offset_s: float = 0.0) -> Events:
    """Beginnings of chosen notes (and events without one) moved towards the nearest of `offset_s` + k `grid_s`.

    Args:
        events: E events.
        rows: which of them.
        grid_s: step of the grid; see `tempo_grid_s`.
        strength: 1 moves onto the grid, 0.5 half of the way.
        offset_s: where the grid begins.

    Raises:
        ValueError: `grid_s` is not above 0, `strength` not in 0 .. 1, or `offset_s` not finite.
    """
    positive("grid_s", grid_s)
    if not 0 <= strength <= 1:
        raise ValueError(f"a strength of {strength} is not in 0 .. 1")
    start_s, units = float(finite("offset_s", offset_s)), units_of(events, rows)
    nearest = start_s + np.round((units.onset_s - start_s) / grid_s) * grid_s
    return _move(events, rows, (strength * (nearest - units.onset_s))[units.of])


def tempo_grid_s(tempo_bpm: float, division: str = "1/16") -> float:
    """Seconds of a note value at a tempo of quarters a minute; `t` makes triplets and `.` dotted values.

    Raises:
        ValueError: the tempo is not above 0, or the division no fraction.

    >>> tempo_grid_s(120, "1/16"), tempo_grid_s(60, "1/4.")
    (0.125, 1.5)
    """
    found = re.fullmatch(r"([1-9]\d{0,3})/([1-9]\d{0,3})([t.]?)", division)
    if not found:
        raise ValueError(f"{division!r} is no note value such as 1/16, 1/8t or 1/4.")
    above, below, kind = found.groups()
    whole_s = 4 * 60 / positive("tempo_bpm", tempo_bpm)
    return whole_s * int(above) / int(below) * {"": 1, "t": 2 / 3, ".": 3 / 2}[kind]


def random_times(events: Events, rows: Mask, seed: int) -> Events:
    """Chosen notes (and events without one) at random times, evenly over the recording, whose length stays."""
    units = units_of(events, rows)
    drawn_s = np.random.default_rng(seed).uniform(0, events.header.duration_s, len(units.onset_s))
    onset_s = events.onset_s[rows] + (drawn_s - units.onset_s)[units.of]
    return _placed(events, rows, onset_s, np.zeros(len(onset_s)))


# Notes as wholes


@dataclass(frozen=True)
class Units:
    """What moves as one: the chosen events of a note together, or a chosen event without a note.

    Attributes:
        of: unit of each chosen event, `[chosen]`.
        onset_s: when each unit begins, with its first event that is not faint, `[units]`.
    """

    of: Integers
    onset_s: Floats


def units_of(events: Events, rows: Mask) -> Units:
    """The units of the chosen events."""
    label = events.note[rows].astype(np.int64)
    _, of = np.unique(np.where(label >= 0, label, -1 - np.arange(len(label))), return_inverse=True)
    count = int(of.max(initial=-1)) + 1
    level_db, top_db, onset_s = loudest_db(events)[rows], np.full(count, -np.inf), np.full(count, np.inf)
    np.maximum.at(top_db, of, level_db)
    loud = level_db >= top_db[of] - FAINT_DB
    np.minimum.at(onset_s, of[loud], events.onset_s[rows][loud])
    return Units(of, onset_s)


# New names


def new_ids(taken: Integers, count: int) -> Integers:
    """So many ids above the greatest of those that are taken; the least free ones where there is no room above."""
    first = int(taken.max(initial=-1)) + 1
    if first + count <= np.iinfo(np.int64).max:
        return first + np.arange(count, dtype=np.int64)
    return np.setdiff1d(np.arange(len(taken) + count, dtype=np.int64), taken)[:count]


def new_labels(taken: NDArray[np.int32], labels: NDArray[np.int32], turn: Integers | int = 0) -> NDArray[np.int32]:
    """Labels of notes above those that are taken, `[N]`; those of another turn `[N]` are others again, -1 stays.

    Raises:
        ValueError: there are no higher labels.
    """
    names = np.unique(labels[labels >= 0])
    rank = np.searchsorted(names, labels)
    up = int(taken.max(initial=-1)) + 1 + np.asarray(turn) * len(names) + rank
    if up.max(initial=0) > GREATEST_LABEL:
        raise ValueError("labels of notes are too high for more notes")
    return np.where(labels >= 0, up, -1).astype(np.int32)


def stack(parts: list[Events]) -> Events:
    """The events of several sets of the same columns, one after another, under the first one's header and air."""
    names = ("onset_s", "params", "note", "id", "noise_seed")
    joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **joined)


# Limits


def air_at(air: NDArray[np.float32], place: Floats) -> NDArray[np.float32]:
    """Air `[channels, frames, 24]` read at places in frames `[P]`, straight in dB, constant beyond its ends.

    Returns:
        `[channels, P, 24]`; no frames where there is no air.
    """
    frames = air.shape[1]
    if frames == 0:
        return air
    place = np.clip(place, 0, frames - 1)
    low = np.minimum(place.astype(np.int64), max(0, frames - 2))
    part = (place - low)[None, :, None]
    high = np.minimum(low + 1, frames - 1)
    return np.asarray(air[:, low] * (1 - part) + air[:, high] * part, np.float32)


def _frames_of(duration_s: float) -> int:
    """Frames of air that a recording has (`synth/air.py`)."""
    return max(1, round(duration_s * AIR_FRAMES_PER_S))


def _heard_until_s(events: Events) -> Floats:
    """Until when each event is heard, `[E]`: its end or the recording's; minus infinity where never."""
    duration_s = events.header.duration_s
    return np.where(events.onset_s < duration_s, np.minimum(ends_s(events), duration_s), -np.inf)


def _move(events: Events, rows: Mask, shift_s: Floats) -> Events:
    """Chosen events later by `shift_s` `[chosen]`."""
    return _placed(events, rows, events.onset_s[rows] + shift_s, _heard_until_s(events)[rows] + shift_s)


def _placed(events: Events, rows: Mask, onset_s: Floats, until_s: Floats) -> Events:
    """Chosen events at `onset_s` `[chosen]` in a recording that lasts until `until_s` `[chosen]` at least."""
    placed = events.onset_s.copy()
    placed[rows] = onset_s
    duration_s = max(events.header.duration_s, min(float(until_s.max(initial=0.0)), MAX_ONSET_S))
    return within_file(replace(events, onset_s=placed, header=replace(events.header, duration_s=duration_s)))


def within_file(events: Events) -> Events:
    """Events whose onsets a file may hold, as the head of this module says."""
    early = events.onset_s < MIN_ONSET_S
    if early.any() and not events.kind.decoded:
        events, early = _begun(events, early), early & (ends_s(events) <= 0)
    gone = early | (events.onset_s > MAX_ONSET_S)
    return events.take(~gone) if gone.any() else events


def _begun(events: Events, early: Mask) -> Events:
    """Early events from the first onset that a file holds."""
    return _BEGUN[events.header.kind](events, early)


def _shortened(events: Events, early: Mask) -> Events:
    """Windows that begin later and end when they did, as long as a window may be short."""
    lead_s = MIN_ONSET_S - events.onset_s[early]
    shorter = with_columns(events, early, {"duration_s": events.column("duration_s")[early] - lead_s})
    return replace(shorter, onset_s=np.maximum(events.onset_s, MIN_ONSET_S))


def _fallen(events: Events, early: Mask) -> Events:
    """Strikes fallen by their decay, and their waves so far on."""
    # Where E(u) = 1, a wave e^{(-d + i w) u} that is met at u = lead is the same wave times e^{(-d + i w) lead}.
    lead_s = MIN_ONSET_S - events.onset_s[early]
    fallen = change_gain(events, early, -FALL_DB * lead_s / np.maximum(events.column("decay_s")[early], 1e-9))
    phases = {}
    for freq, _, phase in events.slots:
        turned = events.column(phase)[early] + 2 * np.pi * np.remainder(events.column(freq)[early] * lead_s, 1.0)
        phases[phase] = np.remainder(turned + np.pi, 2 * np.pi) - np.pi
    return replace(with_columns(fallen, early, phases), onset_s=np.maximum(events.onset_s, MIN_ONSET_S))


_BEGUN = {"atoms": _fallen, "gabor": _shortened}
