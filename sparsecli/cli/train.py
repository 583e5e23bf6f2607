"""`sparse train`: a group of commands, one for each kind of model, each in a file of its own."""

from __future__ import annotations

import typer
from typer.core import TyperGroup

from . import train_dictionary, train_siam

DEFAULT = "siam"


class DefaultGroup(TyperGroup):
    """A group of which one command is meant where none is named."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Name the default command where the first word names none, and help is not asked for."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


train = typer.Typer(
    cls=DefaultGroup, help="Train a model on a folder of recordings: siam, where none is named.", no_args_is_help=False
)
train.command("siam")(train_siam.train_siam_command)
train.command("dictionary")(train_dictionary.train_dictionary_command)
