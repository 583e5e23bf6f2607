from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sparsecli.core.columns import KINDS, columns_of
from sparsecli.engine.notes import group_notes
from sparsecli.io.events_file import load_events, save_events


def test_a_table_of_what_is_there(invoke, events):
    result = invoke("info", events("a.npz", source_name="song.wav"))
    assert (result.exit_code, result.stderr) == (0, "")
    lines = dict(line.split("  ", 1) for line in result.stdout.splitlines()[1:])
    lines = {key: value.strip() for key, value in lines.items()}
    assert result.stdout.startswith("a.npz\n")
    assert lines["events"] == "2 with 2 modes and 0 noise bursts"
    assert lines["numbers in use"] == "36, 36 for each 1.486 s"  # 2 x (3 + 3), and 24 of the air
    assert lines["freq_hz"] == "300 to 600"
    assert lines["notes"] == "none; sparse fit --notes groups atoms into notes"
    assert lines["decay_s"] == "0.2 to 0.2"
    assert lines["source"] == "song.wav, 1 ch, 22050 Hz"
    assert lines["quality"] == "snr_db=12.5"
    assert lines["noise_hz"] == "none"


def test_json_holds_the_same(invoke, events):
    record = json.loads(invoke("info", events("a.json"), "--json").stdout)
    assert (record["input"], record["events"], record["numbers"], record["duration_s"]) == ("a.json", 2, 36, 0.25)
    assert record["ranges"]["level_db"] == [-12, -12] and record["ranges"]["noise_level_db"] is None
    assert record["air"] == {"channels": 1, "frames": 1, "bands": 24, "level_db": [-80, -80]}
    assert (record["quality"], record["settings"]) == ({"snr_db": 12.5}, {"atoms": 64})


def test_places(invoke, events):
    """Where there are two channels: their range, and what they cost."""
    one, two = (json.loads(invoke("info", events("a.npz", channels=channels), "--json").stdout) for channels in (1, 2))
    assert "pan" not in one["ranges"] and two["ranges"]["pan"] == [-0.5, 0.5]
    assert two["numbers"] - one["numbers"] == 2 + 24  # of atoms, and of the second channel's air
    assert "\npan             -0.5 to 0.5\n" in invoke("info", "a.npz").stdout
    named = json.loads(invoke("info", "--columns", "--json", "a.npz").stdout)
    assert named["columns"][-1]["name"] == "pan"


def test_no_events_at_all(invoke, events):
    record = json.loads(invoke("info", events("a.npz", count=0), "--json").stdout)
    assert (record["events"], record["ranges"]["onset_s"]) == (0, None)


def test_one_object_for_each_file(invoke, events):
    result = invoke("info", "--json", events("a.npz"), "missing.npz", events("b.npz"))
    assert result.exit_code == 1
    assert [json.loads(line)["input"] for line in result.stdout.splitlines()] == ["a.npz", "b.npz"]
    assert result.stderr == "sparse: missing.npz: no such file\n"


@pytest.mark.parametrize("named", [True, False])
def test_the_table_of_columns(invoke, events, named: bool):
    """Those of a file, or all that there may be, of every kind."""
    args = ["info", "--columns", *([events("a.npz")] if named else [])]
    tables = {kind: columns_of(kind, *((1,) if named else (2, ["wet"]))) for kind in (["atoms"] if named else KINDS)}
    lines = iter(invoke(*args).stdout.splitlines())
    records = map(json.loads, invoke(*args, "--json").stdout.splitlines())
    for kind, table in tables.items():
        assert next(lines) == f"columns of kind {kind}"
        assert next(lines).split()[0] == "column"
        assert [next(lines).split()[0] for _ in table] == [column.name for column in table]
        assert [column["unit"] for column in next(records)["columns"]] == [column.unit for column in table]
    assert (next(lines, None), next(records, None)) == (None, None)


def test_nothing_named_is_a_usage_error(invoke):
    result = invoke("info", "--json")
    assert result.exit_code == 2
    assert result.stderr.startswith("sparse: no events file is named; ")


def test_a_recording_is_no_events_file(invoke, tone, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    result = invoke("info", tone("a.wav"), "folder")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "sparse: a.wav: is a recording, not events; make events of it with: sparse fit",
        "sparse: folder: is a folder; name the files in it",
    ]


@pytest.mark.parametrize("name", ["a.npz", "a.json"])
def test_the_rate_is_the_files_size_over_its_duration(invoke, events, tmp_path: Path, name: str):
    record = json.loads(invoke("info", events(name, count=7), "--json").stdout)
    size = (tmp_path / name).stat().st_size
    assert (record["bytes"], record["kbit_s"]) == (size, size * 8 / 0.25 / 1000)
    assert f"{size} bytes, {record['kbit_s']:.2f} kbit/s\n" in invoke("info", name).stdout


