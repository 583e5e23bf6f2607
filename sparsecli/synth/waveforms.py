"""Events of kind `learned` to sound: atoms of a dictionary, each from its sample on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core.learned import LearnedDictionary

Floats = NDArray[np.float64]


def render_waveforms(
    dictionary: LearnedDictionary, atom: NDArray[np.int64], place: NDArray[np.int64], amplitude: Floats, samples: int
) -> Floats:
    """The sum of E atoms at the dictionary's sample rate, float64 `[channels, samples]`.

    Args:
        dictionary: of atoms of energy 1.
        atom: number of each, `[E]`.
        place: first sample of each, which may lie before the start, `[E]`.
        amplitude: of each in each channel, `[channels, E]`.
        samples: to render.
    """
    out = np.zeros((len(amplitude), samples))
    for row, (index, first) in enumerate(zip(atom.tolist(), place.tolist(), strict=True)):
        wave = dictionary.atom(index)
        begin, end = max(0, first), min(samples, first + len(wave))
        if begin < end:
            out[:, begin:end] += amplitude[:, row, None] * wave[begin - first : end - first]
    return out


def peaks_of(dictionary: LearnedDictionary) -> Floats:
    """The greatest magnitude of every atom, `[A]`."""
    return np.concatenate([np.abs(atoms).max(1).astype(np.float64) for atoms in dictionary.atoms])
