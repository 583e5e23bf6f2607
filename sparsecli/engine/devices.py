"""Which device to work on."""

from __future__ import annotations

import torch

from ..core.errors import SparseError
from .settings import Device


def choose_device(name: Device) -> torch.device:
    """The device of a name; `auto` takes CUDA where there is one, else the CPU.

    Raises:
        SparseError: a device that this machine lacks.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present[name]:
        raise SparseError(f"--device {name}", "this machine has no such device", "use --device cpu")
    return torch.device(name)
