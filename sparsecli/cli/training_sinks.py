"""Where a training's figures go beside its folder: the page that watches it, and TensorBoard."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import Console

if TYPE_CHECKING:
    from sparsecli.engine.processes import Processes
    from sparsecli.web.monitor import Place

Sink = Callable[[float, dict[str, Any]], None]  # of the share that is done, and a line of the history


@contextlib.contextmanager
def watched_training(place: Place | None, about: dict[str, Any], console: Console) -> Iterator[Sink]:
    """Passes lines on to the page, where a training is watched."""
    if place is None:
        yield lambda share, entry: None
        return
    from sparsecli.web.reporting import Reporter

    gone = "the page's server does not answer any more; the training goes on without it"
    with Reporter(place, about, None, lambda: console.say("--monitor", gone)) as reporter:

        def tell(share: float, entry: dict[str, Any]) -> None:
            reporter.point(share, **{name: value for name, value in entry.items() if name != "seconds"})

        yield tell


@contextlib.contextmanager
def tensorboard(folder: Path, step: int, processes: Processes) -> Iterator[Sink]:
    """Writes lines as logs of TensorBoard, where that is installed. What was logged after `step` before is void."""
    logs = None
    if processes.is_first:
        from sparsecli.io.run_folder import LOGS
        from sparsecli.io.tensorboard_logs import TensorBoardLogs

        with contextlib.suppress(ImportError, OSError):  # a full disk is said by the checkpoint
            logs = TensorBoardLogs(folder / LOGS, step)
    try:
        yield lambda share, entry: logs.add(entry["step"], figures_of(entry)) if logs else None
    finally:
        if logs:
            logs.close()


def figures_of(entry: dict[str, Any]) -> dict[str, float]:
    """What a line of the history tells beside its step.

    >>> figures_of({"step": 3, "loss": 0.5, "gradient": float("nan")})
    {'loss': 0.5}
    """
    return {name: value for name, value in entry.items() if name != "step" and math.isfinite(value)}
