"""The tempo of a set of events, from its onsets."""

from __future__ import annotations

import numpy as np

from ..core.events import Events
from .extents import loudest_db

FRAMES_PER_S = 100.0
LONGEST_S = 600.0  # that is listened to


def find_tempo(events: Events) -> float:
    """Quarters a minute, by the period of the onsets' strength (librosa's tempogram; Ellis 2007).

    Raises:
        ValueError: too few events, or they last too short, for a tempo.
    """
    import librosa

    onset_s, strength = _strikes(events)
    span_s = float(onset_s.max() - onset_s.min()) if len(onset_s) else 0.0
    if len(onset_s) < 4 or span_s < 1.0:
        raise ValueError("there are too few onsets for a tempo; give --tempo in quarters a minute")
    frames = np.round((onset_s - onset_s.min()) * FRAMES_PER_S).astype(int)
    envelope = np.bincount(frames, strength)[: int(LONGEST_S * FRAMES_PER_S)]
    found = librosa.feature.tempo(onset_envelope=envelope, sr=FRAMES_PER_S, hop_length=1, ac_size=8.0)
    return float(found[0])


def fit_grid(events: Events, grid_s: float) -> tuple[float, float]:
    """The step near `grid_s`, within 4 %, and the start in `[0, step)` of the grid that the onsets lie nearest to.

    It is the frequency at which the onsets, as pulses, have the most energy, and its phase.
    """
    onset_s, strength = _strikes(events)
    span_s = max(float(np.ptp(onset_s)), grid_s) if len(onset_s) else grid_s
    reach, fine = 0.04 / grid_s, 0.02 / span_s  # a fiftieth of a turn over all onsets
    rates = 1 / grid_s + np.linspace(-reach, reach, 2 * min(2000, int(reach / fine)) + 1)
    turns = np.array([np.sum(strength * np.exp(2j * np.pi * rate * onset_s)) for rate in rates])
    best = int(np.argmax(np.abs(turns)))
    step_s = float(1 / rates[best])
    return step_s, float(np.angle(turns[best]) / (2 * np.pi) * step_s % step_s)


def _strikes(events: Events) -> tuple[np.ndarray, np.ndarray]:
    """Onsets within the recording, and how strong each is, `[N]`: the amplitude of its loudest mode or noise."""
    level_db = loudest_db(events)
    inside = events.onset_s >= 0
    return events.onset_s[inside], 10 ** (level_db[inside] / 20)
