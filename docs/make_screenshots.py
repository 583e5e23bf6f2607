"""Take the screenshots of the page into `docs/images`, of the example recording. Needs Debian's Chromium.

python docs/make_screenshots.py
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

import sparsecli
from sparsecli.web.document import whole_document
from sparsecli.web.scene import pack_audio, pack_scene
from sparsecli.web.serving import listen, port_of

ROOT = Path(__file__).resolve().parent.parent
RECORDING = ROOT / "examples" / "morning.flac"
IMAGES = ROOT / "docs" / "images"
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu"]
WINDOW = {"width": 1320, "height": 780}
COLOURS = 112  # of a PNG, which look the same and take a third of the bytes
SWATCH_PX = 12  # of each colour of the theme, so that a rare one is not lost among greys
LIMIT_S = 240.0

# The loudest note of the middle of the recording, and a closer look around it.
CHOOSE = """() => {
    const { session, stage } = sparse;
    const start = (rows) => Math.min(...rows.map((e) => session.table.get(e, 0)));
    const loudness = (rows) => Math.max(...rows.map((e) => session.table.get(e, 4)));
    const notes = [...session.members.values()].filter((rows) => rows.length > 1 && start(rows) > 2 && start(rows) < 4);
    notes.sort((a, b) => loudness(b) - loudness(a));
    session.select(notes[0]);
    sparse.setLoop([2, 4]);
    sparse.player.seek(2.6);
}"""


def wait(page: Any, expression: str) -> None:
    """Wait until an expression holds, and a moment longer until it is drawn."""
    deadline = time.monotonic() + LIMIT_S
    while not page.evaluate(expression):
        if time.monotonic() > deadline:
            raise SystemExit(f"never came true: {expression}")
        page.wait_for_timeout(100)
    page.wait_for_timeout(2500)  # tiles of the spectrogram come one after the other


def save(page: Any, name: str) -> None:
    """Write what is seen as a PNG of few colours, those of the theme among them."""
    seen = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    colours = page.evaluate("['tone', 'noise', 'chosen', 'paper', 'ink'].map((name) => sparse.stage.theme[name])")
    padded = Image.new("RGB", (seen.width, seen.height + 2 * SWATCH_PX * len(colours)))
    padded.paste(seen)
    for index, colour in enumerate(colours):
        swatch = Image.new("RGB", (seen.width, SWATCH_PX), colour)
        pale = Image.blend(swatch, Image.new("RGB", swatch.size, colours[3]), 0.5)
        padded.paste(swatch, (0, seen.height + 2 * SWATCH_PX * index))
        padded.paste(pale, (0, seen.height + 2 * SWATCH_PX * index + SWATCH_PX))
    padded = padded.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    padded.crop((0, 0, *seen.size)).save(IMAGES / name, optimize=True)
    print(f"{IMAGES / name}: {(IMAGES / name).stat().st_size:,} bytes")


def of_events(browser: Any) -> None:
    """A note in hand, light; the map of sounds, dark."""
    audio = sparsecli.read_audio(RECORDING)
    events = sparsecli.fit(audio, atoms=64, notes=True).events
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(whole_document(pack_scene(events), pack_audio(audio, events.header.channels)))
        page = browser.new_page(viewport=WINDOW)
        page.goto(path.as_uri())
        wait(page, "performance.getEntriesByName('mixed').length > 0")
        page.evaluate(CHOOSE)
        wait(page, "true")
        save(page, "view.png")
        page.click("#theme-button")
        page.click('[data-tab="map"]')
        page.click('[data-map="tsne"]')
        wait(page, "sparse.panels.map.rows.length > 0 && sparse.sound.waiting.size === 0")
        save(page, "view-dark.png")
        page.close()


def of_a_fit(browser: Any) -> None:
    """A fit that is going on."""
    listening = listen(22_000)
    port = port_of(listening)
    listening.close()
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "sparsecli",
            "fit",
            str(RECORDING),
            "-o",
            f"{folder}/a.npz",
            "--quality",
            "best",
        ]
        fit = subprocess.Popen([*command, "--monitor", "--port", str(port), "-q"])
        try:
            page = browser.new_page(viewport=WINDOW)
            for _ in range(100):
                try:
                    page.goto(f"http://127.0.0.1:{port}/")
                    break
                except Exception:
                    time.sleep(0.2)
            wait(page, "window.sparse?.session?.aliveRows().length > 250")
            page.uncheck("#follow")
            page.evaluate("document.getElementById('panel-run').scrollTop = 0")
            wait(page, "sparse.sound.waiting.size === 0")
            save(page, "monitor.png")
        finally:
            fit.kill()
            fit.wait()


def main() -> None:
    """Take all screenshots."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        of_events(browser)
        of_a_fit(browser)
        browser.close()


if __name__ == "__main__":
    main()
