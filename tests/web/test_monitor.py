"""A running fit, and a training, in a real browser."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from sparsecli.cli.training import CURVES
from sparsecli.web.monitor import Monitor
from sparsecli.web.reporting import Reporter
from sparsecli.web.serving import listen, port_of


def test_a_running_fit_is_seen_heard_and_survived(browser: Any, until: Any, tmp_path: Path):
    """Curves grow, events come; what is edited stays; when the server goes, the page says so and keeps all."""
    rate = 22050
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(rate), rate)
    with contextlib.closing(listen(20_000)) as free:
        port = port_of(free)
    command = [sys.executable, "-m", "sparsecli", "fit", "a.wav", "--atoms", "2000", "--monitor", "--port", str(port)]
    fit = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    page = browser.new_page()
    try:
        assert fit.stderr is not None
        address = next(word for line in fit.stderr for word in line.split() if word.startswith("http://"))
        page.goto(address)
        until(page, "window.sparse?.session?.aliveRows().length > 0")
        until(page, "sparse.runs.current.points.length > 3 && sparse.original !== null")
        assert page.inner_text("#run-title") == "a.wav" and page.inner_text("#title") == "a.wav"
        facts = page.inner_text("#run-facts")
        assert "running" in facts and "2000" in facts
        shown = page.evaluate("sparse.session.aliveRows().length")
        until(page, f"sparse.session.aliveRows().length > {shown}")
        until(page, "sparse.sound.waiting.size === 0 && sparse.sound.channels[0].some((x) => x !== 0)")
        page.evaluate("sparse.session.select([0]); sparse.louder(3)")  # from here on it is ours
        kept = page.evaluate("[sparse.session.aliveRows().length, sparse.runs.current.scene]")
        until(page, f"sparse.runs.current.scene > {kept[1]}")
        assert page.evaluate("sparse.session.aliveRows().length") == kept[0] and page.evaluate("sparse.session.edited")
        points = page.evaluate("sparse.runs.current.points.length")
        page.evaluate("sparse.runs.source.close()")
        page.reload()  # dropped out, and come back: all of it is told again
        until(page, f"window.sparse?.runs?.current?.points.length >= {points}")
        os.killpg(fit.pid, signal.SIGTERM)
        fit.wait(30)
        until(page, "document.getElementById('run-told').textContent.startsWith('The server does not answer')")
        assert page.evaluate("sparse.runs.current.points.length") >= points
    finally:
        page.close()
        if fit.poll() is None:
            os.killpg(fit.pid, signal.SIGKILL)


def test_a_training_is_curves_and_figures(browser: Any, until: Any):
    """It has neither events nor sound: what is for those is not there, and keys for them do nothing."""
    with contextlib.closing(listen(20_000)) as free:
        monitor = Monitor(port_of(free))
    about = {
        "name": "<b>mine</b>",
        "device": "cpu",
        "training": "siam",
        "curves": [{"name": name, "keys": keys} for name, keys in CURVES],
        "settings": {"steps": 200, "batch_size": 16, "learning_rate": 5e-4},
    }
    page = browser.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        with Reporter(monitor.place, about, None, lambda: None) as reporter:
            for step in range(20, 120, 20):
                held_out = {"validation_loss": 2.5, "validation_snr_db": step / 10} if step % 40 == 0 else {}
                reporter.point(step / 200, step=step, loss=3 - step / 100, learning_rate=5e-4, **held_out)
            page.goto(monitor.address)
            until(page, "window.sparse?.runs?.current?.points.length === 5")
            facts = page.inner_text("#run-facts").split("\n")
            told = dict(zip(facts[::2], facts[1::2], strict=True))
            assert (told["state"], told["step"], told["loss"], told["validation snr db"]) == (
                "running",
                "100 of 200",
                "2",
                "8",
            )
            assert (told["batch_size"], told["device"]) == ("16", "cpu")
            assert page.inner_text("#run-title") == "<b>mine</b>"
            assert not page.is_visible("nav") and not page.is_visible("#export-button") and page.is_visible("#training")
            drawn = (
                "new Set(document.getElementById('training').getContext('2d').getImageData(60, 10, 300, 200).data).size"
            )
            assert page.evaluate(drawn) > 10
            page.keyboard.press("Space")
            page.keyboard.press("m")
        until(page, "sparse.runs.current.state === 'done'")
        monitor.close()
        until(
            page,
            "document.getElementById('run-told').textContent === 'The server does not answer. What is here stays.'",
        )
        assert complaints == []
    finally:
        page.close()
        monitor.close()
