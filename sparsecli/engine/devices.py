"""Which device to work on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from ..core.errors import SparseError
from .settings import Device

T = TypeVar("T")
R = TypeVar("R")


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
    does not depend on each other is worked by `side_by_side` instead.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def side_by_side(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`function` of each item, in their order, on as many threads as the machine has cores (or OMP_NUM_THREADS says).

    Each call is by itself, so the results do not depend on the number of threads.
    """
    threads = min(len(items), int(os.environ.get("OMP_NUM_THREADS") or 0) or (os.cpu_count() or 1))
    if threads < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(function, items))
