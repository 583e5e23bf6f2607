"""Sharing one's own models: from a folder into a bucket, each file first and the manifest last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparsecli.core.errors import SparseError
from sparsecli.core.manifest import (
    MANIFEST,
    SAFE_SUFFIX,
    UNKNOWN,
    Model,
    manifest_bytes,
    name_of_key,
    with_model,
)

from .buckets import Bucket, ChangedError, MissingError
from .digests import md5_of, sha256_of
from .fetching import read_manifest
from .model_store import local_models
from .safetensors_file import read_weights

_MAX_PUT_BYTES = 5 * 10**9  # what S3 takes in one piece is 5 GB
_ATTEMPTS = 5  # to add to a manifest that others add to at the same time


def files_to_publish(folder: Path) -> list[Path]:
    """The safetensors files of a folder, by name.

    Raises:
        SparseError: there is no such folder, or no such file in it.
    """
    if not folder.is_dir():
        raise SparseError(str(folder), "no such folder")
    found = sorted(path for path in folder.iterdir() if path.suffix == SAFE_SUFFIX and not path.name.startswith("."))
    if not found:
        raise SparseError(str(folder), f"holds no {SAFE_SUFFIX} files, and nothing else is published")
    return found


def describe_file(path: Path) -> Model:
    """A file as a manifest lists it.

    Kind, version, sample rate and licence are those of the manifest beside it, or else of the file's own metadata.

    Raises:
        SparseError: it is a link or no sound safetensors file, or nothing says its kind or licence.
    """
    if path.is_symlink():
        raise SparseError(str(path), "is a link, which is not published", "put the file itself into the folder")
    said = read_weights(path).metadata
    listed = next((model for model in local_models(path.parent) if model.file_name == path.name), None)
    rate = said.get("sample_rate", "")
    try:
        model = Model(
            name=name_of_key(path.name),
            key=path.name,
            bytes=path.stat().st_size,
            sha256=sha256_of(path),
            kind=listed.kind if listed else said.get("kind", UNKNOWN),
            version=listed.version if listed else said.get("version", "1"),
            sample_rate=listed.sample_rate if listed else int(rate) if rate else None,
            licence=listed.licence if listed else said.get("licence", UNKNOWN),
        )
    except ValueError as error:
        raise SparseError(str(path), f"cannot be listed in a manifest ({error})") from None
    for field in ("kind", "licence"):
        if getattr(model, field) == UNKNOWN:
            cure = f"write it into its metadata, or into {MANIFEST} beside it"
            raise SparseError(str(path), f"does not say its {field}", cure)
    return model


def publish(bucket: Bucket, path: Path, model: Model, overwrite: bool) -> bool:
    """Write a model's file into the bucket, and then the model into the manifest there.

    Returns whether the file was not there yet.

    Raises:
        SparseError: it cannot be written, or another model has its name or key and `overwrite` is not set.
    """
    listed, _ = read_manifest(bucket)
    _check_free(bucket, model, listed, overwrite)
    is_new = _upload(bucket, path, model, overwrite)
    _list_in_bucket(bucket, model, overwrite)
    return is_new


def _upload(bucket: Bucket, path: Path, model: Model, overwrite: bool) -> bool:
    if model.bytes > _MAX_PUT_BYTES:
        raise SparseError(str(path), f"is larger than {_MAX_PUT_BYTES // 10**9} GB, which S3 takes in one piece")
    try:
        there = bucket.look(model.key)
    except MissingError:
        there = None
    if there and (there.bytes, there.etag.strip('"')) == (model.bytes, md5_of(path)):
        return False
    if there and not overwrite:
        raise _taken(bucket, model)
    try:
        with path.open("rb") as stream:
            bucket.put(model.key, stream, overwrite=overwrite)
    except ChangedError:  # another one came in between
        raise _taken(bucket, model) from None
    return True


def _list_in_bucket(bucket: Bucket, model: Model, overwrite: bool) -> None:
    for _ in range(_ATTEMPTS):
        listed, etag = read_manifest(bucket)
        _check_free(bucket, model, listed, overwrite)
        if model in listed:
            return
        try:
            bucket.put(MANIFEST, manifest_bytes(with_model(listed, model)), replaces=etag)
        except ChangedError:
            continue  # somebody else has added a model meanwhile, which must not be lost
        return
    raise SparseError(bucket.place(MANIFEST), "is changed by others again and again", "try again")


def _check_free(bucket: Bucket, model: Model, listed: Sequence[Model], overwrite: bool) -> None:
    """Raise SparseError where the manifest lists another model of this name, which may not be replaced."""
    other = next((entry for entry in listed if entry.name.casefold() == model.name.casefold()), None)
    if other is not None and other.sha256 != model.sha256 and not overwrite:
        raise _taken(bucket, model)


def _taken(bucket: Bucket, model: Model) -> SparseError:
    return SparseError(
        bucket.place(model.key), "exists already, with other bytes", "give it another name, or --overwrite"
    )
