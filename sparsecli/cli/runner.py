"""One work over many inputs: goes on after a failed one, in one process or several, and knows the exit code."""

from __future__ import annotations

import contextlib
import functools
import io
import multiprocessing
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any, Protocol, TypeVar

import typer

from sparsecli.core.errors import SparseError

from .console import Console, spoken
from .interrupts import Interrupts

INTERRUPTED = 130  # as the shell counts a program ended by Ctrl-C
LEAVE_S = 3.0  # that threads have to end after Ctrl-C
Record = dict[str, Any]


class Task(Protocol):
    """One input and all that its work needs, which can be sent to another process."""

    @property
    def input(self) -> str:
        """The input as the user wrote it."""


@dataclass(frozen=True)
class Named:
    """A task that is no more than a name."""

    input: str


T = TypeVar("T", bound=Task)
Work = Callable[[T, Console, Interrupts], Record]


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Attributes:
        record: what the work returned; None where it failed.
        messages: what it said in another process.
    """

    record: Record | None
    messages: str = ""


def run_each(
    work: Work[T],
    tasks: Sequence[T],
    console: Console,
    show: Callable[[Record], None] | None = None,
    jobs: int = 1,
    keep_partial: bool | None = None,
    threads: bool = False,
) -> None:
    """Do the work on every input, one after the other or `jobs` at once, and report in the order of the inputs.

    Args:
        work: a module's function of one task, returning what `--json` prints.
        tasks: one for each input.
        console: where messages go.
        show: what to do with each record, e.g. print it.
        jobs: processes at once.
        keep_partial: Ctrl-C ends the work on an input early instead of giving it up; None where work is never partial.
        threads: `jobs` are threads of this process, for work that waits for others more than it works.

    Raises:
        typer.Exit: with 1 where some input failed, 130 after Ctrl-C.
    """
    jobs = min(jobs, len(tasks))
    with Interrupts(bool(keep_partial)) as interrupts:
        outcomes = _here(work, tasks, console, interrupts)
        if jobs > 1 and threads:
            outcomes = _in_threads(work, tasks, console, interrupts, jobs)
        elif jobs > 1:
            outcomes = _in_processes(work, tasks, console, interrupts, jobs, bool(keep_partial))
        try:
            failed = _report(outcomes, console, show)
        except KeyboardInterrupt:
            cure = "--keep-partial writes what is found so far" if keep_partial is False else ""
            console.fail(SparseError("", "interrupted: what was not finished is not written", cure))
            raise typer.Exit(INTERRUPTED) from None
    if interrupts.requested:
        console.fail(SparseError("", "interrupted: what was found is kept, and inputs not yet begun are left out"))
        raise typer.Exit(INTERRUPTED)
    if failed:
        raise typer.Exit(1)


def _report(outcomes: Iterable[Outcome], console: Console, show: Callable[[Record], None] | None) -> bool:
    """Say and show outcomes as they come; returns whether some input failed."""
    failed = False
    for outcome in outcomes:
        console.write(outcome.messages)
        if outcome.record is None:
            failed = True
        elif show is not None:
            show(outcome.record)
    return failed


def _here(work: Work[T], tasks: Sequence[T], console: Console, interrupts: Interrupts) -> Iterator[Outcome]:
    for task in tasks:
        yield Outcome(attempt(work, task, console, interrupts))
        if interrupts.requested:
            return


def attempt(work: Work[T], task: T, console: Console, interrupts: Interrupts) -> Record | None:
    """Do the work; a failure is one line and None."""
    try:
        return work(task, console, interrupts)
    except Exception as error:
        if isinstance(error, BrokenPipeError) or isinstance(error.__cause__, BrokenPipeError):
            raise  # nobody reads on: no use in going on
        if os.environ.get("SPARSE_DEBUG"):
            console.write(traceback.format_exc())
        console.fail(explain(error, task.input))
        return None


def explain(error: Exception, subject: str) -> SparseError:
    """Any failure as one that a line explains."""
    subject = spoken(subject, "input")
    if isinstance(error, SparseError):
        return error if error.subject else SparseError(subject, error.cause, error.cure)
    is_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if is_memory or "allocate memory" in str(error):
        return SparseError(subject, "not enough memory", "work on a part with --duration, or with fewer --jobs")
    if isinstance(error, OSError) and error.strerror:
        return SparseError(error.filename or subject, error.strerror)
    cause = f"internal error ({type(error).__name__}: {error})"
    return SparseError(subject, cause, "run with SPARSE_DEBUG=1 for the traceback")


def _in_threads(
    work: Work[T], tasks: Sequence[T], console: Console, interrupts: Interrupts, jobs: int
) -> Iterator[Outcome]:
    """Outcomes in the order of the tasks. After Ctrl-C, work that does not end soon by itself is left to its fate."""
    waiting: queue.SimpleQueue[tuple[T, Future[Outcome]]] = queue.SimpleQueue()
    futures: list[Future[Outcome]] = [Future() for _ in tasks]
    for entry in zip(tasks, futures, strict=True):
        waiting.put(entry)

    def work_on() -> None:
        with contextlib.suppress(queue.Empty, SystemExit):  # the work exits where it finds Ctrl-C requested
            while not interrupts.requested:
                task, future = waiting.get_nowait()
                try:
                    future.set_result(Outcome(attempt(work, task, console, interrupts)))
                except Exception as error:
                    future.set_exception(error)

    threads = [threading.Thread(target=work_on, daemon=True) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    try:
        for future in futures:
            yield future.result()
    finally:
        deadline = time.monotonic() + LEAVE_S
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def _in_processes(
    work: Work[T], tasks: Sequence[T], console: Console, interrupts: Interrupts, jobs: int, keep_partial: bool
) -> Iterator[Outcome]:
    """Outcomes in the order of the tasks. Standard input belongs to this process: a task of `-` is done here."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    pool = ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(threads, keep_partial)
    )
    try:
        with _SignalsHeld():
            futures = [
                None if task.input == "-" else pool.submit(_in_worker, work, task, console.quiet, keep_partial)
                for task in tasks
            ]
        for task, future in zip(tasks, futures, strict=True):
            if future is not None:
                yield _wait(future, task)
            elif not interrupts.requested:
                yield Outcome(attempt(work, task, console, interrupts))
    finally:
        pool.shutdown(cancel_futures=True)