def test_the_rate_of_standard_input(program, events, tmp_path: Path):
    data = (tmp_path / events("a.npz")).read_bytes()
    record = json.loads(program("info", "-", "--json", input=data).out)
    assert record["bytes"] == len(data)


def test_what_quantising_lost(invoke, events):
    name = events("a.npz", quality={"snr_db": 9.0, "bits": 7.98, "snr_lost_db": 0.25})
    assert "quantised to 7.98 bits a number, 0.25 dB of SNR lost" in invoke("info", name).stdout


@pytest.fixture
def labelled(events, tmp_path: Path) -> str:
    """Events of two notes, D4 and D5 but for some cents."""
    name = events("two.npz")
    save_events(tmp_path / "labelled.npz", group_notes(load_events(tmp_path / name)))
    return "labelled.npz"


def test_the_number_of_notes_and_their_range(invoke, labelled: str):
    assert re.search(r"^notes +2, D4 to D5$", invoke("info", labelled).stdout, re.MULTILINE)
    record = json.loads(invoke("info", labelled, "--json").stdout)
    assert (record["notes"], record["ranges"]["pitch_hz"]) == (2, pytest.approx([300, 600]))


def test_the_table_of_notes(invoke, labelled: str):
    lines = invoke("info", labelled, "--notes").stdout.splitlines()
    assert lines[0] == "labelled.npz: 2 notes"
    assert lines[1].split() == ["note", "name", "midi", "pitch_hz", "onset_s", "end_s", "level_db", "atoms"]
    assert [line.split()[:5] for line in lines[2:]] == [
        ["0", "D4", "62.37", "300.00", "0.000"],
        ["1", "D5", "74.37", "600.00", "0.050"],
    ]
    record = json.loads(invoke("info", labelled, "--notes", "--json").stdout)
    assert record["input"] == labelled
    assert [(note["note"], note["name"], note["ids"]) for note in record["notes"]] == [(0, "D4", [0]), (1, "D5", [1])]


@pytest.mark.parametrize("count", [0, 3])
def test_a_table_without_notes(invoke, events, count: int):
    result = invoke("info", events("a.npz", count=count), "--notes")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)
    assert result.stdout.startswith("a.npz: 0 notes\n")
    assert json.loads(invoke("info", "a.npz", "--notes", "--json").stdout) == {"input": "a.npz", "notes": []}


def test_one_table_at_a_time(invoke, events):
    result = invoke("info", events("a.npz"), "--notes", "--columns")
    assert (result.exit_code, result.stderr) == (
        2,
        "sparse: --notes: --columns prints another table; give one of them\n",
    )


def test_a_selection(invoke, events):
    """All that is told is of the selected events: here those at 300, 900 and 1500 Hz of five."""
    name = events("a.npz", count=5)
    lines = invoke("info", name, "--where", "freq in {300, 900, 1.5 kHz}").stdout
    assert re.search(r"^events +3 of 5 selected, with 3 modes and 0 noise bursts$", lines, re.MULTILINE)
    assert re.search(r"^freq_hz +300 to 1500$", lines, re.MULTILINE)
    record = json.loads(invoke("info", name, "--json", "--where", "top 2 by freq").stdout)
    assert (record["where"], record["events"], record["events_in_file"]) == ("top 2 by freq", 2, 5)
    assert record["ranges"]["freq_hz"] == [1200, 1500] and record["numbers"] == 2 * 6
    assert record["air"]["frames"] == 0  # which the expression does not name
    record = json.loads(invoke("info", name, "--json").stdout)
    assert (record["where"], record["events"], record["events_in_file"]) == (None, 5, 5)


def test_a_selection_with_the_air_or_of_nothing(invoke, events):
    record = json.loads(invoke("info", events("a.npz"), "--json", "--where", "air or id = 0").stdout)
    assert (record["events"], record["numbers"], record["air"]["frames"]) == (1, 6 + 24, 1)
    result = invoke("info", "a.npz", "--where", "freq > 20 kHz")
    assert result.exit_code == 0 and "0 of 2 selected, with 0 modes" in result.stdout


