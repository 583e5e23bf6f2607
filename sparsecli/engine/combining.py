"""Pure functions from several sets of events to one: all of them, one after another, what both have or one lacks.

The result has the rate and the origin of the first set, two channels where any has them (events of one channel stand in
the middle, in both), and no figures of quality, which were of one recording. Ids and labels of notes of the later sets
are renamed where they would meet others; noise seeds stay, so that all sounds as it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..core.columns import (
    AIR_BANDS,
    AIR_FRAMES_PER_S,
    MAX_LEVEL_DB,
    MAX_ONSET_S,
    SILENT_DB,
    STEREO,
    columns_of,
)
from ..core.events import Events, with_optional
from ..dsp.bands import band_edges_hz, erb_rate
from .editing import Floats, Mask
from .extents import loudest_hz
from .timing import air_at, new_ids, new_labels, stack, within_file

Air = NDArray[np.float32]
Rows = NDArray[np.intp]

SAME_ONSET_S = 0.005  # events so near in time
SAME_SEMITONES = 0.5  # and in pitch are the same
NOISE_APART = 1000.0  # semitones between modes and noise, which are never the same
ROUNDING_DB = 0.01  # air that surpasses other air by no more is the same, rounded


def merge(*sets: Events) -> Events:
    """All events of all sets, at their times; the longest duration, and the powers of the airs summed.

    Raises:
        ValueError: no sets, sets of different kinds, or labels of notes too high to be renamed.
    """
    sets = alike(*sets)
    joined = _joined(sets)
    duration_s = max(part.header.duration_s for part in sets)
    frames = max(part.air.shape[1] for part in sets)
    power = np.sum([power_of(air_over(part, frames)) for part in sets], axis=0)
    return replace(joined, header=replace(joined.header, duration_s=duration_s), air=level_of(power))


def concatenate(*sets: Events) -> Events:
    """Each set begins where the one before it ends.

    Nothing is cut at the joints: tails ring on into the next set, and what rang already when a set began is heard
    before its joint. What would begin after a day is dropped.

    Raises:
        ValueError: no sets, sets of different kinds, or labels of notes too high to be renamed.
    """
    sets = alike(*sets)
    starts_s = np.cumsum([0.0, *(part.header.duration_s for part in sets)])
    moved = [replace(part, onset_s=part.onset_s + start) for part, start in zip(sets, starts_s.tolist(), strict=False)]
    joined = _joined(moved)
    duration_s = min(float(starts_s[-1]), MAX_ONSET_S)
    header = replace(joined.header, duration_s=duration_s)
    return within_file(replace(joined, header=header, air=_air_in_turn(sets, starts_s, duration_s)))


def subtract(first: Events, second: Events) -> Events:
    """The events of the first set that the second lacks, and the power of its air that surpasses the second's.

    Each event of the second set takes one away: an identical one, or else the nearest within 5 ms whose loudest mode
    lies within 50 cents; of events that a model decodes only an identical one. The header, ids and labels are the
    first's.

    Raises:
        ValueError: sets of different kinds.
    """
    other, left = _counterparts(first, second)
    air, rest = power_of(first.air), power_of(first.air) - power_of(other)
    small = rest <= air * (1 - 10 ** (-ROUNDING_DB / 10))
    return replace(first.take(~left), air=level_of(np.where(small, 0.0, rest)))


def intersect(first: Events, second: Events) -> Events:
    """The events of the first set that the second has too, as `subtract` finds them, and the air that both have.

    Raises:
        ValueError: sets of different kinds.
    """
    other, left = _counterparts(first, second)
    return replace(first.take(left), air=np.minimum(first.air, other))


# Events


def alike(*sets: Events) -> tuple[Events, ...]:
    """The sets with the columns, channels and bands of the air that they share: those of the first, or of two channels.

    Raises:
        ValueError: no sets, or sets of different kinds or models.
    """
    if not sets:
        raise ValueError("there are no events to put together")
    _check_together(sets, "do not go together")
    channels = STEREO if any(part.header.channels == STEREO for part in sets) else sets[0].header.channels
    rate = sets[0].header.sample_rate
    optional = {name for part in sets for name in part.header.optional}
    return tuple(with_optional(_like(part, channels, rate), optional) for part in sets)


def _check_together(sets: Sequence[Events], fault: str) -> None:
    """Raise ValueError, which ends with `fault`, for sets of different kinds, or of vectors for different models."""
    kinds, models = {part.header.kind for part in sets}, {part.header.model_sha256 for part in sets}
    if len(kinds) == len(models) == 1:
        return
    names = [f"{part.header.model_name or 'unnamed'} ({part.header.model_sha256[:8]})" for part in sets]
    told = f"kinds {', '.join(sorted(kinds))}" if len(kinds) > 1 else f"models {', '.join(dict.fromkeys(names))}"
    cure = "; make atoms of them with --as atoms" if any(part.kind.has_vectors for part in sets) else ""
    raise ValueError(f"events of the {told} {fault}{cure}")


def _like(events: Events, channels: int, sample_rate: int) -> Events:
    """Events of so many channels at a rate; what was in another number of them goes to all alike."""
    params, header = events.params, replace(events.header, channels=channels, sample_rate=sample_rate)
    if channels == STEREO and events.header.channels != STEREO:
        further = len(columns_of(header.kind, 1)) - 1  # where they stand in `params`, before what is optional
        params = np.hstack([params[:, :further], _both_sides(events), params[:, further:]])
    return replace(events, header=header, params=params, air=_air_like(events, channels, sample_rate))


def _both_sides(events: Events) -> NDArray[np.float32]:
    """What the further columns of two channels hold for events of one: the same on both sides, the middle."""
    left = [column.name.replace("_right", "") for column in events.kind.stereo]
    columns = [events.column(name) if name in events.columns else np.zeros(len(events)) for name in left]
    return np.stack(columns, axis=-1).astype(np.float32)


def _joined(sets: tuple[Events, ...] | list[Events]) -> Events:
    """One set after another with ids and labels of their own, under the first one's header and air."""
    joined = replace(sets[0], header=replace(sets[0].header, quality={}))
    for part in sets[1:]:
        joined = stack([joined, apart(part, joined)])
    return joined


