"""Write the tables of options, settings and columns in README.md and docs/ anew from the code that they describe.

    make docs

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`. A test finds those that are out of date.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import typer

from sparsecli.cli.app import app
from sparsecli.core import columns as table
from sparsecli.core.fetch_settings import FetchSettings
from sparsecli.core.manifest import Model
from sparsecli.core.quantities import DERIVED, SPELLING, UNITS
from sparsecli.engine.dictionaries import FAMILIES
from sparsecli.engine.learning_settings import DictionarySettings
from sparsecli.engine.settings import DecomposeSettings, FitSettings, RenderOptions
from sparsecli.engine.training_settings import SiamTrainSettings
from sparsecli.losses.names import LOSSES
from sparsecli.synth import air, noise

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS: dict[str, Any] = {
    name if inner is None else f"{name} {inner}": command if inner is None else command.commands[inner]
    for name, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
    for inner in getattr(command, "commands", [None])  # those of a group are called by two words
}
_PLACE = re.compile(r"(<!-- table: ([a-z -]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def markdown(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts.

    >>> print(markdown(["a", "b"], [["1", "2|3"]]))
    | a | b |
    |---|---|
    | 1 | 2\\|3 |
    """
    lines = [[cell.replace("|", "\\|") for cell in row] for row in (heading, *rows)]
    texts = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([texts[0], "|" + "---|" * len(heading), *texts[1:]])


def synopsis(command: str) -> str:
    """How a command is called."""
    arguments = []
    for parameter in COMMANDS[command].params:
        if parameter.param_type_name == "argument":
            name = parameter.metavar if parameter.required else f"[{parameter.metavar}]"
            arguments.append(name + "..." * (parameter.nargs == -1))
    return f"```text\nsparse {command} {' '.join(arguments)} [OPTIONS]\n```"


def options(command: str) -> str:
    """Arguments and options of a command, with the program's own help texts."""
    rows = []
    for parameter in COMMANDS[command].params:
        names, told = [parameter.metavar], ""
        if parameter.param_type_name == "option":
            names = [*sorted(parameter.opts, key=len), *parameter.secondary_opts]
            names[-1] += "" if parameter.is_flag else f" {parameter.metavar}"
            is_number = isinstance(parameter.default, int | float) and not parameter.is_flag
            told = f" (default {parameter.default:g})" if is_number else ""
        rows.append([", ".join(f"`{name}`" for name in names), parameter.help + told])
    return markdown(["", "meaning"], rows)


def settings(kind: type[Any]) -> str:
    """Fields of a settings dataclass, with its own docstring and those of what it extends."""
    meanings = _meanings(kind)
    rows = [[f"`{entry.name}`", str(entry.default).lower(), meanings[entry.name]] for entry in dataclasses.fields(kind)]
    return markdown(["setting", "default", "meaning"], rows)


