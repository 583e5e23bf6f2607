"""What a trained model is, and the manifest that lists those of a bucket or a folder. No files, no network."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from .errors import SparseError

MANIFEST = "models.json"  # its name, beside the models that it lists
FORMAT, VERSION = "sparse-models", 1
MAX_MANIFEST_BYTES = 1 << 22  # some ten thousand models
MAX_KEY_BYTES = 1024  # what S3 allows
SAFE_SUFFIX = ".safetensors"
UNKNOWN = "unknown"  # kind and licence of a file that no manifest tells of
ORIGINAL = "original"  # kind of the weights of the project that this one follows, which no model here decodes

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,16}")
_TYPE_NAMES = {str: "a text", int: "a whole number"}


@dataclass(frozen=True)
class Model:
    """A trained model, as a manifest lists it. Raises ValueError where a field breaks its rule.

    Attributes:
        name: what commands call it: letters, digits, `.`, `_` and `-`, at most 64.
        key: where it lies under the manifest's own place, with `/` between folders.
        bytes: size of the file.
        sha256: of the file, 64 hexadecimal digits in lower case.
        kind: of which model these are the weights, such as `siam`.
        version: of the weights.
        sample_rate: in Hz, that it was trained at; null where it has none.
        licence: of the weights, such as an SPDX identifier.
    """

    name: str
    key: str
    bytes: int
    sha256: str
    kind: str
    version: str
    sample_rate: int | None
    licence: str

    def __post_init__(self) -> None:
        check_name(self.name)
        check_key(self.key)
        file_name(self.name, self.key)
        if self.bytes < 1:
            raise ValueError("bytes is less than 1")
        if not _SHA256.fullmatch(self.sha256):
            raise ValueError("sha256 is not 64 hexadecimal digits in lower case")
        if self.sample_rate is not None and self.sample_rate < 1:
            raise ValueError("sample_rate is less than 1")
        for field in ("kind", "version", "licence"):
            text = getattr(self, field)
            if not (text and text.isprintable() and len(text) <= 256):
                raise ValueError(f"{field} is not one line of 1 to 256 characters")

    @property
    def file_name(self) -> str:
        """The file that it is kept in: its name with the key's suffix."""
        return file_name(self.name, self.key)

    @property
    def is_safe(self) -> bool:
        """Whether its file can hold nothing but numbers, by its name."""
        return suffix_of(self.key) == SAFE_SUFFIX


def check_name(name: str) -> None:
    """Raise ValueError where a text cannot be a model's name.

    >>> check_name("../small")
    Traceback (most recent call last):
    ValueError: the name '../small' is not of letters, digits, '.', '_' and '-', at most 64
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"the name {name!r} is not of letters, digits, '.', '_' and '-', at most 64")


def check_key(key: str) -> None:
    """Raise ValueError where a text is no plain place under a folder.

    >>> check_key("siam/../../small.safetensors")
    Traceback (most recent call last):
    ValueError: the key 'siam/../../small.safetensors' leads out of its folder
    """
    if not key or not key.isprintable() or len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
        raise ValueError(f"the key {key!r} is not 1 to {MAX_KEY_BYTES} bytes without control characters")
    if key.startswith("/") or "\\" in key or re.match(r"[A-Za-z]:", key):
        raise ValueError(f"the key {key!r} is an absolute path or has backslashes")
    if any(part in ("", ".", "..") for part in key.split("/")):
        raise ValueError(f"the key {key!r} leads out of its folder")


def suffix_of(key: str) -> str:
    """What follows the last dot of a key's last part, with the dot; `.safetensors` as it stands, else lower case.

    >>> suffix_of("a.b/e_2024_3_21_weights.dat"), suffix_of("a.b/weights")
    ('.dat', '')
    """
    _, dot, end = key.rpartition("/")[2].rpartition(".")
    return f".{end.lower()}" if dot and _SUFFIX.fullmatch(f".{end}") else ""


def name_of_key(key: str) -> str:
    """The name of a model that no manifest lists: the last part of its key without the suffix.

    Raises:
        ValueError: that can be no name.

    >>> name_of_key("weights/e_2024_3_21_weights.dat")
    'e_2024_3_21_weights'
    """
    last = key.rpartition("/")[2]
    name = last[: len(last) - len(suffix_of(key))]
    check_name(name)
    return name


def file_name(name: str, key: str) -> str:
    """The file that a model is kept in.

    Raises:
        ValueError: that is the manifest's own name.

    >>> file_name("small", "siam/v2.safetensors")
    'small.safetensors'
    """
    found = name + suffix_of(key)
    if found.casefold() == MANIFEST:
        raise ValueError(f"{MANIFEST} is the name of the manifest itself")
    return found


def parse_manifest(data: bytes, subject: str) -> tuple[Model, ...]:
    """The models that a manifest lists.

    Args:
        data: the file.
        subject: what messages call it.

    Raises:
        SparseError: it is no manifest, of a later version, or a model breaks a rule; the message says which.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SparseError(subject, f"is not JSON ({error})") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise SparseError(subject, f'is not a manifest of models ("format" is not "{FORMAT}")')
    if document.get("version") != VERSION:
        raise SparseError(subject, f"is of version {document.get('version')!r}, not {VERSION}", "update sparse")
    entries = document.get("models")
    if not isinstance(entries, list):
        raise SparseError(subject, '"models" is not a list')
    models = tuple(_model(entry, f"{subject}: model {index}") for index, entry in enumerate(entries, 1))
    _check_distinct(models, subject)
    return models


def manifest_bytes(models: Iterable[Model]) -> bytes:
    """A manifest as a file: the same models give the same bytes, whatever their order.

    >>> parse_manifest(manifest_bytes([]), "models.json")
    ()
    """
    listed = [asdict(model) for model in sorted(models, key=lambda model: model.name)]
    document = {"format": FORMAT, "version": VERSION, "models": listed}
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def with_model(models: Sequence[Model], model: Model) -> tuple[Model, ...]:
    """The models with one more, in place of those that have its name or its file."""
    own = (model.name.casefold(), model.file_name.casefold())
    kept = [other for other in models if other.name.casefold() != own[0] and other.file_name.casefold() != own[1]]
    return (*kept, model)


def _model(entry: Any, subject: str) -> Model:
    if not isinstance(entry, dict):
        raise SparseError(subject, "is not an object")
    known = {field.name for field in fields(Model)}
    if missing := sorted(known - entry.keys()):
        raise SparseError(subject, f"has no {missing[0]}")
    if unknown := sorted(entry.keys() - known):
        raise SparseError(subject, f"has a field {unknown[0]!r} that is not known")
    for field, hint in typing.get_type_hints(Model).items():
        _check_type(field, entry[field], typing.get_args(hint) or (hint,), subject)
    try:
        return Model(**entry)
    except ValueError as error:
        raise SparseError(subject, str(error)) from None


def _check_type(field: str, value: Any, kinds: tuple[type, ...], subject: str) -> None:
    if type(value) not in kinds:  # true is an int for isinstance
        names = " or ".join(_TYPE_NAMES.get(kind, "null") for kind in kinds)
        raise SparseError(subject, f"{field} is not {names}")


def _check_distinct(models: Sequence[Model], subject: str) -> None:
    for field in ("name", "file_name"):
        seen: set[str] = set()
        for model in models:
            text = getattr(model, field)
            if text.casefold() in seen:  # some file systems cannot tell capitals apart
                raise SparseError(subject, f"lists {text} twice")
            seen.add(text.casefold())
