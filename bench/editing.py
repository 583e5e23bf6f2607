"""How long selections and edits of 100 000 events take, and how soon `sparse edit` and its like begin.

python bench/editing.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from page import parse_arguments, table, write_page
from speed import random_events

from sparsecli.core.events import Events
from sparsecli.core.selection import select
from sparsecli.engine.operations import do
from sparsecli.engine.steps import OPERATIONS, WHERE, Step
from sparsecli.io.events_file import load_events, save_events

COUNT, DURATION_S, RATE, PER_NOTE = 100_000, 2400.0, 44_100, 10
REPEATS = 5
VALUES: dict[str, Any] = {"to-scale": "D minor", "quantize": "1/16", "sort": "freq", "pan": 0.5, "duplicate": 1.0}
EXPRESSIONS = ("freq > 1 kHz and time in 10..20 s", "top 10% by energy", "pitch in C4..C5")


def median_s(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median seconds of some runs."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def time_program(*arguments: str) -> float:
    """Median seconds of a `sparse` process."""
    command = [sys.executable, "-m", "sparsecli", *arguments]
    return median_s(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))


def made(count: int) -> Events:
    """Events in two channels with labels of notes, ten to each."""
    events = random_events(count, DURATION_S, RATE)
    pan = np.linspace(-1, 1, count, dtype=np.float32)[:, None]
    header = replace(events.header, channels=2)
    label = (np.arange(count) // PER_NOTE).astype(np.int32)
    air = np.repeat(events.air, 2, axis=0)
    return replace(events, header=header, params=np.concatenate([events.params, pan], 1), note=label, air=air)


def operation_rows(events: Events) -> list[list[str]]:
    """Every operation on all events; with itself those that take a file."""
    rows = []
    for name, operation in OPERATIONS.items():
        value = None if operation.kind is bool else VALUES.get(name, 0.5)
        steps = [Step(WHERE, "all"), Step(name, value)]
        seconds = median_s(lambda steps=steps: do(events, steps, lambda _: events))  # type: ignore[misc]
        rows.append([f"`--{name}`", f"{seconds:.3f}"])
    return rows


def program_rows(folder: Path) -> list[list[str]]:
    """Processes, with their start: of a small file and of the large one."""
    small, large = (str(folder / f"{name}.npz") for name in ("small", "large"))
    edit = ("--where", "freq > 1kHz", "--pitch-shift", "1", "--overwrite", "-q", "-o", str(folder / "out.npz"))
    runs = {
        "`sparse --help`": ("--help",),
        "`sparse edit`, 100 events": ("edit", small, *edit),
        "`sparse info`, 100 events": ("info", small),
        "`sparse edit`, 100 000 events, NPZ read, checked, packed and written": ("edit", large, *edit),
    }
    return [[told, f"{time_program(*arguments):.2f}"] for told, arguments in runs.items()]


def main() -> None:
    """Measure and write the page."""
    arguments = parse_arguments(__doc__)
    events = made(COUNT)
    selected = [[f"`{text}`", f"{median_s(lambda text=text: select(events, text)):.3f}"] for text in EXPRESSIONS]  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        save_events(folder / "small.npz", made(100))
        save_events(folder / "large.npz", events)
        files = [["read and checked", f"{median_s(lambda: load_events(folder / 'large.npz')):.2f}"]]
        programs = program_rows(folder)
    write_page(
        __file__,
        arguments,
        "Time of edits",
        f"Of {COUNT:,} random events in two channels, {PER_NOTE} to each note, median of {REPEATS} runs in seconds. "
        "Operations act on all events; those that take a file are given the same events again.",
        table(("operation", "s"), operation_rows(events)),
        "Selections of them.",
        table(("selection", "s"), selected),
        "The program, from its start to its end, and a file of these events.",
        table(("what", "s"), [*programs, *files]),
    )


if __name__ == "__main__":
    main()
