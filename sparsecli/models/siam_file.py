"""The model as a safetensors file: weights that can hold nothing but numbers, and sizes as JSON beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..core.errors import SparseError
from ..io.atomic import open_output
from ..io.safetensors_file import read_weights
from .siam import Siam, SiamShape

FORMAT = "sparse-siam"
VERSION = "1"
PACKAGED = "siam.safetensors"  # beside this module
_TRAIN = "give a model that `sparse train siam` wrote"


def packaged_siam() -> Path:
    """Where the model lies that comes with the package."""
    return Path(__file__).parent / PACKAGED


def save_siam(
    path: str | os.PathLike[str],
    model: Siam,
    info: Mapping[str, str] | None = None,
    half: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a model, whole or not at all.

    Args:
        path: the file.
        model: any.
        info: further texts about it, by key.
        half: weights in half precision.
        overwrite: replace an existing file.

    Raises:
        SparseError: the file exists already, or cannot be written.
    """
    from safetensors.torch import save

    kind = torch.float16 if half else torch.float32
    weights = {name: value.detach().cpu().to(kind).contiguous() for name, value in model.state_dict().items()}
    own = {"format": FORMAT, "version": VERSION, "shape": json.dumps(model.shape.to_json(), sort_keys=True)}
    data = save(weights, {**(info or {}), **own})
    with open_output(path, overwrite=overwrite) as stream:
        stream.write(data)


def load_siam(path: str | os.PathLike[str]) -> Siam:
    """Read a model, in single precision and ready to be used.

    Raises:
        SparseError: it is no such file, of another version, or its weights are not those that its sizes need.
    """
    from safetensors.torch import load_file

    subject = str(path)
    found = read_weights(Path(path))
    if found.metadata.get("format") != FORMAT:
        raise SparseError(subject, "holds weights, but not those of a Sparse Interpretable Audio Model", _TRAIN)
    version = found.metadata.get("version", "")
    if version != VERSION:
        raise SparseError(subject, f"is a model of version {version!r}; this program reads {VERSION}", _TRAIN)
    try:
        model = Siam(SiamShape.from_json(json.loads(found.metadata.get("shape", ""))))
    except ValueError as error:
        raise SparseError(subject, f"says its sizes wrongly ({error})", _TRAIN) from None
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if {tensor.name: tensor.shape for tensor in found.tensors} != wanted:
        raise SparseError(subject, "has weights of other sizes than it says", _TRAIN)
    weights = load_file(path)
    _check(subject, weights)
    model.load_state_dict({name: value.float() for name, value in weights.items()})
    return model.eval().requires_grad_(False)


def _check(subject: str, weights: Mapping[str, Tensor]) -> None:
    for name, value in weights.items():
        if not value.is_floating_point() or not bool(value.isfinite().all()):
            raise SparseError(subject, f"has weights that are not numbers ({name})", _TRAIN)
