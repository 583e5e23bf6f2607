"""Batches made ahead of time: by threads, or by processes where a network is faster than what it learns from."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Generic, TypeVar

from ..core.errors import SparseError

THREADS = 2  # one that waits for the disk, and one that does not
MOST_PROCESSES = 16

Batch = TypeVar("Batch")
Make = Callable[[int, range, list[SparseError]], Batch]  # of the number of a step and items, with what is left out
Made = tuple[Batch, list[SparseError]]


def default_workers(device: str) -> int:
    """Processes that make batches for a device: the cores that there are to spare beside CUDA, else none.

    >>> default_workers("cpu")
    0
    """
    if device != "cuda":
        return 0
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes of a torchrun on this machine
    return max(0, min(MOST_PROCESSES, (os.cpu_count() or 1) // here - 1))


class Batches(Generic[Batch]):
    """The batches of steps in order, some of them made ahead.

    Args:
        make: a batch; what it makes depends on its arguments alone. Can be sent to other processes, if there are any.
        items: of each batch.
        steps: whose batches are wanted.
        workers: processes; 0: threads of this one.
        skipped: told once of each file that had to be left out.
    """

    def __init__(
        self, make: Make[Batch], items: range, steps: range, workers: int, skipped: Callable[[SparseError], None]
    ) -> None:
        self._make, self._items, self._steps, self._skipped = make, items, steps, skipped
        self._told = set[str]()
        self._ahead = workers or THREADS
        self._is_apart = workers > 0
        self._pool: Executor = ThreadPoolExecutor(THREADS, "batches")
        if workers:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(make,))
        self._made: dict[int, Future[Any]] = {}
        self._order(steps.start)

    def take(self, step: int) -> Batch:
        """The batch of a step; those after it are begun."""
        try:
            self._order(step)
            found = self._made.pop(step).result()
            batch, skipped = pickle.loads(found) if self._is_apart else found
        except BrokenProcessPool:  # killed, by Ctrl-C before they were ready for it, or for memory
            self._made.clear()
            self._pool, self._is_apart = ThreadPoolExecutor(THREADS, "batches"), False
            batch, skipped = _made(self._make, step, self._items)
        for error in skipped:
            if error.subject not in self._told:
                self._told.add(error.subject)
                self._skipped(error)
        return batch  # type: ignore[no-any-return]

    def close(self) -> None:
        """End what makes batches."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _order(self, first: int) -> None:
        for step in range(first, min(first + 1 + self._ahead, self._steps.stop)):
            if step not in self._made:
                task = (_in_worker, step, self._items) if self._is_apart else (_made, self._make, step, self._items)
                self._made[step] = self._pool.submit(*task)


def _made(make: Make[Batch], step: int, items: range) -> Made[Batch]:
    skipped: list[SparseError] = []
    return make(step, items, skipped), skipped


# In a process of its own

_own_make: list[Make[Any]] = []


def _start_worker(make: Make[Any]) -> None:
    """Make a new process a worker: on one thread, deaf to Ctrl-C, and gone when its parent is."""
    import torch

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _own_make.append(make)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _in_worker(step: int, items: range) -> bytes:
    """A batch as bytes: shared memory, in which tensors travel otherwise, is small in many containers."""
    return pickle.dumps(_made(_own_make[0], step, items))
