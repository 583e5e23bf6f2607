"""What an interrupted fit needs to go on: the state of the pursuit as plain arrays, and what it belongs to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.errors import SparseError
from .modal import BLOCK, Atoms, stack
from .search import Candidate, Shape
from .settings import FitSettings
from .state import State, by_stretch

HELD = "held_"  # before the names of the arrays of atoms that are held
NOT_OF_THE_RESULT = ("seconds", "device")  # settings that may differ between the two halves of a fit


@dataclass(frozen=True)
class Checkpoint:
    """The state of a fit after a round.

    Attributes:
        belongs_to: digest of the samples and the settings that the state is of.
        phase: of the pursuit.
        arrays: the state, by name.
    """

    belongs_to: str
    phase: int
    arrays: dict[str, NDArray[np.generic]]


def digest_of(samples: NDArray[np.float32], settings: FitSettings) -> str:
    """What a checkpoint of these samples and settings belongs to, 64 hexadecimal digits."""
    decisive = {name: value for name, value in asdict(settings).items() if name not in NOT_OF_THE_RESULT}
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(samples).tobytes())
    return digest.hexdigest()


def to_checkpoint(belongs_to: str, phase: int, state: State) -> Checkpoint:
    """A state as arrays."""
    atoms = stack(state.atoms).packed()
    rows = [
        (index, found.gain, found.onset, found.omega, found.shape.attack, found.shape.damping)
        for index, candidates in enumerate(state.candidates)
        for found in candidates or []
    ]
    return Checkpoint(
        belongs_to,
        phase,
        {
            "residual": state.residual.cpu().numpy(),
            "damping": np.array(state.damping),
            "searches": np.array(state.searches, np.int64),
            "candidates": np.array(rows, np.float64).reshape(-1, 6),
            "known": np.array([found is not None for found in state.candidates]),
            **_arrays(atoms),
            **({} if state.held is None else _arrays(state.held, HELD)),
        },
    )


def check_owner(checkpoint: Checkpoint | None, belongs_to: str) -> None:
    """Raise SparseError where a checkpoint, if there is one, belongs to other samples or settings."""
    if checkpoint is not None and checkpoint.belongs_to != belongs_to:
        raise SparseError(
            "checkpoint", "is of another recording or other settings", "give the same ones, or leave out --resume"
        )


def to_state(checkpoint: Checkpoint, belongs_to: str, device: torch.device) -> tuple[int, State]:
    """Phase and state of a checkpoint.

    Raises:
        SparseError: it belongs to other samples or settings, or its arrays do not fit together.
    """
    check_owner(checkpoint, belongs_to)
    arrays = checkpoint.arrays
    try:
        atoms = _atoms(arrays, device)
        held = _atoms(arrays, device, HELD) if HELD + "onset" in arrays else None
        count = len(arrays["damping"])
        shapes = {atoms.onset.shape, atoms.log_attack.shape, atoms.log_damping.shape}
        slots = {atoms.omega.shape, atoms.amp.shape, atoms.used.shape}
        alike = len(shapes) == len(slots) == 1 and len(atoms.onset) == count == len(arrays["known"]) == len(
            arrays["searches"]
        )
        if not alike or arrays["residual"].shape[1:] != (BLOCK,) or arrays["candidates"].shape[1:] != (6,):
            raise ValueError("arrays of unlike shapes")
        candidates: list[list[Candidate] | None] = [[] if known else None for known in arrays["known"]]
        for index, gain, onset, omega, attack, damping in arrays["candidates"].tolist():
            found = candidates[int(index)]
            assert found is not None
            found.append(Candidate(gain, onset, omega, Shape(attack, damping)))
    except (KeyError, ValueError, IndexError, TypeError, AssertionError) as error:
        raise SparseError("checkpoint", f"is damaged ({error})", "leave out --resume") from error
    return checkpoint.phase, State(
        residual=torch.from_numpy(arrays["residual"]).to(device),
        atoms=by_stretch(atoms),
        candidates=candidates,
        damping=arrays["damping"].tolist(),
        searches=arrays["searches"].tolist(),
        held=held,
    )


def _arrays(atoms: Atoms, prefix: str = "") -> dict[str, NDArray[np.generic]]:
    return {prefix + field.name: getattr(atoms, field.name).cpu().numpy() for field in fields(Atoms)}


def _atoms(arrays: dict[str, NDArray[np.generic]], device: torch.device, prefix: str = "") -> Atoms:
    return Atoms(*(torch.from_numpy(arrays[prefix + field.name]).to(device) for field in fields(Atoms)))
