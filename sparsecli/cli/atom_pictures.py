"""The picture that `sparse info --plot` draws: all atoms of a learned dictionary."""

from __future__ import annotations

import importlib.util
import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsecli.core.errors import SparseError

if TYPE_CHECKING:
    from sparsecli.core.learned import LearnedDictionary

POINTS = 128  # of an atom's outline: as many as its cell has pixels
HALF_HEIGHT = 0.42  # of a cell: neighbours leave a little room
DOTS_PER_CELL = 140


def check_drawing(option: str) -> None:
    """Raise SparseError where matplotlib is not there."""
    if importlib.util.find_spec("matplotlib") is None:
        raise SparseError(option, "needs matplotlib, which is not installed", "pip install 'sparsecli[plot]'")


def draw_atoms(dictionary: LearnedDictionary) -> bytes:
    """A picture (PNG): a cell for each atom in the order of their numbers, its number, length and main frequency.

    Each is drawn to its own greatest value, as wide as its cell, and coloured by its frequency.
    """
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

    count = len(dictionary)
    columns = max(1, round((count / 2) ** 0.5))  # cells are twice as wide as high
    rows = -(-count // columns)
    figure = Figure(figsize=(columns, rows / 2 + 0.5), dpi=DOTS_PER_CELL)
    axes = figure.add_axes((0, 0, 1, 1))
    hz = [main_hz(dictionary.atom(index), dictionary.sample_rate) for index in range(count)]
    shapes = []
    for index in range(count):
        low, high = outline(dictionary.atom(index))
        x = index % columns + np.linspace(0.04, 0.96, len(low))
        y = index // columns + HALF_HEIGHT * np.stack([low, high])
        shapes.append(np.stack([np.r_[x, x[::-1]], np.r_[y[1], y[0][::-1]]], axis=-1))
        told = f"{index}  {dictionary.lengths[index]}  {hz[index]:.0f} Hz"
        axes.text(index % columns + 0.04, index // columns - HALF_HEIGHT, told, fontsize=3.5, color="0.35")
    drawn = PolyCollection(shapes, array=np.log2(np.maximum(hz, 20.0)), cmap="viridis", linewidths=0.3)
    drawn.set_edgecolor("face")
    axes.add_collection(drawn)
    axes.set(xlim=(0, columns), ylim=(rows - 0.4, -0.6))
    axes.axis("off")
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def outline(atom: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and greatest values of an atom along its length, scaled to a greatest magnitude of 1, `[points]` each.

    >>> low, high = outline(np.array([0.0, 1.0, -2.0, 0.5] * 256, np.float32))
    >>> len(low), float(low[5]), float(high[5])
    (128, -1.0, 0.5)
    """
    parts = np.array_split(atom.astype(np.float64) / max(float(np.abs(atom).max()), 1e-30), min(POINTS, len(atom)))
    return np.array([part.min() for part in parts]), np.array([part.max() for part in parts])


def main_hz(atom: NDArray[np.float32], sample_rate: int) -> float:
    """The frequency at which an atom's spectrum is greatest.

    >>> round(main_hz(np.sin(2 * np.pi * 0.1 * np.arange(1000)).astype(np.float32), 8000))
    800
    """
    size = 4 * len(atom)  # between the bins of its own length too
    return float(np.argmax(np.abs(np.fft.rfft(atom, size))) * sample_rate / size)
