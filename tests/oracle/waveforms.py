"""The slow twin of pursuit over learned atoms: every atom at every sample, every step over all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsecli.core.learned import LearnedDictionary, normalised

Key = tuple[int, int]  # atom, first sample


def draw_dictionary(seed: int, counts: dict[int, int], rate: int = 8000, sha256: str = "") -> LearnedDictionary:
    """So many noisy tones of each length, which fade in and out."""
    drawn = np.random.default_rng(seed)
    atoms = []
    for length, count in sorted(counts.items()):
        at = np.arange(length)
        freq, phase = (drawn.uniform(low, high, (count, 1)) for low, high in ((0.01, 0.2), (0, 6)))
        waves = np.cos(2 * np.pi * freq * at + phase) + 0.2 * drawn.standard_normal((count, length))
        atoms.append(normalised(waves * np.sin(np.pi * (at + 0.5) / length)))
    return LearnedDictionary(rate, tuple(atoms), seed, {"steps": 1}, ("drawn.wav",), sha256)


def pursue_slowly(
    sound: NDArray[np.float64], dictionary: LearnedDictionary, steps: int
) -> tuple[list[Key], NDArray[np.float64]]:
    """Plain pursuit of sound `[channels, samples]`: atoms, and the energy left after each, `[steps]`."""
    pad = dictionary.longest
    rest = np.pad(sound, ((0, 0), (pad, pad)))
    chosen, left = [], []
    for _ in range(steps):
        best: tuple[float, Key] = (0.0, (0, 0))
        for index in range(len(dictionary)):
            atom = dictionary.atom(index).astype(np.float64)
            inner = np.stack([np.correlate(channel, atom) for channel in rest])  # at each first sample
            first = pad + 1 - pad  # of the atoms that may begin before the recording, those of the longest length
            energy = (inner[:, first : pad + sound.shape[1] + 1] ** 2).sum(0)
            place = int(energy.argmax())
            if energy[place] > best[0]:
                best = (float(energy[place]), (index, place + first - pad))
        index, place = best[1]
        atom = dictionary.atom(index).astype(np.float64)
        window = rest[:, pad + place : pad + place + len(atom)]
        window -= (window @ atom)[:, None] * atom
        chosen.append((index, place))
        left.append(float((rest**2).sum()))
    return chosen, np.array(left)
