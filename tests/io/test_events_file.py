import copy
import io
import json
import math
import pickle
import random
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsecli.core.columns import AIR_BANDS, SILENT_DB, columns_of
from sparsecli.core.errors import SparseError
from sparsecli.core.events import Events, Header, make_noise_seeds
from sparsecli.io import events_file, events_header
from sparsecli.io.events_file import load_events, recognise, save_events

COLUMNS = columns_of("atoms", 2)  # those of one channel and `pan`
PLACE = {column.name: index for index, column in enumerate(COLUMNS[1:])}  # in `params`
LEVELS = ["level1_db", "level2_db", "level3_db", "level4_db", "noise_level_db"]
LABELS = ["note", "id", "noise_seed"]
ARRAYS = ["onset_s", "params", "note", "id", "noise_seed", "air"]


def make_events(count=5, channels=2, frames=3, draw=0, **header):
    """Events with values all over their ranges, some slots unused."""
    random_numbers = np.random.default_rng(draw)
    columns = columns_of("atoms", channels)[1:]
    low = np.array([column.low for column in columns], np.float32)
    high = np.array([column.high for column in columns], np.float32)
    params = random_numbers.uniform(low, high, (count, len(low))).astype(np.float32)
    params = np.clip(params, low, high)
    if count:
        params[0, PLACE["freq2_hz"] :][:3] = 0, SILENT_DB, 0
    ids = np.arange(count, dtype=np.int64) * 3
    given = {"duration_s": 2.5, "sample_rate": 44100, "channels": channels, "source_name": "a.wav", "seed": 7} | header
    return Events(
        header=Header(**given),
        onset_s=random_numbers.uniform(-2, 100, count),
        params=params,
        note=np.full(count, -1, np.int32),
        id=ids,
        noise_seed=make_noise_seeds(7, ids),
        air=random_numbers.uniform(-200, 0, (channels, frames, AIR_BANDS)).astype(np.float32),
    )


def assert_same(one, other):
    assert one.header == other.header
    for name in ARRAYS:
        ours, theirs = getattr(one, name), getattr(other, name)
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        assert ours.tobytes() == theirs.tobytes(), name


def saved(tmp_path, events=None, name="a.npz"):
    path = tmp_path / name
    save_events(path, make_events() if events is None else events, overwrite=True)
    return path


def fault(path):
    """The one line of the error."""
    with pytest.raises(SparseError) as caught:
        load_events(path)
    line = str(caught.value)
    assert line.startswith(str(path)) and "\n" not in line
    return line.removeprefix(f"{path}: ")


def refused(tmp_path, events, **options):
    with pytest.raises(SparseError) as caught:
        save_events(tmp_path / "a.npz", events, **options)
    assert not (tmp_path / "a.npz").exists()
    return str(caught.value).removeprefix(f"{tmp_path / 'a.npz'}: ")


# There and back


@pytest.mark.parametrize("name", ["a.npz", "a.json"])
@pytest.mark.parametrize(("count", "channels", "frames"), [(0, 1, 0), (1, 1, 1), (5, 2, 3), (5000, 8, 2), (0, 2, 0)])
def test_there_and_back(tmp_path, name, count, channels, frames):
    events = make_events(count, channels, frames)
    assert_same(load_events(saved(tmp_path, events, name)), events)


def test_header_there_and_back(tmp_path):
    header = {
        "source_name": 'Größe "β"\n\udcff.wav',
        "source_sha256": "0123456789abcdef" * 4,
        "seed": -(2**63),
        "settings": {"atoms": 64, "snr_db": None, "flag": True, "names": ["a", "é"], "inner": {"x": 1e-300}},
        "quality": {"snr_db": 12.3456789012345, "events": 3, "lsd_db": -0.0},
        "operations": [{"do": "where", "value": "pitch = C4"}, {"do": "gain", "value": -6.0}],
        "edited_name": "song.npz",
        "edited_sha256": "fedcba9876543210" * 4,
    }
    events = make_events(**header)
    for name in ("a.npz", "a.json"):
        loaded = load_events(saved(tmp_path, events, name))
        assert_same(loaded, events)
        assert list(loaded.header.settings) == list(header["settings"])


def test_numpy_numbers_and_paths_in_the_header(tmp_path):
    header = {
        "duration_s": np.float32(2.5),
        "sample_rate": np.int64(44100),
        "settings": {"room": Path("hall.wav"), "levels": (np.float64(0.1), np.int32(3))},
        "quality": {"snr_db": np.float32(0.5)},
    }
    loaded = load_events(saved(tmp_path, make_events(**header)))
    assert (loaded.header.duration_s, loaded.header.sample_rate) == (2.5, 44100)
    assert loaded.header.settings == {"room": "hall.wav", "levels": [0.1, 3]}
    assert loaded.header.quality == {"snr_db": 0.5}


def float32s(low, high):
    low, high = np.nextafter(np.float32(low), np.float32(np.inf)), np.nextafter(np.float32(high), np.float32(-np.inf))
    return st.floats(float(low), float(high), width=32)


