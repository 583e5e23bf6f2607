"""Learned dictionaries: waveforms that recordings are sums of, each at any moment and of either sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNIT = 1e-3  # how far an atom's energy may be from 1


@dataclass(frozen=True, eq=False)
class LearnedDictionary:
    """A atoms of energy 1, counted from 0 in the order of `atoms`.

    Attributes:
        sample_rate: in Hz.
        atoms: float32 `[count, length]` for each length, the shortest first.
        seed: of the training.
        settings: of the training.
        sources: names of the recordings that it was trained on, without folders.
        sha256: of its file; empty where it has none.
    """

    sample_rate: int
    atoms: tuple[NDArray[np.float32], ...]
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    sha256: str = ""

    def __len__(self) -> int:
        return sum(map(len, self.atoms))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Of every atom, in samples, `[A]`."""
        return np.concatenate([np.full(len(atoms), atoms.shape[1], np.int64) for atoms in self.atoms])

    @property
    def longest(self) -> int:
        """Length of the longest atoms, in samples."""
        return max(int(atoms.shape[1]) for atoms in self.atoms)

    def atom(self, index: int) -> NDArray[np.float32]:
        """One atom, `[length]`."""
        for atoms in self.atoms:
            if index < len(atoms):
                return np.asarray(atoms[index])
            index -= len(atoms)
        raise IndexError(index)


def normalised(atoms: NDArray[np.floating]) -> NDArray[np.float32]:
    """Atoms `[..., length]` scaled to energy 1; one of silence stays."""
    energy = np.sqrt((np.asarray(atoms, np.float64) ** 2).sum(-1, keepdims=True))
    return (atoms / np.where(energy > 0, energy, 1.0)).astype(np.float32)


def name_of_length(length: int) -> str:
    """The name of the atoms of a length in files.

    >>> name_of_length(512)
    'atoms.512'
    """
    return f"atoms.{length}"


def atoms_to_arrays(atoms: Sequence[NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Atoms `[count, length]` of each length by the names that they have in files."""
    return {name_of_length(of_length.shape[1]): of_length for of_length in atoms}
