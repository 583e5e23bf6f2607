"""Which device to work on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..core.errors import SparseError
from .settings import Device


def choose_device(name: Device) -> torch.device:
    """The device of a name; `auto` takes CUDA where there is one, else the CPU.

    Raises:
        SparseError: a device that this machine lacks.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present[name]:
        raise SparseError(f"--device {name}", "this machine has no such device", "use --device cpu")
    return torch.device(name)


@contextmanager
def one_thread() -> Iterator[None]:
    """Arithmetic on one thread of the CPU within.

    Sums split among threads are rounded otherwise, so only a fixed number gives the same bytes on every machine. What
    does not depend on each other is worked by `dsp.parallel.side_by_side` instead.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
