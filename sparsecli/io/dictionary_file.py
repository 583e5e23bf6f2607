"""Learned dictionaries as safetensors files: the atoms of each length as one tensor, and a JSON header beside them.

metadata: format "sparse-dictionary", version "1", kind "dictionary",
          header {"sample_rate": 22050, "lengths": [1024, 4096], "seed": 0, "settings": {...}, "sources": [...]}
tensors:  atoms.1024 [256, 1024], atoms.4096 [256, 4096], float32 or float16, each atom of energy 1
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core.columns import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from ..core.errors import SparseError
from ..core.learned import UNIT, LearnedDictionary, atoms_to_arrays, name_of_length, normalised
from ..core.lengths import MAX_ATOMS, check_lengths
from .atomic import open_output
from .digests import sha256_of
from .safetensors_file import Weights, read_weights, safetensors_bytes

FORMAT, VERSION = "sparse-dictionary", "1"
MAX_NUMBERS = 1 << 28  # of all atoms: a gigabyte
KIND = "dictionary"  # in a manifest of models
DTYPES = ("F32", "F16")
_TRAIN = "give a dictionary that `sparse train dictionary` wrote"


def save_dictionary(
    path: str | os.PathLike[str], dictionary: LearnedDictionary, half: bool = False, overwrite: bool = False
) -> None:
    """Write a dictionary, whole or not at all; the same atoms give the same bytes.

    Args:
        path: the file.
        dictionary: any.
        half: atoms in half precision, which costs 70 dB and more.
        overwrite: replace an existing file.

    Raises:
        SparseError: the file exists already, or cannot be written.
    """
    kind = np.float16 if half else np.float32
    header = {
        "sample_rate": dictionary.sample_rate,
        "lengths": [atoms.shape[1] for atoms in dictionary.atoms],
        "seed": dictionary.seed,
        "settings": dictionary.settings,
        "sources": list(dictionary.sources),
    }
    about = {"format": FORMAT, "header": json.dumps(header, sort_keys=True), "kind": KIND, "version": VERSION}
    arrays = {name: np.ascontiguousarray(atoms, kind) for name, atoms in atoms_to_arrays(dictionary.atoms).items()}
    data = safetensors_bytes(arrays, about)
    with open_output(path, overwrite=overwrite) as stream:
        stream.write(data)


def is_dictionary(metadata: Mapping[str, str]) -> bool:
    """Whether weights with these texts beside them say that they are a dictionary."""
    return metadata.get("format") == FORMAT


def load_dictionary(path: str | os.PathLike[str], subject: str = "") -> LearnedDictionary:
    """Read a dictionary; nothing that it says is trusted.

    Args:
        path: the file.
        subject: what messages call it; by default as it is named.

    Raises:
        SparseError: it is no such file, of another version, or its atoms are not what its header says.
    """
    from safetensors.numpy import load_file

    subject = subject or str(path)
    weights = read_weights(Path(path), subject)
    header = _header(weights, subject)
    _check_shapes(weights, header["lengths"], subject)
    found = load_file(path)
    arrays = [found[name_of_length(length)].astype(np.float32) for length in header["lengths"]]
    for length, atoms in zip(header["lengths"], arrays, strict=True):
        _check_atoms(atoms, length, subject)
    return LearnedDictionary(
        header["sample_rate"],
        tuple(normalised(atoms) for atoms in arrays),  # what half precision rounds
        header["seed"],
        header["settings"],
        tuple(header["sources"]),
        sha256_of(Path(path)),
    )


def _header(weights: Weights, subject: str) -> dict[str, Any]:
    """The header, all of it checked."""
    if not is_dictionary(weights.metadata):
        raise SparseError(subject, "holds weights, but no learned dictionary", _TRAIN)
    version = weights.metadata.get("version", "")
    if version != VERSION:
        raise SparseError(subject, f"is a dictionary of version {version!r}; this program reads {VERSION}", _TRAIN)
    try:
        header: dict[str, Any] = json.loads(weights.metadata.get("header", ""))
    except (ValueError, RecursionError) as error:
        raise SparseError(subject, f"has a header that is not JSON ({error})", _TRAIN) from None
    wanted = {"sample_rate": int, "lengths": list, "seed": int, "settings": dict, "sources": list}
    for name, kind in wanted.items():
        if not isinstance(header, dict) or type(header.get(name)) is not kind:
            raise SparseError(subject, f"has no {name} in its header", _TRAIN)
    rate, lengths = header["sample_rate"], header["lengths"]
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise SparseError(subject, f"is of a sample rate of {rate} Hz, which is none", _TRAIN)
    if not lengths or not all(type(length) is int for length in lengths):
        raise SparseError(subject, "names no lengths of atoms", _TRAIN)
    try:
        header["lengths"] = check_lengths(lengths)
    except ValueError as error:
        raise SparseError(subject, str(error), _TRAIN) from None
    if not all(isinstance(source, str) for source in header["sources"]):
        raise SparseError(subject, "has sources that are no names", _TRAIN)
    return header


def _check_shapes(weights: Weights, lengths: tuple[int, ...], subject: str) -> None:
    """Before anything is read: the tensors are those that the header speaks of, and not too many."""
    tensors = {tensor.name: tensor for tensor in weights.tensors}
    if set(tensors) != {name_of_length(length) for length in lengths}:
        raise SparseError(subject, f"holds {', '.join(tensors) or 'nothing'}, not the lengths of its header", _TRAIN)
    for length in lengths:
        tensor = tensors[name_of_length(length)]
        if len(tensor.shape) != 2 or tensor.shape[1] != length or tensor.shape[0] < 1 or tensor.dtype not in DTYPES:
            raise SparseError(subject, f"{tensor.name} is {tensor.dtype} {list(tensor.shape)}, not atoms", _TRAIN)
    if sum(tensor.shape[0] for tensor in tensors.values()) > MAX_ATOMS:
        raise SparseError(subject, f"holds more than {MAX_ATOMS} atoms", _TRAIN)
    if sum(tensor.count for tensor in tensors.values()) > MAX_NUMBERS:
        raise SparseError(subject, f"holds more than {MAX_NUMBERS} numbers", _TRAIN)


def _check_atoms(atoms: np.ndarray, length: int, subject: str) -> None:
    """All of them are finite and of energy 1."""
    energy = np.square(atoms, dtype=np.float64).sum(1)
    odd = ~(np.abs(energy - 1) < UNIT)  # true for what is not finite
    if odd.any():
        row = int(np.argmax(odd))
        cause = f"atom {row} of length {length} has the energy {energy[row]:.4g}, and atoms have 1"
        raise SparseError(subject, cause, _TRAIN)
