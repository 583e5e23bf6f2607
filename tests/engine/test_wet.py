"""The column `wet`, which only those events have to which an edit has added it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sparsecli.core.events import Events, with_optional
from sparsecli.core.selection import select
from sparsecli.engine.combining import concatenate, intersect, merge, subtract
from sparsecli.engine.diffs import diff_events
from sparsecli.engine.editing import every, set_wet
from sparsecli.engine.morphing import morph
from sparsecli.io.events_file import load_events, save_events

from ..oracle.draw import draw_events


def drawn(channels: int = 1, seed: int = 1) -> Events:
    events = draw_events(seed, 6, 1.0, 22050, noise=True)
    if channels == 1:
        return events
    params = np.c_[events.params, np.linspace(-1, 1, 6, dtype=np.float32)]
    return replace(
        events, header=replace(events.header, channels=2), params=params, air=np.repeat(events.air, 2, axis=0)
    )


def half(events: Events) -> np.ndarray:
    return np.arange(len(events)) < 3


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", ["a.npz", "a.json"])
def test_it_is_kept_in_files(tmp_path, channels: int, name: str):
    events = set_wet(drawn(channels), half(drawn()), 0.25)
    assert events.columns == (*drawn(channels).columns, "wet")
    save_events(tmp_path / name, events)
    back = load_events(tmp_path / name)
    assert back.header == events.header and np.array_equal(back.params, events.params)
    assert back.column("wet").tolist() == [0.25] * 3 + [1.0] * 3
    assert back.numbers == drawn(channels).numbers


def test_it_is_the_last_column_of_a_table_for_people(tmp_path):
    save_events(tmp_path / "a.csv", set_wet(drawn(2), half(drawn()), 0.25))
    heading, first, *_ = (tmp_path / "a.csv").read_text().splitlines()
    assert heading.endswith(",noise_level_db,pan,wet,note,id,noise_seed") and first.split(",")[-4] == "0.25"


def test_events_without_it_are_selected_as_if_all_was_1():
    assert select(drawn(), "wet = 1").all() and not select(drawn(), "wet < 1").any()
    assert select(set_wet(drawn(), half(drawn()), 0.5), "wet < 1").tolist() == half(drawn()).tolist()


def test_setting_it_is_a_change_of_those_alone():
    events = drawn()
    diff = diff_events(events, set_wet(events, half(events), 0.5))
    assert (diff.changed, [column.name for column in diff.columns]) == (3, ["wet"])
    assert (diff.columns[0].least, diff.columns[0].most) == (-0.5, -0.5)
    assert diff_events(events, set_wet(events, every(events), 1.0)).changed == 0


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_what_is_no_share(share: float):
    with pytest.raises(ValueError, match=r"a share of .* is not in 0 \.\. 1"):
        set_wet(drawn(), half(drawn()), share)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("combine", [merge, concatenate])
def test_sets_of_which_one_has_it(combine, channels: int):
    """The others take all of it; places stay places."""
    wet, plain = set_wet(drawn(channels), half(drawn()), 0.25), drawn(seed=2)
    for first, second in ((wet, plain), (plain, wet)):
        both = combine(first, second)
        assert both.columns[-1] == "wet"
        shares = [part.column("wet") if "wet" in part.columns else np.ones(6) for part in (first, second)]
        assert both.column("wet").tolist() == np.r_[shares[0], shares[1]].tolist()
        if channels == 2:
            pans = [part.column("pan") if "pan" in part.columns else np.zeros(6) for part in (first, second)]
            assert both.column("pan").tolist() == np.r_[pans[0], pans[1]].tolist()


def test_events_are_the_same_without_it():
    plain, wet = drawn(), set_wet(drawn(), half(drawn()), 0.25)
    assert len(subtract(wet, plain)) == 0 and len(intersect(plain, wet)) == 6
    assert len(subtract(set_wet(drawn(2), half(drawn()), 0.25), drawn(2))) == 0


def test_it_morphs_halfway():
    plain, wet = drawn(), set_wet(drawn(), half(drawn()), 0.5)
    assert sorted(morph(wet, plain, 0.5).column("wet").tolist()) == [0.75] * 3 + [1.0] * 3


def test_adding_it_twice_keeps_it():
    once = set_wet(drawn(), half(drawn()), 0.25)
    assert np.array_equal(with_optional(once, ["wet"]).params, once.params)
