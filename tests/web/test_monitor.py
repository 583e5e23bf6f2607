"""A running fit in a real browser."""

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