@st.composite
def any_events(draw):
    count, channels, frames = draw(st.integers(0, 4)), draw(st.integers(1, 2)), draw(st.integers(0, 2))
    columns = columns_of("atoms", channels)[1:]
    rows = [[draw(float32s(column.low, column.high)) for column in columns] for _ in range(count)]
    params = np.array(rows, np.float32).reshape(count, len(columns))
    for level, other in [*((level, "decay_s") for level in LEVELS), ("noise_level_db", "freq4_hz")]:
        params[params[:, PLACE[other]] == 0, PLACE[level]] = SILENT_DB
    texts = st.text(st.characters(exclude_characters="/\0", codec=None), max_size=8)
    plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
    return Events(
        header=Header(
            duration_s=draw(st.floats(1e-6, 86400)),
            sample_rate=draw(st.integers(1000, 384_000)),
            channels=channels,
            source_name=draw(texts),
            seed=draw(st.integers(-(2**63), 2**63 - 1)),
            settings=draw(st.dictionaries(texts, plain | st.lists(plain, max_size=3), max_size=3)),
            quality=draw(st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False), max_size=3)),
        ),
        onset_s=np.array([draw(st.floats(-2, 86400)) for _ in range(count)], np.float64),
        params=params,
        note=np.array([draw(st.integers(-(2**31), 2**31 - 1)) for _ in range(count)], np.int32),
        id=np.array(
            draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=count, max_size=count, unique=True)), np.int64
        ),
        noise_seed=np.array([draw(st.integers(0, 2**64 - 1)) for _ in range(count)], np.uint64),
        air=np.array(
            draw(st.lists(float32s(-200, 60), min_size=channels * frames * 24, max_size=channels * frames * 24)),
            np.float32,
        ).reshape(channels, frames, 24),
    )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(any_events())
def test_npz_json_npz_is_lossless(tmp_path, events):
    first, text, second = tmp_path / "1.npz", tmp_path / "a.json", tmp_path / "2.npz"
    save_events(first, events, overwrite=True)
    save_events(text, load_events(first), overwrite=True)
    save_events(second, load_events(text), overwrite=True)
    assert second.read_bytes() == first.read_bytes()
    assert_same(load_events(second), events)


def test_shortest_decimals_give_back_every_float32():
    bits = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32)
    numbers = bits.view(np.float32)
    numbers = numbers[np.isfinite(numbers)]
    decimals = numbers.astype(np.str_).tolist()
    assert decimals[:1000] == [str(number) for number in numbers[:1000]]
    np.testing.assert_array_equal(
        np.array(json.loads(f"[{','.join(decimals)}]"), np.float64).astype(np.float32), numbers
    )


@pytest.mark.parametrize("name", ["a.npz", "a.json", "a.csv"])
def test_same_events_same_bytes(tmp_path, monkeypatch, name):
    first = saved(tmp_path, name=name).read_bytes()
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 1e6)
    events = make_events()
    events = replace(events, params=np.asfortranarray(events.params), onset_s=np.repeat(events.onset_s, 2)[::2])
    assert saved(tmp_path, events, name).read_bytes() == first


# The layout, which other programs may rely on


def test_npz_layout(tmp_path):
    with np.load(saved(tmp_path), allow_pickle=False) as file:
        arrays = dict(file)
    assert {name: (array.dtype.str, array.shape) for name, array in arrays.items() if name != "header"} == {
        "onset_s": ("<f8", (5,)),
        "params": ("<f4", (5, 16)),
        "note": ("<i4", (5,)),
        "id": ("<i8", (5,)),
        "noise_seed": ("<u8", (5,)),
        "air": ("<f4", (2, 3, 24)),
    }
    assert arrays["header"].dtype == np.uint8
    header = json.loads(arrays["header"].tobytes().decode("utf-8"))
    columns = header.pop("columns")
    assert columns[0] == {"name": "onset_s", "unit": "s"} and columns[4] == {"name": "level1_db", "unit": "dBFS"}
    assert [column["name"] for column in columns] == [column.name for column in COLUMNS]
    assert header == {
        "format": "sparse-events",
        "version": 1,
        "kind": "atoms",
        "duration_s": 2.5,
        "sample_rate": 44100,
        "channels": 2,
        "source": {"name": "a.wav", "sha256": ""},
        "seed": 7,
        "settings": {},
        "quality": {},
        "counts": {"events": 5, "air_frames": 3},
    }


def test_npz_is_compressed(tmp_path):
    with zipfile.ZipFile(saved(tmp_path)) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_DEFLATED}
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_json_layout(tmp_path):
    events = make_events()
    text = saved(tmp_path, events, "a.json").read_text("utf-8")
    found = json.loads(text)
    assert list(found) == ["header", "columns", "rows", "air"]
    assert [column["name"] for column in found["columns"]] == [column.name for column in COLUMNS] + LABELS
    assert [column["unit"] for column in found["columns"]][-5:] == ["dBFS", "", "", "", ""]
    row = found["rows"][1]
    assert row[0] == events.onset_s[1] and row[-3:] == [-1, 3, int(events.noise_seed[1])]
    assert row[1] == float(str(events.params[1, 0]))
    assert np.shape(found["air"]) == (2, 3, 24)
    lines = [line for line in text.splitlines() if line.startswith(f"[{row[0]!r}, ")]
    assert len(lines) == 1 and json.loads(lines[0].rstrip(",")) == row


def test_csv_layout(tmp_path):
    events = make_events()
    lines = saved(tmp_path, events, "a.csv").read_text("utf-8").splitlines()
    assert lines[0].split(",") == [column.name for column in COLUMNS] + LABELS
    assert len(lines) == 6
    np.testing.assert_array_equal(np.array(lines[3].split(",")[1:17], np.float32), events.params[2])
    assert fault(tmp_path / "a.csv") == "is a CSV export, which cannot be read back; keep the .npz or .json"


