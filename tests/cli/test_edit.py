from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sparsecli.engine.operations import ACTS
from sparsecli.engine.steps import AS, OPERATIONS
from sparsecli.io.events_file import load_events


def edited(invoke, *args: str):
    """The events that an edit of a.npz writes."""
    result = invoke("edit", "a.npz", *args, "-o", "out.npz", "--overwrite")
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    return load_events("out.npz")


def refused(invoke, *args: str, code: int = 2) -> str:
    result = invoke("edit", *args)
    assert result.exit_code == code, result.output
    assert result.stdout == "" and result.stderr.count("\n") == 1
    return result.stderr.removeprefix("sparse: ").rstrip("\n")


def test_a_selection_is_transposed_and_the_rest_stays(invoke, events, names):
    before = load_events(events("a.npz", count=4))  # 300, 600, 900 and 1200 Hz
    result = invoke("edit", "a.npz", "--where", "freq > 700", "--pitch-shift", "12")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "sparse: a.npz: a.edited.npz: 2 of 4 events changed, 0 removed, 0 added\n"
    assert names() == ["a.edited.npz", "a.npz"]
    after = load_events("a.edited.npz")
    np.testing.assert_allclose(after.column("freq1_hz"), [300, 600, 1800, 2400], rtol=1e-6)
    assert after.column("level1_db").tolist() == before.column("level1_db").tolist()


def test_the_order_on_the_line_counts(invoke, events):
    events("a.npz", count=4)
    muted_first = edited(invoke, "--where", "freq > 700", "--mute", "--where", "all", "--pitch-shift", "12")
    shifted_first = edited(invoke, "--pitch-shift", "12", "--where", "freq > 700", "--mute")
    np.testing.assert_allclose(muted_first.column("freq1_hz"), [600, 1200], rtol=1e-6)
    np.testing.assert_allclose(shifted_first.column("freq1_hz"), [600], rtol=1e-6)
    again = edited(invoke, "--gain=-3", "--where=freq > 700", "--gain", "-3", "--gain", "-3")
    np.testing.assert_allclose(again.column("level1_db"), [-15, -15, -21, -21], atol=1e-5)


def test_what_is_selected_stays_selected_while_it_changes(invoke, events):
    events("a.npz", count=4)
    after = edited(invoke, "--where", "freq > 700", "--pitch-shift", "-24", "--gain", "-6")
    np.testing.assert_allclose(after.column("freq1_hz"), [300, 600, 225, 300], rtol=1e-6)
    np.testing.assert_allclose(after.column("level1_db"), [-12, -12, -18, -18], atol=1e-5)


def test_the_air_is_meant_before_a_selection_and_where_it_is_named(invoke, events):
    events("a.npz")
    assert np.allclose(edited(invoke, "--gain", "-6").air, -86)
    assert np.allclose(edited(invoke, "--where", "freq > 100", "--gain", "-6").air, -80)
    after = edited(invoke, "--where", "air", "--gain", "-6")
    assert np.allclose(after.air, -86) and np.allclose(after.column("level1_db"), -12)


def test_what_was_done_is_kept_and_undone(invoke, events):
    events("a.npz", count=4)
    assert invoke("edit", "a.npz", "-o", "b.npz", "--where", "freq > 700", "--gain", "-6").exit_code == 0
    assert invoke("edit", "b.npz", "-o", "c.npz", "--shift", "0.5").exit_code == 0
    header = load_events("c.npz").header
    assert header.edited_name == "a.npz" and len(header.edited_sha256) == 64
    assert header.operations == [
        {"do": "where", "value": "freq > 700"}, {"do": "gain", "value": -6.0},
        {"do": "where", "value": "all"}, {"do": "shift", "value": 0.5},
    ]  # fmt: skip
    assert "edited" in invoke("info", "c.npz").stdout
    assert invoke("edit", "c.npz", "-o", "d.npz", "--undo").exit_code == 0
    once, back = load_events("b.npz"), load_events("d.npz")
    assert back.params.tobytes() == once.params.tobytes() and back.onset_s.tolist() == once.onset_s.tolist()
    assert back.header == once.header
    assert invoke("edit", "d.npz", "-o", "e.npz", "--undo").exit_code == 0
    assert Path("e.npz").read_bytes() == Path("a.npz").read_bytes()
    assert refused(invoke, "e.npz", "-o", "f.npz", "--undo", code=1) == (
        "e.npz: has not been edited; there is nothing to undo"
    )
    events("a.npz", count=3)
    assert "a.npz is not the file that was edited" in refused(invoke, "c.npz", "-o", "g.npz", "--undo", code=1)
    Path("a.npz").unlink()
    assert "a.npz, which was edited, is not at hand" in refused(invoke, "c.npz", "-o", "g.npz", "--undo", code=1)


def test_a_dry_run_writes_nothing_and_tells(invoke, events, names):
    events("a.npz", count=4)
    result = invoke("edit", "a.npz", "--where", "freq > 700", "--pitch-shift", "12", "--mute", "--dry-run", "-q")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["before", "4"] in rows and ["after", "2"] in rows and ["removed", "2"] in rows
    record = json.loads(invoke("edit", "a.npz", "--where", "freq > 700", "--shift", "1", "--dry-run", "--json").stdout)
    (column,) = record["columns"]
    assert (column["name"], column["changed"]) == ("onset_s", 2)
    assert [column["least"], column["most"]] == pytest.approx([1, 1])
    assert names() == ["a.npz"]


