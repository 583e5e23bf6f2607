"""Time and memory of pursuit: beside the C program of libltfat, against length, an hour of audio, and how exact it is.

python bench/pursuit.py --clips DIR [--recording FILE] [--ltfat PROGRAM]

`--recording` is what is decomposed (else the longest of the clips); `--ltfat` is `multigabormpd` of the examples of
libltfat, built in single or double precision, which is run on the same samples with the same dictionary.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from page import CLIP_RATE, make_parser, recordings, table, write_page

from sparsecli.core.audio import Audio
from sparsecli.dsp.resample import resample
from sparsecli.io.audio import read_audio, write_audio

WINDOWS = (256, 512, 1024, 2048, 4096)  # dictionary A, a quarter of a window apart
DICTIONARY = "gabor:" + ",".join(map(str, WINDOWS))
LENGTHS_S = (1, 10, 100, 1000)
HOUR_S = 3600
SNR_DB = (15.0, 20.0)
STEPS = 1000


def as_one(path: Path) -> np.ndarray:
    """A recording at 22 050 Hz, mono, `[samples]`."""
    audio = read_audio(str(path))
    return resample(audio.mono(), audio.sample_rate, CLIP_RATE)


# Each measurement has a process of its own, so that its memory is its own: `python bench/pursuit.py --child JOB`.


def decompose_alone(samples: np.ndarray, **settings: Any) -> dict[str, float]:
    """Time and memory of one decomposition: CPU and wall seconds, start-up, compilation and figures apart."""
    from sparsecli.engine import decomposing, matching
    from sparsecli.engine.settings import DecomposeSettings

    chosen = DecomposeSettings(method="pursuit", **settings)
    cpu = time.process_time()
    decomposing.decompose(Audio(samples[None, :CLIP_RATE], CLIP_RATE), chosen)  # loads what is compiled
    start_s = time.process_time() - cpu
    spent: dict[str, float] = {}
    for stage in ("build_tables", "correlate", "take_best"):
        _clock(matching, stage, spent)
    matching.build_tables.__wrapped__.cache_clear()
    measured = decomposing.measure
    decomposing.measure = lambda events, source: {}  # type: ignore[assignment]
    cpu, wall = time.process_time(), time.perf_counter()
    events = decomposing.decompose(Audio(samples[None], CLIP_RATE), chosen).events
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    snr_db = measured(events, samples[None])["snr_db"]
    return {
        "cpu": cpu,
        "wall": wall,
        "atoms": len(events),
        "mb": megabytes,
        "snr_db": snr_db,
        "start": start_s,
        **spent,
    }


def _clock(module: Any, name: str, spent: dict[str, float]) -> None:
    """Let a function of a module add its CPU seconds to `spent` under its name."""
    function = getattr(module, name)
    spent[name] = 0.0

    def clocked(*args: Any) -> Any:
        started = time.process_time()
        result = function(*args)
        spent[name] += time.process_time() - started
        return result

    clocked.__wrapped__ = function  # type: ignore[attr-defined]
    setattr(module, name, clocked)


def exactness(samples: np.ndarray) -> dict[str, float]:
    """Pursuit of 1000 atoms with thresholds off and on: SNR reached, by its own account and in time."""
    from sparsecli.engine.correlations import add_atoms, correlate, take_best
    from sparsecli.engine.dictionaries import build_dictionary
    from sparsecli.engine.inner_products import build_tables

    figures, dictionary = {}, build_dictionary(DICTIONARY)
    pad, whole = dictionary.longest, float(np.square(samples, dtype=np.float64).sum())
    for name, threshold in (("off", 0.0), ("on", 1e-4)):
        tables = build_tables(dictionary, threshold)
        sound = np.pad(samples[None].astype(np.float64), ((0, 0), (pad, pad)))
        state = correlate(dictionary, tables, sound, pad, 0, len(samples) + 1)
        atoms, amplitudes = np.zeros((STEPS, 3), np.int64), np.zeros((STEPS, 1), np.complex128)
        cpu = time.process_time()
        _, left = take_best(tables, state, whole, 0.0, 0.0, atoms, amplitudes, np.zeros(STEPS))
        cpu = time.process_time() - cpu
        block, frame, bins = (np.ascontiguousarray(column) for column in atoms.T)
        place = (state.first_frame[block] + frame) * tables.hop[block] + pad
        add_atoms(tables, sound, block, place, bins, amplitudes, -1)
        figures[f"{name}_snr_db"] = 10 * np.log10(whole / np.square(sound).sum())
        figures[f"{name}_believed_db"] = 10 * np.log10(whole / left)
        figures[f"{name}_us"] = cpu / STEPS * 1e6
    return figures


def child(job: dict[str, Any]) -> None:
    """Do one measurement and print it."""
    samples = np.load(job.pop("samples"), mmap_mode="r")
    seconds = job.pop("seconds", None)
    samples = np.resize(samples, round(seconds * CLIP_RATE)) if seconds else np.array(samples)
    print(json.dumps(exactness(samples) if job.pop("exact", False) else decompose_alone(samples, **job)))


def run(samples: Path, cache: str | None = None, **job: Any) -> dict[str, float]:
    """One measurement in a process of its own; `cache` is a folder of compiled code instead of the usual one."""
    command = [sys.executable, __file__, "--child", json.dumps({"samples": str(samples), **job})]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **({"NUMBA_CACHE_DIR": cache} if cache else {})}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    print(job, done.stdout.strip(), flush=True)
    return dict(json.loads(done.stdout))


def run_ltfat(program: str, wav: Path, snr_db: float) -> dict[str, float]:
    """CPU seconds, memory and atoms of libltfat's program: set-up and decomposition, and all of the process."""
    spec = ":".join(f"hann,{length // 4},{length}" for length in WINDOWS)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [program, "-d", spec, "-s", str(snr_db), str(wav)], capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    figures = {name: float(re.search(rf"{name}=([\d.]+)", done.stdout)[1]) for name in ("atoms", "SNR")}  # type: ignore[index]
    return {"cpu": cpu, "atoms": figures["atoms"], "snr_db": figures["SNR"], "mb": _peak_mb(program, spec, snr_db, wav)}