def apart(events: Events, others: Events) -> Events:
    """Events with ids and labels of notes that the others do not have; ids that they do not have stay."""
    ids, met = events.id.copy(), np.isin(events.id, others.id)
    ids[met] = new_ids(np.r_[others.id, events.id], int(met.sum()))
    return replace(events, id=ids, note=new_labels(others.note, events.note))


# The same events


def pair_up(first: Events, second: Events, within_s: float, within_semitones: float) -> tuple[Rows, Rows]:
    """Pairs of events of both sets that are near in onset and in the pitch of the loudest mode; each in one at most.

    The nearest pair is taken first, by the sum of both distances over their limits. Noise goes with noise alone.

    Returns:
        rows of the first set and rows of the second, both `[pairs]`.
    """
    order = np.argsort(second.onset_s, kind="stable")
    sorted_s = second.onset_s[order]
    begin = np.searchsorted(sorted_s, first.onset_s - within_s)
    count = np.searchsorted(sorted_s, first.onset_s + within_s, side="right") - begin
    left = np.repeat(np.arange(len(first)), count)  # all pairs near in time  [P]
    right = order[np.arange(len(left)) + np.repeat(begin - (np.cumsum(count) - count), count)]
    semitones = np.abs(_places(first)[left] - _places(second)[right])
    near = semitones <= within_semitones  # not where a pitch is not a number
    left, right = left[near], right[near]
    away_s = np.abs(first.onset_s[left] - second.onset_s[right])
    nearest = np.argsort(away_s / within_s + semitones[near] / within_semitones, kind="stable")
    partner, taken = np.full(len(first), -1), np.zeros(len(second), np.bool_)
    for one, other in zip(left[nearest].tolist(), right[nearest].tolist(), strict=True):
        if partner[one] < 0 and not taken[other]:
            partner[one], taken[other] = other, True
    rows = np.flatnonzero(partner >= 0)
    return rows, partner[rows]


def _places(events: Events) -> Floats:
    """Pitch of each event in semitones, that of noise far from all others; not a number where nothing sounds. `[E]`."""
    freq_hz = loudest_hz(events)
    has_mode = events.modes("level_db").max(-1, initial=SILENT_DB) > SILENT_DB
    return 12 * np.log2(np.where(freq_hz > 0, freq_hz, np.nan)) + np.where(has_mode, 0.0, NOISE_APART)


def _counterparts(first: Events, second: Events) -> tuple[Air, Mask]:
    """The second set's air over the first one's frames, and which events of the first the second has too, `[E]`."""
    _check_together([first, second], "cannot be compared")
    same, same_of_second = _identical(first, second)
    found, rest = np.zeros(len(first), np.bool_), np.ones(len(second), np.bool_)
    found[same], rest[same_of_second] = True, False
    others = np.flatnonzero(~found)
    found[others[pair_up(first.take(others), second.take(rest), SAME_ONSET_S, SAME_SEMITONES)[0]]] = True
    other = replace(second, air=_air_like(second, first.header.channels, first.header.sample_rate))
    return air_over(other, first.air.shape[1]), found


def _identical(first: Events, second: Events) -> tuple[Rows, Rows]:
    """Pairs of rows whose onsets and shared columns are the same, each row in one pair at most."""
    shared = [name for name in first.columns if name in second.columns]
    tables = [np.stack([part.column(name) for name in shared], axis=-1) for part in (first, second)]
    table = np.concatenate(tables) + 0.0  # no -0
    _, name = np.unique(_hashes(table), return_inverse=True)
    keys, other_keys = _numbered(name[: len(first)]), _numbered(name[len(first) :])
    _, rows, others = np.intersect1d(keys, other_keys, assume_unique=True, return_indices=True)
    return rows, others


