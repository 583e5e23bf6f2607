import contextlib
import errno
import io
import os
import signal
import stat
import subprocess
import sys
import threading

import pytest

from sparsecli.core.errors import SparseError
from sparsecli.io import atomic
from sparsecli.io.atomic import is_stream, open_output


def write(path, data=b"new", overwrite=False):
    with open_output(path, overwrite=overwrite) as out:
        out.write(data)


def names(folder):
    return sorted(os.listdir(folder))


def test_writes_all_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    write(path, b"x" * 100_000)
    assert path.read_bytes() == b"x" * 100_000
    assert names(tmp_path) == ["a.bin"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_file_appears_only_at_the_end(tmp_path):
    with open_output(tmp_path / "a.bin") as out:
        out.write(b"half")
        assert not (tmp_path / "a.bin").exists()
        assert all(name.startswith(".") for name in names(tmp_path))
    assert names(tmp_path) == ["a.bin"]


def test_existing_file_is_kept_unless_told(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(SparseError, match=r"a\.bin: exists already; use --overwrite"):
        write(path)
    assert path.read_bytes() == b"old"
    write(path, overwrite=True)
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_file_that_appears_meanwhile_is_kept(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(atomic.os, "link", no_links)
    path = tmp_path / "a.bin"
    with pytest.raises(SparseError, match="exists already"), open_output(path) as out:
        out.write(b"new")
        path.write_bytes(b"other")
    assert path.read_bytes() == b"other"
    assert names(tmp_path) == ["a.bin"]


def test_file_system_without_hard_links(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic.os, "link", no_links)
    write(tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == b"new"
    assert names(tmp_path) == ["a.bin"]


def no_links(source, target):
    raise OSError(errno.EPERM, "Operation not permitted")


def test_many_writers_of_one_name_one_wins(tmp_path):
    path, outcomes = tmp_path / "a.bin", []
    barrier = threading.Barrier(8)

    def work(number):
        barrier.wait()
        try:
            write(path, bytes([number]) * 1000)
            outcomes.append(number)
        except SparseError:
            outcomes.append(None)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [number for number in outcomes if number is not None]
    assert len(outcomes) == 8 and len(winners) == 1
    assert path.read_bytes() == bytes(winners) * 1000


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError, SparseError("", "no")])
@pytest.mark.parametrize("existing", [True, False])
def test_exception_leaves_all_as_it_was(tmp_path, error, existing):
    path = tmp_path / "a.bin"
    if existing:
        path.write_bytes(b"old")
    with (
        pytest.raises(type(error) if isinstance(error, SparseError) else error),
        open_output(path, overwrite=True) as out,
    ):
        out.write(b"half")
        raise error
    assert names(tmp_path) == (["a.bin"] if existing else [])
    assert not existing or path.read_bytes() == b"old"


PROGRAM = """
import signal, sys, time
from sparsecli.io.atomic import open_output
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits that it is ignored
with open_output(sys.argv[1], overwrite=True) as out:
    out.write(b"half" * 100_000)
    out.flush()
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle(tmp_path, sign):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(sign)
        assert process.wait(30) != 0
    assert path.read_bytes() == b"old"
    left = [name for name in names(tmp_path) if name != "a.bin"]
    assert all(name.startswith(".sparse-") for name in left)
    assert sign == signal.SIGKILL or not left


def test_symbolic_link_is_followed(tmp_path):
    (tmp_path / "real.bin").write_bytes(b"old")
    (tmp_path / "link.bin").symlink_to("real.bin")
    write(tmp_path / "link.bin", overwrite=True)
    assert (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / "real.bin").read_bytes() == b"new"


def test_longest_name(tmp_path):
    write(tmp_path / ("a" * 255))
    assert names(tmp_path) == ["a" * 255]


# Each place that cannot be written, as root too: what the message says of it, and the cure.
PLACES = {
    "folder": ("", "is a folder; name a file in it"),
    "future folder": ("new/", "is a folder; name a file in it"),
    "missing folder": ("no/a.bin", "its folder does not exist; create the folder first"),
    "under a file": ("file/a.bin", r"cannot be written \(not a directory\); choose another place"),
    "name too long": ("a" * 256, r"cannot be written \(file name too long\); choose a shorter name"),
    "zero byte": ("a\0b", "is not a file name"),
}


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("place", PLACES)
def test_places_that_cannot_be_written(tmp_path, place, overwrite):
    (tmp_path / "file").write_bytes(b"old")
    name, message = PLACES[place]
    path = f"{tmp_path}/{name}"
    with pytest.raises(SparseError, match=message) as caught:
        write(path, overwrite=overwrite)
    assert caught.value.subject == path
    assert names(tmp_path) == ["file"]


def test_no_name():
    with pytest.raises(SparseError, match="is not a file name"):
        write("")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc")
def test_folder_where_nothing_can_be_made():
    with pytest.raises(SparseError, match=r"^/proc/a\.bin: "):
        write("/proc/a.bin")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(SparseError, match=r"cannot be written \(permission denied\); choose another place"):
        write(tmp_path / "a.bin")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("size", [1, 10_000_000], ids=["at close", "at write"])
def test_full_disk(size):
    with pytest.raises(SparseError, match=r"/dev/full: cannot be written \(no space left on device\); free some space"):
        write("/dev/full", b"x" * size)
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_full_disk_of_a_regular_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(SparseError, match="no space left on device"):
        write(tmp_path / "a.bin")
    assert names(tmp_path) == []


def test_null_device_stays_one():
    write("/dev/null", b"x" * 1000)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_named_pipe_is_written_directly(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    received = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()))
    reader.start()
    write(path, b"x" * 200_000)
    reader.join(30)
    assert received == [b"x" * 200_000]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_is_stream(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    streams = ["-", "/dev/null", tmp_path / "pipe"]
    others = [tmp_path, tmp_path / "file", tmp_path / "missing", "a\0b"]
    assert [is_stream(path) for path in streams] == [True] * 3
    assert [is_stream(path) for path in others] == [False] * 4


def test_standard_output(capsysbinary):
    write("-", b"\0\xff" * 1000)
    assert capsysbinary.readouterr().out == b"\0\xff" * 1000


def test_standard_output_in_memory(monkeypatch):
    memory = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(memory))
    write("-", b"\0\xff" * 1000)
    assert memory.getvalue() == b"\0\xff" * 1000


def test_standard_output_without_bytes(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(SparseError, match="standard output: takes no bytes"):
        write("-")
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SparseError, match="standard output: takes no bytes"):
        write("-")


TO_STANDARD_OUTPUT = """
import sys
from sparsecli.core.errors import SparseError
from sparsecli.io.atomic import open_output
try:
    with open_output("-") as out:
        for _ in range(100):
            out.write(b"x" * 100_000)
except SparseError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
"""


@contextlib.contextmanager
def closed_pipe():
    read, end = os.pipe()
    os.close(read)
    try:
        yield end
    finally:
        os.close(end)


@contextlib.contextmanager
def full_device():
    with open("/dev/full", "wb") as device:
        yield device


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (closed_pipe, "standard output: was closed by its reader"),
        (full_device, "standard output: cannot be written (no space left on device); free some space or write to "),
    ],
)
def test_standard_output_that_fails_is_one_line(output, message):
    with output() as stdout:
        done = subprocess.run(
            [sys.executable, "-c", TO_STANDARD_OUTPUT], stdout=stdout, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1  # and not 120, as for what the interpreter cannot flush at exit
    assert done.stderr.startswith(message) and done.stderr.count("\n") == 1
