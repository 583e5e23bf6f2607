"""Files from a server that speaks S3, through a proxy that does harm: whole and right, or not there."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from sparsecli.core.errors import SparseError
from sparsecli.core.fetch_settings import FetchSettings
from sparsecli.core.manifest import Model
from sparsecli.io import downloads
from sparsecli.io.buckets import Bucket, ChangedError, ForbiddenError, MissingError, TransferError
from sparsecli.io.downloads import Patience, locked
from sparsecli.io.fetching import Fetched, Rules, fetch_model
from sparsecli.io.model_store import local_models

from ..servers import S3, FaultyProxy, cut, endless, longer, refuse, trickle, wrong_bytes

KEY = "siam/small.safetensors"
NUMBERS = 300_000
DATA = safetensors.numpy.save({"w": np.random.default_rng(0).standard_normal(NUMBERS).astype(np.float32)})


def model_of(data: bytes, **changes: Any) -> Model:
    known = Model("small", KEY, len(data), hashlib.sha256(data).hexdigest(), "siam", "1", 22050, "MIT")
    return replace(known, **changes)


@dataclass
class Fetch:
    """Fetching one model through the proxy, again and again."""

    s3: S3
    proxy: FaultyProxy
    bucket: str
    folder: Path

    def __call__(
        self, wanted: Model | str | None = None, timeout_s: float = 5.0, attempts: int = 3, **rules: Any
    ) -> Fetched:
        settings = FetchSettings(
            s3_bucket=self.bucket, endpoint_url=self.proxy.url, timeout_s=timeout_s, attempts=attempts
        )
        rule = replace(Rules(self.folder, 1 << 30, Patience(timeout_s, attempts)), **rules)
        return fetch_model(Bucket(settings), wanted or model_of(DATA), rule, lambda have, size: None, lambda: None)

    def names(self) -> list[str]:
        """What lies in the folder but for locks."""
        return sorted(name for name in os.listdir(self.folder) if not name.endswith(".lock"))

    def part(self) -> Path:
        (found,) = self.folder.glob(".*.part")
        return found

    def got(self) -> list[str]:
        """The requests for the file."""
        return [asked for asked in self.proxy.asked if asked.startswith("GET") and KEY in asked]


@pytest.fixture
def fetch(s3: S3, proxy: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetch:
    monkeypatch.setattr(downloads, "_FIRST_PAUSE_S", 0.02)
    return Fetch(s3, proxy, s3.new_bucket({KEY: DATA}), tmp_path / "cache")


WHOLE = ["models.json", "small.safetensors"]


def check_whole(fetch: Fetch) -> None:
    assert fetch.names() == WHOLE
    assert (fetch.folder / "small.safetensors").read_bytes() == DATA
    assert local_models(fetch.folder) == (model_of(DATA),)


def test_a_file_comes_whole_in_one_request(fetch: Fetch):
    assert fetch() == Fetched(model_of(DATA), fetch.folder / "small.safetensors", was_here=False)
    check_whole(fetch)
    assert len(fetch.got()) == 1
    assert fetch().was_here and len(fetch.got()) == 1  # nothing comes twice
    assert not fetch(force=True).was_here and len(fetch.got()) == 2
    check_whole(fetch)


def test_a_connection_cut_in_the_middle_is_gone_on_with(fetch: Fetch):
    fetch.proxy.harm(KEY, cut(500_000))
    fetch.proxy.harm(KEY, cut(300_000))
    fetch()
    check_whole(fetch)
    starts = [int(asked.partition("bytes=")[2].rstrip("-") or 0) for asked in fetch.got()]
    assert starts == [0, 500_000, 800_000]


def test_a_connection_cut_again_and_again_leaves_what_came_for_the_next_time(fetch: Fetch):
    fetch.proxy.harm(KEY, cut(100_000), times=3)
    with pytest.raises(TransferError, match="was cut off; the next attempt goes on after 300000 bytes"):
        fetch()
    assert fetch.names() == [fetch.part().name]
    assert fetch.part().read_bytes() == DATA[:300_000]
    fetch()
    check_whole(fetch)
    assert fetch.got()[-1].endswith("bytes=300000-")


def test_attempts_are_counted_from_the_last_one_that_brought_much(fetch: Fetch, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(downloads, "_PROGRESS_BYTES", 100_000)
    fetch.proxy.harm(KEY, cut(100_000), times=8)
    fetch(attempts=2)
    check_whole(fetch)


def test_wrong_bytes_are_not_kept(fetch: Fetch):
    fetch.proxy.harm(KEY, wrong_bytes)
    with pytest.raises(SparseError, match=r"came with the wrong bytes \(sha256 [0-9a-f]{64}, not [0-9a-f]{64}\)"):
        fetch()
    assert fetch.names() == [] and len(fetch.got()) == 1
    fetch()
    check_whole(fetch)


def test_a_part_that_a_crash_has_spoilt_is_thrown_away(fetch: Fetch):
    fetch.proxy.harm(KEY, cut(400_000), times=3)
    with pytest.raises(TransferError):
        fetch(attempts=1)
    fetch.proxy.faults.clear()
    fetch.part().write_bytes(bytes(300_000))  # as some file systems leave them when the power goes
    fetch()
    check_whole(fetch)
    assert [asked.rpartition(" ")[2] for asked in fetch.got()[-2:]] == [
        "bytes=300000-",
        fetch.got()[0].rpartition(" ")[2],
    ]


def test_a_part_that_is_too_long_is_thrown_away(fetch: Fetch):
    fetch.proxy.harm(KEY, cut(400_000))
    with pytest.raises(TransferError):
        fetch(attempts=1)
    with fetch.part().open("ab") as stream:
        stream.write(bytes(len(DATA)))
    fetch()
    check_whole(fetch)


def test_a_part_that_is_complete_needs_no_server(fetch: Fetch):
    fetch.proxy.harm(KEY, cut(400_000))
    with pytest.raises(TransferError):
        fetch(attempts=1)
    fetch.part().write_bytes(DATA)
    fetch()
    check_whole(fetch)
    assert len(fetch.got()) == 1


def test_a_part_of_another_version_is_removed(fetch: Fetch):
    fetch.proxy.harm(KEY, cut(400_000))
    with pytest.raises(TransferError):
        fetch(model_of(DATA, sha256="00" * 32), attempts=1)
    old = fetch.part()
    fetch()
    assert not old.exists()
    check_whole(fetch)


def test_a_server_without_ranges(fetch: Fetch):
    fetch.proxy.ranges = False
    fetch.proxy.harm(KEY, cut(400_000))
    fetch()
    check_whole(fetch)
    assert len(fetch.got()) == 2


@pytest.mark.parametrize("size", [len(DATA) - 4, len(DATA) + 4])
def test_a_file_of_another_length_is_refused_before_it_comes(fetch: Fetch, size: int):
    with pytest.raises(SparseError, match=f"is {len(DATA)} bytes long, and should be {size}"):
        fetch(model_of(DATA, bytes=size))
    assert fetch.names() in ([], [fetch.part().name]) and not (fetch.folder / "small.safetensors").exists()


def test_a_server_that_says_more_than_there_is(fetch: Fetch):
    fetch.proxy.harm(KEY, longer)
    with pytest.raises(SparseError, match=f"is {len(DATA) + 5} bytes long, and should be {len(DATA)}"):
        fetch()
    assert not (fetch.folder / "small.safetensors").exists()


def test_a_server_that_never_ends(fetch: Fetch):
    fetch.proxy.harm(KEY, endless)
    with pytest.raises(SparseError, match="sends more than it says that it has"):
        fetch()
    assert not (fetch.folder / "small.safetensors").exists()
    assert fetch.part().stat().st_size <= len(DATA)


@pytest.mark.parametrize(
    ("status", "code", "error", "said"),
    [
        (403, "AccessDenied", ForbiddenError, "may not be done (HTTP 403, AccessDenied); credentials are used with"),
        (404, "NoSuchKey", MissingError, "there is no such file (HTTP 404, NoSuchKey); sparse fetch-models --list"),
        (412, "PreconditionFailed", TransferError, "is not the file that it was (HTTP 412"),
        (400, "InvalidRequest", SparseError, "the server refuses (HTTP 400, InvalidRequest: so it is)"),
    ],
)
def test_refusals(fetch: Fetch, status: int, code: str, error: type[SparseError], said: str):
    fetch.proxy.harm(KEY, refuse(status, code), times=9)
    with pytest.raises(error) as raised:
        fetch()
    assert said in str(raised.value) and f"s3://{fetch.bucket}/{KEY}" in str(raised.value)
    assert not (fetch.folder / "small.safetensors").exists()


def test_a_server_that_fails_at_first(fetch: Fetch):
    fetch.proxy.harm(KEY, refuse(500, "InternalError"))
    fetch.proxy.harm(KEY, refuse(503, "SlowDown"))
    fetch()
    check_whole(fetch)
    assert len(fetch.got()) == 3


def test_a_server_that_always_fails(fetch: Fetch):
    fetch.proxy.harm(KEY, refuse(500, "InternalError"), times=9)
    with pytest.raises(TransferError, match=r"the server failed \(HTTP 500, InternalError\); try again later"):
        fetch(attempts=2)
    assert len(fetch.got()) == 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(fetch: Fetch, s3: S3, status: int):
    elsewhere = FaultyProxy(s3.port)
    there = {"Location": f"{elsewhere.url}/{fetch.bucket}/{KEY}"}
    fetch.proxy.harm(KEY, refuse(status, "", there), times=9)
    with pytest.raises(SparseError, match=rf"the server sends elsewhere, which is not followed \(HTTP {status}"):
        fetch()
    assert elsewhere.asked == [] and not (fetch.folder / "small.safetensors").exists()
    elsewhere.stop()


def test_a_trickle_is_given_up(fetch: Fetch):
    fetch.proxy.harm(KEY, trickle(10, 0.02), times=9)  # 500 bytes a second
    with pytest.raises(TransferError, match=r"brought only \d+ bytes in \d+ s; the next attempt goes on after"):
        fetch(timeout_s=1.0, attempts=2)
    came = fetch.part().read_bytes()
    assert 0 < len(came) < 2 * 1024 and DATA.startswith(came)


def test_silence_is_given_up(fetch: Fetch):
    fetch.proxy.harm(KEY, trickle(1000, 5.0), times=9)
    with pytest.raises(TransferError, match="nothing came in time"):
        fetch(timeout_s=1.0, attempts=2)
    assert fetch.part().read_bytes() == DATA[:2000]


def test_nobody_there(fetch: Fetch):
    fetch.proxy.stop()
    with pytest.raises(TransferError, match="the server cannot be reached; check the network and --endpoint-url"):
        fetch(attempts=1)


# The disk


def test_a_disk_that_is_full_is_known_before(fetch: Fetch, monkeypatch: pytest.MonkeyPatch):
    usage = shutil.disk_usage(fetch.folder.parent)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda path: usage._replace(free=1_500_000))
    with pytest.raises(SparseError, match=r"cannot be written \(1.2 MB are needed, 1.5 MB are free\); free some space"):
        fetch()
    assert not (fetch.folder / "small.safetensors").exists()


def test_a_disk_that_takes_no_more(fetch: Fetch):
    """The system lets no file grow over 600 000 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
    try:
        with pytest.raises(SparseError, match=r"small.safetensors: cannot be written \(File too large\); free some"):
            fetch()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert fetch.names() == [fetch.part().name] and DATA.startswith(fetch.part().read_bytes())
    fetch()
    check_whole(fetch)