def _hashes(table: Floats) -> NDArray[np.uint64]:
    """A number of 64 bits for each row: a sum of products modulo 2^64, which other rows have by a chance of 2^-64."""
    odd = np.random.default_rng(0).integers(0, 2**63, table.shape[1], dtype=np.uint64) * 2 + 1
    words = table.view(np.uint64)
    return np.asarray(((words ^ words >> np.uint64(29)) * odd).sum(1, dtype=np.uint64))


def _numbered(names: Rows) -> NDArray[np.int64]:
    """Names made unique, `[N]`: each with the number of its like after it, as what was merged last comes off first."""
    order = np.argsort(names, kind="stable")
    ranks = np.empty(len(names), np.int64)
    ranks[order] = -1 - np.arange(len(names)) + np.searchsorted(names[order], names[order], side="right")
    return names.astype(np.int64) << 32 | ranks


# The air


def power_of(level_db: NDArray[np.floating]) -> Floats:
    """Powers of levels, 0 of silence."""
    return np.where(level_db > SILENT_DB, 10 ** (level_db.astype(np.float64) / 10), 0.0)


def level_of(power: Floats) -> Air:
    """Levels of powers, within their range."""
    level_db = 10 * np.log10(np.maximum(power, 10 ** (SILENT_DB / 10)))
    return np.asarray(np.clip(level_db, SILENT_DB, MAX_LEVEL_DB), np.float32)


def air_over(events: Events, frames: int) -> Air:
    """Air over so many frames, silent in those that stand after the recording: `[channels, frames, 24]`."""
    at_s = (np.arange(frames) + 0.5) / AIR_FRAMES_PER_S
    if not events.air.shape[1]:
        return np.full((len(events.air), frames, AIR_BANDS), SILENT_DB, np.float32)
    air = air_at(events.air, np.arange(frames, dtype=np.float64))
    after: NDArray[np.bool_] = (at_s > events.header.duration_s) & (np.arange(frames) >= events.air.shape[1])
    return np.asarray(np.where(after[:, None], SILENT_DB, air), np.float32)


def _air_in_turn(sets: tuple[Events, ...], starts_s: Floats, duration_s: float) -> Air:
    """Airs one after another, each from its start `[sets + 1]`; no frames where no set has any."""
    if not any(part.air.shape[1] for part in sets):
        return sets[0].air
    at_s = (np.arange(max(1, round(duration_s * AIR_FRAMES_PER_S))) + 0.5) / AIR_FRAMES_PER_S
    whose = np.clip(np.searchsorted(starts_s, at_s, side="right") - 1, 0, len(sets) - 1)
    turns = []
    for turn, part in enumerate(sets):
        place = (at_s[whose == turn] - starts_s[turn]) * AIR_FRAMES_PER_S - 0.5
        silence = np.full((len(part.air), len(place), AIR_BANDS), SILENT_DB, np.float32)
        turns.append(air_at(part.air, place) if part.air.shape[1] else silence)
    return np.concatenate(turns, axis=1)


def _air_like(events: Events, channels: int, sample_rate: int) -> Air:
    """Air in so many channels, all like the first where their number changes, in the bands of another rate."""
    air = events.air if len(events.air) == channels else np.repeat(events.air[:1], channels, axis=0)
    return air if sample_rate == events.header.sample_rate else _in_bands(air, events.header.sample_rate, sample_rate)


def _in_bands(air: Air, old_rate: int, new_rate: int) -> Air:
    """Air of a rate in the bands of another: the same density in the middle of each, none above the old band."""
    # A density, level - 10 log10(width), runs straight over the ERB rate between middles and is constant beyond.
    (old_width, old_step), (new_width, new_step) = (_bands(rate) for rate in (old_rate, new_rate))
    middle = (np.arange(AIR_BANDS) + 0.5) * new_step  # in ERB
    place = np.clip(middle / old_step - 0.5, 0, AIR_BANDS - 1)
    low = np.minimum(place.astype(np.int64), AIR_BANDS - 2)
    density = air - 10 * np.log10(old_width)
    moved = density[..., low] * (1 - place + low) + density[..., low + 1] * (place - low) + 10 * np.log10(new_width)
    silent = (air[..., low] <= SILENT_DB) & (air[..., low + 1] <= SILENT_DB) | (middle > old_step * AIR_BANDS)
    return np.asarray(np.where(silent, SILENT_DB, np.clip(moved, SILENT_DB, MAX_LEVEL_DB)), np.float32)


def _bands(sample_rate: int) -> tuple[Floats, float]:
    """Widths in Hz of the bands of a rate, `[24]`, and their width in ERB."""
    return np.diff(band_edges_hz(sample_rate / 2, AIR_BANDS)), erb_rate(sample_rate / 2) / AIR_BANDS
