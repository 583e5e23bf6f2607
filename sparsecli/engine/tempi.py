"""The tempo of a set of events, from its onsets."""

from __future__ import annotations

import numpy as np

from ..core.events import Events
from .extents import loudest_db
from .timing import tempo_grid_s

FRAMES_PER_S = 100.0
LONGEST_S = 600.0  # that is listened to
OTHER_PULSES = (3 / 4, 3 / 2)
MUCH_BETTER = 2.0  # what a coherence by chance hardly is over another
NEARLY = 0.9  # of the best: the coarser grid, where a finer one holds it


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


def find_grid(events: Events, division: str) -> tuple[float, float]:
    """The step and the start of the grid of a note value at the tempo of the onsets.

    A pulse in threes and one in fours can be taken for each other: 1/8 triplets at 120 are 1/16 at 90. So where the
    onsets lie twice as well on the grid of three quarters of the tempo that is found, or of one and a half times it,
    that is taken.

    Raises:
        ValueError: too few events for a tempo, or no such note value.
    """
    tempo_bpm = find_tempo(events)
    grids = [fit_grid(events, tempo_grid_s(tempo_bpm * ratio, division)) for ratio in (1, *OTHER_PULSES)]
    first, *others = [coherence(events, step_s) for step_s, _ in grids]
    if max(others) < MUCH_BETTER * first:
        return grids[0]
    return grids[1 + next(n for n, value in enumerate(others) if value >= NEARLY * max(others))]


def coherence(events: Events, step_s: float) -> float:
    """How well the onsets lie on a grid of `step_s`, wherever it begins: 1 all on it, near 0 anywhere."""
    onset_s, strength = _strikes(events)
    turns = np.sum(strength * np.exp(2j * np.pi * onset_s / step_s))
    return float(abs(turns) / max(strength.sum(), 1e-30))


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
