"""The slow twin of matching pursuit: every real atom of a dictionary as a subspace, every step over all of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sparsecli.engine.dictionaries import FAMILIES, Dictionary

Key = tuple[int, int, int]  # block, reference sample, bin
SAME = 0.02  # a direction that is shorter than this, of a pair's two, counts for none (ALONE is of its square)


def atoms_slowly(dictionary: Dictionary, samples: int) -> Iterator[tuple[Key, NDArray[np.float64]]]:
    """All atoms whose window has its middle in the recording: an orthonormal basis `[samples + 2 pad, 1 or 2]` each."""
    pad = dictionary.longest
    for index, block in enumerate(dictionary.blocks):
        u = np.arange(block.start, block.start + block.length)
        middle = block.start + block.length // 2
        for frame in range(-(-(0 - middle) // block.hop), -(-(samples + 1 - middle) // block.hop)):
            for k, freq in enumerate(block.freqs):
                if block.glide < 0 and freq in (0, 0.5):
                    continue  # the same as the opposite glide's
                g = np.zeros(samples + 2 * pad, np.complex128)
                g[pad + frame * block.hop + u] = block.window * np.exp(2j * np.pi * freq * u)
                phase = FAMILIES[block.family].phase
                if phase is not None:
                    basis = (np.exp(1j * phase(block.length, block.freqs)[k]) * g).real[:, None]
                else:
                    basis = np.stack([g.real, g.imag], axis=1)
                left, size, _ = np.linalg.svd(basis, full_matrices=False)
                yield (index, frame * block.hop, k), left[:, size > SAME * size[0]]


def pursue_slowly(
    sound: NDArray[np.float64], dictionary: Dictionary, steps: int
) -> tuple[list[Key], NDArray[np.float64], NDArray[np.float64]]:
    """Plain pursuit of sound `[channels, samples]`: atoms, the energy left after each `[steps]`, and what is left."""
    pad = dictionary.longest
    keys, bases = zip(*atoms_slowly(dictionary, sound.shape[1]), strict=True)
    wide = np.zeros((len(bases), sound.shape[1] + 2 * pad, 2))
    for row, basis in enumerate(bases):
        wide[row, :, : basis.shape[1]] = basis
    rest = np.pad(sound, ((0, 0), (pad, pad)))
    chosen, left = [], []
    for _ in range(steps):
        inner = np.einsum("asd,cs->acd", wide, rest)
        best = int((inner**2).sum((1, 2)).argmax())
        rest = rest - inner[best] @ wide[best].T
        chosen.append(keys[best])
        left.append(float((rest**2).sum()))
    return chosen, np.array(left), rest
