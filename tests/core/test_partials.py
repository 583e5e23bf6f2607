from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sparsecli.core import partials as module
from sparsecli.core.partials import (
    COMPRESSION,
    MOST,
    Partials,
    by_label,
    fundamentals,
    partials_of,
    pitches_of,
    series,
)

from ..oracle.draw import draw_events


def pitch_slowly(partials: Partials) -> float:
    """One note's fundamental, by every place of it against every partial."""
    strength = partials.loudness()
    loudest = np.sort(np.argsort(-strength, kind="stable")[:MOST])
    partials, strength = partials.take(loudest), strength[loudest]
    places = fundamentals(partials.midi)
    if not len(places) or not strength.any():
        return float(partials.midi[strength.argmax()])
    on, weight = series(places, partials.midi)
    salience = (weight[..., None] * on * (strength / strength.max()) ** COMPRESSION).max(2).sum(1)
    return float(places[salience.argmax()])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("most_pairs", [1, 1 << 18])
def test_pitches_of_all_notes_at_once(most_pairs: int, seed: int, monkeypatch: pytest.MonkeyPatch):
    """Notes of one atom up to many; some hold nothing that may be a fundamental, some nothing loud."""
    monkeypatch.setattr(module, "MOST_PAIRS", most_pairs)
    events = draw_events(seed, 1500, 10.0, 44100)
    labels = np.random.default_rng(seed).zipf(1.3, 1500).clip(max=200).astype(np.int32) - 2
    params = events.params.copy()
    for slot in range(1, 5):
        params[labels == 5, events.columns.index(f"freq{slot}_hz") - 1] = 9000.0  # whose third is too high too
    partials = partials_of(replace(events, params=params))
    notes = by_label(partials, labels)
    found = pitches_of(partials, [rows for _, rows in notes])
    assert len(found) > 20 and 5 in [label for label, _ in notes] and max(len(rows) for _, rows in notes) > MOST
    assert found.tolist() == [pitch_slowly(partials.take(rows)) for _, rows in notes]


def test_rows_by_label():
    events = draw_events(1, 6, 1.0, 44100)
    partials = partials_of(events)
    found = by_label(partials, np.array([2, -1, 0, 2, -1, 0], np.int32))
    assert [label for label, _ in found] == [0, 2]
    assert [sorted(set(partials.atom[rows].tolist())) for _, rows in found] == [[2, 5], [0, 3]]
    assert by_label(partials, np.full(6, -1, np.int32)) == [] and len(pitches_of(partials, [])) == 0
