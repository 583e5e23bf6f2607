"""A server on a port of this machine."""

from __future__ import annotations

import contextlib
import errno
import secrets
import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..core.errors import SparseError
from .settings import LOOPBACK, MAX_PORT

if TYPE_CHECKING:
    from starlette.applications import Starlette

MOST_TRIED = 100  # ports, from the one asked for
_NEEDS = "needs Starlette and uvicorn"
_CURE = "pip install 'sparsecli[web]'"


def check_installed(option: str) -> None:
    """Raise SparseError where what serves pages is not installed."""
    if not (find_spec("starlette") and find_spec("uvicorn")):
        raise SparseError(option, _NEEDS, _CURE)


def listen(port: int, host: str = LOOPBACK) -> socket.socket:
    """A socket that listens at `port`, or at the next one that is free.

    Raises:
        SparseError: none of the next hundred is free, or the host is none of this machine.
    """
    for tried in range(port, min(port + MOST_TRIED, MAX_PORT + 1)):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, tried))
            found.listen()
        except PermissionError:
            found.close()
            raise SparseError(f"--port {tried}", "may not be used", "choose one above 1023") from None
        except socket.gaierror:
            found.close()
            raise SparseError(f"--host {host}", "is no address of this machine") from None
        except OSError as error:
            found.close()
            if error.errno == errno.EADDRNOTAVAIL:
                raise SparseError(f"--host {host}", "is no address of this machine") from None
            continue
        return found
    raise SparseError(f"--port {port}", f"neither it nor the next {MOST_TRIED} are free", "choose another")


def port_of(listening: socket.socket) -> int:
    """The port at which a socket listens."""
    return int(listening.getsockname()[1])


def is_loopback(host: str) -> bool:
    """Whether a host is reached from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    return host in ("localhost", "::1") or host.startswith("127.")


def hosts_of(host: str, port: int) -> list[str] | None:
    """What may stand as Host in requests to a server; None for anything, where it is open to others."""
    if not is_loopback(host):
        return None
    return [f"{name}:{port}" for name in (host, LOOPBACK, "localhost", "[::1]")]


def token_for(host: str) -> str | None:
    """The token of a server that is open to others."""
    return None if is_loopback(host) else secrets.token_urlsafe(24)


def address(host: str, port: int, token: str | None) -> str:
    """Where a browser finds the page."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?token={token}" if token else "")


def serve(app: Starlette, listening: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    import uvicorn

    config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])
