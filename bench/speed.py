"""Time and memory: start-up, rendering, where a fit spends its time, and how it grows with atoms and length.

python bench/speed.py --clips DIR      the longest recording of the folder is fitted, up to --longest
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from page import CLIP_SAMPLES, loudest_clip, make_parser, recordings, table, write_page

from sparsecli.core.audio import Audio
from sparsecli.core.columns import ATOM_COLUMNS, MODES_PER_ATOM, SILENT_DB, STRETCH_S
from sparsecli.core.events import Events, Header, events_from_columns
from sparsecli.io.audio import read_audio

REPEATS = 7
DENSITIES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
STAGES = {
    "search of the residual": ("growth", "search"),
    "newcomers: further modes and amplitudes": ("growth", "_strike"),
    "steps on newcomers and their neighbours, and the polish": ("sweeping", "refine"),
    "all amplitudes at the end": ("pursuit", "solve_all"),
    "air and bursts": ("fitting", "add_texture"),
    "figures of quality": ("fitting", "measure"),
}  # that do not call each other


def random_events(count: int, duration_s: float, sample_rate: int) -> Events:
    """Events that sound: frequencies 60 Hz to 9 kHz, T60 of 10 ms to 2 s."""
    draw = np.random.default_rng(0).uniform
    columns = {column.name: np.zeros(count) for column in ATOM_COLUMNS}
    columns["onset_s"] = draw(0, duration_s, count)
    columns["attack_s"] = np.exp(draw(np.log(5e-4), np.log(0.05), count))
    columns["noise_level_db"][:] = SILENT_DB
    columns["decay_s"] = np.exp(draw(np.log(0.01), np.log(2), count))
    for slot in range(1, MODES_PER_ATOM + 1):
        columns[f"freq{slot}_hz"] = np.exp(draw(np.log(60), np.log(9000), count))
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


def time_fit(audio: Audio, **settings: Any) -> tuple[float, float, int, float]:
    """Wall seconds, CPU seconds, atoms found and SNR of a fit."""
    from sparsecli.engine.fitting import fit
    from sparsecli.engine.settings import FitSettings

    fit(Audio(audio.samples[:, :CLIP_SAMPLES], audio.sample_rate), FitSettings(atoms=2))  # what is made once
    cpu, wall = time.process_time(), time.perf_counter()
    events = fit(audio, FitSettings(**settings)).events
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return wall, cpu, len(events), events.header.quality["snr_db"]


def time_stages(audio: Audio, atoms: int) -> dict[str, float]:
    """CPU seconds of the stages of a fit on one thread, and of all of it."""
    os.environ["OMP_NUM_THREADS"] = "1"
    from sparsecli.engine import fitting, growth, pursuit, sweeping
    from sparsecli.engine.settings import FitSettings

    spent = dict.fromkeys(STAGES, 0.0)

    def clocked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name] += time.process_time() - started

        return timed

    for name, (module, function) in STAGES.items():
        where = {"fitting": fitting, "growth": growth, "pursuit": pursuit, "sweeping": sweeping}[module]
        setattr(where, function, clocked(name, getattr(where, function)))
    started = time.process_time()
    fitting.fit(audio, FitSettings(atoms=atoms))
    return spent | {"all": time.process_time() - started}


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


def stage_rows(audio: Audio, atoms: int) -> list[list[str]]:
    """Where a fit spends its time."""
    spent, _ = apart(time_stages, audio, atoms)
    whole = spent.pop("all")
    spent["all else: rendering, exchange of tails, pruning"] = whole - sum(spent.values())
    return [[name, f"{cpu / audio.duration_s:.2f}", f"{100 * cpu / whole:.0f} %"] for name, cpu in spent.items()]


def quality_rows(clip: Audio) -> list[list[str]]:
    """A fit of a clip in each quality."""
    rows = []
    for quality in ("fast", "normal", "best"):
        (wall, cpu, found, snr), peak_mb = apart(partial(time_fit, quality=quality), clip)
        rows.append([quality, f"{found}", f"{snr:.1f}", f"{wall:.1f}", f"{cpu:.1f}", f"{peak_mb:.0f}"])
    return rows


def density_rows(clip: Audio, most: int) -> list[list[str]]:
    """A fit of a clip with more and more atoms."""
    rows = []
    for atoms in (density for density in DENSITIES if density <= most):
        (wall, cpu, found, snr), peak_mb = apart(partial(time_fit, atoms=atoms, price=0.0), clip)
        forms = (f"{atoms}", f"{found}", f"{snr:.1f}", f"{wall:.1f}", f"{cpu:.1f}", f"{1000 * cpu / max(found, 1):.0f}")
        rows.append([*forms, f"{peak_mb:.0f}"])
        print(*rows[-1], flush=True)
    return rows


def length_rows(path: Path, atoms: int, longest_s: float) -> list[list[str]]:
    """A fit of the beginning of a recording, of twice the length each time; a short one is repeated."""
    whole = read_audio(str(path))
    rows, duration_s = [], STRETCH_S
    while duration_s < 2 * longest_s:
        duration_s = min(duration_s, longest_s)
        count = round(duration_s * whole.sample_rate)
        audio = Audio(np.resize(whole.mono(), count)[None], whole.sample_rate)
        (wall, cpu, found, snr), peak_mb = apart(partial(time_fit, atoms=atoms), audio)
        forms = (f"{duration_s:.1f}", f"{found}", f"{snr:.1f}", f"{wall:.0f}", f"{cpu:.0f}")
        rows.append([*forms, f"{wall / duration_s:.2f}", f"{cpu / duration_s:.2f}", f"{peak_mb:.0f}"])
        print(*rows[-1], flush=True)
        duration_s *= 2 if duration_s < longest_s else 4
    return rows


def main() -> None:
    """Measure and write the page."""
    parser = make_parser(__doc__)
    parser.add_argument("--most", type=int, default=DENSITIES[-1], help="atoms that growth is measured up to")
    arguments = parser.parse_args()
    longest = max(recordings(arguments.clips), key=lambda path: read_audio(str(path)).duration_s)
    clip = loudest_clip(longest)
    beginning = read_audio(str(longest), 0.0, min(10.0, arguments.longest))
    heads = {
        "quality": ("`--quality`", "atoms", "SNR dB", "wall s", "CPU s", "peak MB"),
        "density": ("`--atoms`", "atoms found", "SNR dB", "wall s", "CPU s", "CPU ms an atom", "peak MB"),
        "length": (
            "seconds of audio", "atoms", "SNR dB", "wall s", "CPU s", "wall s for each second", "CPU s for each second",
            "peak MB",
        ),
    }  # fmt: skip
    write_page(
        __file__,
        arguments,
        "Time and memory",
        "Start-up apart from the first line. Each line is a process of its own; a bare Python with torch imported "
        "takes about 350 MB of the peak.",
        table(("what", "time", "peak MB"), render_rows()),
        f"Where a fit with 64 atoms for each 1.486 s spends its time: CPU seconds for each second of the first "
        f"{beginning.duration_s:.0f} s of `{longest.name}`, on one thread.",
        table(("stage", "CPU s for each second", "share"), stage_rows(beginning, 64)),
        f"The loudest 1.486 s of `{longest.name}` at 22 050 Hz, with 64 atoms.",
        table(heads["quality"], quality_rows(clip)),
        "The same clip with more and more atoms, whatever a number is worth (`price` 0).",
        table(heads["density"], density_rows(clip, arguments.most)),
        f"A fit with 64 atoms for each 1.486 s of the beginning of `{longest.name}` in mono, over and over where it is "
        "shorter.",
        table(heads["length"], length_rows(longest, 64, arguments.longest)),
    )


if __name__ == "__main__":
    main()
