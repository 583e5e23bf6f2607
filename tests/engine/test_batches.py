from __future__ import annotations

import multiprocessing
import threading

import pytest

from sparsecli.core.errors import SparseError
from sparsecli.engine.batches import THREADS, Batches

from .learning import Lines

ITEMS = range(2, 4)


def test_batches_come_in_order_and_ahead_of_time():
    asked: list[int] = []
    second = threading.Event()

    def make(step: int, items: range, skipped: list[SparseError]) -> tuple[int, range]:
        asked.append(step)
        if step == 4:
            second.set()
        return step, items

    batches = Batches(make, ITEMS, range(3, 3 + 10), 0, print)
    assert second.wait(10)  # before it is wanted
    assert [batches.take(step) for step in range(3, 13)] == [(step, ITEMS) for step in range(3, 13)]
    batches.close()
    assert sorted(asked) == list(range(3, 13))  # each once, none beyond the last


def test_what_is_left_out_is_told_once():
    def make(step: int, items: range, skipped: list[SparseError]) -> None:
        skipped.append(SparseError(f"{step % 2}.wav", "is damaged"))

    told: list[SparseError] = []
    batches = Batches(make, ITEMS, range(6), 0, told.append)
    for step in range(6):
        batches.take(step)
    batches.close()
    assert [error.subject for error in told] == ["0.wav", "1.wav"]


def test_an_error_is_that_of_its_step():
    def make(step: int, items: range, skipped: list[SparseError]) -> int:
        if step == 1:
            raise SparseError("a.wav", "is gone")
        return step

    batches = Batches(make, ITEMS, range(THREADS + 2), 0, print)
    assert batches.take(0) == 0
    with pytest.raises(SparseError, match=r"a\.wav: is gone"):
        batches.take(1)
    batches.close()


def test_processes_make_the_same_and_may_die():
    """The second batch comes from this process, since the other was killed, as it is where memory runs out."""
    lines = Lines(seed=5)
    batches = Batches(lines.batch, ITEMS, range(4), 1, print)
    for step in range(4):
        found, expected = batches.take(step), lines.batch(step, ITEMS)
        assert all((one == other).all() for one, other in zip(found, expected, strict=True))
        if step == 0:
            (worker,) = multiprocessing.active_children()
            worker.terminate()  # as Ctrl-C does: it is deaf to that
            worker.join(0.05)
            assert worker.is_alive()
            worker.kill()
            worker.join(10)
            batches._made.clear()  # those that were made before
    assert not multiprocessing.active_children()
    batches.close()
