"""Where the model of a command or of a set of events is: in the package, among those that were fetched, or a file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import SparseError
from ..core.events import Header
from ..io.digests import sha256_of
from ..io.model_store import FoundModel, find_model, find_model_of, local_models, model_folder
from ..io.safetensors_file import read_weights
from .siam import Siam
from .siam_file import load_siam, packaged_siam

KIND = "siam"


@dataclass(frozen=True)
class Trained:
    """A model, and what events say of it.

    Attributes:
        siam: ready to be used.
        name: that commands know it by, or of its file.
        sha256: of its file.
    """

    siam: Siam
    name: str
    sha256: str


def open_model(name_or_path: str | None = None) -> Trained:
    """The model that `--model` names: one that was fetched, or a file; by default the one of the package.

    Raises:
        SparseError: there is no such model, or it is none of this kind.
    """
    packaged = packaged_siam()
    if name_or_path is None and not packaged.is_file():
        raise SparseError("", "this copy of sparse comes without a model", "name one with --model")
    fetched = name_or_path is not None and any(model.name == name_or_path for model in local_models(model_folder()))
    if name_or_path is None or (name_or_path == packaged.stem and packaged.is_file() and not fetched):
        return Trained(load_siam(packaged), packaged.stem, sha256_of(packaged))
    return _opened(find_model(name_or_path), name_or_path)


def model_of(header: Header, name_or_path: str | None = None) -> Trained:
    """The model that decodes events, wherever it is.

    Args:
        header: of the events.
        name_or_path: where to take it from; None: from the package, or those that were fetched.

    Raises:
        SparseError: it is nowhere, or what is named is another model.
    """
    name, sha256 = header.model_name, header.model_sha256
    if name_or_path is not None:
        found = open_model(name_or_path)
        if found.sha256 != sha256:
            told = f"is not the model of these events, {name or 'unnamed'}: its sha256 is {found.sha256}, not {sha256}"
            raise SparseError(name_or_path, told, "name the one that they were made with")
        return found
    packaged = packaged_siam()
    if packaged.is_file() and sha256_of(packaged) == sha256:
        return open_model()
    fetched = find_model_of(sha256)
    if fetched is None:
        cause = f"needs the model {name or 'that has no name'}, which is not at hand (sha256 {sha256})"
        fetch = f"fetch it with: sparse fetch-models {name}, or name" if name else "name"
        raise SparseError("", cause, f"{fetch} its file with --model")
    return _opened(fetched, name)


def _opened(found: FoundModel, named: str) -> Trained:
    """The model of a file that was found, checked to be one of this kind."""
    kind = read_weights(found.path).metadata.get("kind", KIND) if found.model is None else found.model.kind
    if kind != KIND:
        raise SparseError(named, f"is a model of kind {kind}, and this takes those of kind {KIND}", _cure_of(kind))
    name = found.model.name if found.model is not None else Path(named).stem
    return Trained(load_siam(found.path), os.path.basename(name), found.sha256)


def _cure_of(kind: str) -> str:
    return "give it to --method pursuit with --dictionary" if kind == "dictionary" else ""
