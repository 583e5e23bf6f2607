"""What `--monitor` adds to a command: the page's server beside it, and reports of each run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

from .console import Console, spoken

if TYPE_CHECKING:
    from sparsecli.core.audio import Audio
    from sparsecli.engine.settings import FitSettings
    from sparsecli.web.monitor import Place
    from sparsecli.web.reporting import Reporter


def check_installed(option: str) -> None:
    """Raise SparseError where what serves pages is not installed."""
    from sparsecli.web.serving import check_installed

    check_installed(option)


@contextlib.contextmanager
def monitoring(wanted: bool, port: int, console: Console) -> Iterator[Place | None]:
    """The server of the page, if it is wanted. At a terminal it stays until the page is closed."""
    if not wanted:
        yield None
        return
    from sparsecli.web.monitor import Monitor

    monitor = Monitor(port)
    if monitor.place.port != port:
        console.say(f"--port {port}", f"is taken: the page is at {monitor.place.port}")
    console.say("--monitor", f"{monitor.address} shows how it goes")
    try:
        yield monitor.place
    finally:
        try:
            if console.stream.isatty() and monitor.is_watched():
                console.say("--monitor", "the page is still open; close it, or Ctrl-C, to end")
                monitor.wait_until_left()
        finally:
            monitor.close()


class Watched(Protocol):
    """A task whose run may be watched."""

    @property
    def input(self) -> str:
        """The recording."""

    @property
    def settings(self) -> FitSettings:
        """Of the run."""

    @property
    def monitor(self) -> Place | None:
        """Where it is watched."""


@contextlib.contextmanager
def watched(task: Watched, audio: Audio, console: Console) -> Iterator[Reporter | None]:
    """What takes the reports of a run, where it is watched."""
    if task.monitor is None:
        yield None
        return
    from sparsecli.engine.devices import choose_device
    from sparsecli.web.reporting import Reporter

    about = {
        "name": audio.name or spoken(task.input, "input"),
        "device": str(choose_device(task.settings.device)),
        "duration_s": audio.duration_s,
        "settings": {
            name: value for name, value in asdict(task.settings).items() if value is not None and name != "device"
        },
    }
    channels = audio.channels if audio.channels <= 2 else 1
    gone = "the page's server does not answer any more; the fit goes on without it"
    with Reporter(task.monitor, about, (audio, channels), lambda: console.say(task.input, gone)) as reporter:
        yield reporter
