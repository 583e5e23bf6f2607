"""Sounds that go round: what is heard once they have been repeated for ever."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float32]


def fold(samples: Sound, length: int) -> Sound:
    """The sum of a sound's stretches of `length` samples: each round with the tails of all rounds before it.

    Args:
        samples: `[..., T]`.
        length: of a round.

    Returns:
        float32 `[..., length]`.

    >>> fold(np.float32([1, 2, 3, 4, 5]), 2).tolist()
    [9.0, 6.0]
    """
    rounds = max(1, math.ceil(samples.shape[-1] / length))
    padded = np.zeros((*samples.shape[:-1], rounds * length), np.float32)
    padded[..., : samples.shape[-1]] = samples
    summed: Sound = padded.reshape(*samples.shape[:-1], rounds, length).sum(-2, dtype=np.float64).astype(np.float32)
    return summed


def crossfade(samples: Sound, length: int) -> Sound:
    """A round of steady noise: its beginning comes in while what would follow its end goes out, at equal power.

    Args:
        samples: `[..., length + fade]`, the fade no longer than the round.
        length: of the round.

    Returns:
        float32 `[..., length]`; what follows its last sample without a seam is its first.
    """
    fade = samples.shape[-1] - length
    turn = (np.arange(fade) + 0.5) / max(fade, 1) * (math.pi / 2)
    out = samples[..., :length].copy()
    out[..., :fade] = out[..., :fade] * np.sin(turn) + samples[..., length:] * np.cos(turn)
    return out