def _peak_mb(program: str, spec: str, snr_db: float, wav: Path) -> float:
    """Peak memory of a run, from a process that has had no other child."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, program, "-d", spec, "-s", str(snr_db), str(wav)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1000


def beside_ltfat(program: str | None, array: Path, wav: Path) -> str:
    """The table of both programs on the same samples."""
    rows = []
    for snr_db in SNR_DB:
        if program is not None:
            peer = min((run_ltfat(program, wav, snr_db) for _ in range(3)), key=lambda one: one["cpu"])
            rows.append(_row(f"libltfat, {snr_db:g} dB", peer))
        own = min((run(array, dictionary=DICTIONARY, snr_db=snr_db) for _ in range(3)), key=lambda one: one["cpu"])
        rows.append(_row(f"sparse, {snr_db:g} dB", own))
    return table(("", "CPU s", "atoms", "SNR dB", "peak MB"), rows)


def _row(name: str, figures: dict[str, float]) -> list[str]:
    numbers = (f"{figures['cpu']:.2f}", f"{figures['atoms']:.0f}", f"{figures['snr_db']:.3f}", f"{figures['mb']:.0f}")
    return [name, *numbers]


def main() -> None:
    """Measure and write the page."""
    if sys.argv[1:2] == ["--child"]:
        child(json.loads(sys.argv[2]))
        return
    parser = make_parser(__doc__)
    parser.add_argument("--recording", type=Path, help="what is decomposed; default: the longest of the clips")
    parser.add_argument("--ltfat", help="the program multigabormpd of libltfat's examples")
    arguments = parser.parse_args()
    path = arguments.recording or max(recordings(arguments.clips), key=lambda one: read_audio(str(one)).duration_s)
    samples = as_one(path)
    with tempfile.TemporaryDirectory() as folder:
        array, wav = Path(folder) / "samples.npy", Path(folder) / "samples.wav"
        np.save(array, samples)
        write_audio(str(wav), Audio(samples[None], CLIP_RATE), bit_depth="float")
        peers = beside_ltfat(arguments.ltfat, array, wav)
        cold = run(array, cache=str(Path(folder) / "cache"), dictionary=DICTIONARY, seconds=2, snr_db=15.0)
        warm = run(array, dictionary=DICTIONARY, seconds=2, snr_db=15.0)
        growth = [(seconds, run(array, dictionary=DICTIONARY, seconds=seconds, snr_db=15.0)) for seconds in LENGTHS_S]
        hour = run(array, seconds=HOUR_S, snr_db=15.0)
        exact = run(array, exact=True, seconds=min(20.0, len(samples) / CLIP_RATE))
    rows = []
    for seconds, one in growth:
        stages = [f"{one[stage]:.3f}" for stage in ("build_tables", "correlate", "take_best")]
        each_us = one["take_best"] / one["atoms"] * 1e6
        rows.append(
            [f"{seconds} s", f"{one['atoms']:.0f}", f"{one['cpu']:.3f}", *stages, f"{each_us:.0f}", f"{one['mb']:.0f}"]
        )
    write_page(
        __file__,
        arguments,
        "Time and memory of pursuit",
        f"The recording is {path.name}, {len(samples) / CLIP_RATE:.1f} s at 22 050 Hz mono; longer ones are the same "
        "again and again. One thread; CPU seconds are user and system time. Those of `sparse` are of the set-up of the "
        "dictionary, the first analysis and all atoms, without start-up and compilation; those of libltfat are of its "
        "whole process. The best of three runs each, in turn.",
        "## Beside libltfat, Hann windows of 256 to 4096 samples, a quarter of a window apart",
        peers,
        "## Start-up",
        f"Loading the program and its compiled code takes {warm['start']:.1f} CPU s; the first time on a machine, "
        f"compiling takes {cold['start']:.1f} CPU s instead. The compiled code is kept between runs, beside the "
        "package or, where that cannot be written, in the user's cache folder.",
        "## Against length, to 15 dB",
        table(("length", "atoms", "CPU s", "set-up", "analyses", "atoms", "us an atom", "peak MB"), rows),
        "'us an atom' is of the loop that finds an atom and takes it away; the set-up does not depend on the length; "
        "the analyses take as long as the sound is, once, and once a round where there are several stretches.",
        "## An hour, default windows of 256 to 8192 samples, to 15 dB",
        f"{hour['cpu']:.0f} CPU s ({hour['wall']:.0f} s by the clock), {hour['atoms']:.0f} atoms, "
        f"{hour['snr_db']:.2f} dB, at most {hour['mb']:.0f} MB.",
        f"## How exact: {STEPS} atoms of the first {min(20.0, len(samples) / CLIP_RATE):.0f} s",
        table(
            ("inner products", "SNR dB", "by its own account", "us an atom"),
            [
                [
                    told,
                    f"{exact[f'{key}_snr_db']:.5f}",
                    f"{exact[f'{key}_believed_db']:.5f}",
                    f"{exact[f'{key}_us']:.0f}",
                ]
                for told, key in (("all, double precision", "off"), ("above 0.0001, single precision", "on"))
            ],
        ),
    )


if __name__ == "__main__":
    main()