@pytest.mark.parametrize("name", ["small.safetensors", f".small.safetensors.{model_of(DATA).sha256[:16]}.part"])
def test_links_are_not_written_through(fetch: Fetch, tmp_path: Path, name: str):
    aim = tmp_path / "mine"
    aim.write_bytes(b"mine")
    fetch.folder.mkdir()
    (fetch.folder / name).symlink_to(aim)
    with pytest.raises(SparseError, match="is a link or no file, which is not written through; remove it"):
        fetch()
    assert aim.read_bytes() == b"mine" and fetch.names() == [name]


def test_a_folder_that_cannot_be_made(fetch: Fetch):
    fetch.folder.write_bytes(b"")
    with pytest.raises(SparseError, match=r"cannot be written .*; choose another place with --dest"):
        fetch()


def test_a_file_is_synchronised_before_it_is_renamed(fetch: Fetch, monkeypatch: pytest.MonkeyPatch):
    done: list[str] = []
    for name in ("fsync", "replace"):
        real: Callable[..., Any] = getattr(os, name)
        monkeypatch.setattr(downloads.os, name, lambda *args, name=name, real=real: (done.append(name), real(*args))[1])
    fetch()
    assert done[:3] == ["fsync", "replace", "fsync"]  # the file, its name, the folder


