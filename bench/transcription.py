"""How well notes that were found agree with the true ones, by the rules of MIREX and mir_eval, offsets left aside.

A found note is right where its onset lies within 50 ms of a true one's and, unless onsets alone are asked for, its
pitch within 50 cents. Each note counts once: of all ways to pair found and true notes, one with most pairs is taken.
Source: Raffel et al., mir_eval: a transparent implementation of common MIR metrics, ISMIR 2014.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

ONSET_TOLERANCE_S = 0.05
PITCH_TOLERANCE = 0.5  # semitones
DECIMALS = 4  # of a difference of onsets, so that 50 ms is within 50 ms after rounding, as in mir_eval

Notes = NDArray[np.float64]  # [N, 2]: onset in seconds and MIDI number


@dataclass(frozen=True)
class Score:
    """Found and true notes and how many pairs they make."""

    found: int
    true: int
    right: int

    @property
    def precision(self) -> float:
        """Share of the found notes that are right."""
        return self.right / max(1, self.found)

    @property
    def recall(self) -> float:
        """Share of the true notes that were found."""
        return self.right / max(1, self.true)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, as 2 right / (found + true)."""
        return 2 * self.right / max(1, self.found + self.true)


def read_notes(path: Path, duration_s: float) -> Notes:
    """The true notes `[N, 2]` of a `.notes.csv` that begin within the first `duration_s`."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [(float(row["onset_s"]), float(row["midi_pitch"])) for row in csv.DictReader(file)]
    notes = np.array(rows, np.float64).reshape(-1, 2)
    return notes[notes[:, 0] < duration_s]


def score_notes(true: Notes, found: Notes, pitch: bool = True) -> Score:
    """Pair notes `[N, 2]` and `[M, 2]`, as many as can be, by onset and pitch or by onset alone."""
    apart_s = np.abs(true[:, None, 0] - found[None, :, 0]).round(DECIMALS)  # [N, M]
    near = apart_s <= ONSET_TOLERANCE_S
    if pitch:
        near &= np.abs(true[:, None, 1] - found[None, :, 1]) <= PITCH_TOLERANCE
    pairs = maximum_bipartite_matching(csr_matrix(near), perm_type="column") if near.any() else np.array([-1])
    return Score(len(found), len(true), int((pairs >= 0).sum()))
