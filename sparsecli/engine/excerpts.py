"""Excerpts of recordings drawn at random, every one by its own number, so that they can be drawn again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SparseError
from ..dsp.resample import resample
from ..io.recordings import Recording, read_excerpt

MOST_ATTEMPTS = 20  # at an excerpt that can be read and is not silent
SILENCE = 1e-4  # peaks below, 80 dB under full scale, teach nothing
MARGIN_S = 0.02  # beside an excerpt, so that resampling has no edges in it


class Excerpts:
    """Excerpts of one length from recordings, in mono; every second of all of them is as likely as any other.

    Args:
        recordings: to draw from, at least one.
        samples: of an excerpt; shorter recordings are filled up with silence.
        sample_rate: of an excerpt, in Hz.
        seed: of all draws.
    """

    def __init__(self, recordings: Sequence[Recording], samples: int, sample_rate: int, seed: int) -> None:
        self._recordings, self._samples, self._rate, self._seed = recordings, samples, sample_rate, seed
        self._ends_s = np.cumsum([max(recording.duration_s, 1e-3) for recording in recordings])

    def draw(self, step: int, item: int, skipped: list[SparseError]) -> NDArray[np.float32]:
        """The excerpt of an item of a step's batch, float32 `[samples]`. It depends on seed, step and item alone.

        Args:
            step: its number.
            item: which of the step.
            skipped: takes what could not be read; another excerpt is drawn in place of it.

        Raises:
            SparseError: nothing could be found that can be read and is not silent.
        """
        for attempt in range(MOST_ATTEMPTS):
            chance = np.random.default_rng((self._seed, step, item, attempt))
            at_s = chance.uniform(0, self._ends_s[-1])
            recording = self._recordings[min(int(np.searchsorted(self._ends_s, at_s, "right")), len(self._ends_s) - 1)]
            spare_s = max(0.0, recording.duration_s - self._samples / self._rate)
            try:
                found = excerpt(recording, chance.uniform(0, spare_s), self._samples, self._rate)
            except SparseError as error:
                skipped.append(error)
                continue
            if np.abs(found).max() >= SILENCE:
                return found
        cause = f"{MOST_ATTEMPTS} excerpts in a row were silent or could not be read"
        raise SparseError(self._recordings[0].path, f"{cause}, of this and its neighbours", "name another --data")


def excerpt(recording: Recording, start_s: float, samples: int, sample_rate: int) -> NDArray[np.float32]:
    """A stretch of a recording in mono at another rate, float32 `[samples]`, with silence beyond its end.

    Raises:
        SparseError: it cannot be read there.
    """
    rate = recording.layout.sample_rate
    start = min(round(start_s * rate), recording.layout.frames - 1)
    margin = 0 if rate == sample_rate else round(MARGIN_S * rate)
    first = max(0, start - margin)
    frames = start - first + -(-samples * rate // sample_rate) + margin
    mono = read_excerpt(recording, first, frames).mean(axis=0)  # [frames]
    found = resample(mono, rate, sample_rate)[round((start - first) * sample_rate / rate) :][:samples]
    return np.pad(found, (0, samples - len(found)))
