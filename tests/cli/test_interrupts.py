"""Ctrl-C, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from sparsecli.io.events_file import load_events

SLOW = ["--atoms", "2000", "--progress"]


def wait_for_progress(process: subprocess.Popen[str]) -> str:
    """Read standard error up to the first line of progress; returns it all."""
    said = ""
    for line in process.stderr:
        said += line
        if " s done (" in line:
            return said
    raise AssertionError(f"ended without progress: {said}")


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait until nobody holds the other ends of the pipes, worker processes neither."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_ctrl_c_gives_the_fit_up_and_leaves_nothing(start, noise, names):
    process = start("fit", noise("a.wav", seconds=1), noise("b.wav", seconds=1), *SLOW, "--json")
    wait_for_progress(process)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, out) == (130, "")
    line = "sparse: interrupted: what was not finished is not written; --keep-partial writes what is found so far"
    assert err.splitlines()[-1] == line
    assert "Traceback" not in err
    assert names() == ["a.wav", "b.wav"]


def test_ctrl_c_keeps_what_is_found_where_asked_for(start, noise, names, tmp_path: Path):
    process = start("fit", noise("a.wav", seconds=1), noise("b.wav", seconds=1), *SLOW, "--json", "--keep-partial")
    wait_for_progress(process)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert code == 130
    record = json.loads(out)
    assert (record["output"], record["complete"]) == ("a.npz", False)
    assert len(load_events(tmp_path / "a.npz")) == record["events"]
    assert err.splitlines()[-2].endswith(", ended early")
    assert err.splitlines()[-1].startswith("sparse: interrupted: what was found is kept")
    assert names() == ["a.npz", "a.wav", "b.wav"]


def test_a_second_ctrl_c_kills(start, noise, names):
    process = start("fit", noise("a.wav", seconds=1), *SLOW, "--keep-partial")
    wait_for_progress(process)
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)
    # Killed by the signal, unless the end of the fit was faster.
    assert process.returncode in (-signal.SIGINT, 130)
    process.communicate()
    assert set(names()) <= {"a.wav", "a.npz"}


@pytest.mark.parametrize("keep", [[], ["--keep-partial"]])
def test_ctrl_c_ends_all_processes(start, tone, noise, tmp_path: Path, names, keep: list[str]):
    """The short one comes first, so that when it is there the others have started."""
    inputs = [tone("short.wav", seconds=0.1), noise("a.wav", seconds=1), noise("b.wav", seconds=1)]
    process = start("fit", *inputs, "--atoms", "200", "--jobs", "3", *keep)
    deadline = time.monotonic() + 60
    while not (tmp_path / "short.npz").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    code, _, err = finish(process)
    assert code == 130
    assert "Traceback" not in err and "internal error" not in err
    assert not [name for name in names() if name.startswith(".")]
    if keep:
        for name in {"a.npz", "b.npz"} & set(names()):
            load_events(tmp_path / name)
    else:
        assert names() == ["a.wav", "b.wav", "short.npz", "short.wav"]


def test_in_the_background_of_a_script_ctrl_c_is_not_for_us(start, noise, names):
    """A shell without job control starts background work with the signal ignored."""
    process = start(
        "fit", noise("a.wav", seconds=0.3), "--atoms", "20", "--progress",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    wait_for_progress(process)
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 0
    assert names() == ["a.npz", "a.wav"]
