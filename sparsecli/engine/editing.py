"""Pure functions from events to events that act on chosen ones: pitch, level, colour, place, and which there are.

Every operation takes `rows`, a mask `[E]` of the events it acts on, and leaves the others as they are. All results can
be saved: numbers that would leave the range of their column are held at its end. Operations on time stand in
`timing.py`, those on several sets in `combining.py` and `morphing.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..core.columns import MAX_LEVEL_DB, SILENT_DB, STEREO
from ..core.events import Events, with_optional
from ..core.quantities import Measured, find_quantity

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEAST = float(np.finfo(np.float32).tiny)  # what is above 0 stays so: a sounding event needs a decay and a frequency
MOST_OCTAVES = 1000.0  # whatever the frequency, it is then at an end of its range; keeps powers of two finite
FADE_DB = -60.0  # where fades begin and end: hardly heard
UNHEARD_DB = -400.0  # a gain that silences every level

# Selections


def every(events: Events) -> Mask:
    """The mask `[E]` of all events."""
    return np.ones(len(events), np.bool_)


def whole_notes(events: Events, rows: Mask) -> Mask:
    """A mask extended so that every event of a chosen event's note is chosen, `[E]`."""
    labels = events.note[rows & (events.note >= 0)]
    return np.asarray(rows | np.isin(events.note, labels))


# Pitch


def shift_pitch(events: Events, rows: Mask, semitones: float | Floats) -> Events:
    """Every mode and burst moved by `semitones`, cents as decimals; onsets, attacks, decays and the air stay.

    Args:
        events: E events.
        rows: which of them.
        semitones: for all, or one for each chosen event.

    Raises:
        ValueError: `semitones` is not finite.
    """
    octaves = np.clip(finite("semitones", semitones) / 12, -MOST_OCTAVES, MOST_OCTAVES)
    return scale_glides(scale_columns(events, rows, freqs_of(events), np.exp2(octaves)), rows, np.exp2(octaves))


# Levels


def change_gain(events: Events, rows: Mask, gain_db: float | Floats, air: bool = False) -> Events:
    """Levels of modes and bursts, and of the air where chosen, raised by `gain_db`; what is silent stays silent.

    Args:
        events: E events.
        rows: which of them.
        gain_db: for all, or one for each chosen event (the air takes one for all).
        air: whether the air is chosen too.

    Raises:
        ValueError: `gain_db` is not finite.
    """
    raised = _raise_columns(events, rows, events.levels, finite("gain_db", gain_db))
    return replace(raised, air=raise_levels(events.air, gain_db)) if air else raised


def change_noise(events: Events, rows: Mask, gain_db: float) -> Events:
    """Levels of the bursts alone raised by `gain_db`. Raises ValueError where that is not finite."""
    return _raise_columns(events, rows, events.kind.noise[1:], finite("gain_db", gain_db))


def air_gain(events: Events, gain_db: float) -> Events:
    """The air alone raised by `gain_db`. Raises ValueError where that is not finite."""
    return replace(events, air=raise_levels(events.air, finite("gain_db", gain_db)))


def fade(
    events: Events, rows: Mask, start_s: float, end_s: float, from_db: float, to_db: float, air: bool = False
) -> Events:
    """A gain that runs from `from_db` at `start_s` to `to_db` at `end_s`, straight in dB, and is constant beyond.

    An event takes the gain of its onset: one that rings on is not faded any further. Fades in begin, and fades out end,
    at -60 dB by custom; `-math.inf` silences.

    Raises:
        ValueError: the end lies before the start, or a number is not one.
    """
    if not (math.isfinite(start_s) and math.isfinite(end_s) and start_s <= end_s):
        raise ValueError(f"a fade from {start_s} s to {end_s} s does not run forward")
    if math.isnan(from_db) or math.isnan(to_db):
        raise ValueError("a gain of a fade is not a number")
    ends_db = np.clip([from_db, to_db], UNHEARD_DB, -UNHEARD_DB)

    def gain_db(at_s: Floats) -> Floats:
        if start_s == end_s:
            return np.asarray(np.where(at_s < start_s, ends_db[0], ends_db[1]))
        return np.asarray(np.interp(at_s, [start_s, end_s], ends_db))

    faded = change_gain(events, rows, gain_db(events.onset_s[rows]))
    if not air:
        return faded
    frames_s = np.arange(events.air.shape[1], dtype=np.float64) + 0.5
    return replace(faded, air=raise_levels(events.air, gain_db(frames_s)[:, None]))


