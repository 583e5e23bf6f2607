"""Events of kind `gabor` to samples, without torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core.columns import CLICK, SILENT_DB
from ..core.events import Events
from ..dsp.resample import resample
from ..synth.gabor import Waves, render_clicks, render_gabor


def render_windows(events: Events, samples: int, rate: int) -> NDArray[np.float64]:
    """The sound of windowed waves, `[channels, samples]`; two channels for events of two, else one."""
    return np.asarray(render_mixes(events, samples, rate, np.ones((1, len(events))))[0])


def render_mixes(events: Events, samples: int, rate: int, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sound of windowed waves in several mixes; two channels for events of two, else one.

    Single samples stand at the source's rate, and are resampled.

    Args:
        events: of kind `gabor`.
        samples: how long.
        rate: in Hz.
        shares: what of each event goes into each mix, `[mixes, E]`.

    Returns:
        float64 `[mixes, channels, samples]`.
    """
    level_db = events.modes("level_db").T  # [channels, E]
    size = np.where(level_db > SILENT_DB, 10 ** (level_db / 20), 0.0)
    alone = size * np.exp(1j * events.modes("phase_rad").T)
    amplitude = (shares[:, None] * alone).reshape(len(shares) * len(alone), len(events))  # [mixes x channels, E]
    shape = events.column("shape").astype(np.int64)
    columns = {name: events.column(name) for name in ("onset_s", "duration_s", "freq_hz", "chirp_hz_s")}
    sound = render_gabor(Waves(shape=shape, amplitude=amplitude, **columns), samples, rate)
    clicks = shape == CLICK
    if clicks.any():
        own = events.header.sample_rate
        length = max(1, round(samples * own / rate))
        pulses = render_clicks(events.onset_s[clicks], amplitude[:, clicks].real, length, own)
        for channel, pulse in zip(sound, pulses, strict=True):
            moved = resample(pulse.astype(np.float32), own, rate)[:samples]
            channel[: len(moved)] += moved
    return sound.reshape(len(shares), len(alone), samples)
