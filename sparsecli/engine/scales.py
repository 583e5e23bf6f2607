"""Musical scales: their names, and events moved onto their degrees."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from ..core.events import Events
from ..core.quantities import Measured
from .editing import Floats, Mask, positive, shift_pitch

DEGREES = {  # in semitones above the root
    "chromatic": tuple(range(12)),
    "major": (0, 2, 4, 5, 7, 9, 11),
    "ionian": (0, 2, 4, 5, 7, 9, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "aeolian": (0, 2, 3, 5, 7, 8, 10),
    "natural minor": (0, 2, 3, 5, 7, 8, 10),
    "locrian": (0, 1, 3, 5, 6, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "melodic minor": (0, 2, 3, 5, 7, 9, 11),
    "pentatonic": (0, 2, 4, 7, 9),
    "pentatonic major": (0, 2, 4, 7, 9),
    "pentatonic minor": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
    "whole tone": (0, 2, 4, 6, 8, 10),
}
ROOTS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


@dataclass(frozen=True)
class Scale:
    """A scale: its root and its degrees as pitch classes, 0 for C, in semitones."""

    root: int
    classes: tuple[int, ...]

    def nearest(self, midi: Floats) -> Floats:
        """The nearest degrees to MIDI numbers with cents as decimals, `[N]`; the lower one of two as near."""
        step = np.arange(-6, 7)  # from the nearest semitone; no scale has a gap as wide as an octave
        near = np.round(midi)[:, None] + step  # [N, 13]
        distance = np.where(np.isin(near % 12, self.classes), np.abs(near - midi[:, None]), np.inf)
        return np.take_along_axis(near, distance.argmin(1)[:, None], 1)[:, 0]


def scale_of(name: str) -> Scale:
    """A scale by its root and name: `D minor`, `Bb major`, `A minor pentatonic`; `chromatic` needs no root.

    Raises:
        ValueError: there is no such scale, or it lacks its root.

    >>> scale_of("D minor").classes
    (0, 2, 4, 5, 7, 9, 10)
    """
    words = name.replace("\N{MUSIC SHARP SIGN}", "#").replace("\N{MUSIC FLAT SIGN}", "b").split()
    rooted = re.fullmatch(r"([A-Ga-g])(#{0,2}|b{0,2})", words[0]) if words else None
    kinds = {frozenset(kind.split()): kind for kind in DEGREES}
    kind = kinds.get(frozenset(word.lower() for word in (words[1:] if rooted else words)))
    if kind is None or not (rooted or kind == "chromatic"):
        raise ValueError(f"{name!r} is no scale such as 'D minor'; there are {', '.join(DEGREES)}, each after its root")
    root = (ROOTS[rooted[1].upper()] + rooted[2].count("#") - rooted[2].count("b")) % 12 if rooted else 0
    return Scale(root, tuple(sorted((root + degree) % 12 for degree in DEGREES[kind])))


def snap_to_scale(events: Events, rows: Mask, name: str, tuning_hz: float = 440.0) -> Events:
    """Chosen notes moved by pitch to the nearest degree of a scale, cents included.

    A chosen event moves with its note, by the pitch of the whole note; without a note (or where its note has no mode)
    it moves by its loudest mode. What has no mode stays.

    Args:
        events: E events.
        rows: which of them.
        name: see `scale_of`.
        tuning_hz: frequency of the A above middle C.

    Raises:
        ValueError: there is no such scale, or the tuning is not above 0.
    """
    scale = scale_of(name)
    sharp = 12 * np.log2(positive("tuning_hz", tuning_hz) / 440)
    midi = Measured(events).midi[rows] - sharp
    pitched = np.isfinite(midi)
    semitones = np.zeros(len(midi))
    semitones[pitched] = scale.nearest(midi[pitched]) - midi[pitched]
    return shift_pitch(events, rows, semitones)
