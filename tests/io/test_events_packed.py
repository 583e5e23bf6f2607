"""Packed events files: what is written is read, and what is damaged is refused."""

from __future__ import annotations

import io
import json
import struct
import time
import tracemalloc
import zipfile
import zlib
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from sparsecli.core import grids
from sparsecli.core.columns import STEREO
from sparsecli.core.errors import SparseError
from sparsecli.core.events import Header
from sparsecli.core.grids import Codes, events_of
from sparsecli.io.events_file import load_events, save_events
from sparsecli.io.events_header import Counts
from sparsecli.io.events_packed import entropy_bits, pack_codes, unpack_codes

HEADER = Header(2.5, 22050, seed=5)
ARRAYS = ["onset_s", "params", "note", "id", "noise_seed", "air"]


def make_codes(count: int = 50, frames: int = 3, channels: int = 1, draw: int = 0, fineness: float = -28.0) -> Codes:
    """Codes all over their ranges that stand for events within theirs."""
    numbers = np.random.default_rng(draw)
    grade = np.where(numbers.random((count, 4)) < 0.85, numbers.integers(28, 42, (count, 4)), 0)
    strikes = grids.strikes_of(grade, fineness)
    used = grade > 0
    noise = np.where(numbers.random(count) < 0.3, numbers.integers(50, 80, count), 0)
    sounding = used.copy()
    sounding[:, -1] |= noise > 0
    decay_depth = grids.decay_depth(strikes)
    return Codes(
        fineness=fineness,
        grade=grade,
        decay=grids.round_to(numbers.uniform(-4, 1, count), decay_depth),
        attack=grids.round_to(numbers.uniform(0, 0.5, count), grids.attack_depth(strikes)),
        onset=numbers.integers(-1, 40, count),
        freq=np.where(sounding, numbers.integers(1, 600, (count, 4)), 0),
        level=np.where(used, numbers.integers(-9, 12, (count, 4)), 0),
        phase=np.where(used, numbers.integers(0, 1 << grids.phase_depth(strikes)), 0),
        noise=noise,
        pan=numbers.integers(-32, 33, count) if channels == STEREO else np.zeros(count, np.int64),
        note=numbers.integers(-1, 5, count),
        air=numbers.integers(0, 80, (channels, frames, 24)),
    )


def assert_same(one: Codes, other: Codes) -> None:
    for field in fields(Codes):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        assert np.shape(ours) == np.shape(theirs) and np.array_equal(ours, theirs), field.name


def unpacked(data: bytes, codes: Codes, **counts: int) -> Codes:
    given = Counts(**({"events": len(codes.grade), "air_frames": codes.air.shape[1]} | counts))
    return unpack_codes(data, given, len(codes.air), HEADER.duration_s, "a.npz")


def fault(data: bytes, codes: Codes, **counts: int) -> str:
    with pytest.raises(SparseError) as caught:
        unpacked(data, codes, **counts)
    line = str(caught.value)
    assert line.startswith("a.npz: is a damaged events file (") and "\n" not in line
    return line


@pytest.mark.parametrize("count", [0, 1, 2, 50, 70_000])  # the last in more than one block
@pytest.mark.parametrize("fineness", [-40.0, -28.0, -20.0])
def test_the_codes_come_back(count: int, fineness: float):
    codes = make_codes(count, fineness=fineness, channels=2)
    assert_same(unpacked(pack_codes(codes, HEADER.duration_s), codes), codes)


def test_the_same_codes_are_the_same_bytes():
    assert pack_codes(make_codes(), 2.5) == pack_codes(make_codes(), 2.5)


def test_large_and_negative_numbers_come_back():
    codes = make_codes(3)
    odd = replace(codes, note=np.array([2**31 - 1, -(2**31), 7]), onset=np.array([-(10**6), 10**9, 0]))
    assert_same(unpacked(pack_codes(odd, 2.5), odd), odd)


def test_many_numbers_take_little_more_than_their_entropy():
    codes = make_codes(5000)
    packed, least = 8 * len(pack_codes(codes, 2.5)), entropy_bits(codes, 2.5)
    assert least <= packed < 1.02 * least  # Huffman codes


def test_a_cut_at_any_byte_is_found():
    codes = make_codes(12)
    data = pack_codes(codes, 2.5)
    for size in range(len(data)):
        fault(data[:size], codes)
    assert "more than it declares" in fault(data + b"\0", codes)


@pytest.mark.parametrize("counts", [{"events": 49}, {"events": 51}, {"air_frames": 2}, {"air_frames": 4}])
def test_wrong_counts_are_found(counts: dict[str, int]):
    codes = make_codes()
    fault(pack_codes(codes, 2.5), codes, **counts)


def test_damaged_bytes_are_refused_or_read_as_other_codes():
    codes = make_codes(30)
    data = pack_codes(codes, 2.5)
    numbers = np.random.default_rng(4)
    for _ in range(300):
        spoilt = bytearray(data)
        spoilt[numbers.integers(len(data))] ^= 1 << int(numbers.integers(8))
        try:
            events_of(unpacked(bytes(spoilt), codes), HEADER)
        except SparseError as error:
            assert "is a damaged events file" in str(error)