def test_json_written_by_hand(tmp_path):
    """The least that is needed, with a byte order mark, in whole numbers where they are whole."""
    columns = json.loads(saved(tmp_path, make_events(channels=1), "a.json").read_text("utf-8"))["columns"]
    header = {"format": "sparse-events", "version": 1, "kind": "atoms"}
    header |= {"duration_s": 2, "sample_rate": 8000, "channels": 1, "of the future": [1]}
    row = [0, 0.01, 1, 440, -6, 0, 0, -200, 0, 0, -200, 0, 0, -200, 0, -200, -1, 1, 0]
    path = tmp_path / "hand.json"
    path.write_text(json.dumps({"header": header, "columns": columns, "rows": [row], "air": [[]]}), "utf-8-sig")
    events = load_events(path)
    assert events.header == Header(2.0, 8000)
    assert events.column("freq1_hz")[0] == 440 and events.numbers == 6
    header["counts"] = {"events": 2, "air_frames": 0}
    path.write_text(json.dumps({"header": header, "columns": columns, "rows": [row], "air": [[]]}))
    assert fault(path).startswith("declares 2 events and 0 frames of air, and holds 1 and 0; remove counts")


def test_npz_written_by_numpy(tmp_path):
    """Arrays that numpy itself wrote, not compressed and in another order."""
    with np.load(saved(tmp_path)) as file:
        arrays = dict(file)
    np.savez(tmp_path / "b.npz", **dict(reversed(arrays.items())))
    assert_same(load_events(tmp_path / "b.npz"), make_events())


# Names, pipes, and what is there already


def test_format_follows_content_not_name(tmp_path):
    npz, text = saved(tmp_path), saved(tmp_path, name="b.json")
    npz.rename(tmp_path / "really.json")
    text.rename(tmp_path / "really.npz")
    assert_same(load_events(tmp_path / "really.json"), load_events(tmp_path / "really.npz"))


def test_recognise():
    assert recognise(b"PK\x03\x04\x14\0") == recognise(b"PK\x05\x06") == "npz"
    assert recognise(b'{"header"') == recognise(b"\xef\xbb\xbf \n\t{") == "json"
    assert [recognise(data) for data in (b"", b"RIFF", b"[1]", b"onset_s,", b"P", b"\0{")] == [None] * 6


class Standard:
    """Stands in for `sys.stdin`."""

    def __init__(self, data):
        self.buffer = io.BytesIO(data)


@pytest.mark.parametrize("name", ["a.npz", "a.json"])
def test_standard_input(tmp_path, monkeypatch, name):
    monkeypatch.setattr(sys, "stdin", Standard(saved(tmp_path, name=name).read_bytes()))
    assert_same(load_events("-"), make_events())
    monkeypatch.setattr(sys, "stdin", Standard(b"nothing"))
    with pytest.raises(SparseError, match=r"^standard input: is not an events file"):
        load_events("-")


def test_standard_output_is_json(tmp_path, capsysbinary):
    save_events("-", make_events())
    assert capsysbinary.readouterr().out == saved(tmp_path, name="a.json").read_bytes()
    save_events("-", make_events(), file_format="npz")
    assert capsysbinary.readouterr().out == saved(tmp_path).read_bytes()


def test_names(tmp_path):
    with pytest.raises(SparseError, match=r"\.txt is no known events format; name it \.npz, \.json or \.csv"):
        save_events(tmp_path / "a.txt", make_events())
    with pytest.raises(SparseError, match=r"has no extension; name it"):
        save_events(tmp_path / "a", make_events())
    save_events(tmp_path / "a", make_events(), file_format="npz")
    save_events("/dev/null", make_events())
    assert_same(load_events(tmp_path / "a"), make_events())
    assert_same(load_events(saved(tmp_path, name="A.NPZ")), make_events())


def test_existing_file(tmp_path):
    before = saved(tmp_path).read_bytes()
    with pytest.raises(SparseError, match="exists already; use --overwrite"):
        save_events(tmp_path / "a.npz", make_events(draw=1))
    assert (tmp_path / "a.npz").read_bytes() == before
    save_events(tmp_path / "a.npz", make_events(draw=1), overwrite=True)
    assert (tmp_path / "a.npz").read_bytes() != before


def test_full_disk():
    with pytest.raises(SparseError, match="no space left on device"):
        save_events("/dev/full", make_events())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"text", "is not an events file (.npz or .json)"),
        (b"RIFF....WAVEfmt ", "is a recording, not events; make events of it with: sparse fit"),
        (b"PK\x05\x06" + bytes(18), "is not an events file (a zip archive without header.npy)"),
        (b"{}", "is not an events file (no header)"),
        (b'{"header": 1}', "is not an events file (no header)"),
        (b'{"header": {}}', "is not an events file (its header does not say 'sparse-events')"),
        (b'{"header": ', "is not valid JSON (Expecting value: line 1 column 12 (char 11))"),
        (b'{"a": NaN}', "is not valid JSON (NaN is not a JSON number)"),
        (
            b'{"a": "\xff"}',
            "is not valid JSON ('utf-8' codec can't decode byte 0xff in position 7: invalid start byte)",
        ),
        (b'{"a": ' + b"[" * 200_000, "is not an events file (JSON too deep)"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "is not valid JSON (Exceeds the limit (4300 digits) for integer string"),
    ],
)
def test_what_is_no_events_file(tmp_path, data, message):
    (tmp_path / "a").write_bytes(data)
    assert fault(tmp_path / "a").startswith(message)


