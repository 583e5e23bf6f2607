"""How loud and how high events are, and how long they are heard, noise included."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core.columns import SILENT_DB
from ..core.events import Events
from ..core.quantities import Measured
from ..core.spans import lasting_s

Floats = NDArray[np.float64]

AUDIBLE_DB = 80.0  # an event ends where all of it is so far under its peak, as the renderer ends it


def loudest_db(events: Events) -> Floats:
    """Level of the loudest mode or burst, `[E]`; -200 where nothing sounds. The gain of events that have one."""
    if events.kind.gain:
        return np.asarray(np.max([events.column(name) for name in events.gains], axis=0))
    return np.asarray(np.maximum(events.modes("level_db").max(-1), events.noise_level_db))


def loudest_hz(events: Events) -> Floats:
    """Frequency of the loudest mode, or of the noise of an event without modes, `[E]`.

    0 where nothing sounds, and of events that only a model can decode.
    """
    if events.kind.decoded:
        return np.zeros(len(events))
    return np.nan_to_num(Measured(events).freq_hz).astype(np.float64)


def ends_s(events: Events) -> Floats:
    """When each event has fallen 80 dB under its peak for good, or its window ends, `[E]`; the onset of silent ones.

    Never (infinity), as far as is known of events that only a model can decode.
    """
    return np.asarray(events.onset_s + np.where(loudest_db(events) > SILENT_DB, lasting_s(events, AUDIBLE_DB), 0.0))
