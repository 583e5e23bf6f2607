"""Dictionaries of pursuit: which atoms there are, on which lattice of times and frequencies, from a text such as
`gabor:512,2048+damped`.

A dictionary is a list of blocks. All atoms of a block are one window, moved by whole hops in time and by whole steps in
frequency; its real atoms are 2 Re(c g), g the window times a complex exponential and c what the pursuit finds.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.columns import BELL, CLICK, COSINE, DAMPED
from ..core.windows import PEAK_AT, envelope

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

MIN_WINDOW, MAX_WINDOW = 16, 65536  # in samples
WINDOWS = (256, 512, 1024, 2048, 4096, 8192)
OVERLAPS = (2, 4, 8, 16)
GLIDES = (-8.0, -4.0, 4.0, 8.0)  # how far a glide runs within its window, in steps of 1 / window
LEARNED_VARIANTS = ("plain", "cyclic")  # of pursuit over learned atoms
LEARNED_ENDS = ".safetensors"
LEARNED_BEGINS = "learned:"
ALONE = 1e-3  # a pair of exponentials whose determinant is under this has one direction that counts


@dataclass(frozen=True)
class Family:
    """One family of atoms.

    Attributes:
        shape: of its window, as the column `shape` has it.
        windows: lengths where the user names none.
        told: one line.
        glides: of its atoms, in steps of 1 / window over the window.
        overlap: hops a window; None: what the settings say, times `crowding`.
        crowding: of atoms whose place must be met more closely, as a strike's must.
        offset: of its frequencies, in steps.
        phase: of the atom at a frequency in radians a sample, where it is not free.
    """

    shape: int
    windows: tuple[int, ...]
    told: str
    glides: tuple[float, ...] = (0.0,)
    overlap: int | None = None
    crowding: int = 1
    offset: float = 0.0
    phase: Callable[[int, Floats], Floats] | None = None


def _cosine_phase(length: int, freqs: Floats) -> Floats:
    # cos(2 pi f (j + 1/2 + length / 4)), j the sample of the window: Princen and Bradley's transform of hop length / 2.
    # The phase is that at the reference, j = length / 2.
    return np.asarray(2 * np.pi * freqs * (3 * length / 4 + 0.5))


FAMILIES: dict[str, Family] = {
    "gabor": Family(BELL, WINDOWS, "bells (Hann windows) at any phase"),
    "chirp": Family(BELL, (1024, 2048, 4096), "bells whose frequency glides", glides=GLIDES),
    "damped": Family(DAMPED, WINDOWS, "damped sinusoids: struck, and gone by the end of their window", crowding=4),
    "cosine": Family(
        COSINE, WINDOWS, "modified cosines: MDCT bases", overlap=2, offset=0.5, phase=_cosine_phase
    ),
    "dirac": Family(CLICK, (1,), "single samples"),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Block:
    """The atoms of one window.

    Attributes:
        family: its name.
        shape: as the column `shape` has it.
        length: of the window, in samples.
        hop: between atoms, in samples.
        offset: of the frequencies, in steps of 1 / length.
        glide: of the frequency over the window, in the same steps.
        window: complex128 `[length]` of energy 1, the glide included.
        start: first sample of the window against the atom's reference, where its phase is taken.
        weights: `[3, bins]`, of Re(c)^2, Im(c)^2 and Re(c) Im(c) in the energy that an atom takes from the signal
            whose inner product with g is c; they also give the best coefficient (`docs/pursuit.md`).
        peak: of the window.
        partner: index of the block of the conjugate windows in its dictionary.
    """

    family: str
    shape: int
    length: int
    hop: int
    offset: float
    glide: float
    window: Complexes
    start: int
    weights: Floats
    peak: float
    partner: int

    @property
    def bins(self) -> int:
        """How many frequencies there are."""
        return int(self.weights.shape[1])

    @property
    def freqs(self) -> Floats:
        """In periods a sample, `[bins]`."""
        return (np.arange(self.bins) + self.offset) / self.length

    @property
    def is_sample(self) -> bool:
        """Whether its atoms are single samples, which span all frequencies."""
        return self.length == 1


@dataclass(frozen=True)
class Dictionary:
    """Blocks, and the text that they were made from."""

    text: str
    blocks: tuple[Block, ...]

    @property
    def longest(self) -> int:
        """Length of the longest window, in samples."""
        return max(block.length for block in self.blocks)

    @property
    def longest_hop(self) -> int:
        """The lattice of all blocks repeats after so many samples."""
        return max(block.hop for block in self.blocks)


def parse_dictionary(text: str) -> list[tuple[str, tuple[int, ...]]]:
    """The families of a dictionary and the lengths of their windows, the shortest first.

    Raises:
        ValueError: there is no such family, or a length that is none.

    >>> parse_dictionary("gabor:512,2048+dirac")
    [('gabor', (512, 2048)), ('dirac', (1,))]
    """
    parts: list[tuple[str, tuple[int, ...]]] = []
    for part in text.split("+"):
        name, colon, lengths = part.strip().partition(":")
        if name not in FAMILIES:
            known = ", ".join(FAMILIES)
            cure = f"there are {known}, and files of learned ones, {LEARNED_ENDS}"
            raise ValueError(f"--dictionary {text}: there is no dictionary {name!r}; {cure}")
        if name in dict(parts):
            raise ValueError(f"--dictionary {text}: {name} is named twice; give all its windows at once")
        if colon and FAMILIES[name].shape == CLICK:
            raise ValueError(f"--dictionary {text}: {name} has no windows; leave out {colon}{lengths}")
        windows = tuple(sorted({_window(text, one) for one in lengths.split(",")})) if colon else FAMILIES[name].windows
        parts.append((name, windows))
    return parts


def names_learned(text: str) -> bool:
    """Whether `--dictionary` names a learned one: a file, or one that was fetched.

    >>> names_learned("gabor:512"), names_learned("strings.safetensors"), names_learned("learned:strings")
    (False, True, True)
    """
    return text.startswith(LEARNED_BEGINS) or text.endswith(LEARNED_ENDS)


def _window(text: str, length: str) -> int:
    if not length.strip().isdecimal() or int(length).bit_count() != 1 or not MIN_WINDOW <= int(length) <= MAX_WINDOW:
        wanted = f"powers of two from {MIN_WINDOW} to {MAX_WINDOW} samples"
        raise ValueError(f"--dictionary {text}: a window of {length.strip() or 'nothing'!s}; windows are {wanted}")
    return int(length)


@functools.lru_cache(maxsize=4)
def build_dictionary(text: str, overlap: int = 4) -> Dictionary:
    """The blocks of a dictionary.

    Args:
        text: families and windows, as `parse_dictionary` reads them.
        overlap: hops a window, of families that do not fix it.

    Raises:
        ValueError: as `parse_dictionary`.
    """
    blocks: list[Block] = []
    for name, lengths in parse_dictionary(text):
        family = FAMILIES[name]
        for length in lengths:
            first = len(blocks)
            for index, glide in enumerate(family.glides):  # glides and their opposites are in mirrored order
                blocks.append(_block(name, length, glide, overlap, first + len(family.glides) - 1 - index))
    return Dictionary(text, tuple(blocks))


def _block(name: str, length: int, glide: float, overlap: int, partner: int) -> Block:
    family = FAMILIES[name]
    samples = np.arange(length)
    start = -round(float(PEAK_AT[family.shape]) * length)
    at = (samples + (0.5 if family.shape == COSINE else 0.0)) / length
    shape = envelope(family.shape, at)
    turns = glide / 2 * ((samples + start) / length) ** 2
    window = shape * np.exp(2j * np.pi * turns)
    norm = math.sqrt(float((shape**2).sum()))
    window = window / norm
    bins = 1 if length == 1 else length // 2 + (family.offset == 0)
    freqs = (np.arange(bins) + family.offset) / length
    phases = family.phase(length, freqs) if family.phase else None
    hop = max(1, length // (family.overlap or overlap * family.crowding))
    weights = pair_weights(pair_products(window, start, family.offset)[:bins], phases)
    if (
        glide < 0
    ):  # at 0 Hz and at half the rate, a glide and its opposite are the same real atoms: one of them is enough
        weights[:, [0, -1]] = 0
    return Block(
        name,
        family.shape,
        length,
        hop,
        family.offset,
        glide,
        window,
        start,
        weights,
        float(shape.max()) / norm,
        partner,
    )


def pair_products(window: Complexes, start: int, offset: float) -> Complexes:
    """Inner products <conj(g), g> of a window's exponentials with their own conjugates, `[length]`.

    Args:
        window: `[length]`.
        start: its first sample against the reference.
        offset: of the frequencies, 0 or a half, in steps of 1 / length.
    """
    # sum of conj(w)^2 exp(-2 i omega t): a transform at twice the frequency, which lies on the transform's own grid
    length = len(window)
    doubled = np.rint(2 * (np.arange(length) + offset)).astype(int)
    spectrum = np.fft.fft(window.conj() ** 2)[doubled % length]
    return np.asarray(spectrum * np.exp(-2j * np.pi * doubled * start / length))


def pair_weights(products: Complexes, phases: Floats | None) -> Floats:
    """Weights `[3, bins]` of the energy that the best real atom 2 Re(alpha g) takes (see `Block.weights`).

    Args:
        products: P = <conj(g), g>, `[bins]`.
        phases: of alpha, where it is not free, `[bins]`.
    """
    # c = <x, g> = alpha + P conj(alpha), so alpha = (c - P conj(c)) / (1 - |P|^2), and the energy is
    # 2 Re(conj(alpha) c). Where |P| is 1 (0 Hz, half the rate), or the phase is given, there is one real direction t,
    # 2 Re(t g) with |t| = 1, of energy 2 + 2 Re(t^2 conj(P)), and the energy is (2 Re(conj(t) c))^2 over that.
    determinant = 1 - np.abs(products) ** 2
    single = determinant < ALONE
    angle = np.angle(products) / 2
    if phases is not None:
        single, angle = np.ones_like(single), phases
    safe = np.where(single, 1.0, determinant)
    free = np.stack([2 * (1 - products.real) / safe, 2 * (1 + products.real) / safe, -4 * products.imag / safe])
    energy = 2 + 2 * (np.exp(2j * angle) * products.conj()).real
    one = np.stack([np.cos(angle) ** 2, np.sin(angle) ** 2, np.sin(2 * angle)]) * 4 / energy
    return np.asarray(np.where(single, one, free))