def test_missing_file(tmp_path):
    assert fault(tmp_path / "no.npz") == "no such file"
    assert fault(tmp_path) == "is a folder; name the files in it"


def test_checkpoint_is_no_events_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    assert fault(tmp_path / "model.pt") == "is not an events file (a zip archive without header.npy)"


def test_too_much_json(tmp_path, monkeypatch):
    path = saved(tmp_path, name="a.json")
    monkeypatch.setattr(events_file, "MAX_JSON_BYTES", 1 << 10)
    assert fault(path) == "is JSON of more than 0 MiB; use .npz"
    with pytest.raises(SparseError, match=r"use \.npz"):
        save_events(tmp_path / "b.json", make_events())
    assert not (tmp_path / "b.json").exists()


# Headers


def changed(tmp_path, change):
    """Faults of an NPZ and a JSON file whose header objects were changed, which should agree."""
    lines = set()
    text = json.loads(saved(tmp_path, name="a.json").read_text("utf-8"))
    change(text["header"])
    (tmp_path / "a.json").write_text(json.dumps(text))
    lines.add(fault(tmp_path / "a.json"))
    arrays = npz_arrays(tmp_path)
    header = json.loads(arrays["header"].tobytes())
    change(header)
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    lines.add(fault(stored_npz(tmp_path, arrays)))
    assert len(lines) == 1
    return lines.pop()


def npz_arrays(tmp_path, events=None):
    with np.load(saved(tmp_path, events)) as file:
        return dict(file)


def stored_npz(tmp_path, arrays):
    np.savez_compressed(tmp_path / "changed.npz", **arrays)
    return tmp_path / "changed.npz"


HEADERS = [
    ("format", "midi", "is not an events file (its header does not say 'sparse-events')"),
    ("version", 2, "is an events file of version 2; this program reads version 1; update sparse"),
    ("version", 10**400, "is an events file of version too large; this program reads version 1; update sparse"),
    ("version", 0, "its version is 0, which never was"),
    ("version", 1.0, "its version is not a whole number"),
    ("version", None, "its version is not a whole number"),
    ("kind", "waves", "holds events of an unknown kind 'waves'; known: atoms, gabor, siam, learned; update sparse"),
    ("kind", "siam", "its model.sha256 is missing, without which nobody can tell what events of kind siam are"),
    ("kind", ["atoms"], "its kind is not a text"),
    ("duration_s", 0, "its duration_s is 0"),
    ("duration_s", -1.5, "its duration_s is -1.5, which is not in 0 .. 86400"),
    ("duration_s", 1e9, "its duration_s is 1000000000.0, which is not in 0 .. 86400"),
    ("duration_s", 10**400, "its duration_s is too large, which is not in 0 .. 86400"),
    ("duration_s", "2", "its duration_s is not a number"),
    ("duration_s", True, "its duration_s is not a number"),
    ("sample_rate", 999, "its sample_rate is 999, which is not in 1000 .. 384000"),
    ("sample_rate", 384_001, "its sample_rate is 384001, which is not in 1000 .. 384000"),
    ("sample_rate", 44100.0, "its sample_rate is not a whole number"),
    ("channels", 0, "its channels is 0, which is not in 1 .. 64"),
    ("channels", 65, "its channels is 65, which is not in 1 .. 64"),
    ("channels", True, "its channels is not a whole number"),
    ("source", "a.wav", "its source is not an object"),
    ("source", {"name": "../../etc/passwd"}, "its source.name is not a file name without folders"),
    ("source", {"name": 3}, "its source.name is not a text"),
    ("source", {"sha256": "abc"}, "its source.sha256 is not a SHA-256"),
    ("edits", [], "its edits is not an object"),
    ("edits", {"operations": {}}, "its edits.operations is not a list"),
    ("edits", {"operations": ["gain"]}, "its edits.operations are not objects"),
    ("edits", {"of": {"name": "a/b.npz"}}, "its edits.of.name is not a file name without folders"),
    ("edits", {"of": {"sha256": "abc"}}, "its edits.of.sha256 is not a SHA-256"),
    ("seed", 2**63, f"its seed is {2**63}, which is not in {-(2**63)} .. {2**63 - 1}"),
    ("seed", 0.5, "its seed is not a whole number"),
    ("settings", [], "its settings is not an object"),
    ("quality", {"snr_db": "high"}, "its quality.snr_db is not a number"),
    ("quality", [], "its quality is not an object"),
]


@pytest.mark.parametrize(("key", "value", "message"), HEADERS)
def test_header_values(tmp_path, key, value, message):
    assert changed(tmp_path, lambda header: header.update({key: value})) == message


@pytest.mark.parametrize("key", ["version", "kind", "duration_s", "sample_rate", "channels"])
def test_header_keys_that_are_needed(tmp_path, key):
    assert changed(tmp_path, lambda header: header.pop(key)) == f"its {key} is missing"


def test_settings_too_deep(tmp_path):
    inner = {}
    for _ in range(20):
        inner = {"a": [inner]}
    assert changed(tmp_path, lambda header: header.update(settings=inner)) == "its settings are nested too deep"