def fade_in(events: Events, rows: Mask, length_s: float, air: bool = False) -> Events:
    """A fade from -60 dB over the first `length_s` seconds of the recording. Raises ValueError for a negative one."""
    return fade(events, rows, 0.0, length_s, FADE_DB, 0.0, air)


def fade_out(events: Events, rows: Mask, length_s: float, air: bool = False) -> Events:
    """A fade to -60 dB over the last `length_s` seconds of the recording. Raises ValueError for a negative one."""
    end_s = events.header.duration_s
    return fade(events, rows, end_s - length_s, end_s, 0.0, FADE_DB, air)


def tilt(events: Events, rows: Mask, db_per_octave: float, freq_hz: float = 1000.0) -> Events:
    """Brightness: modes and bursts raised by `db_per_octave` for each octave above `freq_hz`, lowered below.

    Raises:
        ValueError: `db_per_octave` is not finite, or `freq_hz` not above 0.
    """
    slope, about_hz = float(finite("db_per_octave", db_per_octave)), positive("freq_hz", freq_hz)
    changes = {}
    pairs = [(level, freq) for freq, level, _ in events.slots]
    for level, freq in [*pairs, *([(events.kind.noise[1], events.kind.noise[0])] if events.kind.noise else [])]:
        own_hz = events.column(freq)[rows]
        octaves = np.log2(np.where(own_hz > 0, own_hz, about_hz) / about_hz)
        changes[level] = raise_levels(events.column(level)[rows], slope * octaves)
    return with_columns(events, rows, changes)


# Envelopes. `level_db` is the peak as heard, so that decays and attacks change and peaks stay as loud as they were.


def scale_decay(events: Events, rows: Mask, factor: float) -> Events:
    """Decays times `factor`; peaks stay as loud. Raises ValueError for a factor not above 0."""
    return scale_columns(events, rows, ("decay_s",), positive("factor", factor))


def scale_attack(events: Events, rows: Mask, factor: float) -> Events:
    """Attacks times `factor`; peaks stay as loud and come later or sooner. Raises ValueError for one not above 0."""
    return scale_columns(events, rows, ("attack_s",), positive("factor", factor))


def scale_lasting(events: Events, rows: Mask, factor: float) -> Events:
    """Decays, or lengths of windows, times `factor`; a glide then covers the same frequencies.

    Events that only a model can decode keep theirs.

    Raises:
        ValueError: the factor is not above 0.
    """
    positive("factor", factor)
    lasting = tuple(filter(None, [events.kind.lasting]))
    return scale_glides(scale_columns(events, rows, lasting, factor), rows, 1 / factor)


# Places


def set_pan(events: Events, rows: Mask, pan: float) -> Events:
    """The place `pan` between left (-1) and right (1) for all chosen events.

    Raises:
        ValueError: the events have no places, as those of one channel, or `pan` is not in -1 .. 1.
    """
    if not -1 <= pan <= 1:
        raise ValueError(f"a pan of {pan} is not in -1 .. 1")
    return with_columns(events, rows, {"pan": np.full_like(_pans(events, rows), pan)})


def shift_pan(events: Events, rows: Mask, amount: float) -> Events:
    """Places moved by `amount` to the right, as far as the end. Raises ValueError where there are none."""
    return with_columns(events, rows, {"pan": _pans(events, rows) + finite("amount", amount)})