def column(shift: int, lowest: int, plane: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return struct.pack("<bi", shift, lowest) + packer.compress(plane) + packer.flush()


def start(fineness: float = -28.0) -> bytes:
    return struct.pack("<d", fineness)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (start(float("nan")), "its fineness is out of range"),
        (start(1e300), "its fineness is out of range"),
        (start() + column(100, 0, bytes(200)), "a shift is out of range"),
        (start() + column(-60, 2**31 - 1, bytes(200)), "a number is too large"),
        (start() + column(0, 0, bytes([64] * 200)), "a grade is out of range"),
        (start() + column(0, -5, bytes(200)), "a grade is out of range"),
        (start() + column(0, 0, bytes(1 << 24)), "it holds more than it declares"),  # a bomb
        (start() + column(0, 0, bytes(199)), "it holds less than it declares"),
        (start() + struct.pack("<bi", 0, 0) + b"\xff\xff\xff", "invalid"),
    ],
)
def test_hostile_columns(data: bytes, cause: str):
    assert cause in fault(data, make_codes())


def test_memory_is_bounded_by_what_is_there():
    """Ten million events declared, and a first column of a few bytes."""
    tracemalloc.start()
    began = time.perf_counter()
    fault(start() + column(0, 0, bytes(1 << 20)), make_codes(), events=10_000_000)
    assert tracemalloc.get_traced_memory()[1] < 64 << 20 and time.perf_counter() - began < 10
    tracemalloc.stop()


def packed(tmp_path: Path, codes: Codes | None = None, name: str = "a.npz") -> Path:
    codes = make_codes() if codes is None else codes
    save_events(tmp_path / name, events_of(codes, HEADER), overwrite=True, codes=codes)
    return tmp_path / name


def test_a_packed_file_gives_the_same_events(tmp_path: Path):
    codes = make_codes()
    events = load_events(packed(tmp_path, codes))
    assert events.header == HEADER
    for name in ARRAYS:
        ours, theirs = getattr(events, name), getattr(events_of(codes, HEADER), name)
        assert ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes()
    save_events(tmp_path / "plain.npz", events)
    assert (tmp_path / "plain.npz").stat().st_size > 2 * (tmp_path / "a.npz").stat().st_size
    assert load_events(tmp_path / "plain.npz").params.tobytes() == events.params.tobytes()
    save_events(tmp_path / "a.json", events, codes=codes)  # JSON has no packed form
    assert load_events(tmp_path / "a.json").params.tobytes() == events.params.tobytes()


def test_events_that_are_not_those_of_the_codes_are_not_written(tmp_path: Path):
    codes = make_codes()
    events = events_of(codes, HEADER)
    changed = replace(events, onset_s=events.onset_s + 0.001)
    with pytest.raises(SparseError, match="onset_s is not what the codes say; save changed events without codes"):
        save_events(tmp_path / "a.npz", changed, codes=codes)
    assert not (tmp_path / "a.npz").exists()


def rewritten(path: Path, change) -> Path:
    """The archive with its members, by name, changed in place by `change`."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def array(values: np.ndarray) -> bytes:
    memory = io.BytesIO()
    np.save(memory, values)
    return memory.getvalue()


def edited_header(members: dict[str, bytes], **changes) -> None:
    header = json.loads(np.load(io.BytesIO(members["header.npy"])).tobytes()) | changes
    members["header.npy"] = array(np.frombuffer(json.dumps(header).encode(), np.uint8))


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda m: m.update({"air.npy": array(np.zeros(1))}), "holds an unknown array air"),
        (lambda m: m.pop("header.npy"), "is not an events file"),
        (lambda m: m.update({"codes.npy": array(np.zeros((2, 2), np.uint8))}), "which no codes has"),
        (lambda m: m.update({"codes.npy": array(np.zeros(5, np.float32))}), "is of type '<f4', not '|u1'"),
        (lambda m: m.update({"codes.npy": array(np.zeros(1 << 24, np.uint8))}), "which no codes has"),
        (lambda m: m.update({"codes.npy": array(np.zeros(0, np.uint8))}), "it is cut off"),
        (lambda m: m.update({"codes.npy": m["codes.npy"][:-1]}), "holds less than it declares"),
        (lambda m: edited_header(m, counts={"events": 49, "air_frames": 3}), "is a damaged events file"),
        (lambda m: edited_header(m, counts={}), "its counts.events is missing"),
        (lambda m: edited_header(m, channels=2), "is a damaged events file"),
    ],
)
def test_hostile_files(tmp_path: Path, change, cause: str):
    with pytest.raises(SparseError) as caught:
        load_events(rewritten(packed(tmp_path), change))
    line = str(caught.value)
    assert cause in line and line.startswith(str(tmp_path)) and "\n" not in line


def test_columns_beside_the_codes_say_nothing(tmp_path: Path):
    """A packed file has the columns of its codes, whatever others its header names."""
    named = [{"name": "wet", "unit": ""}]
    events = load_events(rewritten(packed(tmp_path), lambda members: edited_header(members, columns=named)))
    assert events.header == HEADER and events.columns == events_of(make_codes(), HEADER).columns


def test_values_out_of_range_are_refused(tmp_path: Path):
    codes = replace(make_codes(), onset=np.full(50, -(2**40)))
    events = events_of(make_codes(), HEADER)
    path = tmp_path / "a.npz"
    save_events(path, events, codes=make_codes())
    rewritten(path, lambda m: m.update({"codes.npy": array(np.frombuffer(pack_codes(codes, 2.5), np.uint8))}))
    with pytest.raises(SparseError, match=r"onset_s is .* which is not in -2"):
        load_events(path)
