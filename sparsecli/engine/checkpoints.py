"""What an interrupted fit needs to go on: the state of the pursuit as plain arrays, and what it belongs to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.errors import SparseError
from .modal import BLOCK, Atoms, no_atoms, stack
from .pursuit import State
from .search import SHAPES, Candidate
from .settings import FitSettings

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
        (index, found.gain, found.onset, found.omega, SHAPES.index(found.shape))
        for index, candidates in enumerate(state.candidates)
        for found in candidates or []
    ]
    return Checkpoint(
        belongs_to,
        phase,
        {
            "residual": state.residual.cpu().numpy(),
            "damping": np.array(state.damping),
            "candidates": np.array(rows, np.float64).reshape(-1, 5),
            "known": np.array([found is not None for found in state.candidates]),
            **{field.name: getattr(atoms, field.name).cpu().numpy() for field in fields(Atoms)},
        },
    )


def to_state(checkpoint: Checkpoint, belongs_to: str, device: torch.device) -> tuple[int, State]:
    """Phase and state of a checkpoint.

    Raises:
        SparseError: it belongs to other samples or settings, or its arrays do not fit together.
    """
    if checkpoint.belongs_to != belongs_to:
        raise SparseError(
            "checkpoint", "is of another recording or other settings", "give the same ones, or leave out --resume"
        )
    arrays = checkpoint.arrays
    try:
        atoms = Atoms(*(torch.from_numpy(arrays[field.name]).to(device) for field in fields(Atoms)))
        count = len(arrays["damping"])
        shapes = {atoms.onset.shape, atoms.log_attack.shape, atoms.log_damping.shape}
        slots = {atoms.omega.shape, atoms.amp.shape, atoms.used.shape}
        alike = len(shapes) == len(slots) == 1 and len(atoms.onset) == count == len(arrays["known"])
        if not alike or arrays["residual"].shape[1:] != (BLOCK,) or arrays["candidates"].shape[1:] != (5,):
            raise ValueError("arrays of unlike shapes")
        candidates: list[list[Candidate] | None] = [[] if known else None for known in arrays["known"]]
        for index, gain, onset, omega, shape in arrays["candidates"].tolist():
            found = candidates[int(index)]
            assert found is not None
            found.append(Candidate(gain, onset, omega, SHAPES[int(shape)]))
    except (KeyError, ValueError, IndexError, TypeError, AssertionError) as error:
        raise SparseError("checkpoint", f"is damaged ({error})", "leave out --resume") from error
    each = [atoms.windows(slice(index, index + 1)) for index in range(count)]
    return checkpoint.phase, State(
        residual=torch.from_numpy(arrays["residual"]).to(device),
        atoms=[own.packed() if bool(own.used.any()) else no_atoms(device=device) for own in each],
        candidates=candidates,
        damping=arrays["damping"].tolist(),
    )
