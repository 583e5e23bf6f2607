"""Checkpoints beside an output: arrays in an .npz, written whole or not at all, read without trust."""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SparseError
from .atomic import STANDARD, open_output

SUFFIX = ".checkpoint"


def checkpoint_path(output: str) -> Path | None:
    """Where the checkpoint of an output lies: beside it; None for standard output, which has no place."""
    return None if output == STANDARD else Path(output + SUFFIX)


def save_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write arrays in place of an earlier checkpoint.

    Raises:
        SparseError: the file cannot be written.
    """
    with open_output(path, overwrite=True) as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a checkpoint.

    Raises:
        SparseError: there is none, or it is no checkpoint.
    """
    cure = "leave out --resume"
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise SparseError(str(path), "does not exist", cure) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise SparseError(str(path), f"is no checkpoint ({error})", cure) from error


def remove(path: Path) -> None:
    """Delete a checkpoint that has done its duty, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
