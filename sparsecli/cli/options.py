"""Options that several commands share, and how options become settings. Defaults stand in the settings dataclasses."""

from __future__ import annotations

import contextlib
import sys
import typing
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Annotated, Any, TypeVar

import typer

from sparsecli.core.errors import SparseError
from sparsecli.core.settings import build_settings, parse_assignments, read_config, read_environment
from sparsecli.engine.settings import FitSettings
from sparsecli.io.atomic import STANDARD

from .console import Console

USAGE = 2  # the exit code of a command line that cannot be done

S = TypeVar("S")


def default_of(kind: type[Any], field: str) -> Any:
    """The default of a setting.

    >>> default_of(FitSettings, "bandwidth_hz")
    11025.0
    """
    return next(entry.default for entry in fields(kind) if entry.name == field)


def choices_of(kind: type[Any], field: str) -> list[str]:
    """The values that a setting may have.

    >>> choices_of(FitSettings, "device")
    ['auto', 'cpu', 'cuda', 'mps']
    """
    return list(typing.get_args(typing.get_type_hints(kind)[field]))


def setting(kind: type[Any], field: str, name: str, metavar: str | None, help: str) -> Any:
    """An option that fills a setting, `None` where not given; the help tells the default."""
    default = default_of(kind, field)
    shown = f"{default:g}" if isinstance(default, float) else str(default)
    told = "" if default is None or default is False else f" (default {shown})"  # a flag that is not set says nothing
    return typer.Option(name, help=f"{help}{told}", metavar=metavar, show_default=False)


def file_format(formats: Sequence[str]) -> Any:
    """The option `--format`."""
    return typer.Option("--format", metavar="|".join(formats), help="Where the output's name does not say.")


def output(help: str) -> Any:
    """The option `-o`."""
    return typer.Option("--output", "-o", metavar="OUT", help=help, show_default=False)


def selection(name: str, help: str) -> Any:
    """An option that takes an expression."""
    return typer.Option(name, metavar="EXPR", help=f"{help} that an expression selects, e.g. 'freq > 2 kHz'.")


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but failures.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for each result on standard output.")]
ShowProgress = Annotated[
    bool | None,
    typer.Option("--progress/--no-progress", help="Show progress; by itself where standard error is a terminal."),
]
Jobs = Annotated[
    int, typer.Option("--jobs", "-j", min=1, metavar="N", help="Inputs worked on at once, each in its own process.")
]
Config = Annotated[
    str | None,
    typer.Option("--config", metavar="NAME|FILE", help="Settings that differ from the defaults, in TOML."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One setting by its name; may be given several times."),
]
Device = Annotated[
    str | None,
    setting(FitSettings, "device", "--device", "|".join(choices_of(FitSettings, "device")), "Where to compute."),
]


@contextlib.contextmanager
def usage_errors(console: Console) -> Iterator[None]:
    """What goes wrong here is said in one line and exits with 2, before anything was started."""
    try:
        yield
    except SparseError as error:
        console.fail(error)
        raise typer.Exit(USAGE) from None


def check_json(as_json: bool, outputs: Sequence[str]) -> None:
    """Raise SparseError where both results and `--json` would go to standard output."""
    if as_json and STANDARD in outputs:
        raise SparseError("--json", "standard output already takes the result", "give -o FILE")


def check_terminal(outputs: Sequence[str]) -> None:
    """Raise SparseError where sound would be written to a terminal."""
    if STANDARD in outputs and sys.stdout.isatty():
        raise SparseError("standard output", "is a terminal, which plays no sound", "give -o FILE or a pipe")


def check_choice(option: str, value: str | None, choices: Sequence[str]) -> None:
    """Raise SparseError where a value was given that is not among the choices."""
    if value is not None and value not in choices:
        raise SparseError(f"{option} {value}", "is not a choice", f"choose one of {', '.join(choices)}")


def check_selection(option: str, expression: str | None) -> None:
    """Raise SparseError where an expression was given that makes no sense."""
    if expression is None:
        return
    from sparsecli.core.selection import SelectionError, check_expression

    try:
        check_expression(expression)
    except SelectionError as error:
        raise SparseError(option, str(error)) from None


def settings_from(
    context: typer.Context, kind: type[S], stage: str, config: str | None, assignments: Sequence[str] | None
) -> S:
    """The settings of a stage, weakest source first: defaults, `--config`, environment, `--set`, flags.

    The flags are the command's parameters that are named as settings are.

    Raises:
        SparseError: an unknown setting or a value that it cannot have.
    """
    names = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]
    flags = {name: value for name, value in context.params.items() if name in names}
    from_file = read_config(config, stage) if config else {}
    return build_settings(kind, [from_file, read_environment(kind), parse_assignments(assignments or ()), flags])
