"""The program as its users run it: by a process of its own (`program`), or in this one where that shows the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from sparsecli.cli.app import app
from sparsecli.core.columns import AIR_BANDS, SILENT_DB, columns_of
from sparsecli.core.events import Header, events_from_columns
from sparsecli.io.events_file import save_events

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for sounds this short, threads only wait for one another

RATE = 22050
COMMAND = [sys.executable, "-m", "sparsecli"]


@dataclass(frozen=True)
class Done:
    """A process that ended."""

    code: int
    out: bytes
    err: str


Program = Callable[..., Done]
Invoke = Callable[..., Result]
Write = Callable[..., str]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Run `sparse` in an empty folder and wait; `input` are the bytes of standard input."""

    def run(*args: str, input: bytes = b"", env: dict[str, str] | None = None) -> Done:
        done = subprocess.run(
            [*COMMAND, *args],
            cwd=tmp_path,
            input=input,
            capture_output=True,
            timeout=60,
            env={**os.environ, **(env or {})},
        )
        return Done(done.returncode, done.stdout, done.stderr.decode())

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `sparse` in an empty folder, ready for Ctrl-C, and do not wait; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def run(*args: str, **options: Any) -> subprocess.Popen[str]:
        usual: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        }
        command = [*COMMAND, *args]
        process = subprocess.Popen(command, cwd=tmp_path, text=True, start_new_session=True, **{**usual, **options})
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run `sparse` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(app, list(args))


@pytest.fixture
def tone(tmp_path: Path) -> Write:
    """Write a struck tone under a name."""

    def write(name: str, seconds: float = 0.25, channels: int = 1, freq_hz: float = 440.0, gain: float = 0.5) -> str:
        t = np.arange(round(seconds * RATE)) / RATE
        samples = gain * np.exp(-8 * t) * np.sin(2 * np.pi * freq_hz * t)
        soundfile.write(tmp_path / name, np.tile(samples[:, None], (1, channels)), RATE)
        return name

    return write


@pytest.fixture
def noise(tmp_path: Path) -> Write:
    """Write noise under a name, which takes long to fit."""

    def write(name: str, seconds: float) -> str:
        soundfile.write(tmp_path / name, 0.1 * np.random.default_rng(0).standard_normal(round(seconds * RATE)), RATE)
        return name

    return write


@pytest.fixture
def events(tmp_path: Path) -> Write:
    """Write under a name so many atoms of one mode, one after the other, and air 80 dB down.

    In two channels the first lies half to the left and the last half to the right.
    """

    def write(name: str, count: int = 2, level_db: float = -12.0, **header: Any) -> str:
        known = {"duration_s": 0.25, "sample_rate": RATE, "quality": {"snr_db": 12.5}, "settings": {"atoms": 64}}
        made = Header(**{**known, **header})
        columns = {column.name: np.full(count, max(column.low, 0.0)) for column in columns_of("atoms", made.channels)}
        columns |= {
            name: np.full(count, SILENT_DB) for name in ("level2_db", "level3_db", "level4_db", "noise_level_db")
        }
        columns["onset_s"] = 0.05 * np.arange(count)
        columns["attack_s"] = np.full(count, 0.002)
        columns["freq1_hz"] = 300.0 * (1 + np.arange(count) % 100)
        columns["decay_s"] = np.full(count, 0.2)
        columns["level1_db"] = np.full(count, level_db)
        columns["pan"] = np.linspace(-0.5, 0.5, count)
        air = np.full((made.channels, 1, AIR_BANDS), -80.0)
        save_events(tmp_path / name, events_from_columns(made, columns, air), overwrite=True)
        return name

    return write


@pytest.fixture
def names(tmp_path: Path) -> Callable[[], list[str]]:
    """The names of all that lies in the folder, hidden ones too, which half-written files have."""
    return lambda: sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
