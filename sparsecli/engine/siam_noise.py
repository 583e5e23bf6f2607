"""The noise of events: bursts that explain what tones and air leave, under each event's onset and attack."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from ..models.siam import FAINTEST_DB, Strikes
from .texture import BURST_WORTH_DB, Cells, burst_centres, fit_burst

DECAYS_S = (0.08, 0.3)  # T60 that are tried: a click or consonant, and a breath or brush


def give_noise(strikes: Strikes, onset_s: Tensor, gain_db: Tensor, aside: Tensor, cells: Cells) -> Strikes:
    """Strikes with the noise that lowers the log-spectral distance, where it is worth having (see `texture.py`).

    A vector has room for noise in any case, so that it costs nothing.

    Args:
        strikes: E of them.
        onset_s: `[E]`.
        gain_db: `[E]`.
        aside: 1 + pan^2 of each, `[E]`: the power in the mean of the channels over that in one.
        cells: of the recording; what is added is added to `cells.model`.
    """
    level_db, freq_hz = strikes.noise_level_db.clone(), strikes.noise_hz.clone()
    decay_s, centres = strikes.noise_decay_s.clone(), burst_centres(cells)
    for row in range(len(onset_s)):
        onset, attack_s = float(onset_s[row]), float(strikes.attack_s[row])
        tried = [(fit_burst(cells, onset, attack_s, decay, centres), decay) for decay in DECAYS_S]
        found = [(burst, decay) for burst, decay in tried if burst is not None]
        if not found:
            continue
        burst, decay = max(found, key=lambda one: one[0].gain_db)
        level = burst.level_db - 10 * math.log10(float(aside[row])) - float(gain_db[row])
        if burst.gain_db < BURST_WORTH_DB or level <= FAINTEST_DB:
            continue
        level_db[row], freq_hz[row], decay_s[row] = level, burst.freq_hz, decay
        cells.model[burst.rows] += burst.power
    return replace(strikes, noise_level_db=level_db, noise_hz=freq_hz, noise_decay_s=decay_s)
