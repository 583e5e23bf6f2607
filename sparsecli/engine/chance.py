"""What chance does to events, as the published Sparse Interpretable Audio Model shows it; see `timing.random_times`."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..core.columns import VECTOR
from ..core.events import Events
from .editing import MOST_OCTAVES, Mask, finite, raise_levels, scale_columns, with_columns

DB_PER_OCTAVE = 20 * math.log10(2)  # a factor of two in amplitude


def random_events(events: Events, rows: Mask, seed: int) -> Events:
    """Chosen events trade sounds: onsets and labels of notes stay, other columns, ids and noise are permuted.

    Events that a model decodes get new sounds instead, vectors of normally distributed numbers of variance 1, at their
    times and gains.
    """
    if events.kind.has_vectors:
        vectors = np.random.default_rng(seed).standard_normal((len(VECTOR), int(rows.sum())))
        return with_columns(events, rows, dict(zip(VECTOR, vectors, strict=True)))
    drawn = np.arange(len(events))
    drawn[rows] = np.random.default_rng(seed).permutation(drawn[rows])
    return replace(events, params=events.params[drawn], id=events.id[drawn], noise_seed=events.noise_seed[drawn])


def perturb(events: Events, rows: Mask, amount: float, seed: int) -> Events:
    """One random change of sound, the same for every chosen event.

    Each frequency, the attack, the decay and each amplitude is multiplied by 2^(amount n), with one n for each column,
    normally distributed with variance 1. Onsets, phases and places stay, and so does what is silent. Of events that a
    model decodes, `amount` n is added to each number of the vector, with one n for each; their gains stay.

    Raises:
        ValueError: `amount` is not finite.
    """
    drawn = np.random.default_rng(seed).standard_normal(len(events.table))
    if events.kind.has_vectors:
        steps = zip(VECTOR, float(finite("amount", amount)) * drawn[: len(VECTOR)], strict=True)
        return with_columns(events, rows, {name: events.column(name)[rows] + step for name, step in steps})
    octaves = np.clip(float(finite("amount", amount)) * drawn, -MOST_OCTAVES, MOST_OCTAVES)
    changed = events
    for column, up in zip(events.table, octaves.tolist(), strict=True):
        if column.scale == "log":
            changed = scale_columns(changed, rows, (column.name,), 2.0**up)
        elif column.name in events.levels:
            level_db = raise_levels(events.column(column.name)[rows], up * DB_PER_OCTAVE)
            changed = with_columns(changed, rows, {column.name: level_db})
    return changed
