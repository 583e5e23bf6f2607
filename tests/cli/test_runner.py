from __future__ import annotations

import io
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from sparsecli.cli.console import Console
from sparsecli.cli.info import InfoTask, info_one
from sparsecli.cli.interrupts import Interrupts
from sparsecli.cli.runner import Record, run_each
from sparsecli.core.errors import SparseError


@dataclass(frozen=True)
class Job:
    input: str
    error: BaseException | None = None


def work(task: Job, console: Console, interrupts: Interrupts) -> Record:
    if task.error is not None:
        raise task.error
    console.say(task.input, "done")
    return {"input": task.input}


def run(*tasks: Job) -> tuple[int, list[Record], str]:
    stream, records = io.StringIO(), []
    try:
        run_each(work, tasks, Console(stream=stream), records.append)
    except typer.Exit as ended:
        return ended.exit_code, records, stream.getvalue()
    return 0, records, stream.getvalue()


def test_all_done():
    assert run(Job("a"), Job("b")) == (0, [{"input": "a"}, {"input": "b"}], "sparse: a: done\nsparse: b: done\n")


def test_goes_on_after_a_failure():
    code, records, said = run(Job("a", SparseError("a", "is bad", "mend it")), Job("b"))
    assert (code, records) == (1, [{"input": "b"}])
    assert said == "sparse: a: is bad; mend it\nsparse: b: done\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (SparseError("", "no subject"), "a: no subject"),
        (MemoryError(), "a: not enough memory; work on a part with --duration, or with fewer --jobs"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "a: not enough memory; work on a part"),
        (FileNotFoundError(2, "No such file or directory", "b"), "b: No such file or directory"),
        (KeyError("k"), "a: internal error (KeyError: 'k'); run with SPARSE_DEBUG=1 for the traceback"),
        (ValueError("two\nlines"), "a: internal error (ValueError: two\\nlines); run with"),
    ],
)
def test_every_failure_is_one_line(error: Exception, line: str):
    code, records, said = run(Job("a", error))
    assert (code, records) == (1, [])
    assert said.startswith(f"sparse: {line}") and said.count("\n") == 1


def test_the_traceback_on_demand(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPARSE_DEBUG", "1")
    said = run(Job("a", KeyError("k")))[2]
    assert said.startswith("Traceback") and said.splitlines()[-1].startswith("sparse: a: internal error")


def test_a_reader_that_has_gone_ends_the_run():
    wrapped = SparseError("standard output", "was closed by its reader")
    wrapped.__cause__ = BrokenPipeError()
    for error in (BrokenPipeError(), wrapped):
        with pytest.raises(type(error)):
            run(Job("a", error), Job("b"))


def test_ctrl_c_ends_the_run():
    code, records, said = run(Job("a"), Job("b", KeyboardInterrupt()), Job("c"))
    assert (code, records) == (130, [{"input": "a"}])
    assert said == "sparse: a: done\nsparse: interrupted: what was not finished is not written\n"


def in_processes(*tasks: Any) -> tuple[int, list[Record], str]:
    stream, records = io.StringIO(), []
    with pytest.raises(typer.Exit) as ended:
        run_each(info_one, tasks, Console(stream=stream), records.append, jobs=2)
    return ended.value.exit_code, records, stream.getvalue()


def test_processes_report_in_the_order_of_the_inputs(tmp_path: Path, events):
    files = [str(tmp_path / events(f"{count}.npz", count=count)) for count in range(3)]
    files.insert(1, str(tmp_path / "missing.npz"))
    code, records, said = in_processes(*(InfoTask(name, False, False, None) for name in files))
    assert (code, said) == (1, f"sparse: {files[1]}: no such file\n")
    assert [record["events"] for record in records] == [0, 1, 2]


def test_threads_work_at_once_and_report_in_the_order_of_the_inputs():
    """The first waits for the second."""
    second_began, records = threading.Event(), []

    def together(task: Job, console: Console, interrupts: Interrupts) -> Record:
        if task.input == "b":
            second_began.set()
        elif not second_began.wait(10):
            raise AssertionError("b did not begin")
        return {"input": task.input}

    run_each(together, [Job("a"), Job("b")], Console(stream=io.StringIO()), records.append, jobs=2, threads=True)
    assert records == [{"input": "a"}, {"input": "b"}]


class Deadly:
    """Ends the process that it is sent to, as the system does when memory runs out."""

    input = "deadly"

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (1,)


def test_a_process_that_dies_is_said():
    code, records, said = in_processes(Deadly(), Deadly())
    assert (code, records) == (1, [])
    assert said == 2 * "sparse: deadly: a worker process died, out of memory perhaps; try fewer --jobs\n"
