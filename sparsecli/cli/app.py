"""The program `sparse`: its commands by name."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from sparsecli import __version__
from sparsecli.core.errors import SparseError

from . import compare, decompose, edit, fetch_models, fit, info, render, train, view
from .console import Console

app = typer.Typer(
    name="sparse",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("fit", no_args_is_help=True)(fit.fit_command)
app.command("decompose", no_args_is_help=True)(decompose.decompose_command)
app.add_typer(train.train, name="train")
app.command("render", no_args_is_help=True)(render.render_command)
app.command("edit", no_args_is_help=True, cls=edit.OrderedCommand)(edit.edit_command)
app.command("fetch-models")(fetch_models.fetch_models_command)
app.command("info", no_args_is_help=True)(info.info_command)
app.command("compare", no_args_is_help=True)(compare.compare_command)
app.command("view", no_args_is_help=True)(view.view_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sparse {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Turn a recording into a small table of events that can be read, edited and played again.

    - is standard input or output. Data goes to standard output, the rest to standard error.

    Exit codes: 0 all done, 1 some input failed, 2 usage, 130 interrupted.
    """


def main() -> None:
    """Run `sparse` with the arguments of the process and exit."""
    # Threads that wait must sleep: spinning, two programs on two cores slow each other twentyfold. Read by OpenMP when
    # torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app(prog_name="sparse")
    except SparseError as error:  # standard output cannot be written; whoever closes a pipe knows it
        if not isinstance(error.__cause__, BrokenPipeError):
            Console().fail(error)
        sys.exit(1)
