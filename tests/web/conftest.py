"""What the tests of the page share: events by a seed, node for its modules, and a browser for the whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsecli.core.columns import AIR_BANDS, SILENT_DB, columns_of
from sparsecli.core.events import Events, Header, events_from_columns
from sparsecli.web.bundle import bundle

os.environ.setdefault("OMP_NUM_THREADS", "1")

NODE = shutil.which("node")


def random_events(seed: int, count: int = 12, **about: Any) -> Events:
    """Events of all sorts: one to four modes, bursts with and without a slot of their own, some before the start."""
    chance = np.random.default_rng(seed)
    header = Header(**{"duration_s": 1.2, "sample_rate": 44100, "channels": 1, "seed": seed, **about})
    columns: dict[str, Any] = {column.name: np.zeros(count) for column in columns_of("atoms", header.channels)}
    columns["onset_s"] = chance.uniform(-0.2, header.duration_s, count)
    columns["attack_s"] = np.exp(chance.uniform(np.log(2e-4), np.log(0.2), count))
    columns["decay_s"] = np.exp(chance.uniform(np.log(0.01), np.log(3), count))
    modes = chance.integers(0, 5, count)  # how many
    bursts = (chance.random(count) < 0.4) | (modes == 0)
    columns["noise_level_db"] = np.where(bursts, chance.uniform(-50, -20, count), SILENT_DB)
    for slot in (1, 2, 3, 4):
        used = modes >= slot
        columns[f"level{slot}_db"] = np.where(used, chance.uniform(-50, -10, count), SILENT_DB)
        columns[f"freq{slot}_hz"] = np.where(used, np.exp(chance.uniform(np.log(40), np.log(12000), count)), 0)
        columns[f"phase{slot}_rad"] = np.where(used, chance.uniform(-3, 3, count), 0)
    alone = bursts & (modes < 4)
    centres = np.exp(chance.uniform(np.log(100), np.log(15000), count))
    columns["freq4_hz"] = np.where(alone, centres, columns["freq4_hz"])
    columns["pan"] = chance.uniform(-1, 1, count)
    air = chance.uniform(-80, -50, (header.channels, 2, AIR_BANDS))
    return events_from_columns(header, columns, air)


@pytest.fixture(name="random_events")
def random_events_of() -> Callable[..., Events]:
    """Makes events by a seed."""
    return random_events


@pytest.fixture
def run_node(tmp_path: Path) -> Callable[..., bytes]:
    """Run lines of JavaScript after some modules and all that they import, in an empty folder; what they print."""
    if NODE is None:
        pytest.skip("no node; apt install nodejs")

    def run(modules: list[str], script: str, *args: str) -> bytes:
        assert NODE is not None
        head = 'import fs from "node:fs";\n'
        (tmp_path / "script.mjs").write_text(head + bundle(*modules) + script)
        command = [NODE, "script.mjs", *args]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run


CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Debian's Chromium with a new, empty profile."""
    if CHROMIUM is None:
        pytest.skip("no chromium; apt install chromium")
    from playwright.sync_api import sync_playwright

    profile = tmp_path_factory.mktemp("profile")
    with sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            headless=True,
            args=FLAGS,
            viewport={"width": 1280, "height": 800},
            accept_downloads=True,
        )
        yield context
        context.close()


def until(page: Any, expression: str, limit_s: float = 60.0) -> None:
    """Wait until an expression holds; Playwright's own waiting evaluates text in the page, which its policy forbids."""
    deadline = time.monotonic() + limit_s
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"never came true: {expression}"
        page.wait_for_timeout(20)


def frames(page: Any) -> None:
    """Wait until what changed is drawn: panels and counts are written in the next frame."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture(name="frames")
def frames_fixture() -> Callable[[Any], None]:
    """Waits until what changed in a page is drawn."""
    return frames


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., None]:
    """Waits until an expression holds in a page."""
    return until


@dataclass
class Opened:
    """A page that is open, and what it complained of."""

    page: Any
    address: str
    complaints: list[str]
    requests: list[str]


@contextlib.contextmanager
def serving(make: Callable[[int], Any]) -> Iterator[str]:
    """Serve an application, made for a port, on a free port of this machine; its address."""
    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(make(port), log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(name="serving")
def serving_fixture() -> Callable[..., contextlib.AbstractContextManager[str]]:
    """Serves applications."""
    return serving


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[[str], Opened]]:
    """Open an address and wait until the sound is mixed."""
    pages = []

    def go(address: str) -> Opened:
        page = browser.new_page()
        pages.append(page)
        opened = Opened(page, address, [], [])
        page.on("console", lambda message: opened.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        page.on("request", lambda request: opened.requests.append(request.url))
        page.goto(address)
        until(page, "performance.getEntriesByName('mixed').length > 0")
        frames(page)
        return opened

    yield go
    for page in pages:
        page.close()


@pytest.fixture
def view(visit: Callable[[str], Opened]) -> Iterator[Callable[..., Opened]]:
    """Serve a set of events, and its recording if there is one, and open the page."""
    from sparsecli.web.server import make_app, scene_routes
    from sparsecli.web.serving import hosts_of

    with contextlib.ExitStack() as stack:

        def go(events: Events, audio: Any = None) -> Opened:
            config = {"mode": "view", "audio": audio is not None}
            routes = scene_routes(events, audio)
            made = stack.enter_context(serving(lambda port: make_app(config, routes, hosts_of("127.0.0.1", port))))
            return visit(made)

        yield go
