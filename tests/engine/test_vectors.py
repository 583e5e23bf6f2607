"""Events of kind `siam`, sixteen numbers that a model decodes: what can be done to them without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparsecli.core.columns import SILENT_DB, VECTOR
from sparsecli.core.errors import SparseError
from sparsecli.core.events import Events
from sparsecli.core.selection import select
from sparsecli.engine import combining, editing, timing
from sparsecli.engine.operations import do
from sparsecli.engine.steps import AS, OPERATIONS, Step
from sparsecli.engine.transforms import keep_selected
from sparsecli.io.events_file import load_events, save_events

from ..oracle.draw import draw_vectors, strikes

NO_SOUND = "is known to their model alone; make atoms of them with: sparse edit --as atoms"


def vectors_of(events: Events) -> np.ndarray:
    """`[E, 16]`."""
    return np.stack([events.column(name) for name in VECTOR], axis=-1)


def done(events: Events, *steps: Step) -> Events:
    return do(events, steps, lambda path: events)


# Files


@pytest.mark.parametrize("channels", [1, 2])
def test_files_are_lossless_and_name_the_model(tmp_path: Path, channels: int):
    events = editing.set_wet(draw_vectors(0, 7, channels=channels), np.arange(7) < 3, 0.25)
    names = ("onset_s", "gain_db", *VECTOR, *(["pan"] if channels == 2 else []), "wet")
    assert events.columns == names
    for name in ("a.npz", "a.json"):
        save_events(tmp_path / name, events)
        again = load_events(tmp_path / name)
        assert again.header == events.header
        assert (again.header.model_name, again.header.model_sha256) == ("tiny", "a" * 64)
        for array in ("onset_s", "params", "note", "id", "noise_seed", "air"):
            np.testing.assert_array_equal(getattr(again, array), getattr(events, array))
    save_events(tmp_path / "a.csv", events)
    heading, *rows = (tmp_path / "a.csv").read_text().splitlines()
    assert heading.split(",") == [*names, "note", "id", "noise_seed"] and len(rows) == 7


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"model_sha256": ""}, "its model.sha256 is missing, without which nobody can tell"),
        ({"model_sha256": "A" * 64}, "its model.sha256 is not a SHA-256"),
        ({"model_name": "../tiny"}, "its model.name is not a file name without folders"),
    ],
)
def test_a_model_that_nobody_could_find(tmp_path: Path, change: dict[str, str], line: str):
    with pytest.raises(SparseError, match=line):
        save_events(tmp_path / "a.npz", draw_vectors(0, 2, **change))


@pytest.mark.parametrize(
    ("column", "value", "line"),
    [
        ("v7", 101.0, "event 1: v7 is 101.0, which is not in -100 .. 100"),
        ("v16", np.nan, "event 1: v16 is nan"),
        ("gain_db", 61.0, "event 1: gain_db is 61.0, which is not in -200 .. 60 dB"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, column: str, value: float, line: str):
    events = draw_vectors(0, 3)
    params = events.params.copy()
    params[1, events.columns.index(column) - 1] = value
    with pytest.raises(SparseError, match=line):
        save_events(tmp_path / "a.npz", replace(events, params=params))


def test_what_they_cost():
    assert draw_vectors(0, 5).numbers == 5 * 18
    assert draw_vectors(0, 5, channels=2).numbers == 5 * 19


# Edits


VALUES = {
    "shift": 0.1, "time-stretch": 1.5, "quantize": "1/16", "gain": -3.0, "fade-in": 0.1, "fade-out": 0.1, "air": 1.0,
    "duplicate": 0.2, "perturb": 0.1, "sort": "-level", "merge": "b.npz", "append": "b.npz", "subtract": "b.npz",
    "intersect": "b.npz", "pan": 0.5, "wet": 0.5, "mute": None, "keep": None, "reverse": None, "random-times": None,
    "random-events": None,
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != AS])
def test_every_operation_is_done_or_refused_in_a_line(tmp_path: Path, name: str):
    events = draw_vectors(1, 12, channels=2)
    if name not in VALUES:
        told = "are of kind siam; make atoms of them before it with --as atoms"
        with pytest.raises(ValueError, match=f"--{name} is for events of kind .*, and these {told}"):
            done(events, Step(name, 1.0))
        return
    after = done(events, Step("where", "level > -20"), Step(name, VALUES[name]))
    save_events(tmp_path / "after.npz", after)  # all of it is in range
    assert after.header.model_sha256 == events.header.model_sha256


def test_a_gain_is_of_the_gains_and_silence_stays():
    events = draw_vectors(2, 5)
    silent = editing.with_columns(events, np.arange(5) == 2, {"gain_db": np.array([SILENT_DB])})
    louder = done(silent, Step("gain", 6.0))
    expected = np.where(np.arange(5) == 2, SILENT_DB, events.column("gain_db") + 6)
    np.testing.assert_allclose(louder.column("gain_db"), expected, atol=1e-5)
    np.testing.assert_array_equal(vectors_of(louder), vectors_of(events))


def test_time_moves_onsets_and_leaves_vectors():
    events = draw_vectors(3, 6, duration_s=2.0)
    slow = done(events, Step("time-stretch", 2.0))
    np.testing.assert_allclose(slow.onset_s, 2 * events.onset_s)
    assert slow.header.duration_s == 4.0
    np.testing.assert_array_equal(vectors_of(slow), vectors_of(events))
    later = done(events, Step("shift", 0.5))
    np.testing.assert_allclose(later.onset_s, events.onset_s + 0.5)
    assert later.header.duration_s == 2.5  # nobody knows when they end: none may be cut shorter
    earlier = timing.shift_time(events, editing.every(events), -3.0)
    assert len(earlier) == (events.onset_s >= 1.0).sum() and earlier.onset_s.min() >= -2
    on_grid = done(events, Step("quantize", "1/4", {"tempo": "120"}))
    np.testing.assert_allclose(on_grid.onset_s, np.round(events.onset_s / 0.5) * 0.5)


def test_chance_is_that_of_the_published_page():
    """New normal vectors at the old times and gains; old vectors at new times; one change of all vectors."""
    events = draw_vectors(4, 400, channels=2)
    new = done(events, Step("random-events", None, {"seed": 5}))
    np.testing.assert_array_equal(new.onset_s, events.onset_s)
    for name in ("gain_db", "pan"):
        np.testing.assert_array_equal(new.column(name), events.column(name))
    drawn = vectors_of(new)
    # of 400 numbers, the mean is within 5 deviations of 0.05 and the deviation within 5 of 0.035
    assert np.abs(drawn.mean(0)).max() < 0.25 and np.abs(drawn.std(0) - 1).max() < 0.18
    assert np.abs(np.corrcoef(drawn.T) - np.eye(16)).max() < 0.25
    assert not np.array_equal(drawn, vectors_of(done(events, Step("random-events", None, {"seed": 6}))))

    moved = done(events, Step("random-times", None, {"seed": 5}))
    np.testing.assert_array_equal(moved.params, events.params)
    assert not np.isin(moved.onset_s, events.onset_s).any() and moved.header.duration_s == events.header.duration_s
    assert moved.onset_s.min() >= 0 and moved.onset_s.max() <= events.header.duration_s

    changed = done(events, Step("where", "time < 1"), Step("perturb", 0.5, {"seed": 5}))
    early = events.onset_s < 1
    steps = vectors_of(changed)[early] - vectors_of(events)[early]
    np.testing.assert_allclose(steps, np.tile(steps[0], (len(steps), 1)), atol=1e-6)
    assert 0.2 < steps[0].std() < 1.0 and np.abs(steps[0]).min() > 0
    np.testing.assert_array_equal(changed.params[~early], events.params[~early])
    np.testing.assert_array_equal(changed.column("gain_db"), events.column("gain_db"))


# Selections


def test_what_is_known_can_be_selected():
    events = draw_vectors(6, 20)
    gain, first = events.column("gain_db").astype(np.float32), events.column("v1").astype(np.float32)
    np.testing.assert_array_equal(select(events, "level > -20 dB and time < 1 s"), (gain > -20) & (events.onset_s < 1))
    np.testing.assert_array_equal(select(events, "v1 > 0.5 or gain_db < -30"), (first > 0.5) | (gain < -30))
    assert select(events, "top 3 by level").sum() == 3
    assert gain[select(events, "top 3 by level")].min() == np.sort(gain)[-3]


@pytest.mark.parametrize("expression", ["freq > 2 kHz", "pitch = C4", "end < 1 s", "top 2 by energy", "freq1_hz > 100"])
def test_what_only_the_model_knows_is_refused(expression: str):
    with pytest.raises(SparseError, match=NO_SOUND):
        keep_selected(draw_vectors(6, 20), expression)
    with pytest.raises(SparseError, match=NO_SOUND):
        done(draw_vectors(6, 4), Step("sort", "freq"))


# Several sets


def test_sets_of_one_model_go_together(tmp_path: Path):
    one, two = draw_vectors(7, 5), draw_vectors(8, 4, channels=2)
    both = combining.merge(one, two)
    assert len(both) == 9 and both.header.channels == 2 and len(set(both.id.tolist())) == 9
    np.testing.assert_array_equal(both.column("pan")[:5], 0)
    np.testing.assert_array_equal(vectors_of(both), np.concatenate([vectors_of(one), vectors_of(two)]))
    save_events(tmp_path / "both.npz", both)
    in_turn = combining.concatenate(one, draw_vectors(8, 4))
    np.testing.assert_allclose(in_turn.onset_s[5:], two.onset_s + 2.0)
    without = combining.subtract(combining.merge(one, draw_vectors(8, 4)), one)
    np.testing.assert_array_equal(vectors_of(without), vectors_of(two))
    assert len(combining.subtract(draw_vectors(8, 4), one)) == 4  # near in time is not the same
    assert len(combining.intersect(combining.merge(one, draw_vectors(8, 4)), one)) == 5


@pytest.mark.parametrize("combine", ["merge", "append", "subtract", "intersect"])
def test_sets_of_others_do_not(combine: str):
    own, other = draw_vectors(7, 5), draw_vectors(7, 5, model_name="large", model_sha256="b" * 64)
    told = r"events of the models tiny \(aaaaaaaa\), large \(bbbbbbbb\) .*; make atoms of them with --as atoms"
    with pytest.raises(ValueError, match=told):
        do(own, [Step(combine, "b.npz")], lambda path: other)
    with pytest.raises(ValueError, match=r"of the kinds atoms, siam .*; make atoms of them with --as atoms"):
        do(own, [Step(combine, "b.npz")], lambda path: strikes([0.1], [440.0]))