def test_notes_of_a_selection(invoke, labelled: str):
    record = json.loads(invoke("info", labelled, "--notes", "--json", "--where", "pitch > C5").stdout)
    assert [note["name"] for note in record["notes"]] == ["D5"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--where", "frq > 3"], "--where: column 1: found 'frq', which is no quantity; "),
        (["--where", "freq > 3 s"], "--where: column 10: found 's', which is no unit of freq; "),
        (["--where", ""], "--where: column 1: the expression ends here; "),
        (["--where", "all", "--columns"], "--where: --columns tells of no events; give one of them"),
    ],
)
def test_a_selection_that_makes_no_sense(invoke, args: list[str], message: str):
    """Is said before any file is looked for."""
    result = invoke("info", "missing.npz", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"sparse: {message}") and result.stderr.count("\n") == 1


def test_notes_as_csv(invoke, labelled: str):
    """In full, and of several files under one heading."""
    rows = list(csv.DictReader(invoke("info", labelled, "--notes", "--csv").stdout.splitlines()))
    record = json.loads(invoke("info", labelled, "--notes", "--json").stdout)
    assert len(rows) == 2 and list(rows[0]) == list(record["notes"][0])
    for row, note in zip(rows, record["notes"], strict=True):
        assert float(row["pitch_hz"]) == note["pitch_hz"] and row["ids"] == " ".join(map(str, note["ids"]))
    both = list(csv.DictReader(invoke("info", labelled, "two.npz", labelled, "--notes", "--csv").stdout.splitlines()))
    assert [row["input"] for row in both] == [labelled] * 4
    empty = invoke("info", "two.npz", "--notes", "--csv")
    assert empty.exit_code == 0 and empty.stdout.split("\n") == [",".join(rows[0]), ""]
    one_lost = list(csv.DictReader(invoke("info", "lost.npz", labelled, "--notes", "--csv").stdout.splitlines()))
    assert list(one_lost[0]) == list(both[0])


def test_columns_as_csv(invoke, events):
    of_files = list(
        csv.DictReader(invoke("info", events("a.npz"), events("b.npz"), "--columns", "--csv").stdout.splitlines())
    )
    assert {row["input"] for row in of_files} == {"a.npz", "b.npz"}
    rows = list(csv.DictReader(invoke("info", "--columns", "--csv").stdout.splitlines()))
    every = [(kind, column.name) for kind in KINDS for column in columns_of(kind, 2, ["wet"])]
    assert [(row["kind"], row["name"]) for row in rows] == every
    assert list(rows[0])[:3] == ["kind", "name", "unit"]


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two rooms that the environment names."""
    (tmp_path / "ir").mkdir()
    for channels, name in ((2, "church.wav"), (1, "[bold]salon.flac")):
        soundfile.write(tmp_path / "ir" / name, np.zeros((4000 * channels, channels)), 8000)
    monkeypatch.setenv("IMPULSE_RESPONSE_PATH", "ir")
    return tmp_path / "ir"


def test_rooms(invoke, rooms: Path):
    lines = [line.split() for line in invoke("info", "--rooms").stdout.splitlines()]
    assert lines == [
        ["ir"],
        ["room", "duration_s", "sample_rate", "channels"],
        ["[bold]salon.flac", "0.50", "8000", "1"],
        ["church.wav", "1.00", "8000", "2"],
    ]
    records = [json.loads(line) for line in invoke("info", "--rooms", "--json").stdout.splitlines()]
    assert [(record["name"], record["duration_s"]) for record in records] == [
        ("[bold]salon.flac", 0.5),
        ("church.wav", 1.0),
    ]
    assert len(list(csv.DictReader(invoke("info", "--rooms", "--csv").stdout.splitlines()))) == 2


def test_a_room_that_cannot_be_read_is_said_and_the_others_are_listed(invoke, rooms: Path):
    (rooms / "bad.wav").write_bytes(b"no sound")
    result = invoke("info", "--rooms")
    assert result.exit_code == 1 and "church.wav" in result.stdout
    assert (
        result.stderr.startswith("sparse: ir/bad.wav: cannot be read as a recording (")
        and result.stderr.count("\n") == 1
    )


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--rooms"], "IMPULSE_RESPONSE_PATH: is not set; name the folder of impulse responses in it, or in .env"),
        (["--rooms", "a.npz"], "--rooms: tells of no events; give it alone"),
        (["--rooms", "--legacy"], "--rooms: tells of no events; give it alone"),
        (["a.npz", "--csv"], "--csv: no table is asked for; give --notes, --columns or --rooms"),
        (["a.npz", "--notes", "--csv", "--json"], "--csv: is beside the point of --json; give one of them"),
    ],
)
def test_tables_that_cannot_be_meant(invoke, monkeypatch: pytest.MonkeyPatch, args: list[str], line: str):
    monkeypatch.delenv("IMPULSE_RESPONSE_PATH", raising=False)
    result = invoke("info", *args)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"sparse: {line}\n")
