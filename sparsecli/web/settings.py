"""Where the page is served."""

from __future__ import annotations

from dataclasses import dataclass

LOOPBACK = "127.0.0.1"
MAX_PORT = 65535
SECRET = "x-sparse-secret"  # the header by which a run that is watched shows that it is one of ours


@dataclass(frozen=True)
class ViewSettings:
    """Settings of `sparse view`.

    Attributes:
        port: where the page is served; the next free one where it is taken.
    """

    port: int = 9999

    def __post_init__(self) -> None:
        if not 1 <= self.port <= MAX_PORT:
            raise ValueError(f"--port {self.port} is out of range; use 1 to {MAX_PORT}")
