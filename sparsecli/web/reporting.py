"""How a run tells a page how it goes, without waiting for it.

Everything is sent by a thread of its own. What the run itself does for the page is to note a few numbers, and now and
then to write its events down; that is done so seldom that it takes less than a hundredth of the run's time.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ..core.audio import Audio
from ..core.events import Events
from .monitor import Place
from .scene import pack_audio, pack_scene

SEND_EVERY_S = 0.2
EVENTS_EVERY_S = 1.0  # at the most often,
EVENTS_SHARE = 0.005  # and so that writing them down takes at most this share of the time
MOST_FAILURES = 3  # in a row, after which the server is taken for gone


class Reporter:
    """One run's reports, as a context manager around the run.

    Args:
        place: where to.
        about: what the run is: name, settings, device, duration_s.
        audio: what it works on, and the channels that its events have; None for a training, which has neither.
        gone: called once, with nothing, when the server does not answer any more.
    """

    def __init__(
        self, place: Place, about: dict[str, Any], audio: tuple[Audio, int] | None, gone: Callable[[], None]
    ) -> None:
        self._place, self._about, self._audio, self._gone = place, about, audio, gone
        self._started = time.monotonic()
        self._points: list[dict[str, float]] = []
        self._share, self._state = 0.0, "running"
        self._scene: bytes | None = None
        self._next_events_s = 0.0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._run: int | None = None
        self._thread = threading.Thread(target=self._send_all, daemon=True)

    def __enter__(self) -> Reporter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._state = "failed"
        elif self._state == "running":
            self._state = "done"
        self._ended.set()
        self._thread.join(5.0)  # a server that hangs does not hold up the run for longer

    def point(self, share: float, **figures: float) -> None:
        """Note figures of this moment, and how much of all is done."""
        at = {"seconds": round(time.monotonic() - self._started, 3), "memory_mb": memory_mb(), **figures}
        with self._lock:
            self._points.append({name: float(value) for name, value in at.items() if math.isfinite(value)})
            self._share = min(1.0, max(0.0, share))

    def events_so_far(self, make: Callable[[], Events]) -> None:
        """Take the events as they are, if it is time to."""
        now = time.monotonic()
        if now < self._next_events_s:
            return
        scene = pack_scene(make())
        done = time.monotonic()
        with self._lock:
            self._scene = scene
        self._next_events_s = done + max(EVENTS_EVERY_S, (done - now) / EVENTS_SHARE)

    def end(self, events: Events, complete: bool) -> None:
        """The events at the end."""
        scene = pack_scene(events)
        with self._lock:
            self._scene, self._share = scene, 1.0
            self._state = "done" if complete else "ended early"

    def _send_all(self) -> None:
        failures = 0
        last = False
        while not last:
            self._ended.wait(SEND_EVERY_S)
            last = self._ended.is_set()
            try:
                self._send()
                failures = 0
            except (OSError, ValueError):
                failures += 1
                last = last and failures >= MOST_FAILURES
                if failures >= MOST_FAILURES:
                    self._gone()
                    return

    def _send(self) -> None:
        if self._run is None:
            self._run = int(json.loads(self._place.tell("/runs", json.dumps(self._about, default=str).encode()))["run"])
            if self._audio is not None:
                data, media_type = pack_audio(*self._audio)
                self._place.tell(f"/runs/{self._run}/audio", data, media_type)
        with self._lock:
            points, self._points = self._points, []
            scene, self._scene = self._scene, None
            told = {"points": points, "share": self._share, "state": self._state}
        try:
            if scene is not None:
                self._place.tell(f"/runs/{self._run}/scene", scene, "application/octet-stream")
                scene = None
            self._place.tell(f"/runs/{self._run}/points", json.dumps(told).encode())
        except OSError:
            with self._lock:  # nothing is lost: the next time it is sent again
                self._points = [*points, *self._points]
                self._scene = self._scene or scene
            raise


def memory_mb() -> float:
    """The most memory that this process has had so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3), 1)