def test_infinite_settings(tmp_path):
    path = saved(tmp_path, name="a.json")
    for key in ("settings", "quality"):
        path.write_text(
            saved(tmp_path, name="a.json").read_text().replace(f'"{key}": {{}}', f'"{key}": {{"a": 1e999}}')
        )
        assert "not finite" in fault(path)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_writes_no_infinite_quality(tmp_path, value):
    assert "not a JSON number" in refused(tmp_path, make_events(quality={"snr_db": value}))


def test_writes_no_header_that_it_would_not_read(tmp_path):
    assert refused(tmp_path, make_events(sample_rate=1)).startswith("its sample_rate is 1,")
    assert refused(tmp_path, make_events(source_name="a/b.wav")).startswith("its source.name")
    assert refused(tmp_path, make_events(kind="waves")).startswith("holds events of an unknown kind")


# Columns


def column_changes(columns):
    yield (
        "holds an unknown column 'width'; update sparse, or remove the column",
        [*columns, {"name": "width", "unit": ""}],
    )
    yield "lacks the column attack_s", [column for column in columns if column["name"] != "attack_s"]
    yield "its columns are not in order", columns[1::-1] + columns[2:]
    yield "its columns are not in order", [columns[0], *columns]
    yield "column onset_s is in 'ms', not in 's'", [{"name": "onset_s", "unit": "ms"}, *columns[1:]]
    for nonsense in (None, 3, "onset_s", ["onset_s"], {}):
        yield "its columns are not a list of names and units", nonsense


@pytest.mark.parametrize("number", range(10))
def test_columns(tmp_path, number):
    arrays = npz_arrays(tmp_path)
    header = json.loads(arrays["header"].tobytes())
    message, header["columns"] = list(column_changes(header["columns"]))[number]
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    assert fault(stored_npz(tmp_path, arrays)).startswith(message)
    text = json.loads(saved(tmp_path, name="a.json").read_text())
    text["columns"] = list(column_changes(text["columns"]))[number][1]
    (tmp_path / "a.json").write_text(json.dumps(text))
    assert fault(tmp_path / "a.json").startswith(message)


# Values


def value_changes():
    """Column, value, and what is said of it in event 6, the third."""
    yield "onset_s", -2.1, "event 6: onset_s is -2.1, which is not in -2 .. 86400 s"
    yield "onset_s", 1e9, "event 6: onset_s is 1000000000.0, which is not in -2 .. 86400 s"
    yield "attack_s", 1e-4, "event 6: attack_s is 9.999999747378752e-05, which is not in 0.0002 .. 10 s"
    yield "freq1_hz", -1.0, "event 6: freq1_hz is -1.0, which is not in 0 .. 192000 Hz"
    yield "decay_s", 601.0, "event 6: decay_s is 601.0, which is not in 0 .. 600 s"
    yield "level3_db", 61.0, "event 6: level3_db is 61.0, which is not in -200 .. 60 dBFS"
    yield "phase1_rad", 3.2, "event 6: phase1_rad is 3.200000047683716, which is not in -3.14159 .. 3.14159 rad"
    yield "noise_level_db", -201.0, "event 6: noise_level_db is -201.0, which is not in -200 .. 60 dBFS"
    yield "freq4_hz", 2e5, "event 6: freq4_hz is 200000.0, which is not in 0 .. 192000 Hz"
    yield "decay_s", 0.0, "event 6: decay_s is 0; raise it, or set level1_db to -200"
    yield "pan", 1.5, "event 6: pan is 1.5, which is not in -1 .. 1"
    yield "pan", -1.5, "event 6: pan is -1.5, which is not in -1 .. 1"
    yield "freq4_hz", 0.0, "event 6: freq4_hz is 0; raise it, or set noise_level_db to -200"


def with_value(events, name, value):
    onset_s, params = events.onset_s.copy(), events.params.copy()
    if name == "onset_s":
        onset_s[2] = value
    else:
        params[2, events.columns.index(name) - 1] = value
    return replace(events, onset_s=onset_s, params=params)


@pytest.mark.parametrize(("name", "value", "message"), list(value_changes()))
def test_values_out_of_range(tmp_path, name, value, message):
    events = with_value(make_events(), name, value)
    assert refused(tmp_path, events) == message
    assert fault(unchecked(tmp_path, events, "a.npz")) == message
    assert fault(unchecked(tmp_path, events, "a.json")) == message


@pytest.mark.parametrize("name", ["a.npz", "a.json"])
def test_a_place_where_there_are_two_channels_and_only_there(tmp_path, name):
    """Two channels without `pan`, one with it, and eight, which have none."""
    two, one = make_events(), make_events(channels=1)
    without = replace(two, header=replace(two.header, channels=1), params=two.params[:, :-1], air=two.air[:1])
    as_if_two = replace(one, header=replace(one.header, channels=2), air=np.repeat(one.air, 2, axis=0))
    assert refused(tmp_path, as_if_two) == "params has the shape (5, 15), not (5, 16)"
    assert_same(load_events(saved(tmp_path, without, name)), without)
    for events, channels, message in (
        (two, 1, "holds an unknown column 'pan'; update sparse, or remove the column"),
        (two, 8, "holds an unknown column 'pan'; update sparse, or remove the column"),
        (one, 2, "lacks the column pan"),
    ):
        path = saved(tmp_path, events, "a.json")
        text = json.loads(path.read_text())
        text["header"]["channels"] = channels
        path.write_text(json.dumps(text))
        assert fault(path) == message


