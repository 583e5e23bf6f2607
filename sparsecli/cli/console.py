"""What the program says. Data goes to standard output; messages, tables of progress and errors to standard error."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TextIO

from sparsecli.core.errors import SparseError
from sparsecli.io.atomic import STANDARD, open_output

if TYPE_CHECKING:
    import rich.progress

LINES_EVERY_S = 1.0  # of progress where standard error is not a terminal
REMAINING_OVER_S = 120.0  # the speed that remaining time is told by is a mean over this time


def printable(text: str) -> str:
    """The text on one line, control characters and broken encodings written as escapes.

    >>> printable("a" + chr(27) + "[31m")
    'a\\\\x1b[31m'
    """
    return str(SparseError("", text))


def spoken(name: str, direction: Literal["input", "output"]) -> str:
    """A file's name, and what `-` stands for.

    >>> spoken("-", "output")
    'standard output'
    """
    return f"standard {direction}" if name == STANDARD else name


def plural(count: int, what: str) -> str:
    """How many of what.

    >>> plural(1, "note"), plural(0, "note")
    ('1 note', '0 notes')
    """
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


class Console:
    """Messages about inputs, one line each.

    Args:
        quiet: only failures are said.
        progress: show progress; None: where standard error is a terminal.
        stream: where to; None: standard error.
    """

    def __init__(self, quiet: bool = False, progress: bool | None = None, stream: TextIO | None = None) -> None:
        self.quiet = quiet
        self.stream = stream or sys.stderr or io.StringIO()  # there is none after 2>&-
        self.shows_progress = not quiet and (self.stream.isatty() if progress is None else progress)

    def say(self, subject: str, text: str, cure: str = "") -> None:
        """One line about an input."""
        if not self.quiet:
            self.fail(SparseError(spoken(subject, "input"), text, cure))

    def fail(self, error: SparseError) -> None:
        """One line about a failure."""
        self.write(f"sparse: {error}\n")

    def write(self, text: str) -> None:
        """Text as it is, e.g. the messages of another process."""
        self.stream.write(text)
        self.stream.flush()

    def progress(self, subject: str, unit: Unit | None = None) -> contextlib.AbstractContextManager[Progress]:
        """Progress of one input: a bar on a terminal, else lines if they were asked for, else nothing.

        Args:
            subject: what goes on.
            unit: of its amounts; None: seconds of audio.
        """
        if not self.shows_progress:
            return contextlib.nullcontext(Progress())
        if not self.stream.isatty():
            return contextlib.nullcontext(_Lines(self, subject, unit or AUDIO))
        return _bar(self, subject, unit or AUDIO)


@dataclass(frozen=True)
class Unit:
    """What progress is counted in.

    Attributes:
        name: behind amounts.
        size: how many of what is counted make one.
        rate: a text from what was counted and the seconds that it took.
        digits: behind the point.
    """

    name: str
    size: float
    rate: Callable[[float, float], str]
    digits: int = 1


class Progress:
    """Progress that nobody sees; the others show it."""

    def update(self, done: float, total: float, text: str) -> None:
        """How much is done of all, such as seconds of audio, and what was reached so far."""


class _Lines(Progress):
    def __init__(self, console: Console, subject: str, unit: Unit) -> None:
        self._console, self._subject, self._unit = console, subject, unit
        self._started = time.monotonic()
        self._next = self._started

    def update(self, done: float, total: float, text: str) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LINES_EVERY_S
        rate, size, digits = self._unit.rate(done, now - self._started), self._unit.size, self._unit.digits
        amounts = f"{done / size:.{digits}f} of {total / size:.{digits}f} {self._unit.name}"
        self._console.say(self._subject, f"{amounts} done ({rate}), {text}")


class _Bar(Progress):
    def __init__(self, bar: rich.progress.Progress, task: rich.progress.TaskID, unit: Unit) -> None:
        self._bar, self._task, self._unit, self._started = bar, task, unit, time.monotonic()

    def update(self, done: float, total: float, text: str) -> None:
        rate = self._unit.rate(done, time.monotonic() - self._started)
        self._bar.update(self._task, completed=done, total=total, reached=f"{rate}  {text}")


@contextlib.contextmanager
def _bar(console: Console, subject: str, unit: Unit) -> Iterator[Progress]:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[reached]}", markup=False),
        TimeRemainingColumn(),
    )
    shown = RichConsole(stderr=True)
    with RichProgress(*columns, console=shown, transient=True, speed_estimate_period=REMAINING_OVER_S) as bar:
        own, console.stream = console.stream, sys.stderr  # which is rich's here, and writes above the bar
        try:
            yield _Bar(bar, bar.add_task(printable(subject), total=None, reached=""), unit)
        finally:
            console.stream = own


def speed(audio_s: float, elapsed_s: float) -> str:
    """Seconds of audio for each second of work, as a text.

    >>> speed(3, 2)
    '1.5 x real time'
    """
    return f"{audio_s / max(elapsed_s, 1e-3):.3g} x real time"


def transfer_rate(count: float, elapsed_s: float) -> str:
    """Bytes for each second, as a text.

    >>> transfer_rate(3e6, 2)
    '1.5 MB/s'
    """
    return f"{count / max(elapsed_s, 1e-3) / 1e6:.3g} MB/s"


AUDIO = Unit("s", 1, speed)
BYTES = Unit("MB", 1e6, transfer_rate)


def print_json(record: dict[str, Any]) -> None:
    """One object on one line of standard output. What is not finite becomes null, which JSON can hold."""
    _print(json.dumps(_finite(record), allow_nan=False))


def print_csv(rows: Sequence[dict[str, Any]], heading: Sequence[str]) -> None:
    """What rows have under the headings, as CSV on standard output; lists become words with spaces between them."""
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(heading)
    for row in rows:
        cells = [row[key] for key in heading]
        table.writerow([" ".join(map(str, cell)) if isinstance(cell, list | tuple) else cell for cell in cells])
    _print(lines.getvalue().removesuffix("\n"))


def print_table(rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Rows of cells on standard output: plain aligned columns, the first one bold on a terminal."""
    from rich.console import Console as RichConsole
    from rich.table import Table
    from rich.text import Text

    rows = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout is not None and sys.stdout.isatty():
        table = Table(
            title=Text(printable(title)) if title else None, box=None, show_header=False, title_justify="left"
        )
        for row in rows:
            table.add_row(Text(row[0], style="bold"), *(Text(cell) for cell in row[1:]))
        RichConsole().print(table)
        return
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    _print("\n".join([printable(title), *lines] if title else lines))


def _print(text: str) -> None:
    """A text and a line break on standard output. Raises SparseError where it cannot be written."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    with open_output(STANDARD) as out:
        out.write(f"{text}\n".encode(encoding, "backslashreplace"))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
