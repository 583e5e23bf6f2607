"""Events of kind `learned` to samples, without torch.

A dictionary is of one sample rate: events are played at it, and resampled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core.columns import SILENT_DB
from ..core.errors import SparseError
from ..core.events import Events
from ..core.learned import LearnedDictionary
from ..dsp.resample import resample
from ..synth.waveforms import peaks_of, render_waveforms

Floats = NDArray[np.float64]

KIND = "learned"
SIDES = (("level_db", "sign"), ("level_right_db", "sign_right"))  # of each channel


def render_learned(
    events: Events, dictionary: LearnedDictionary, samples: int, rate: int, shares: Floats | None = None
) -> Floats:
    """The sound of events in several mixes; two channels for events of two, else one.

    Args:
        events: of kind `learned`.
        dictionary: the one that they name.
        samples: how long.
        rate: in Hz.
        shares: what of each event goes into each mix, `[mixes, E]`; None: one mix of all.

    Returns:
        float64 `[mixes, channels, samples]`.

    Raises:
        SparseError: it is another dictionary, or has no such atoms.
    """
    check_dictionary(events, dictionary)
    own = dictionary.sample_rate
    atom = events.column("atom").astype(np.int64)
    levels, signs = (
        np.stack([events.column(names[place]) for names in SIDES[: len(events.gains)]]) for place in (0, 1)
    )  # [channels, E]
    size = np.where(levels > SILENT_DB, 10 ** (levels / 20), 0.0) / np.maximum(peaks_of(dictionary)[atom], 1e-30)
    mixes = np.ones((1, len(events))) if shares is None else shares
    amplitude = (mixes[:, None] * (signs * size)).reshape(len(mixes) * len(levels), len(events))
    place = np.rint(events.onset_s * own).astype(np.int64)
    sound = render_waveforms(dictionary, atom, place, amplitude, -(-samples * own // rate))
    heard = to_rate(sound.astype(np.float32), own, rate).astype(np.float64) if own != rate else sound
    heard = np.pad(heard, ((0, 0), (0, max(0, samples - heard.shape[1]))))[:, :samples]
    return np.asarray(heard.reshape(len(mixes), len(levels), samples))


def check_dictionary(events: Events, dictionary: LearnedDictionary) -> None:
    """Raise SparseError where events are of another dictionary, or of atoms that it has not."""
    wanted = events.header.model_sha256
    if dictionary.sha256 != wanted:
        cause = f"is another dictionary (sha256 {dictionary.sha256[:8]}) than that of the events ({wanted[:8]})"
        raise SparseError("--dictionary", cause, f"give {events.header.model_name or 'theirs'}")
    if len(events) and events.column("atom").max() >= len(dictionary):
        cause = f"event of atom {events.column('atom').max():.0f}, and the dictionary has {len(dictionary)}"
        raise SparseError(events.header.source_name, cause)


def to_rate(sound: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    """Sound `[channels, samples]` at another rate."""
    if rate == wanted:
        return sound
    return np.stack([resample(channel, rate, wanted) for channel in sound])