def _meanings(kind: type[Any]) -> dict[str, str]:
    told = "\n".join(inspect.getdoc(base) or "" for base in kind.__mro__ if dataclasses.is_dataclass(base))
    found = re.findall(r"^    (\w+): (.*(?:\n      .*)*)", told, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def columns() -> str:
    """The numbers of an atom."""
    return _rows_of(table.ATOM_COLUMNS)


def _rows_of(of: Iterable[table.Column]) -> str:
    rows = [[f"`{c.name}`", c.unit, f"{c.low:g} to {c.high:g}", c.scale, c.meaning] for c in of]
    return markdown(["column", "unit", "range", "scale", "meaning"], rows)


def pan() -> str:
    """The number that an atom has in two channels alone."""
    return _rows_of([table.PAN_COLUMN])


def gabor() -> str:
    """The numbers of a windowed wave."""
    return _rows_of(table.GABOR_COLUMNS)


def gabor_right() -> str:
    """The further numbers of a windowed wave in two channels."""
    return _rows_of(table.GABOR_RIGHT)


def siam() -> str:
    """The numbers of an event that a model decodes."""
    first, last = (c for c in table.SIAM_COLUMNS if c.name in (table.VECTOR[0], table.VECTOR[-1]))
    whole = dataclasses.replace(
        first, name=f"{first.name}` .. `{last.name}", meaning=first.meaning.replace("of", "numbers of", 1)
    )
    return _rows_of([*(c for c in table.SIAM_COLUMNS if c.name not in table.VECTOR), whole])


def dictionaries() -> str:
    """Families of atoms."""
    rows = [[f"`{name}`", ", ".join(map(str, family.windows)), family.told] for name, family in FAMILIES.items()]
    return markdown(["name", "windows in samples, where none are named", "atoms"], rows)


def losses() -> str:
    """Losses by their names."""
    return markdown(["name", "what, and its unit"], [[f"`{name}`", told] for name, told in LOSSES.items()])


def wet() -> str:
    """The number that an edit may add."""
    return _rows_of(table.OPTIONAL_COLUMNS.values())


def numbers() -> str:
    """What an atom costs."""
    rows = [
        ["the strike: onset, attack and decay", str(table.NUMBERS_OF_STRIKE)],
        ["each mode: frequency, level and phase", str(table.NUMBERS_OF_MODE)],
        ["noise: its level", str(table.NUMBERS_OF_BURST)],
        ["its frequency, where slot 4 holds no mode", str(table.NUMBERS_OF_BAND)],
        ["the place, in two channels", str(table.NUMBERS_OF_PAN)],
    ]
    return markdown(["in use", "numbers"], rows)


def noise_constants() -> str:
    """What ties a burst to its atom, and the grid of the air."""
    rows = [
        ["`NOISE_RATE`", f"{noise.NOISE_RATE} Hz", "grid on which noise is drawn, doubled until it covers the source"],
        ["`BURST_BAND`", f"{noise.BURST_BAND:g}", "centre of the band over its standard deviation"],
        [
            "`MAX_BURST_SAMPLES`",
            str(noise.MAX_BURST_SAMPLES),
            "of the noise grid, after which a burst ends in any case",
        ],
        ["`HOP`", str(air.HOP), "samples of the noise grid between two frames of the air's noise"],
    ]
    return markdown(["constant", "value", "meaning"], rows)


def quantities() -> str:
    """What a selection can ask of an event, beside its columns."""
    rows = [[f"`{quantity.name}`", quantity.unit, quantity.meaning] for quantity in DERIVED]
    return markdown(["quantity", "unit", "meaning"], rows)


def units() -> str:
    """What may stand behind a number."""
    rows = [[f"`{SPELLING.get(name, name)}`", unit, f"{float(factor):g}"] for name, (unit, factor) in UNITS.items()]
    return markdown(["written", "for quantities in", "times"], rows)


def manifest() -> str:
    """The fields of a model in a manifest, with the dataclass's own docstring."""
    meanings = _meanings(Model)
    names = {"str": "text", "int": "whole number", "int | None": "whole number or null"}
    rows = [[f"`{entry.name}`", names[str(entry.type)], meanings[entry.name]] for entry in dataclasses.fields(Model)]
    return markdown(["field", "type", "meaning"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "columns": columns,
    "pan": pan,
    "gabor": gabor,
    "gabor right": gabor_right,
    "siam": siam,
    "learned": lambda: _rows_of(table.LEARNED_COLUMNS),
    "learned right": lambda: _rows_of(table.LEARNED_RIGHT),
    "dictionaries": dictionaries,
    "losses": losses,
    "wet": wet,
    "numbers": numbers,
    "noise": noise_constants,
    "quantities": quantities,
    "units": units,
    "fit settings": lambda: settings(FitSettings),
    "decompose settings": lambda: settings(DecomposeSettings),
    "render settings": lambda: settings(RenderOptions),
    "train siam settings": lambda: settings(SiamTrainSettings),
    "train dictionary settings": lambda: settings(DictionarySettings),
    "fetch settings": lambda: settings(FetchSettings),
    "manifest": manifest,
    **{f"{name} synopsis": lambda name=name: synopsis(name) for name in COMMANDS},  # type: ignore[misc]
    **{f"{name} options": lambda name=name: options(name) for name in COMMANDS},  # type: ignore[misc]
}


def fill(page: str) -> str:
    """The text of a page with all its tables made anew."""
    return _PLACE.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n\n{found[3]}", page)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(fill(path.read_text(encoding="utf-8")), encoding="utf-8")