def set_wet(events: Events, rows: Mask, share: float) -> Events:
    """How much of the rendering's `wet` the chosen events take, 0 to 1; the others take all of it, or as before.

    Raises:
        ValueError: `share` is not in 0 .. 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share of {share} is not in 0 .. 1")
    return with_columns(with_optional(events, ["wet"]), rows, {"wet": np.full(int(rows.sum()), share)})


def _pans(events: Events, rows: Mask) -> Floats:
    if events.header.channels != STEREO:
        raise ValueError("the events have no places between left and right: they are not of two channels")
    return events.column("pan")[rows]


# Which there are


def mute(events: Events, rows: Mask, air: bool = False) -> Events:
    """The events without the chosen ones, and without the air where that is chosen."""
    return _without_air(events.take(~rows)) if air else events.take(~rows)


def keep(events: Events, rows: Mask, air: bool = False) -> Events:
    """The chosen events, and the air only where that is chosen: what `mute` removes."""
    return events.take(rows) if air else _without_air(events.take(rows))


def sort(events: Events, by: str, descending: bool = False) -> Events:
    """Events in the order of a quantity of `core/quantities.py`; equal ones keep theirs, those without it are last.

    Raises:
        ValueError: there is no such quantity.
    """
    key = np.asarray(find_quantity(by).of(Measured(events)), np.float64)
    return events.take(np.argsort(-key if descending else key, kind="stable"))


def _without_air(events: Events) -> Events:
    return replace(events, air=events.air[:, :0])


# Columns


def freqs_of(events: Events) -> tuple[str, ...]:
    """Names of all columns that hold a frequency, each once: of modes, and of noise."""
    return tuple(dict.fromkeys([freq for freq, _, _ in events.slots] + list(events.kind.noise[:1])))


def scale_glides(events: Events, rows: Mask, factor: float | Floats) -> Events:
    """How fast frequencies rise or fall, times `factor`, of kinds that glide."""
    if "chirp_hz_s" not in events.columns:
        return events
    return with_columns(events, rows, {"chirp_hz_s": events.column("chirp_hz_s")[rows] * factor})


def with_columns(events: Events, rows: Mask, changes: Mapping[str, NDArray[np.floating]]) -> Events:
    """Other values `[chosen]` for some columns of `params` at `rows`, held within the columns' ranges."""
    params = events.params.copy()
    for name, values in changes.items():
        index = events.columns.index(name)
        params[rows, index - 1] = np.clip(values, events.table[index].low, events.table[index].high)
    return replace(events, params=params)


def scale_columns(events: Events, rows: Mask, names: tuple[str, ...], factor: float | Floats) -> Events:
    """Columns times `factor`, for all or one for each chosen event; 0 stays 0 and nothing else becomes 0."""
    changes = {}
    for name in names:
        values = events.column(name)[rows]
        changes[name] = np.where(values > 0, np.maximum(values * factor, LEAST), 0.0)
    return with_columns(events, rows, changes)


def raise_levels(level_db: NDArray[np.floating], gain_db: float | Floats) -> NDArray[np.float32]:
    """Levels raised and held in range, shapes broadcast; what is silent stays so, and what falls to -200 dB is."""
    moved = np.clip(level_db + gain_db, SILENT_DB, MAX_LEVEL_DB)
    return np.where(level_db > SILENT_DB, moved, SILENT_DB).astype(np.float32)


def _raise_columns(events: Events, rows: Mask, names: tuple[str, ...], gain_db: float | Floats) -> Events:
    return with_columns(events, rows, {name: raise_levels(events.column(name)[rows], gain_db) for name in names})


def finite(name: str, values: float | Floats) -> Floats:
    """The values as float64. Raises ValueError where one is not finite."""
    if not np.isfinite(values).all():
        raise ValueError(f"{name} is not finite")
    return np.asarray(values, np.float64)


def positive(name: str, value: float) -> float:
    """The value. Raises ValueError where it is not a number above 0."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value}, which is not above 0")
    return value