def test_whole_notes(invoke, events):
    from dataclasses import replace

    from sparsecli.io.events_file import save_events

    before = load_events(events("a.npz", count=4))
    save_events("a.npz", replace(before, note=np.array([0, 1, 0, -1], np.int32)), overwrite=True)
    alone = edited(invoke, "--where", "freq = 300", "--gain", "-6")
    assert alone.column("level1_db").tolist() == [-18, -12, -12, -12]
    whole = edited(invoke, "--notes", "--where", "freq = 300", "--gain", "-6")
    assert whole.column("level1_db").tolist() == [-18, -12, -18, -12]


def test_two_sets(invoke, events):
    events("a.npz", count=2)
    events("b.npz", count=3, level_db=-30.0)
    assert len(edited(invoke, "--merge", "b.npz")) == 5
    assert "no such file" in refused(invoke, "a.npz", "--merge", "lost.npz", "-o", "x.npz", code=1)


def test_a_pipe_from_end_to_end(program, events):
    events("a.json", count=4)
    once = program("edit", "a.json", "-o", "-", "--where", "freq > 1kHz", "--gain", "-6")
    assert once.code == 0
    rows = json.loads(once.out)["rows"]
    assert len(rows) == 4
    twice = program("edit", "-", "--mute", input=once.out)
    assert twice.code == 0 and json.loads(twice.out)["rows"] == []
    sound = program("render", "-", "-o", "-", input=once.out)
    assert sound.code == 0 and sound.out.startswith(b"RIFF")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "there is nothing to do"),
        (["--where", "all"], "there is nothing to do"),
        (["--gain", "-6", "--where", "all"], "--where all: selects for nothing that follows"),
        (["--where", "freq >", "--gain", "-6"], "--where freq >"),
        (["--where", "frq > 3", "--gain", "-6"], "freq"),
        (["--gain", "-600"], "--gain -600"),
        (["--to-scale", "H major"], "--to-scale H major"),
        (["--quantize", "three"], "--quantize three"),
        (["--gain", "-6", "--tempo", "90"], "--tempo: qualifies nothing that is asked for"),
        (["--undo", "--gain", "1"], "--undo"),
        (["-o", "a.mid", "--tempo", "fast"], "--tempo fast is neither a number nor auto"),
        (["-o", "b.npz", "--merge", "b.npz", "--overwrite"], "b.npz: is an input, and would be written over"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_read(invoke, args, message):
    assert message in refused(invoke, "lost.npz", *args)


def test_every_operation_can_be_called(invoke, events):
    """With a value that it can have; what it does stands in the tests of the engine."""
    values = {
        "to-scale": "D minor", "quantize": "1/16", "sort": "freq", "duplicate": "0.1", "merge": "b.npz",
        "subtract": "b.npz", "intersect": "b.npz", "append": "b.npz", "morph": "b.npz",
    }  # fmt: skip
    events("a.npz", count=4, channels=2)
    events("b.npz", count=3, channels=2)
    assert [AS, *ACTS] == list(OPERATIONS)
    for operation in (one for one in OPERATIONS.values() if "atoms" in one.kinds):
        value = values.get(operation.name, "0.5")
        args = [f"--{operation.name}"] if operation.kind is bool else [f"--{operation.name}", value]
        after = edited(invoke, *args)
        assert after.header.operations[-1]["do"] == operation.name


def test_notes_as_midi_and_back(invoke, events, program):
    from dataclasses import replace

    from sparsecli.io.events_file import save_events
    from sparsecli.io.midi import read_midi

    before = load_events(events("a.npz", count=4))
    save_events("a.npz", replace(before, note=np.arange(4, dtype=np.int32)), overwrite=True)
    result = invoke("edit", "a.npz", "-o", "a.mid", "--tempo", "90")
    assert (result.exit_code, result.stdout) == (0, "")
    score = read_midi("a.mid")
    assert len(score) == 4 and score.tempo_bpm == pytest.approx(90, abs=0.01)
    assert program("edit", "a.npz", "-o", "-", "--format", "mid").out.startswith(b"MThd")
    assert invoke("edit", "--from-midi", "a.mid", "--voice", "a.npz", "-o", "b.npz", "--gain", "-6").exit_code == 0
    played = load_events("b.npz")
    assert len(played) == 4 and played.header.operations == [{"do": "gain", "value": -6.0}]
    np.testing.assert_allclose(played.onset_s, before.onset_s, atol=0.001)
    assert "cannot be undone" in refused(invoke, "b.npz", "-o", "c.npz", "--undo", code=1)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--from-midi", "a.mid"], "--from-midi: needs --voice"),
        (["--voice", "a.npz"], "--voice: needs --from-midi"),
        (["a.npz", "--from-midi", "a.mid", "--voice", "a.npz"], "is beside the point of --from-midi"),
        (["a.npz", "--gain", "1", "--bend"], "--bend: only MIDI has bends"),
        (["-q"], "no events file is named"),
    ],
)
def test_midi_options_that_cannot_be_meant(invoke, args, message):
    assert message in refused(invoke, *args)


@pytest.mark.parametrize("step_s", [0.5, 1 / 6])
def test_a_tempo_is_found_in_the_onsets(invoke, events, step_s: float):
    """Strikes some 6 % of their distance off land on a grid of one tempo, wherever that begins.

    Six a second are heard as triplets at 120, and are sixteenths at 90.
    """
    from dataclasses import replace

    from sparsecli.io.events_file import save_events

    before = load_events(events("a.npz", count=24, duration_s=12.5))
    off_s = step_s * np.random.default_rng(0).uniform(-0.06, 0.06, 24)
    save_events("a.npz", replace(before, onset_s=0.13 + step_s * np.arange(24) + off_s), overwrite=True)
    division = "1/4" if step_s == 0.5 else "1/16"
    steps = np.diff(np.sort(edited(invoke, "--quantize", division, "--tempo", "auto").onset_s))
    assert np.ptp(steps) < 1e-6 and steps[0] == pytest.approx(step_s, rel=0.04)
