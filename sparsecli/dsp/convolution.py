"""Convolution of long sounds with long responses, in memory that does not grow with their lengths' product.

Both are cut into blocks of B samples. With X_k and H_p the transforms of blocks k and p, padded to 2 B,

    block k of the result = first half of the inverse of sum_p X_{k-p} H_p, and second half of that of block k - 1,

overlap-add with a response in equal parts (Stockham 1966; Kulp 1988): one forward and one inverse transform a block.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 18  # samples: what is held at once are a few blocks, and the transform of the response

Sound = NDArray[np.float32]


def convolve(samples: Sound, response: Sound, block: int = BLOCK) -> Sound:
    """The whole convolution, worked in float64: exact but for the rounding of its result.

    Args:
        samples: `[channels, T]`.
        response: `[channels, N]`; where one of both has one channel, that goes with all of the other's.
        block: samples worked at once.

    Returns:
        float32 `[channels, T + N - 1]`; no samples where either has none.

    Raises:
        ValueError: so many channels do not go together.

    Shape:
        - Input: `[A, T]` and `[B, N]`, A = B or one of them 1
        - Output: `[max(A, B), T + N - 1]`

    >>> convolve(np.float32([[1, 2]]), np.float32([[2, 1, 3], [1, 1, 1]])).round(6).tolist()
    [[2.0, 5.0, 5.0, 6.0], [1.0, 3.0, 3.0, 2.0]]
    """
    counts = {len(samples), len(response)}
    if len(counts - {1}) > 1:
        raise ValueError(f"{len(samples)} channels do not go with a response of {len(response)}")
    shortest, longest = sorted([samples.shape[1], response.shape[1]])
    if shortest == 0:
        return np.zeros((max(counts), 0), np.float32)
    size = min(block, 1 << (longest - 1).bit_length())
    parts = [_transform(response, start, size) for start in range(0, response.shape[1], size)]  # P of [B, F]
    out = np.zeros((max(counts), shortest + longest - 1), np.float32)
    before = np.zeros((max(counts), size))  # the second half of the block before
    latest: deque[NDArray[np.complex128]] = deque(maxlen=len(parts))  # X_k, X_{k-1}, ...  [A, F]
    for start in range(0, out.shape[1], size):
        latest.appendleft(_transform(samples, start, size))
        total = latest[0] * parts[0]
        for of_samples, of_response in list(zip(latest, parts, strict=False))[1:]:
            total += of_samples * of_response
        piece = np.fft.irfft(total, 2 * size)
        out[:, start : start + size] = (piece[:, :size] + before)[:, : out.shape[1] - start]
        before = piece[:, size:]
    return out


def _transform(sound: Sound, start: int, size: int) -> NDArray[np.complex128]:
    """Spectrum of `size` samples from `start`, padded with zeros to twice as many, `[channels, size + 1]`."""
    padded = np.zeros((len(sound), 2 * size))
    piece = sound[:, start : start + size]
    padded[:, : piece.shape[1]] = piece
    return np.fft.rfft(padded)
