"""How close a fit comes to a recording, clip by clip: the loudest 1.486 s at 22 050 Hz in 1024 numbers.

python bench/fit_quality.py --clips DIR
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from page import loudest_clip, parse_arguments, recordings, table, write_page

from sparsecli.dsp.quality import measure_quality
from sparsecli.engine.fitting import fit
from sparsecli.engine.rendering import render
from sparsecli.engine.settings import FitSettings, RenderSettings
from sparsecli.io.events_file import save_events

BUDGET = 1024  # numbers, 64 times 16
SNR_CAP_DB = 40.0  # so that one easy clip does not steer the mean
HEAD = (
    "clip", "atoms", "numbers", "SNR dB", "convergence", "log-mel dB", "SNR dB, all", "log-mel dB, all", "bytes",
    "CPU s", "wall s",
)  # fmt: skip


def measure_clip(path: Path) -> list[float]:
    """The columns of a row after the name."""
    clip = loudest_clip(path)
    cpu, wall = time.process_time(), time.perf_counter()
    events = fit(clip, FitSettings(budget=BUDGET)).events
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    coherent = measure_quality(clip.samples, render(events, RenderSettings(noise=False)).samples, clip.sample_rate)
    full = measure_quality(clip.samples, render(events).samples, clip.sample_rate)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events.npz"
        save_events(file, events)
        size = file.stat().st_size
    figures = (coherent.snr_db, coherent.spectral_convergence, coherent.log_mel_db, full.snr_db, full.log_mel_db)
    return [len(events), events.numbers, *(value or 0.0 for value in figures), size, cpu, wall]


def row_of(name: str, values: list[float]) -> list[str]:
    """A row of the table."""
    forms = ("{:.0f}", "{:.0f}", "{:.2f}", "{:.3f}", "{:.2f}", "{:.2f}", "{:.2f}", "{:.0f}", "{:.1f}", "{:.1f}")
    return [name, *(form.format(value) for form, value in zip(forms, values, strict=True))]


def main() -> None:
    """Measure every clip and write the page."""
    arguments = parse_arguments(__doc__)
    rows = {}
    for path in recordings(arguments.clips):
        rows[path.stem] = measure_clip(path)
        print(*row_of(path.stem, rows[path.stem]), flush=True)
    values = np.array(list(rows.values()))
    values[:, 2] = np.minimum(values[:, 2], SNR_CAP_DB)
    summary = [row_of("**mean**", list(values.mean(0))), row_of("**median**", list(np.median(values, 0)))]
    write_page(
        __file__,
        arguments,
        f"Quality of a fit with {BUDGET} numbers for 1.486 s",
        "Each clip is the loudest 32 768 samples of a recording at 22 050 Hz mono, scaled to a peak of 0.9, fitted "
        f"with `--budget {BUDGET}`, the air included, and default settings otherwise. The first SNR, spectral "
        "convergence and log-mel distance are of the modes alone; "
        f"'all' adds the air and the bursts. The mean and median of the SNR cap each clip at {SNR_CAP_DB:.0f} dB. "
        "'bytes' is the whole events file.",
        table(HEAD, [row_of(name, row) for name, row in rows.items()] + summary),
    )


if __name__ == "__main__":
    main()
