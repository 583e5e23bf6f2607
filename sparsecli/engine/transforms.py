"""Pure functions from events to events: pitch, time and gain of all of them, and a selection of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..core.columns import ATOM_COLUMNS, MAX_DECAY_S, MAX_FREQ_HZ, MAX_LEVEL_DB, SILENT_DB
from ..core.events import Events
from ..core.selection import select, selects_air

_PLACE = {column.name: index - 1 for index, column in enumerate(ATOM_COLUMNS)}  # in `params`
_FREQS = [place for name, place in _PLACE.items() if name.startswith("freq")]  # of modes, and the noise with the last
_DECAY = _PLACE["decay_s"]
_LEVELS = [place for name, place in _PLACE.items() if "level" in name]


def shift_pitch(events: Events, semitones: float) -> Events:
    """Every mode and burst moved by `semitones`; onsets, attacks, decays and the air stay.

    A frequency beyond the table's range is silent anyway and is held at its end.
    """
    if semitones == 0:
        return events
    params = events.params.copy()
    params[:, _FREQS] = np.minimum(params[:, _FREQS] * 2 ** (semitones / 12), MAX_FREQ_HZ)
    return replace(events, params=params)


def stretch_time(events: Events, factor: float) -> Events:
    """Onsets, decays, the duration and the air's course times `factor`; attacks keep their sharpness."""
    if factor == 1:
        return events
    params = events.params.copy()
    params[:, _DECAY] = np.minimum(params[:, _DECAY] * factor, MAX_DECAY_S)
    header = replace(events.header, duration_s=events.header.duration_s * factor)
    return replace(
        events,
        header=header,
        params=params,
        onset_s=events.onset_s * factor,
        air=_stretch_air(events.air, header.duration_s, factor),
    )


def _stretch_air(air: np.ndarray, duration_s: float, factor: float) -> np.ndarray:
    """Air `[channels, frames, 24]` read `factor` times slower: frame j of the result stands at (j + 0.5) / factor."""
    frames = air.shape[1]
    if frames == 0:
        return air
    place = np.clip((np.arange(max(1, round(duration_s))) + 0.5) / factor - 0.5, 0, frames - 1)
    low = np.minimum(place.astype(np.int64), max(0, frames - 2))
    part = (place - low)[None, :, None]
    high = np.minimum(low + 1, frames - 1)
    return np.asarray(air[:, low] * (1 - part) + air[:, high] * part, np.float32)


def change_gain(events: Events, gain_db: float) -> Events:
    """All levels, of modes, bursts and air, raised by `gain_db`; what is silent stays silent."""
    if gain_db == 0:
        return events
    params = events.params.copy()
    params[:, _LEVELS] = _raise_levels(params[:, _LEVELS], gain_db)
    return replace(events, params=params, air=_raise_levels(events.air, gain_db))


def _raise_levels(level_db: np.ndarray, gain_db: float) -> np.ndarray:
    moved = np.clip(level_db + gain_db, SILENT_DB, MAX_LEVEL_DB)
    return np.where(level_db > SILENT_DB, moved, SILENT_DB).astype(np.float32)


def keep_selected(events: Events, expression: str) -> Events:
    """What an expression selects: those of the events, and the air or none (docs/selection.md).

    Raises:
        SelectionError: the expression makes no sense.
    """
    kept = events.take(select(events, expression))
    return kept if selects_air(expression) else replace(kept, air=kept.air[:, :0])