@pytest.mark.parametrize("level", LEVELS)
def test_what_sounds_decays(tmp_path, level):
    """Whichever mode it is, or the noise; an atom of noise alone is an atom, and one of nothing needs no decay."""
    params = np.zeros((1, 16), np.float32)
    params[0, PLACE["attack_s"]], params[0, PLACE["freq4_hz"]] = 0.01, 1000
    params[0, [PLACE[name] for name in LEVELS]] = SILENT_DB
    nothing = replace(make_events(1), params=params)
    assert_same(load_events(saved(tmp_path, nothing)), nothing)
    sounding = replace(nothing, params=params.copy())
    sounding.params[0, PLACE[level]] = -20
    (tmp_path / "a.npz").unlink()
    assert refused(tmp_path, sounding) == f"event 0: decay_s is 0; raise it, or set {level} to -200"
    sounding.params[0, PLACE["decay_s"]] = 0.5
    assert_same(load_events(saved(tmp_path, sounding)), sounding)


def unchecked(tmp_path, events, name):
    """Events written without the checks."""
    path = tmp_path / name
    path.write_bytes(b"".join(events_file._pack(events, path.suffix[1:])))
    return path


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["onset_s", "attack_s", "phase3_rad", "noise_level_db"])
def test_values_that_are_not_finite(tmp_path, name, value):
    events = with_value(make_events(), name, value)
    message = f"event 6: {name} is {value}, which is not in"
    assert refused(tmp_path, events).startswith(message)
    assert fault(unchecked(tmp_path, events, "a.npz")).startswith(message)
    assert "is not valid JSON" in fault(unchecked(tmp_path, events, "a.json"))


def test_values_at_the_limits(tmp_path):
    events = make_events(2)
    table = COLUMNS[1:]
    params = np.array([[column.low for column in table], [column.high for column in table]], np.float32)
    events = replace(events, params=params, onset_s=np.array([-2.0, 86400.0]))
    assert_same(load_events(saved(tmp_path, events)), events)


@pytest.mark.parametrize("value", [np.nan, -201, 61, np.inf])
def test_air(tmp_path, value):
    events = make_events()
    air = events.air.copy()
    air[1, 2, 3] = value
    message = f"air: a level is {float(value)} dB, which is not in -200 .. 60"
    assert refused(tmp_path, replace(events, air=air)) == message
    assert fault(unchecked(tmp_path, replace(events, air=air), "a.npz")) == message


def test_repeated_ids(tmp_path):
    events = replace(make_events(), id=np.array([1, 5, 2, 5, 3], np.int64))
    message = "more than one event has the id 5; give each its own"
    assert refused(tmp_path, events) == message
    assert fault(unchecked(tmp_path, events, "a.npz")) == message
    assert fault(unchecked(tmp_path, events, "a.json")) == message


def test_arrays_of_the_wrong_kind(tmp_path):
    events = make_events()
    wrong = [
        (replace(events, params=events.params.astype(np.float64)), "params is float64, not float32"),
        (replace(events, note=events.note[:4]), "note has the shape (4,), not (5,)"),
        (replace(events, air=events.air[:1]), "air has the shape (1, 3, 24), not (2, 3, 24)"),
        (replace(events, air=events.air[0]), "air has the shape (3, 24), not (2, 0, 24)"),
        (replace(events, params=events.params[:, :15]), "params has the shape (5, 15), not (5, 16)"),
    ]
    for changed_events, message in wrong:
        assert refused(tmp_path, changed_events) == message


# JSON rows


def row_changes():
    yield lambda text: text.update(rows={}), "its rows are not a list of at most 10000000 events"
    yield lambda text: text.pop("rows"), "its rows are not a list of at most 10000000 events"
    yield lambda text: text["rows"].insert(1, 5), "row 2 does not hold 20 numbers"
    yield lambda text: text["rows"][1].pop(), "row 2 does not hold 20 numbers"
    yield lambda text: text["rows"][4].append(0), "row 5 does not hold 20 numbers"
    for nonsense in ("1", True, None, [], {}):
        yield lambda text, value=nonsense: text["rows"][2].__setitem__(3, value), "row 3 holds something that is not a"
    yield lambda text: text["rows"][2].__setitem__(3, 10**400), "holds a number that is too large"
    yield lambda text: text["rows"][2].__setitem__(3, 10**30), "event 6: freq1_hz is 1.0000000150474662e+30, which is"
    yield lambda text: text["rows"][2].__setitem__(3, 1e300), "event 6: freq1_hz is inf, which is not in 0 .. 192000 Hz"
    yield lambda text: text["rows"][2].__setitem__(17, 2**31), "a note is not a whole number from -2147483648 to"
    yield lambda text: text["rows"][2].__setitem__(18, 1.0), "a id is not a whole number from -9223372036854775808 to"
    yield (
        lambda text: text["rows"][2].__setitem__(19, -1),
        "a noise_seed is not a whole number from 0 to 18446744073709",
    )
    air = "its air is not 2 equal lists of frames of 24 numbers, one a channel"
    yield lambda text: text.update(air=3), air
    yield lambda text: text.pop("air"), air
    yield lambda text: text["air"].pop(), air
    yield lambda text: text["air"][1].pop(), air
    yield lambda text: text["air"].__setitem__(1, 5), air
    yield lambda text: text["air"][1].__setitem__(1, 5), air
    yield lambda text: text["air"][1][1].append(5), air
    yield lambda text: text["air"][1][1].__setitem__(3, "a"), air
    yield lambda text: text["air"][1][1].__setitem__(3, False), air
    yield lambda text: text["air"][1][1].__setitem__(3, 10**400), "holds a number that is too large"


