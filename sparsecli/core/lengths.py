"""How long learned atoms may be, and how many there may be of them. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence

MIN_LENGTH, MAX_LENGTH = 16, 8192  # of an atom, in samples
MAX_ATOMS = 1 << 16  # of a dictionary


def check_lengths(lengths: Sequence[int]) -> tuple[int, ...]:
    """Lengths of atoms, the shortest first. Raises ValueError for one out of range, or named twice."""
    for length in lengths:
        if not MIN_LENGTH <= length <= MAX_LENGTH:
            raise ValueError(f"a length of {length}; atoms are {MIN_LENGTH} to {MAX_LENGTH} samples long")
    if len(set(lengths)) < len(lengths):
        raise ValueError("a length is named twice")
    return tuple(sorted(lengths))
