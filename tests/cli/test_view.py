"""`sparse view`, and `fit --monitor`, as processes of their own."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsecli.io.events_file import load_events
from sparsecli.web.scene import unpack_scene

LIMIT_S = 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    return connection.getresponse().read()


def line_with(process: Any, text: str) -> str:
    """Read standard error up to a line that holds a text."""
    said = ""
    for line in process.stderr:
        said += line
        if text in line:
            return said
    raise AssertionError(f"ended without {text!r}: {said}")


def test_it_serves_until_ctrl_c(start, events, tmp_path: Path):
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):  # taken: the next one is
        process = start("view", events("a.npz"), "--port", str(port), "--no-open")
        said = line_with(process, "Ctrl-C")
    assert f"--port {port}: is taken" in said
    own = int(re.search(r"http://127\.0\.0\.1:(\d+)/", said)[1])
    assert own > port
    np.testing.assert_array_equal(unpack_scene(get(own, "/scene")).params, load_events(tmp_path / "a.npz").params)
    assert b"<title>" in get(own, "/")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, out, err) == (0, "", "")


def test_the_port_of_the_environment(start, events):
    process = start("view", events("a.npz"), "--no-open", env={"PORT": "99999", "PATH": ""})
    out, err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, out) == (2, "") and "99999 is out of range" in err


def test_standard_input_and_a_page_in_one_file(program, events, tone, tmp_path: Path):
    data = (tmp_path / events("a.json")).read_bytes()
    done = program("view", "-", "--audio", tone("a.wav"), "--html", "a.html", input=data)
    assert (done.code, done.out) == (0, b"") and "a.html: 2 events" in done.err
    text = (tmp_path / "a.html").read_text()
    assert text.startswith("<!doctype html>") and "http://" not in text and "https://" not in text
    again = program("view", "a.json", "--html", "a.html")
    assert again.code == 1 and "a.html: exists already; use --overwrite" in again.err
    assert program("view", "a.json", "--html", "a.html", "--overwrite", "--quiet").err == ""


def test_the_same_page_is_the_same_bytes(program, events, tmp_path: Path):
    events("a.npz")
    for name in ("b.html", "c.html"):
        program("view", "a.npz", "--html", name)
    assert (tmp_path / "b.html").read_bytes() == (tmp_path / "c.html").read_bytes()


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["missing.npz", "--no-open"], 1, "missing.npz: no such file"),
        (["a.wav", "--html", "b.html"], 1, "a.wav: is a recording, not events"),
        (["a.npz", "--audio", "a.npz", "--html", "b.html"], 1, "a.npz"),
        (["a.npz", "--html", "b.txt"], 2, "b.txt: has no extension known here"),
        (["a.npz", "--html", "a.npz"], 2, "a.npz: is an input"),
        (["a.npz", "--port", "0", "--no-open"], 2, "--port 0 is out of range"),
        (["a.npz", "--host", "192.0.2.1", "--no-open"], 1, "--host 192.0.2.1: is no address of this machine"),
    ],
)
def test_failures_are_one_line(invoke, events, tone, names, args: list[str], code: int, said: str):
    events("a.npz"), tone("a.wav")
    before = names()
    result = invoke("view", *args)
    assert result.exit_code == code and result.stdout == ""
    assert said in result.stderr and result.stderr.count("\n") == 1
    assert names() == before


def stream_of(port: int) -> Any:
    """The stream of news, from its beginning."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    connection.request("GET", "/updates")
    return connection.getresponse()


def news_of(stream: Any) -> list[dict[str, Any]]:
    """The next news."""
    while True:
        line = stream.readline()
        assert line, "the stream ended"
        if line.startswith(b"data: "):
            return json.loads(line[6:])


def test_a_fit_is_watched_and_late_comers_miss_nothing(start, noise, tmp_path: Path):
    port = free_port()
    process = start(
        "fit",
        noise("a.wav", 0.8),
        noise("b.wav", 0.8),
        "--atoms",
        "300",
        "--jobs",
        "2",
        "--monitor",
        "--port",
        str(port),
    )
    line_with(process, f"http://127.0.0.1:{port}/ shows how it goes")
    first = stream_of(port)
    points: dict[str, list[Any]] = {}
    versions: dict[str, int] = {}
    while len(points) < 2 or not all(points.values()) or min(versions.values()) < 1:
        for run in news_of(first):
            known = points.setdefault(run["run"], [])
            assert run["from"] == len(known)
            known += run["points"]
            versions[run["run"]] = run["scene"]
    late = {run["run"]: run for run in news_of(stream_of(port))}
    for name, known in points.items():
        assert late[name]["points"][: len(known)] == known and late[name]["state"] == "running"
        assert {"atoms", "snr_db", "loss", "seconds", "memory_mb"} <= set(known[-1])
        assert known[-1]["loss"] == pytest.approx(10 ** (-known[-1]["snr_db"] / 10))
        shown = unpack_scene(get(port, f"/runs/{name}/scene"))
        assert len(shown) > 0 and shown.header.duration_s == pytest.approx(0.8)
        assert get(port, f"/runs/{name}/audio").startswith(b"fLaC")
    assert {run["name"] for run in late.values()} == {"a.wav", "b.wav"}
    process.kill()


def test_a_fit_goes_on_to_the_same_bytes_without_its_server(start, program, noise, tmp_path: Path):
    args = ["fit", noise("a.wav", 0.6), "--atoms", "100"]
    port = free_port()
    process = start(*args, "-o", "watched.npz", "--monitor", "--port", str(port))
    line_with(process, "shows how it goes")
    news_of(stream_of(port))
    kill_server(process.pid)
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0 and "Traceback" not in err
    assert "the page's server does not answer any more; the fit goes on without it" in err
    assert program(*args, "-o", "alone.npz").code == 0
    assert (tmp_path / "watched.npz").read_bytes() == (tmp_path / "alone.npz").read_bytes()


def kill_server(parent: int) -> None:
    """Kill the process that serves the page of a fit."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            line, stat = (entry / "cmdline").read_bytes(), (entry / "stat").read_text()
        except OSError:
            continue
        if b"sparsecli.web.monitor" in line and int(stat.rpartition(")")[2].split()[1]) == parent:
            os.kill(int(entry.name), signal.SIGKILL)
            return
    raise AssertionError("there is no server")


def test_the_server_ends_with_the_fit(start, tone, tmp_path: Path):
    port = free_port()
    process = start("fit", tone("a.wav"), "--atoms", "4", "--monitor", "--port", str(port))
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0 and (tmp_path / "a.npz").exists()
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            get(port, "/")
        except OSError:
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_events_that_the_page_cannot_play_are_refused(program: Any, tone: Any, tmp_path: Path):
    assert program("decompose", tone("a.wav"), "-o", "a.npz", "--method", "pursuit", "--atoms", "4").code == 0
    done = program("view", "a.npz", "--html", "a.html")
    assert done.code == 1 and not (tmp_path / "a.html").exists()
    assert "a.npz: holds events of kind gabor" in done.err and "sparse render" in done.err