# Others at the same time


def test_one_lock_at_a_time(tmp_path: Path):
    order: list[str] = []
    entered, go_on = threading.Event(), threading.Event()

    def first() -> None:
        with locked(tmp_path / "a"):
            entered.set()
            go_on.wait(10)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(10)
    with locked(tmp_path / "a", go_on.set):  # told before it waits
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


# Files that no manifest lists


def test_a_bare_key_is_known_by_its_etag(fetch: Fetch):
    found = fetch(KEY)
    assert (fetch.folder / "small.safetensors").read_bytes() == DATA
    assert found.model == model_of(DATA, kind="unknown", version="unknown", sample_rate=None, licence="unknown")
    assert fetch(KEY).was_here and len(fetch.got()) == 1


def test_a_bare_key_is_gone_on_with(fetch: Fetch):
    fetch.proxy.harm(f"GET /{fetch.bucket}/{KEY}", cut(400_000))
    with pytest.raises(TransferError):
        fetch(KEY, attempts=1)
    fetch(KEY)
    assert fetch.got()[-1].endswith("bytes=400000-")
    assert (fetch.folder / "small.safetensors").read_bytes() == DATA


def test_a_spoilt_part_of_a_bare_key_is_thrown_away(fetch: Fetch):
    fetch.proxy.harm(f"GET /{fetch.bucket}/{KEY}", cut(400_000))
    with pytest.raises(TransferError):
        fetch(KEY, attempts=1)
    fetch.part().write_bytes(bytes(300_000))
    fetch(KEY)
    assert (fetch.folder / "small.safetensors").read_bytes() == DATA
    assert fetch.got()[-2].endswith("bytes=300000-") and "bytes=" not in fetch.got()[-1]


