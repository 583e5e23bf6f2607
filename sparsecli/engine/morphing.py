"""A set of events on its way to another one."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from ..core.columns import MODES_PER_ATOM, SILENT_DB
from ..core.events import Events
from .combining import Air, Rows, alike, apart, pair_up
from .editing import Floats, change_gain, every, with_columns
from .timing import air_at, stack, within_file

LONELY_OCTAVES = 2.0  # what it costs to pair a slot in use with an unused one: no mode glides further than twice that
ORDERS = np.array(list(permutations(range(MODES_PER_ATOM))))  # of four slots, as they are first  [24, 4]


def morph(
    first: Events, second: Events, amount: float, within_s: float = 0.1, within_semitones: float = 12.0
) -> Events:
    """The first set at an amount of 0, the second at 1, and between them what lies between.

    Events near in onset and pitch are pairs (`combining.pair_up`): their onsets and levels go straight, frequencies,
    attacks and decays in ratios, phases the shorter way. Modes of a pair go together so that they glide least. Events
    and modes without a partner fade, in amplitude. The air goes straight in dB, the duration in seconds.

    Args:
        first: its rate, ids and labels are the result's, as far as they go.
        second: events of the same kind.
        amount: from 0 to 1.
        within_s: onsets of a pair are no further apart.
        within_semitones: nor are their loudest modes.

    Raises:
        ValueError: `amount` is not in 0 .. 1, a limit is not above 0, or the kinds differ.
    """
    if not 0 <= amount <= 1:
        raise ValueError(f"an amount of {amount} is not in 0 .. 1")
    if not (within_s > 0 and within_semitones > 0):
        raise ValueError("the limits of what makes a pair are not above 0")
    one, other = alike(first, second)
    if amount in (0, 1):
        return other if amount else one
    rows, others = pair_up(one, other, within_s, within_semitones)
    pairs = _between(one.take(rows), other.take(others), amount)
    going = _faded(one.take(np.delete(np.arange(len(one)), rows)), 1 - amount)
    coming = _faded(other.take(np.delete(np.arange(len(other)), others)), amount)
    duration_s = one.header.duration_s + amount * (other.header.duration_s - one.header.duration_s)
    header = replace(one.header, duration_s=duration_s, quality={})
    air = _air_between(one.air, other.air, amount, max(1, round(duration_s)))
    return within_file(replace(stack([pairs, going, apart(coming, one)]), header=header, air=air))


def _faded(events: Events, weight: float) -> Events:
    return change_gain(events, every(events), 20 * np.log10(weight))


def _between(one: Events, other: Events, amount: float) -> Events:
    """Pairs of events, row by row, on their way; the rest is the first one's."""
    other = _in_order(other, _slots(one, other))
    changes = {}
    for column in one.table[1:]:
        start, end = one.column(column.name), other.column(column.name)
        if column.name in one.levels:
            changes[column.name] = between_levels(start, end, amount)
        elif column.scale == "log":
            changes[column.name] = _between_ratios(start, end, amount)
        elif column.scale == "angle":
            level = column.name.replace("phase", "level").replace("_rad", "_db")
            heard = [part.column(level) > SILENT_DB for part in (one, other)]
            turned = start + amount * wrapped(end - start)
            both_or_none = heard[0] == heard[1]
            changes[column.name] = wrapped(np.where(both_or_none, turned, np.where(heard[0], start, end)))
        else:
            changes[column.name] = start + amount * (end - start)
    onset_s = one.onset_s + amount * (other.onset_s - one.onset_s)
    return replace(with_columns(one, every(one), changes), onset_s=onset_s)


def _slots(one: Events, other: Events) -> Rows:
    """The slot of the other event for each slot of an event, `[P, 4]`: where modes glide least in all.

    Noise keeps its slot, the last one, where either has some.
    """
    octaves, used = [], []
    for part in (one, other):
        freq_hz = part.modes("freq_hz")  # [P, 4]
        used.append((part.modes("level_db") > SILENT_DB) & (freq_hz > 0))
        octaves.append(np.log2(np.where(used[-1], freq_hz, 1.0)))
    glide = np.abs(octaves[0][:, :, None] - octaves[1][:, None, :])  # [P, 4, 4]
    alone = used[0][:, :, None] != used[1][:, None, :]
    cost = np.where(alone, LONELY_OCTAVES, glide)[:, np.arange(MODES_PER_ATOM), ORDERS].sum(-1)  # [P, 24]
    noisy = np.maximum(one.noise_level_db, other.noise_level_db) > SILENT_DB  # [P]
    cost[noisy[:, None] & (ORDERS[:, -1] != MODES_PER_ATOM - 1)] = np.inf
    return np.asarray(ORDERS[cost.argmin(-1)], np.intp)


def _in_order(events: Events, slots: Rows) -> Events:
    """Events whose modes stand in other slots, `[E, 4]`."""
    changes: dict[str, Floats] = {}
    for place, quantity in enumerate(("freq_hz", "level_db", "phase_rad")):
        names = [slot[place] for slot in events.slots]
        moved = np.take_along_axis(events.modes(quantity), slots, -1)  # [E, 4]
        changes |= dict(zip(names, moved.T, strict=True))
    return with_columns(events, every(events), changes)


def between_levels(start_db: NDArray[np.floating], end_db: NDArray[np.floating], amount: float) -> Floats:
    """Levels straight in dB; what is silent at one end fades in amplitude. Shapes are the same."""
    straight = start_db + amount * (end_db - start_db)
    going, coming = start_db + 20 * np.log10(1 - amount), end_db + 20 * np.log10(amount)
    fading = np.where(start_db > SILENT_DB, going, np.where(end_db > SILENT_DB, coming, SILENT_DB))
    both = (start_db > SILENT_DB) & (end_db > SILENT_DB)
    return np.where(both, straight, np.maximum(fading, SILENT_DB)).astype(np.float64)


def _between_ratios(start: Floats, end: Floats, amount: float) -> Floats:
    """Values in ratios; where one of them is 0, which is no place, the other."""
    both = (start > 0) & (end > 0)
    middle = np.exp((1 - amount) * np.log(np.where(both, start, 1)) + amount * np.log(np.where(both, end, 1)))
    return np.where(both, middle, np.maximum(start, end))


def wrapped(phase_rad: Floats) -> Floats:
    """Phases between -pi and pi."""
    return np.remainder(phase_rad + np.pi, 2 * np.pi) - np.pi


def _air_between(start: Air, end: Air, amount: float, frames: int) -> Air:
    """Airs `[channels, frames, 24]` on their way over so many frames, the last of each held to the end."""
    if not start.shape[1] and not end.shape[1]:
        return start
    place = np.arange(frames, dtype=np.float64)
    silence = np.full((len(start), frames, start.shape[2]), SILENT_DB)
    first, second = (air_at(air, place) if air.shape[1] else silence for air in (start, end))
    return between_levels(first, second, amount).astype(np.float32)
