"""How close the Sparse Interpretable Audio Model comes, before and after refining rounds, and what its parts add.

    python bench/siam.py --clips DIR [--model FILE]

Clip by clip at 1024 numbers for 1.486 s beside `fit`; what looking, learning and sharpening add; and the time for ten
seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from page import loudest_clip, make_parser, recordings, table, write_page

from sparsecli.core.audio import Audio
from sparsecli.core.events import Events
from sparsecli.dsp.quality import measure_quality
from sparsecli.engine import siam_bands
from sparsecli.engine.decomposing import decompose
from sparsecli.engine.fitting import fit
from sparsecli.engine.rendering import render
from sparsecli.engine.settings import DecomposeSettings, FitSettings, RenderSettings
from sparsecli.io.audio import read_audio
from sparsecli.models.finding import Trained, open_model
from sparsecli.models.siam import Siam

BUDGET = 1024  # numbers for each 1.486 s, the air among them
ROUNDS = (0, 3, 10)
SNR_CAP_DB = 40.0
FOUR = ("piano", "vibraphone", "guitar_em9", "flute")  # clips of single instruments
HEAD = (
    "clip", "events", "numbers", "SNR dB", "conv.", "log-mel dB, all", "s",
    *(f"{what} {rounds}" for rounds in ROUNDS[1:] for what in ("SNR", "s")),
    "fit SNR", "fit log-mel", "fit s",
)  # fmt: skip


def heard(events: Events, clip: Audio) -> tuple[float, float, float]:
    """SNR and spectral convergence of the modes alone, and the log-mel distance of all."""
    modes = measure_quality(clip.samples, render(events, RenderSettings(noise=False)).samples, clip.sample_rate)
    everything = measure_quality(clip.samples, render(events).samples, clip.sample_rate)
    return modes.snr_db or 0.0, modes.spectral_convergence or 0.0, everything.log_mel_db or 0.0


def measure_clip(clip: Audio, trained: Trained) -> list[float]:
    """The columns of a row after the name."""
    row: list[float] = []
    for rounds in ROUNDS:
        found = decompose(clip, DecomposeSettings(budget=BUDGET, refine=rounds), trained=trained)
        snr_db, convergence, log_mel_db = heard(found.heard, clip)
        if not rounds:
            row += [len(found.events), found.events.numbers, snr_db, convergence, log_mel_db, found.seconds]
        else:
            row += [snr_db, found.seconds]
    fitted = fit(clip, FitSettings(budget=BUDGET))
    snr_db, _, log_mel_db = heard(fitted.events, clip)
    return [*row, snr_db, log_mel_db, fitted.seconds]


def row_of(name: str, values: list[float]) -> list[str]:
    """A row of the first table."""
    forms = ("{:.0f}", "{:.0f}", "{:.1f}", "{:.3f}", "{:.1f}", "{:.2f}", *(["{:.1f}", "{:.2f}"] * (len(ROUNDS) - 1)))
    forms = (*forms, "{:.1f}", "{:.1f}", "{:.1f}")
    return [name, *(form.format(value) for form, value in zip(forms, values, strict=True))]


@contextmanager
def sharpening(steps: int) -> Iterator[None]:
    """So many steps in the bands of peaks."""
    before, siam_bands.STEPS = siam_bands.STEPS, steps
    try:
        yield
    finally:
        siam_bands.STEPS = before


def ablation(clips: dict[str, Audio], trained: Trained) -> list[list[str]]:
    """SNR with chance weights and with learned ones, with and without sharpening; the last is in the other table."""
    untrained = Trained(Siam(trained.siam.shape).eval().requires_grad_(False), "chance", "")
    rows = []
    for name, model in (("peaks with one shape (chance weights)", untrained), ("the trained eye", trained)):
        for steps in (0, siam_bands.STEPS) if model is untrained else (0,):
            with sharpening(steps):
                found = [decompose(clip, DecomposeSettings(budget=BUDGET), trained=model) for clip in clips.values()]
            snr_db = np.array([result.events.header.quality.get("snr_db", 0.0) for result in found])
            four = [value for value, name_ in zip(snr_db, clips, strict=True) if name_ in FOUR]
            means = [np.minimum(snr_db, SNR_CAP_DB).mean(), np.mean(four) if four else 0.0]
            rows.append([f"{name}, {steps} steps", *(f"{value:.2f}" for value in means)])
            print(*rows[-1], flush=True)
    return rows


def ten_seconds(folder: Path, trained: Trained) -> str:
    """How long ten seconds of the longest recording take, at the default density."""
    path = max(recordings(folder), key=lambda path: read_audio(str(path)).duration_s)
    audio = read_audio(str(path), 0.0, 10.0)
    decompose(audio, DecomposeSettings(atoms=1), trained=trained)  # what is loaded at the first call
    wall, cpu = time.perf_counter(), time.process_time()
    decompose(audio, DecomposeSettings(), trained=trained)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    told = f"{audio.duration_s:.1f} s of {path.stem} take {wall:.1f} s ({cpu:.1f} CPU s)"
    return f"{told}, the measuring of the figures among them, at the default density."


def main() -> None:
    """Measure every clip and write the page."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", help="a model; default: that of the package")
    arguments = parser.parse_args()
    trained = open_model(arguments.model)
    clips = {path.stem: loudest_clip(path) for path in recordings(arguments.clips)}
    timing = ten_seconds(arguments.clips, trained)
    rows = {}
    for name, clip in clips.items():
        rows[name] = measure_clip(clip, trained)
        print(*row_of(name, rows[name]), flush=True)
    values = np.array(list(rows.values()))
    capped = values.copy()
    places = [index - 1 for index, head in enumerate(HEAD) if "SNR" in head]
    capped[:, places] = np.minimum(capped[:, places], SNR_CAP_DB)
    summary = [row_of("**mean**", list(capped.mean(0))), row_of("**median**", list(np.median(values, 0)))]
    four = [rows[name] for name in FOUR if name in rows]
    summary += [row_of(f"**mean of {', '.join(FOUR)}**", list(np.mean(four, 0)))] if four else []
    parts = [
        f"Each clip is the loudest 32 768 samples of a recording at 22 050 Hz mono, scaled to a peak of 0.9, within "
        f"{BUDGET} numbers, the air among them. SNR and spectral convergence are of the modes alone, the log-mel "
        f"distance of all. 'SNR 3' and 's 3' are after three rounds of `--refine`, and so on, from the start each; "
        f"`fit` has the same budget. The mean caps each SNR at {SNR_CAP_DB:.0f} dB, that of four does not.",
        table(HEAD, [row_of(name, row) for name, row in rows.items()] + summary),
        timing,
        "## What the parts add",
        "SNR in dB at the same budget, without refining, mean over all clips (capped) and over those four: the "
        "spectrum's peaks with one shape for all, the shapes of the trained eye, and either sharpened by Gauss-Newton "
        "steps in the bands of the peaks.",
        table(("", "all clips", "four clips"), ablation(clips, trained)),
    ]
    write_page(__file__, arguments, f"Events by SIAM in {BUDGET} numbers for 1.486 s", *parts)


if __name__ == "__main__":
    main()
