"""Settings: one dataclass a stage, filled from the weakest source to the strongest.

Defaults, then a TOML file of differences, then the environment or `.env`, then `--set key=value`, then flags.
"""

from __future__ import annotations

import difflib
import os
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from .errors import SparseError

S = TypeVar("S")
_NAME_OF_TYPE = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
# What `.env.example` tells of.
ENVIRONMENT = ("AUDIO_PATH", "PORT", "IMPULSE_RESPONSE_PATH", "S3_BUCKET", "SPARSE_CACHE")


def read_config(name_or_path: str, stage: str) -> dict[str, Any]:
    """The table `[stage]` of a TOML file, or of a named configuration that the package brings.

    Raises:
        SparseError: no such name or file, or not TOML.
    """
    named = resources.files("sparsecli.configs")
    names = sorted(entry.name[:-5] for entry in named.iterdir() if entry.name.endswith(".toml"))
    source = named / f"{name_or_path}.toml" if name_or_path in names else Path(name_or_path)
    try:
        tables = tomllib.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SparseError(name_or_path, "no such configuration", f"named ones are {', '.join(names)}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SparseError(name_or_path, f"not a readable TOML file ({error})") from None
    table = tables.get(stage, {})
    if not isinstance(table, dict):
        raise SparseError(name_or_path, f"[{stage}] is not a table")
    return table


def read_environment(kind: type[Any], dotenv_path: str = ".env") -> dict[str, str]:
    """Settings that the environment or a `.env` file names: those of `ENVIRONMENT` that `kind` has as a field.

    A variable fills the field of its name in lower case. Real variables win over the file, and empty ones do not count.
    """
    names = {entry.name for entry in fields(kind)}
    if not any(variable.lower() in names for variable in ENVIRONMENT):
        return {}
    return {name.lower(): value for name, value in read_variables(dotenv_path).items() if name.lower() in names}


def read_variables(dotenv_path: str = ".env") -> dict[str, str]:
    """Those of `ENVIRONMENT` that the environment, or else a `.env` file, gives a value that is not empty."""
    from dotenv import dotenv_values

    found = {**dotenv_values(dotenv_path), **os.environ}
    return {variable: value for variable in ENVIRONMENT if (value := found.get(variable))}


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """`key=value` texts as a mapping. Raises SparseError where the equals sign is missing."""
    pairs = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise SparseError(f"--set {text}", "no value", "write --set key=value")
        pairs[key.strip()] = value.strip()
    return pairs


def build_settings(kind: type[S], layers: Iterable[Mapping[str, Any]]) -> S:
    """A settings dataclass from layers of values, each stronger than the one before; `None` means not given.

    Texts are converted to the field's type. The dataclass checks ranges in its `__post_init__` by ValueError.

    Raises:
        SparseError: an unknown key (names the nearest known one), a text that is no such value, or a value out of
            range.
    """
    hints = typing.get_type_hints(kind)
    known = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            name = key.replace("-", "_")
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
                raise SparseError(key, "unknown setting", f"the nearest known one is {near}")
            if value is not None:
                values[name] = _convert(name, value, hints[name])
    try:
        return kind(**values)
    except ValueError as error:
        raise SparseError("", str(error)) from None


def _convert(name: str, value: Any, hint: Any) -> Any:
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    if typing.get_origin(hint) is typing.Literal:
        if value not in options:
            raise SparseError(name, f"{value!r} is not a choice", f"choose one of {', '.join(map(str, options))}")
        return value
    if is_union:
        if isinstance(value, str) and value.lower() == "none":
            return None
        return _convert(name, value, options[0])
    try:
        if hint is bool and isinstance(value, str):
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
        if isinstance(value, bool) and hint in (int, float):
            raise ValueError
        return _whole(value) if hint is int else hint(value)
    except (ValueError, TypeError, KeyError, OverflowError):
        raise SparseError(name, f"{value!r} is not {_NAME_OF_TYPE.get(hint, hint)}") from None


def _whole(value: Any) -> int:
    """`64`, `"64"`, `64.0` and `"6.4e1"` are whole numbers; raises ValueError for others."""
    try:
        return int(str(value))  # exact for large ones
    except ValueError:
        number = float(value)
        if number != int(number):
            raise
        return int(number)
