"""Audio in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Audio:
    """A recording.

    Attributes:
        samples: float32 `[channels, samples]`, full scale is 1.
        sample_rate: in Hz.
        name: file name without folders; empty where there is none.
        sha256: of the file; empty where there was none.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    name: str = ""
    sha256: str = ""

    @property
    def channels(self) -> int:
        """How many channels."""
        return int(self.samples.shape[0])

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return int(self.samples.shape[1]) / self.sample_rate

    def mono(self) -> NDArray[np.float32]:
        """The mean of the channels, float32 `[samples]`."""
        mean: NDArray[np.float64] = self.samples.mean(axis=0, dtype=np.float64)
        return mean.astype(np.float32)


def source_of(audio: Audio) -> NDArray[np.float32]:
    """The channels that events describe, `[channels, samples]`: one or two as they are, the mean of more."""
    return audio.samples if audio.channels <= 2 else audio.mono()[None]
