"""The server of runs, in a process of its own: whatever becomes of it, the runs go on.

    python -m sparsecli.web.monitor DESCRIPTOR

`Monitor` starts it with a socket that listens, tells it the secret on its standard input, and by closing that ends it,
so that it never outlives its parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from .serving import address, hosts_of, listen, port_of, serve
from .settings import LOOPBACK, SECRET

NICENESS = 10  # the fit goes first
POLL_S = 0.5
TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Place:
    """Where runs tell how they go; can be sent to another process."""

    port: int
    secret: str

    def tell(self, path: str, data: bytes, media_type: str = "application/json") -> bytes:
        """Send something to the server and return its answer. Raises OSError where it does not answer."""
        connection = HTTPConnection(LOOPBACK, self.port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", path, data, {SECRET: self.secret, "Content-Type": media_type})
            response = connection.getresponse()
            found = response.read()
        except HTTPException as error:
            raise ConnectionError(str(error)) from None
        finally:
            connection.close()
        if response.status != 200:
            raise ConnectionError(f"{path}: {response.status}")
        return found


class Monitor:
    """The process that serves the page of runs, from `start` to `close`."""

    def __init__(self, port: int) -> None:
        listening = listen(port)
        self.place = Place(port_of(listening), secrets.token_urlsafe(24))
        command = [sys.executable, "-m", "sparsecli.web.monitor", str(listening.fileno())]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[listening.fileno()],
            start_new_session=True,  # Ctrl-C is for the fit
        )
        listening.close()
        assert self._process.stdin is not None
        self._process.stdin.write(f"{self.place.secret}\n".encode())
        self._process.stdin.flush()

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        return address(LOOPBACK, self.place.port, None)

    def is_watched(self) -> bool:
        """Whether a page is open."""
        try:
            return bool(json.loads(self.place.tell("/watchers", b""))["watchers"])
        except (OSError, ValueError):
            return False

    def wait_until_left(self) -> None:
        """Wait as long as pages are open; Ctrl-C ends it too."""
        with contextlib.suppress(KeyboardInterrupt):
            while self.is_watched():
                time.sleep(POLL_S)

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()


def main() -> None:
    """Serve until standard input is closed."""
    from .runs import Runs
    from .server import make_app

    os.nice(NICENESS)
    listening = socket.socket(fileno=int(sys.argv[1]))
    runs = Runs(sys.stdin.readline().strip())
    threading.Thread(target=_end_with_input, daemon=True).start()
    app = make_app({"mode": "monitor"}, runs.routes(), hosts_of(LOOPBACK, port_of(listening)))
    serve(app, listening)


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
