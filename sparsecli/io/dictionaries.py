"""Where a learned dictionary lies that a command, or a set of events, names."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import SparseError
from ..core.events import Header
from ..core.learned import LearnedDictionary
from .dictionary_file import load_dictionary
from .digests import sha256_of
from .model_store import find_model, find_model_of

PREFIX = "learned:"  # before the name of a dictionary that was fetched


def find_dictionary(text: str) -> tuple[LearnedDictionary, str]:
    """The dictionary that `--dictionary` names, and the name of its file.

    Args:
        text: `learned:` and the name of one that was fetched, or the path of a file.

    Raises:
        SparseError: there is none, or it is no dictionary.
    """
    found = find_model(text.removeprefix(PREFIX))
    return load_dictionary(found.path, text), found.path.name


def dictionary_of(header: Header, named: str | None, beside: str = "") -> LearnedDictionary:
    """The dictionary of a set of events, by its SHA-256: the one that is named, one that was fetched, or a file beside.

    Args:
        header: of events of kind `learned`.
        named: a file, or `learned:` and a name.
        beside: the events file, in whose folder the dictionary's file may lie too.

    Raises:
        SparseError: it is not there.
    """
    if named is not None:
        return find_dictionary(named)[0]
    found = find_model_of(header.model_sha256)
    if found is not None:
        return load_dictionary(found.path)
    path = Path(beside).parent / header.model_name
    if header.model_name and path.is_file() and sha256_of(path) == header.model_sha256:
        return load_dictionary(path)
    cause = (
        f"needs the dictionary {header.model_name or 'unnamed'} (sha256 {header.model_sha256[:8]}), which is not here"
    )
    raise SparseError(beside or header.source_name, cause, "name its file with --dictionary")
