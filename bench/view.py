"""How fast the page is: first paint, panning, an edit heard, the size of one file, and what watching costs a fit.

    python bench/view.py --clips DIR

Needs Debian's Chromium (apt install chromium) and playwright.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from page import CLIP_SAMPLES, loudest_clip, parse_arguments, recordings, table, write_page

from sparsecli.core.audio import Audio
from sparsecli.core.columns import SILENT_DB, columns_of
from sparsecli.core.events import Events, Header, events_from_columns
from sparsecli.engine.fitting import Progress, fit
from sparsecli.engine.settings import FitSettings
from sparsecli.io.audio import read_audio
from sparsecli.io.events_file import save_events
from sparsecli.web.document import whole_document
from sparsecli.web.monitor import Monitor
from sparsecli.web.reporting import Reporter
from sparsecli.web.scene import pack_audio, pack_scene
from sparsecli.web.serving import listen, port_of

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WINDOW = {"width": 1440, "height": 860}
COUNTS = (10_000, 100_000)  # events
EVENTS_PER_S = 64 / 1.486  # as a fit gives
FRAMES = 240
PAN_PIXELS = 4  # a frame
LONGER_S = 8.0  # of a recording whose fit is watched, beside the clip
HEAD_PAN = ("events", "song", "seen", "first paint", "frame, median", "frame, 95 %", "drawing, median", "drawing, 95 %")

# Pan there and back, and note the time between frames and what drawing took of it.
PAN = """([frames, pixels, part]) => new Promise((done) => {
    const { stage } = sparse;
    const { view } = stage;
    const middle = view.durationS / 2;
    const half = (view.durationS * part) / 2;
    view.show(middle - half, middle + half);
    stage.frames.length = 0;
    const between = [];
    let last = null;
    const turn = (now) => {
        if (last !== null) between.push(now - last);
        last = now;
        if (between.length === frames) return done([between, [...stage.frames]]);
        view.pan(between.length < frames / 2 ? -pixels : pixels, 0);
        stage.redraw();
        requestAnimationFrame(turn);
    };
    requestAnimationFrame(turn);
})"""
# Transpose one event, and wait until the page's mix has it; half a piece of sound lies between that and the ear.
EDIT = """async (e) => {
    const { session, sound } = sparse;
    const began = performance.now();
    const mixed = new Promise((done) => sound.addEventListener("sound", () => done(performance.now()), { once: true }));
    session.edit("up", [e], (row) => { row[3] *= 2 ** (5 / 12); });
    return (await mixed) - began;
}"""


def song(count: int, rate: int = 44_100) -> Events:
    """So many events as dense as those of a fit, two modes each, one in ten with noise."""
    chance = np.random.default_rng(count)
    header = Header(duration_s=count / EVENTS_PER_S, sample_rate=rate, source_name=f"{count}.flac")
    columns: dict[str, Any] = {column.name: np.zeros(count) for column in columns_of("atoms", 1)}
    columns |= {name: np.full(count, SILENT_DB) for name in columns if "level" in name}
    columns["onset_s"] = np.sort(chance.uniform(0, header.duration_s, count))
    columns["attack_s"] = np.exp(chance.uniform(np.log(5e-4), np.log(0.02), count))
    columns["decay_s"] = np.exp(chance.uniform(np.log(0.05), np.log(2), count))
    for slot in (1, 2):
        columns[f"freq{slot}_hz"] = np.exp(chance.uniform(np.log(60), np.log(8000), count))
        columns[f"level{slot}_db"] = chance.uniform(-65, -20, count)
    noisy = chance.random(count) < 0.1
    columns["noise_level_db"] = np.where(noisy, chance.uniform(-60, -40, count), SILENT_DB)
    columns["freq4_hz"] = np.where(noisy, chance.uniform(500, 9000, count), 0)
    return events_from_columns(header, columns, np.full((1, 1, 24), -90.0))


@contextlib.contextmanager
def served(events: Events) -> Iterator[str]:
    """The address of a page of these events, served by `sparse view`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "song.npz"
        save_events(path, events)
        with contextlib.closing(listen(21_000)) as free:
            port = port_of(free)
        command = [sys.executable, "-m", "sparsecli", "view", str(path), "--port", str(port), "--no-open"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr is not None
            yield next(word for line in process.stderr for word in line.split() if word.startswith("http://"))
        finally:
            process.terminate()
            process.wait()


def milliseconds(values: Sequence[float]) -> list[str]:
    """Median and 95th percentile."""
    return [f"{np.percentile(values, share):.1f} ms" for share in (50, 95)]


def pan_row(page: Any, address: str, events: Events, part: float) -> list[str]:
    """A row about one song, of which a part is seen at once."""
    page.goto(address)
    while not page.evaluate("performance.getEntriesByName('painted').length"):
        page.wait_for_timeout(10)
    paint = page.evaluate(
        "performance.getEntriesByType('paint').find(({ name }) => name === 'first-contentful-paint').startTime"
    )
    painted = page.evaluate("performance.getEntriesByName('painted')[0].startTime")
    if len(events) <= COUNTS[0]:
        while not page.evaluate("performance.getEntriesByName('mixed').length"):
            page.wait_for_timeout(50)
    between, drawing = page.evaluate(PAN, [FRAMES, PAN_PIXELS, part])
    seen = "all of it" if part == 1 else f"{events.header.duration_s * part:.0f} s"
    first = f"{max(paint, painted):.0f} ms"
    return [
        f"{len(events):,}",
        f"{events.header.duration_s / 60:.1f} min",
        seen,
        first,
        *milliseconds(between),
        *milliseconds(drawing),
    ]


def edit_times(page: Any, events: Events) -> list[float]:
    """How long it takes until an edited event is in the mix, for some events all over the song."""
    while not page.evaluate("performance.getEntriesByName('mixed').length"):
        page.wait_for_timeout(100)
    return [page.evaluate(EDIT, int(row)) for row in np.linspace(0, len(events) - 1, 20)]


def share_of_watching(clip: Audio) -> tuple[float, float, float]:
    """What watching costs the process that fits: seconds of a fit, and shares of them, on its thread and beside it.

    All in processor time, since on a machine that has other work the clock says little: first that of the fit's own
    thread without what it does for the page, then what it does for the page, then the reporting thread's.
    """
    torch.set_num_threads(1)  # so that what is not of the fit's thread is of the reporting one
    settings = FitSettings(atoms=64)
    monitor = Monitor(21_500)
    about = {"name": clip.name, "device": "cpu", "duration_s": clip.duration_s, "settings": asdict(settings)}
    spent = 0.0

    def timed(act: Callable[[], None]) -> None:
        nonlocal spent
        began = time.thread_time()
        act()
        spent += time.thread_time() - began

    def report(state: Progress) -> bool:
        timed(lambda: reporter.point(state.done_s / state.total_s, atoms=state.atoms, snr_db=state.snr_db))
        return True

    own, all_threads = time.thread_time(), time.process_time()
    with Reporter(monitor.place, about, (clip, 1), lambda: None) as reporter:
        result = fit(clip, settings, report, on_events=lambda make: timed(lambda: reporter.events_so_far(make)))
        timed(lambda: reporter.end(result.events, result.complete))
    own, all_threads = time.thread_time() - own, time.process_time() - all_threads
    monitor.close()
    return own - spent, spent / (own - spent), (all_threads - own) / (own - spent)


def main() -> None:
    """Measure, and write the page."""
    arguments = parse_arguments(__doc__)
    if CHROMIUM is None:
        raise SystemExit("no chromium; apt install chromium")
    from playwright.sync_api import sync_playwright

    clip = loudest_clip(recordings(arguments.clips)[0])
    found = fit(clip, FitSettings(atoms=64)).events
    sizes = {
        "with the recording": len(whole_document(pack_scene(found), pack_audio(clip, 1))),
        "without it": len(whole_document(pack_scene(found), None)),
    }
    rows, edits = [], []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        version = browser.version
        for count in COUNTS:
            events = song(count)
            with served(events) as address:
                for part in (1.0, 0.1, 20 / events.header.duration_s):
                    page = browser.new_page(viewport=WINDOW)
                    rows.append(pan_row(page, address, events, part))
                    print(*rows[-1], sep=" | ", flush=True)
                    if part == 1.0 and count == COUNTS[0]:
                        edits = edit_times(page, events)
                    page.close()
        browser.close()
    longer = read_audio(str(recordings(arguments.clips)[0]), 0.0, LONGER_S)
    watched = [share_of_watching(audio) for audio in (clip, replace(longer, samples=longer.mono()[None]))]
    write_page(
        __file__,
        arguments,
        "The page: how fast it is",
        f"Chromium {version}, headless, window of {WINDOW['width']} x {WINDOW['height']}, everything drawn by the "
        "processor. Songs are made by chance, as dense as fits with 64 atoms for 1.486 s.",
        f"Panning by {PAN_PIXELS} pixels a frame for {FRAMES} frames, spectrogram and wave included, while the song is "
        "still being mixed where it is long; 16.7 ms is 60 frames a second. First paint is of the events, from the "
        "request on.",
        table(HEAD_PAN, rows),
        f"One event transposed in the song of {COUNTS[0]:,} events is in the mix after {statistics.median(edits):.0f} "
        f"ms (median of {len(edits)}; at most {max(edits):.0f} ms). What plays is cut from the mix up to 150 ms before "
        "it is due; a moved event is also played by itself at once.",
        f"A page in one file, of the {len(found)} events that a fit of {CLIP_SAMPLES / clip.sample_rate:.2f} s found: "
        f"{' and '.join(f'{size / 1000:.0f} kB {name}' for name, size in sizes.items())}.",
        "What watching costs a fit, in processor time of the process that fits, on one thread; the page's server is "
        "another process of lower priority:",
        table(
            ("recording", "fit", "on its own thread", "on the reporting thread"),
            [
                [name, f"{seconds:.1f} s", f"{here:.2%}", f"{beside:.2%}"]
                for name, (seconds, here, beside) in zip(("the clip", f"up to {LONGER_S:g} s"), watched, strict=True)
            ],
        ),
    )


if __name__ == "__main__":
    main()
