"""What a file of weights says of a tensor, without its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class TensorInfo:
    """A tensor in a file of weights.

    Attributes:
        name: as the file calls it.
        dtype: type of its numbers, as the file calls it.
        shape: its sizes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many numbers it has.

        >>> TensorInfo("weight", "F32", (3, 4)).count, TensorInfo("scale", "F32", ()).count
        (12, 1)
        """
        return prod(self.shape)
