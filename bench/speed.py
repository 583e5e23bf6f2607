"""Time and memory: start-up, rendering, and the growth of a fit with the length of the recording.

python bench/speed.py --clips DIR      the longest recording of the folder is fitted
"""

from __future__ import annotations

import multiprocessing
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from page import parse_arguments, recordings, table, write_page

from sparsecli.core.columns import ATOM_COLUMNS, SILENT_DB
from sparsecli.core.events import Events, Header, events_from_columns
from sparsecli.io.audio import read_audio

REPEATS = 7


def random_events(count: int, duration_s: float, sample_rate: int) -> Events:
    """Events that sound: frequencies 60 Hz to 9 kHz, T60 of 10 ms to 2 s."""
    draw = np.random.default_rng(0).uniform
    columns = {column.name: np.zeros(count) for column in ATOM_COLUMNS}
    columns["onset_s"] = draw(0, duration_s, count)
    columns["attack_s"] = np.exp(draw(np.log(5e-4), np.log(0.05), count))
    columns["noise_level_db"][:] = SILENT_DB
    for slot in (1, 2, 3):
        columns[f"freq{slot}_hz"] = np.exp(draw(np.log(60), np.log(9000), count))
        columns[f"decay{slot}_s"] = np.exp(draw(np.log(0.01), np.log(2), count))
        columns[f"level{slot}_db"] = draw(-60, -20, count)
        columns[f"phase{slot}_rad"] = draw(-3, 3, count)
    air = np.full((1, max(1, round(duration_s)), 24), -70.0)
    return events_from_columns(Header(duration_s=duration_s, sample_rate=sample_rate), columns, air)


def time_render(count: int, duration_s: float, sample_rate: int, repeats: int, noise: bool) -> float:
    """Median seconds of a rendering, the first one apart."""
    from sparsecli.engine.rendering import render
    from sparsecli.engine.settings import RenderSettings

    events = random_events(count, duration_s, sample_rate)
    seconds = []
    for _ in range(repeats + (repeats > 1)):
        started = time.perf_counter()
        render(events, RenderSettings(noise=noise))
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[repeats > 1 :]))


def time_fit(path: str, duration_s: float, atoms: int) -> tuple[float, float, int, float]:
    """Wall seconds, CPU seconds, atoms found and SNR of a fit of the beginning of a recording."""
    from sparsecli.engine.fitting import fit
    from sparsecli.engine.settings import FitSettings

    audio = read_audio(path, 0.0, duration_s)
    cpu, wall = time.process_time(), time.perf_counter()
    events = fit(audio, FitSettings(atoms=atoms)).events
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return wall, cpu, len(events), events.header.quality["snr_db"]


def apart(work: Callable[..., Any], *values: object) -> tuple[Any, float]:
    """The result of `work(*values)` in a process of its own, and the peak memory of that process in MB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_with_memory, (work, values))


def _with_memory(work: Callable[..., object], values: tuple[object, ...]) -> tuple[object, float]:
    result = work(*values)
    return result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def time_help() -> float:
    """Median seconds of `sparse --help`."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "sparsecli", "--help"], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def render_rows() -> list[list[str]]:
    """Start-up and rendering."""
    clip, clip_mb = apart(time_render, 64, 32768 / 22050, 22050, REPEATS, False)
    long, long_mb = apart(time_render, 25_000, 600.0, 44_100, 1, True)
    return [
        ["`sparse --help`", f"{time_help():.2f} s", ""],
        ["render 64 atoms of 1.486 s at 22 050 Hz, modes", f"{1000 * clip:.0f} ms", f"{clip_mb:.0f}"],
        ["render 25 000 atoms of 10 minutes at 44 100 Hz, modes and air", f"{long:.1f} s", f"{long_mb:.0f}"],
    ]


def growth_rows(path: Path, atoms: int, longest_s: float) -> list[list[str]]:
    """A fit of a quarter, a half and all of up to `longest_s` of a recording."""
    whole_s = min(longest_s, read_audio(str(path)).duration_s)
    rows = []
    for duration_s in (whole_s / 4, whole_s / 2, whole_s):
        (wall, cpu, found, snr), peak_mb = apart(time_fit, str(path), duration_s, atoms)
        forms = (f"{duration_s:.1f}", f"{found}", f"{snr:.1f}", f"{wall:.0f}", f"{cpu:.0f}")
        rows.append([*forms, f"{cpu / duration_s:.2f}", f"{peak_mb:.0f}"])
        print(*rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure and write the page."""
    arguments = parse_arguments(__doc__)
    longest = max(recordings(arguments.clips), key=lambda path: read_audio(str(path)).duration_s)
    head = ("seconds of audio", "atoms", "SNR dB", "wall s", "CPU s", "CPU s for each second", "peak MB")
    write_page(
        __file__,
        arguments,
        "Time and memory",
        table(("what", "time", "peak MB"), render_rows()),
        f"A fit with 16 atoms for each 1.486 s, of the beginning of `{longest.name}`. Each line is a process of its "
        "own; a bare Python with torch imported takes about 350 MB of the peak.",
        table(head, growth_rows(longest, 16, arguments.longest)),
    )


if __name__ == "__main__":
    main()
