"""Models of a bucket: what there is, which one a name means, and bringing one into a folder."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsecli.core.errors import SparseError
from sparsecli.core.manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    ORIGINAL,
    SAFE_SUFFIX,
    UNKNOWN,
    Model,
    check_key,
    file_name,
    name_of_key,
    parse_manifest,
    suffix_of,
)

from .buckets import Bucket, ForbiddenError, MissingError, Object
from .digests import md5_of, sha256_of
from .downloads import Check, Expected, OnBytes, Patience, download, locked
from .model_store import keep_record, local_models
from .safetensors_file import is_safetensors, read_weights

_PICKLES = (b"PK", b"\x80")  # how files of torch.save, and bare pickles, begin
_FIRST_BYTES = 9


@dataclass(frozen=True)
class Fetched:
    """A model that is now in the folder.

    Attributes:
        model: as the folder's manifest lists it.
        path: its file.
        was_here: nothing had to be fetched.
    """

    model: Model
    path: Path
    was_here: bool


@dataclass(frozen=True)
class Rules:
    """What may be fetched, and how.

    Attributes:
        folder: where to.
        max_bytes: no file larger than this.
        patience: with a slow or broken connection.
        force: fetch what is there already.
        check_legacy: raises SparseError where a file is no weights of the original project; None: such are refused.
    """

    folder: Path
    max_bytes: int
    patience: Patience
    force: bool = False
    check_legacy: Check | None = None


def read_manifest(bucket: Bucket) -> tuple[tuple[Model, ...], str | None]:
    """What the manifest of a bucket lists, and its ETag; nothing and None where there is none.

    Raises:
        SparseError: the bucket cannot be reached or does not exist, or the manifest may not be read or breaks a rule.
    """
    try:
        data, etag = bucket.read(MANIFEST, MAX_MANIFEST_BYTES)
    except MissingError:
        return (), None
    return parse_manifest(data, bucket.place(MANIFEST)), etag


def read_catalogue(bucket: Bucket) -> tuple[Model, ...] | None:
    """The models that the manifest of a bucket lists; None where there is none, or it may not be read."""
    try:
        models, etag = read_manifest(bucket)
    except ForbiddenError:  # which S3 also says of missing keys where listing is not allowed
        return None
    return None if etag is None else models


def other_files(bucket: Bucket, models: Sequence[Model]) -> list[Object] | None:
    """What else lies in a bucket, by key; None where it may not be listed."""
    known = {MANIFEST, *(model.key for model in models)}
    try:
        return [found for found in bucket.files() if found.key not in known]
    except ForbiddenError:
        return None


def model_named(name: str, models: Sequence[Model] | None, bucket: Bucket, legacy: bool) -> Model | str:
    """The model that a name means, or the key of a file that no manifest lists.

    Args:
        name: of a model, or the key of a file.
        models: those of the manifest; None: there is no manifest.
        bucket: for messages.
        legacy: any key will do, not only that of a safetensors file.

    Raises:
        SparseError: there is no such model, or the key is none that is fetched.
    """
    for model in models or ():
        if name in (model.name, model.key):
            return model
    if suffix_of(name) != SAFE_SUFFIX and not legacy:
        raise _no_such_name(name, models, bucket)
    try:
        check_key(name)
        file_name(name_of_key(name), name)
    except ValueError as error:
        raise SparseError(name, str(error)) from None
    return name


def fetch_model(
    bucket: Bucket, wanted: Model | str, rules: Rules, on_bytes: OnBytes, on_wait: Callable[[], None]
) -> Fetched:
    """Bring a model, or the file of a key, into the folder, unless it is there; list it in the folder's manifest.

    Args:
        bucket: where from.
        wanted: a model of the manifest, or a key.
        rules: what may be fetched, and how.
        on_bytes: told how many bytes are here, of how many, as they come; what it raises ends the download.
        on_wait: told when another process is at it.

    Raises:
        SparseError: it may not or cannot be fetched, or is not what it should be; nothing of it is then under its name.
    """
    key, name = (wanted, name_of_key(wanted)) if isinstance(wanted, str) else (wanted.key, wanted.name)
    place = bucket.place(key)
    check = _check_for(key, place, rules)
    expected = _expected(bucket, wanted)
    if expected.bytes > rules.max_bytes:
        cause = f"is {expected.bytes} bytes long, and at most {rules.max_bytes} are allowed"
        raise SparseError(place, cause, "allow more with --max-bytes")
    path = rules.folder / file_name(name, key)
    with locked(path, on_wait):
        sha256 = None if rules.force else _sha256_if_here(path, expected)
        was_here = sha256 is not None
        if sha256 is None:
            sha256 = download(bucket, expected, path, rules.patience, check, on_bytes)
        model = wanted if isinstance(wanted, Model) else _unlisted(name, key, expected.bytes, sha256)
        if model not in local_models(rules.folder):
            keep_record(rules.folder, model)
    return Fetched(model, path, was_here)


def _expected(bucket: Bucket, wanted: Model | str) -> Expected:
    if isinstance(wanted, Model):
        return Expected(wanted.key, wanted.bytes, wanted.sha256)
    found = bucket.look(wanted)
    if found.bytes == 0:
        raise SparseError(bucket.place(wanted), "is empty")
    return Expected(wanted, found.bytes, etag=found.etag)


def _check_for(key: str, place: str, rules: Rules) -> Check:
    """What a file is checked with, by its name. Raises SparseError where such files are refused."""
    if suffix_of(key) == SAFE_SUFFIX:
        return lambda path: _check_safe(path, place)
    if rules.check_legacy is None:
        cause = "is no safetensors file; others may be pickled, and can run any program when they are loaded"
        raise SparseError(place, cause, "weights of the original project can be looked at with --legacy")
    return rules.check_legacy


def _check_safe(path: Path, place: str) -> None:
    with path.open("rb") as stream:
        first = stream.read(_FIRST_BYTES)
    if first.startswith(_PICKLES) and not is_safetensors(first):  # whose length may begin so
        raise SparseError(place, "is pickled, whatever its name says, and can run any program when it is loaded")
    read_weights(path, place)


def _sha256_if_here(path: Path, expected: Expected) -> str | None:
    """The SHA-256 of the file that is there, if it is the one expected: by that, or by an ETag that is an MD5."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size != expected.bytes:
        return None
    if expected.sha256:
        return expected.sha256 if sha256_of(path) == expected.sha256 else None
    return sha256_of(path) if md5_of(path) == expected.etag.strip('"') else None


def _unlisted(name: str, key: str, size: int, sha256: str) -> Model:
    kind = UNKNOWN if suffix_of(key) == SAFE_SUFFIX else ORIGINAL
    return Model(name, key, size, sha256, kind, UNKNOWN, None, UNKNOWN)


def _no_such_name(name: str, models: Sequence[Model] | None, bucket: Bucket) -> SparseError:
    if models is None:
        cause = f"names no safetensors file, and {bucket.place(MANIFEST)} is not there or may not be read"
        return SparseError(name, cause, "name whole keys, ending in .safetensors, or of the original with --legacy")
    near = difflib.get_close_matches(name, [model.name for model in models], n=1, cutoff=0.0)
    cure = f"the nearest is {near[0]}" if near else "the manifest lists none"
    if suffix_of(name):
        cure += "; keys that do not end in .safetensors are fetched with --legacy alone"
    return SparseError(name, f"no such model in {bucket.place()}", cure)