@pytest.mark.parametrize(("change", "message"), list(row_changes()))
def test_rows(tmp_path, change, message):
    text = json.loads(saved(tmp_path, name="a.json").read_text())
    change(text)
    (tmp_path / "a.json").write_text(json.dumps(text))
    assert fault(tmp_path / "a.json").startswith(message)


# Archives made to harm


def array_changes():
    yield {"params": np.zeros((5, 15), np.float32)}, "params.npy has the shape (5, 15), but the header declares (5, 16)"
    yield {"params": np.zeros(80, np.float32)}, "params.npy has the shape (80,), but the header declares (5, 16)"
    yield {"onset_s": np.zeros(6)}, "onset_s.npy has the shape (6,), but the header declares (5,)"
    yield {"onset_s": np.zeros(5, np.float32)}, "onset_s.npy is of type '<f4', not '<f8'"
    yield {"id": np.zeros(5, ">i8")}, "id.npy is of type '>i8', not '<i8'"
    yield {"id": np.zeros(5, "m8[s]")}, "id.npy is of type '<m8[s]', not '<i8'"
    yield {"note": np.zeros(5, [("a", "i4")])}, "note.npy: is not an array of plain numbers"
    yield {"params": np.asfortranarray(make_events().params)}, "params.npy is in column order; save it with"
    yield {"note": np.array([None] * 5)}, "note.npy is of type '|O', not '<i4'"
    yield {"header": np.array({"format": 1})}, "header.npy is of type '|O', not '|u1'"
    yield {"header": np.zeros((2, 2), np.uint8)}, "header.npy has the shape (2, 2), which no header has"
    yield {"header": np.zeros(2 << 20, np.uint8)}, "header.npy has the shape (2097152,), which no header has"
    yield {"header": np.zeros(0, np.uint8)}, "is not valid JSON"
    yield {"extra": np.zeros(3)}, "is a damaged events file (holds an unknown array extra)"
    yield {"air": None}, "is a damaged events file (lacks air)"


@pytest.mark.parametrize(("arrays", "message"), list(array_changes()))
def test_arrays(tmp_path, arrays, message):
    all_arrays = {name: array for name, array in (npz_arrays(tmp_path) | arrays).items() if array is not None}
    line = fault(stored_npz(tmp_path, all_arrays))
    assert message in line


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("something was unpickled",))


def test_pickles_are_not_opened(tmp_path):
    arrays = npz_arrays(tmp_path)
    for name in arrays:
        trapped = np.empty(5, object)
        trapped[:] = [Trap()] * 5
        assert "is of type '|O'" in fault(stored_npz(tmp_path, arrays | {name: trapped}))
    (tmp_path / "a.npz").write_bytes(pickle.dumps(Trap()))
    assert fault(tmp_path / "a.npz").startswith("is not an events file")


