"""Independent work on several threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`function` of each item, in their order, on as many threads as the machine has cores (or OMP_NUM_THREADS says).

    Each call is by itself, so the results do not depend on the number of threads. What is called within a call is
    worked in its thread.
    """
    if len(items) < 2 or _threads() < 2 or getattr(_here, "busy", False):
        return [function(item) for item in items]
    return list(_pool().map(function, items))


_here = threading.local()


def _begin() -> None:
    _here.busy = True
    torch.set_num_threads(1)


def _threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS") or 0) or os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_threads(), initializer=_begin)
