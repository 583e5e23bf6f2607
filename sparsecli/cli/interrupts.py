"""What Ctrl-C does while inputs are worked on."""

from __future__ import annotations

import multiprocessing
import signal
from types import FrameType
from typing import Any


class Interrupts:
    """The first Ctrl-C ends the work, a second one kills at once.

    Use as a context manager around the work. Where partial results are kept the first Ctrl-C only sets `requested`,
    which the work looks at between steps; else it raises. Worker processes are told by SIGTERM, whichever process the
    Ctrl-C reached.

    Args:
        keep_partial: the work ends by itself soon after `requested` is set.
        signal_number: the signal that counts as Ctrl-C.
        error: what is raised where partial results are not kept.
    """

    def __init__(
        self,
        keep_partial: bool = False,
        signal_number: signal.Signals = signal.SIGINT,
        error: type[BaseException] = KeyboardInterrupt,
    ) -> None:
        self.requested = False
        self._keep_partial, self._signal, self._error = keep_partial, signal_number, error
        self._previous: Any = None

    def __enter__(self) -> Interrupts:
        self._previous = signal.getsignal(self._signal)
        if self._previous is not signal.SIG_IGN:  # so it is in the background of a script, where Ctrl-C is not for us
            signal.signal(self._signal, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(self._signal, self._previous)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(self._signal, signal.SIG_DFL)
        for worker in multiprocessing.active_children():
            worker.terminate()
        if not self._keep_partial:
            raise self._error