def rezipped(tmp_path, change, compression=zipfile.ZIP_DEFLATED):
    """The archive with every member's bytes passed through `change`."""
    path = tmp_path / "rezipped.npz"
    with zipfile.ZipFile(saved(tmp_path)) as old, zipfile.ZipFile(path, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return path


@pytest.mark.parametrize("name", ["header", *ARRAYS])
def test_members_of_another_length(tmp_path, name):
    short = rezipped(tmp_path, lambda member, data: data[:-1] if member == f"{name}.npy" else data)
    assert fault(short) == f"{name}.npy: holds less than it declares"
    long = rezipped(tmp_path, lambda member, data: data + b"\0" if member == f"{name}.npy" else data)
    assert fault(long) == f"{name}.npy: holds more than it declares"
    none = rezipped(tmp_path, lambda member, data: b"" if member == f"{name}.npy" else data)
    assert fault(none) == f"{name}.npy: is not a numpy array"


def test_description_that_is_code(tmp_path):
    def evil(name, data):
        if name != "onset_s.npy":
            return data
        text = b"{'descr': __import__('os').abort(), 'fortran_order': False, 'shape': (5,), }".ljust(117) + b"\n"
        return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + bytes(40)

    assert fault(rezipped(tmp_path, evil)) == "onset_s.npy: is not an array of plain numbers"


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions(tmp_path, compression):
    path = rezipped(tmp_path, lambda name, data: data, compression)
    assert fault(path) == "header.npy is encrypted or packed in a way that is not read"


def test_member_twice(tmp_path):
    path = saved(tmp_path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("id.npy", b"")
    assert fault(path) == "holds id.npy twice"


def bomb(tmp_path, events, frames, size):
    """An archive with other counts in its header, and so many zeros after the first array that belongs to them."""
    header = json.loads(npz_arrays(tmp_path)["header"].tobytes())
    header["counts"] = {"events": events, "air_frames": frames}
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in npz_arrays(tmp_path).items():
            data = io.BytesIO()
            np.save(data, np.frombuffer(json.dumps(header).encode(), np.uint8) if name == "header" else array)
            archive.writestr(f"{name}.npy", data.getvalue() + (bytes(size) if name == "onset_s" else b""))
    return path


def test_bomb(tmp_path):
    path = bomb(tmp_path, 5, 3, 100_000_000)
    assert path.stat().st_size < 1_000_000
    start, before = time.perf_counter(), peak_bytes()
    assert fault(path) == "onset_s.npy: holds more than it declares"
    assert time.perf_counter() - start < 0.5
    assert peak_bytes() - before < 20_000_000


def peak_bytes():
    resource = pytest.importorskip("resource")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize(
    ("events", "frames", "message"),
    [
        (10_000_001, 3, "its counts.events is 10000001, which is not in 0 .. 10000000"),
        (5, 10**7, "its counts.air_frames is 10000000, which is not in 0 .. 86401"),
        (-1, 3, "its counts.events is -1, which is not in 0 .. 10000000"),
        (9_999_999, 3, "onset_s.npy has the shape (5,), but the header declares (9999999,)"),
        (5.0, 3, "its counts.events is not a whole number"),
    ],
)
def test_counts(tmp_path, events, frames, message):
    assert fault(bomb(tmp_path, events, frames, 0)) == message


def test_array_that_is_declared_and_not_there(tmp_path):
    """10^7 events in header and descriptions, none in the file: nothing is allocated for them."""
    header = json.loads(npz_arrays(tmp_path)["header"].tobytes())
    header["counts"]["events"] = 10**7
    arrays = npz_arrays(tmp_path) | {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            np.save(data, array)
            described = data.getvalue()
            if name not in ("header", "air"):
                described = described.replace(b"(5,", b"(10000000,").replace(b"       \n", b"\n")
            archive.writestr(f"{name}.npy", described)
    before = peak_bytes()
    assert fault(path) == "onset_s.npy: holds less than it declares"
    assert peak_bytes() - before < 20_000_000


@pytest.mark.parametrize("name", ["a.npz", "a.json"])
def test_every_truncation(tmp_path, name):
    data = saved(tmp_path, make_events(1, 1, 1), name).read_bytes().rstrip()
    path = tmp_path / "cut"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        fault(path)


def mutated(data, random_numbers):
    """A few bytes changed, removed, repeated or moved."""
    data = bytearray(data)
    for _ in range(random_numbers.randint(1, 4)):
        at, length = random_numbers.randrange(len(data)), random_numbers.randint(1, 8)
        action = random_numbers.randrange(4)
        if action == 0:
            data[at] = random_numbers.randrange(256)
        elif action == 1:
            data[at] ^= 1 << random_numbers.randrange(8)
        elif action == 2:
            del data[at : at + length]
        else:
            data[at:at] = data[random_numbers.randrange(len(data)) :][:length]
    return bytes(data)


@pytest.mark.parametrize("name", ["a.npz", "stored.npz", "a.json"])
def test_any_damage_is_found_or_harmless(tmp_path, name):
    """The arrays in `stored.npz` are not compressed, so that damage reaches them and not the decompressor alone."""
    saved(tmp_path, make_events(2, 1, 1), name)
    if name == "stored.npz":
        np.savez(tmp_path / name, **npz_arrays(tmp_path, make_events(2, 1, 1)))
    data, path = (tmp_path / name).read_bytes(), tmp_path / "mutated"
    loaded, faults = 0, set()
    for seed in range(2000):
        path.write_bytes(mutated(data, random.Random(seed)))
        start = time.perf_counter()
        try:
            load_events(path)
            loaded += 1
        except SparseError as error:
            faults.add(str(error))
        assert time.perf_counter() - start < 2
    assert len(faults) > 20  # the damage reaches many of the checks
    assert loaded < 1000


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_json_value_anywhere(tmp_path, data):
    """One value at any place of a JSON file replaced by any other."""
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    values = st.recursive(
        plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner)
    )
    text = copy.deepcopy(json_object(tmp_path))
    at = text
    while True:
        keys = list(at) if isinstance(at, dict) else range(len(at))
        key = data.draw(st.sampled_from(keys))
        if not at[key] or not isinstance(at[key], dict | list) or data.draw(st.integers(0, 3)) == 0:
            break
        at = at[key]
    at[key] = data.draw(values)
    (tmp_path / "b.json").write_text(json.dumps(text))
    try:
        load_events(tmp_path / "b.json")
    except SparseError as error:
        assert "\n" not in str(error)


def json_object(tmp_path):
    path = tmp_path / "a.json"
    if not path.exists():
        save_events(path, make_events(1, 1, 1))
    return json.loads(path.read_text())


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([b"", b"{", b"PK\x03\x04", b"PK\x05\x06"]), st.binary(max_size=300))
def test_any_bytes(tmp_path, start, data):
    path = tmp_path / "any"
    path.write_bytes(start + data)
    with pytest.raises(SparseError):
        load_events(path)


# Size and speed


def test_a_long_file(tmp_path):
    """An hour at 64 atoms for each 1.5 s; there and back takes 0.5 s on a quiet machine."""
    events = make_events(150_000, 2, 3600)
    start = time.perf_counter()
    assert_same(load_events(saved(tmp_path, events)), events)
    assert time.perf_counter() - start < 20


def test_header_limits_fit_together():
    assert events_header.MAX_AIR_FRAMES >= events_header.MAX_ONSET_S
