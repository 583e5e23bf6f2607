"""How long events of each kind sound, and with how much energy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .columns import NEPERS_PER_T60, SILENT_DB
from .events import Events
from .partials import envelope_energy_s, envelope_peak
from .windows import MEAN_SQUARES

Floats = NDArray[np.float64]


def lasting_s(events: Events, fall_db: float = 60.0) -> Floats:
    """From the onset until an event is so far under its peak for good, `[E]`; of a window, until its end.

    0 where an atom has no decay, and infinite where only a model knows.
    """
    return _LASTING[events.header.kind](events, fall_db)


def energies_s(events: Events) -> Floats:
    """Energies of the modes, each by itself and in one channel, `[E]`, in s: 0.5 for a second at full scale.

    0 where only a model knows the modes.
    """
    return _ENERGIES[events.header.kind](events)


def _strikes_last(events: Events, fall_db: float) -> Floats:
    # E(u) exp(-d u) never exceeds exp(-d u).
    decay_s = events.column("decay_s")
    z = events.column("attack_s") * NEPERS_PER_T60 / np.maximum(decay_s, 1e-9)
    nepers = fall_db / 20 * math.log(10) - np.log(np.maximum(envelope_peak(z), 1e-30))
    return np.asarray(nepers / NEPERS_PER_T60 * decay_s)


def _of_strikes(events: Events) -> Floats:
    attack_s, decay_s = events.column("attack_s"), events.column("decay_s")
    damping = NEPERS_PER_T60 / np.maximum(decay_s, 1e-9)
    of_peak_1 = envelope_energy_s(attack_s, damping) / np.maximum(envelope_peak(attack_s * damping), 1e-30) ** 2
    return np.where(decay_s > 0, _powers(events).sum(1) * of_peak_1, 0.0)


def _of_windows(events: Events) -> Floats:
    mean_square = MEAN_SQUARES[events.column("shape").astype(int)]
    return np.asarray(_powers(events).mean(1) / 2 * mean_square * events.column("duration_s"))


def _powers(events: Events) -> Floats:
    """Squared peaks of the modes, `[E, M]`."""
    level_db = events.modes("level_db")
    return np.where(level_db > SILENT_DB, 10 ** (level_db / 10), 0.0)


_LASTING: dict[str, Callable[[Events, float], Floats]] = {
    "atoms": _strikes_last,
    "gabor": lambda events, fall_db: events.column("duration_s"),
    "siam": lambda events, fall_db: np.full(len(events), np.inf),
    "learned": lambda events, fall_db: events.column("duration_s"),
}
_ENERGIES: dict[str, Callable[[Events], Floats]] = {
    "atoms": _of_strikes,
    "gabor": _of_windows,
    "siam": lambda events: np.zeros(len(events)),
    "learned": lambda events: np.zeros(len(events)),
}
