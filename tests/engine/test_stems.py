from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sparsecli.core.events import Events
from sparsecli.engine.rendering import sound_of
from sparsecli.engine.settings import RenderSettings
from sparsecli.engine.stems import Part, part_of, split_by

from ..oracle.draw import draw_events
from .test_rooms import ROOM

RATE = 8000
PARTS = [Part("low", "freq < 1 kHz"), Part("loud", "level > -20 dB or air")]


def labelled() -> Events:
    """Three notes, and events of none."""
    events = draw_events(7, 10, 0.5, RATE, noise=True)
    return replace(events, note=np.array([0, 0, 1, 1, 1, 12, -1, -1, 12, 0], np.int32))


@pytest.mark.parametrize("settings", [{}, {"loop_s": 0.3}, {"wet": 0.6}, {"sample_rate": 11025}])
@pytest.mark.parametrize(("by", "parts"), [("note", []), ("event", []), ("note", PARTS)])
def test_they_add_up(by, parts, settings):
    """Bursts and air included, dry and in a room: sums of float32 in another order, worst 3e-7 of the peak."""
    events, room = labelled(), ROOM if "wet" in settings else None
    whole = sound_of(events, RenderSettings(**settings), room).samples
    stems = [sound_of(stem.events, RenderSettings(**settings), room).samples for stem in split_by(events, by, parts)]
    assert len(stems) > 2 and all(stem.shape == whole.shape for stem in stems)
    np.testing.assert_allclose(np.sum(stems, 0), whole, rtol=0, atol=1e-6 * abs(whole).max())


def test_each_has_a_name_of_its_own():
    events = labelled()
    notes, single, parts = (
        {stem.name: stem.events for stem in split_by(events, by, parts)}
        for by, parts in (("note", []), ("event", []), ("note", PARTS))
    )
    names = list(notes)
    assert [name.partition(".")[0] for name in names] == ["note00", "note01", "note12", "rest", "air"]
    assert all("." in name for name in names[:3])  # the pitch
    assert [sorted(stem.id.tolist()) for stem in notes.values()] == [[0, 1, 9], [2, 3, 4], [5, 8], [6, 7], []]
    assert list(single) == [f"event{number}" for number in range(10)] + ["air"]
    assert list(parts) == ["low", "loud", "rest"] and parts["loud"].air.size and not parts["low"].air.size
    assert sum(len(stem) for stem in parts.values()) == 10


def test_notes_are_found_where_no_event_has_one():
    events = replace(labelled(), note=np.full(10, -1, np.int32))
    stems = split_by(events, "note")
    assert stems[0].name.startswith("note") and sum(len(stem.events) for stem in stems) == 10


@pytest.mark.parametrize(
    "text",
    [
        "freq < 3",
        "=freq < 3",
        "a/b=freq < 3",
        "..=all",
        "rest=all",
        "Air=all",
        "residual=all",
        "low=frq < 3",
        "low=",
        "low",
    ],
)
def test_what_is_no_part(text: str):
    with pytest.raises(ValueError):
        part_of(text)