def _wait(future: Future[Outcome], task: Task) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool:
        error = SparseError(task.input, "a worker process died, out of memory perhaps", "try fewer --jobs")
        return Outcome(None, f"sparse: {error}\n")


class _SignalsHeld:
    """Processes started meanwhile are born with these signals held, until they are ready for them."""

    signals = (signal.SIGINT, signal.SIGTERM)

    def __enter__(self) -> None:
        resource_tracker.ensure_running()  # it would let the signals go when it starts with the first worker
        signal.pthread_sigmask(signal.SIG_BLOCK, self.signals)

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self.signals)


def _start_worker(threads: int, keep_partial: bool) -> None:
    """Make a new process a worker. Ctrl-C stays held: the process that started it passes it on as SIGTERM."""
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # read by torch when it is first imported
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker_interrupts(keep_partial)
    with contextlib.suppress(SystemExit):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        return
    os._exit(INTERRUPTED)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@functools.cache
def _worker_interrupts(keep_partial: bool) -> Interrupts:
    return Interrupts(keep_partial, signal.SIGTERM, SystemExit).__enter__()


def _in_worker(work: Work[T], task: T, quiet: bool, keep_partial: bool) -> Outcome:
    interrupts = _worker_interrupts(keep_partial)
    if interrupts.requested:
        return Outcome(None)
    messages = io.StringIO()
    try:
        record = attempt(work, task, Console(quiet, progress=False, stream=messages), interrupts)
    except SystemExit:
        os._exit(INTERRUPTED)  # the pool would go on with the next task
    return Outcome(record, messages.getvalue())
