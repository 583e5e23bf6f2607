"""The folder that models are kept in: what is there, whether it is sound, and where a model named to a command lies."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from sparsecli.core.errors import SparseError
from sparsecli.core.manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    Model,
    manifest_bytes,
    parse_manifest,
    with_model,
)
from sparsecli.core.settings import read_variables

from .atomic import open_output
from .digests import sha256_of
from .downloads import locked
from .safetensors_file import read_weights


@dataclass(frozen=True)
class FoundModel:
    """A model's file, checked.

    Attributes:
        path: where it lies.
        sha256: of the file.
        model: what the manifest beside it says; None for a file that was named by its path.
    """

    path: Path
    sha256: str
    model: Model | None


def model_folder(dest: str | None = None) -> Path:
    """Where models are kept: `dest`, or else `models` in the folder that SPARSE_CACHE names, or in the user's cache."""
    if dest is not None:
        return Path(dest).expanduser()
    named = read_variables().get("SPARSE_CACHE")
    if named:
        return Path(named).expanduser() / "models"
    import platformdirs

    return Path(platformdirs.user_cache_dir("sparse")) / "models"


def local_models(folder: Path) -> tuple[Model, ...]:
    """What the manifest of a folder lists; nothing where there is none.

    Raises:
        SparseError: it cannot be read, or is no manifest.
    """
    path = folder / MANIFEST
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise SparseError(str(path), f"cannot be read ({(error.strerror or str(error)).lower()})") from None
    if len(data) > MAX_MANIFEST_BYTES:
        raise SparseError(str(path), f"is larger than {MAX_MANIFEST_BYTES >> 20} MiB")
    return parse_manifest(data, str(path))


def is_here(folder: Path, model: Model, listed: tuple[Model, ...]) -> bool:
    """Whether just this model is in the folder, by what its manifest lists and the size of the file."""
    same = any(other.name == model.name and other.sha256 == model.sha256 for other in listed)
    path = folder / model.file_name
    return same and path.is_file() and path.stat().st_size == model.bytes


def keep_record(folder: Path, model: Model) -> None:
    """List a model, whose file is there, in the folder's manifest, in place of the one of its name."""
    with locked(folder / MANIFEST):
        models = with_model(local_models(folder), model)
        with open_output(folder / MANIFEST, overwrite=True) as out:
            out.write(manifest_bytes(models))


def verify_model(folder: Path, model: Model) -> Path:
    """Read a model's file from end to end; returns its path.

    Raises:
        SparseError: it is not there, or not the one that the manifest lists.
    """
    path = folder / model.file_name
    cure = f"fetch it anew with: sparse fetch-models {model.name} --force"
    try:
        size = path.stat().st_size
        sha256 = sha256_of(path) if size == model.bytes else ""
    except FileNotFoundError:
        raise SparseError(str(path), "is not there, although the manifest lists it", cure) from None
    except OSError as error:
        raise SparseError(str(path), f"cannot be read ({(error.strerror or str(error)).lower()})", cure) from None
    if size != model.bytes:
        raise SparseError(str(path), f"is {size} bytes long, and should be {model.bytes}", cure)
    if sha256 != model.sha256:
        raise SparseError(str(path), f"has other bytes than it had (sha256 {sha256})", cure)
    return path


def find_model(name_or_path: str, dest: str | None = None) -> FoundModel:
    """The model that `--model` names: one that was fetched, else a file. Nothing is ever downloaded.

    Args:
        name_or_path: the name of a model in the folder, or the path of a safetensors file.
        dest: the folder; None: as `model_folder` says.

    Raises:
        SparseError: there is no such model, its bytes have changed, or it holds more than numbers.
    """
    folder = model_folder(dest)
    listed = {model.name: model for model in local_models(folder)}
    model = listed.get(name_or_path)
    if model is not None:
        path = verify_model(folder, model)
        if not model.is_safe:
            raise no_model(str(path))
        read_weights(path)
        return FoundModel(path, model.sha256, model)
    path = Path(name_or_path)
    if not path.is_file():
        raise _not_found(name_or_path, list(listed))
    read_weights(path, name_or_path)
    return FoundModel(path, sha256_of(path), None)


def find_model_of(sha256: str, dest: str | None = None) -> FoundModel | None:
    """The fetched model with these bytes, whatever its name; None where there is none. Nothing is ever downloaded.

    Args:
        sha256: of its file.
        dest: the folder; None: as `model_folder` says.

    Raises:
        SparseError: its bytes have changed, or the folder's manifest cannot be read.
    """
    folder = model_folder(dest)
    for model in local_models(folder):
        if model.sha256 == sha256 and model.is_safe:
            return FoundModel(verify_model(folder, model), sha256, model)
    return None


def no_model(subject: str, cure: str = "sparse info --legacy lists its tensors") -> SparseError:
    """Why weights of the original project are no model here."""
    return SparseError(subject, "holds weights of the original project, which no model of sparse can decode", cure)


def _not_found(name: str, known: list[str]) -> SparseError:
    if os.sep in name or name.endswith(".safetensors"):
        return SparseError(name, "no such file")
    near = difflib.get_close_matches(name, known, n=1)
    told = f"no such model was fetched, and there is no such file; the nearest is {near[0]}" if near else ""
    return SparseError(
        name,
        told or "no such model was fetched, and there is no such file",
        f"fetch it with: sparse fetch-models {name}",
    )