def test_a_bare_key_that_changes_meanwhile(fetch: Fetch):
    """The second half of one file is never put behind the first half of another."""
    other = safetensors.numpy.save({"w": np.zeros(NUMBERS, np.float32)})
    assert len(other) == len(DATA)

    def change(answer: Any) -> None:
        cut(400_000)(answer)
        fetch.s3.client.put_object(Bucket=fetch.bucket, Key=KEY, Body=other)

    fetch.proxy.harm(f"GET /{fetch.bucket}/{KEY}", change)
    with pytest.raises((TransferError, ChangedError), match="is not the file that it was"):
        fetch(KEY)
    assert not (fetch.folder / "small.safetensors").exists()
    fetch(KEY)
    assert (fetch.folder / "small.safetensors").read_bytes() == other


def test_no_more_than_is_allowed(fetch: Fetch):
    for wanted in (model_of(DATA), KEY):
        with pytest.raises(SparseError, match=r"is \d+ bytes long, and at most 1000000 are allowed; .*--max-bytes"):
            fetch(wanted, max_bytes=1_000_000)
    assert fetch.got() == [] and not fetch.folder.exists()


@pytest.mark.parametrize("data", [b"PK\x03\x04 zip", b"\x80\x04\x95 pickle"], ids=["zip", "pickle"])
def test_what_is_pickled_is_refused_whatever_its_name(fetch: Fetch, data: bytes):
    fetch.s3.client.put_object(Bucket=fetch.bucket, Key=KEY, Body=data)
    for wanted in (model_of(data), KEY):
        with pytest.raises(SparseError, match="is pickled, whatever its name says"):
            fetch(wanted)
    assert fetch.names() == []


@pytest.mark.parametrize("length", [0x80, 0x4B50], ids=["pickle", "zip"])
def test_a_header_whose_length_looks_like_a_pickle(fetch: Fetch, length: int):
    """The first bytes of a safetensors file are a number."""
    header = b'{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'.ljust(length)
    data = length.to_bytes(8, "little") + header + b"x"
    fetch.s3.client.put_object(Bucket=fetch.bucket, Key=KEY, Body=data)
    assert fetch(model_of(data)).path.read_bytes() == data


@pytest.mark.parametrize("key", ["small.dat", "small.pt", "small"])
def test_other_suffixes_are_refused_unseen(fetch: Fetch, key: str):
    with pytest.raises(SparseError, match=r"is no safetensors file; others may be pickled, .*--legacy"):
        fetch(model_of(DATA, key=key))
    assert fetch.proxy.asked == []


def test_a_damaged_safetensors_file_is_refused(fetch: Fetch):
    """Its bytes are those that the manifest says: whoever published it made it so."""
    data = DATA[:-8]
    fetch.s3.client.put_object(Bucket=fetch.bucket, Key=KEY, Body=data)
    with pytest.raises(SparseError, match="is a damaged safetensors file"):
        fetch(model_of(data))
    assert fetch.names() == []
