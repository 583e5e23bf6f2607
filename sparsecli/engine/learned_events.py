"""A recording to events of kind `learned`, by matching pursuit over a learned dictionary.

A dictionary is of one sample rate. A recording of another is resampled to it before, and its events are played at the
dictionary's rate and resampled to the recording's; what lies above half the dictionary's rate is lost to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..core.audio import Audio, source_of
from ..core.columns import AIR_BANDS, MAX_LEVEL_DB, MIN_ONSET_S, SILENT_DB
from ..core.errors import SparseError
from ..core.events import Events, Header, events_from_columns
from ..core.learned import LearnedDictionary
from ..dsp.quality import log_mel_db, snr_db
from ..synth.waveforms import peaks_of
from .decomposing import DecomposeResult, Progress, Watch, energy_of
from .dictionaries import LEARNED_VARIANTS
from .learned_rendering import KIND, SIDES, render_learned, to_rate
from .matching import Chosen, Limits, pursue
from .settings import DecomposeSettings
from .waveforms import build_banks

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Learned:
    """A learned dictionary, and the name of its file without folders."""

    dictionary: LearnedDictionary
    name: str

    def decompose(
        self, audio: Audio, settings: DecomposeSettings, on_progress: Callable[[Progress], bool] | None = None
    ) -> DecomposeResult:
        """See `decompose_learned`."""
        return decompose_learned(audio, self.dictionary, settings, on_progress, self.name)

    def notices(self, audio: Audio) -> list[str]:
        """What is done to a recording, one sentence each."""
        said = [f"its {audio.channels} channels are folded to mono"] if audio.channels > 2 else []
        if audio.sample_rate != self.dictionary.sample_rate:
            said.append(f"resampled from {audio.sample_rate} to the dictionary's {self.dictionary.sample_rate} Hz")
        return said

    def sound_of(self, events: Events, samples: int) -> Floats:
        """What events sound like at the source's rate, `[channels, samples]`."""
        return np.asarray(render_learned(events, self.dictionary, samples, events.header.sample_rate)[0])


def decompose_learned(
    audio: Audio,
    dictionary: LearnedDictionary,
    settings: DecomposeSettings | None = None,
    on_progress: Callable[[Progress], bool] | None = None,
    name: str = "",
) -> DecomposeResult:
    """Decompose a recording into atoms of a learned dictionary; more than two channels are folded to mono.

    Args:
        audio: any length and sample rate.
        dictionary: of any sample rate, to which the recording is brought.
        settings: variant, limits and threshold count.
        on_progress: told how far it has come; returning False ends it with what is found so far.
        name: of the dictionary's file, without folders, which the events name.

    Raises:
        SparseError: a learned dictionary has no such variant or no notes, or no file that events could name.
    """
    settings = settings or DecomposeSettings(method="pursuit")
    check_learned(settings)
    if not dictionary.sha256:
        raise SparseError("--dictionary", "has no file that events could name", "save and load it before")
    start = time.monotonic()
    source = source_of(audio)
    own = to_rate(source, audio.sample_rate, dictionary.sample_rate)
    watch = Watch(audio.duration_s, energy_of(own), settings, on_progress)
    limits = Limits(watch.goal, watch.budget, watch.tell)
    chosen = pursue(own, dictionary.sample_rate, dictionary, limits, settings.variant, settings.threshold)
    header = Header(
        duration_s=audio.duration_s,
        sample_rate=audio.sample_rate,
        channels=len(source),
        kind=KIND,
        source_name=audio.name,
        source_sha256=audio.sha256,
        settings=asdict(settings),
        model_name=name,
        model_sha256=dictionary.sha256,
    )
    events = events_of_learned(chosen, dictionary, header, settings.threshold)
    seconds = time.monotonic() - start
    events = replace(events, header=replace(header, quality=measure_learned(events, dictionary, source)))
    return DecomposeResult(events, seconds, chosen.complete, events)


def check_learned(settings: DecomposeSettings) -> None:
    """Raise SparseError for settings that a learned dictionary cannot have."""
    if settings.variant not in LEARNED_VARIANTS:
        cause = f"{settings.variant} is not there over a learned dictionary"
        raise SparseError("--variant", cause, f"choose {' or '.join(LEARNED_VARIANTS)}")
    if settings.notes:
        raise SparseError("--notes", "learned atoms have no frequencies", "leave it out")


def events_of_learned(chosen: Chosen, dictionary: LearnedDictionary, header: Header, threshold: float) -> Events:
    """Atoms as events, in the order of their onsets; a threshold as it was in the pursuit."""
    banks = build_banks(dictionary, threshold)
    numbers = [banks[bank].index[row] for bank, row in zip(chosen.block.tolist(), chosen.bin.tolist(), strict=True)]
    atom = np.array(numbers, np.int64)
    amplitude = chosen.amplitude.real.T  # [channels, E]
    size = np.abs(amplitude) * peaks_of(dictionary)[atom]
    level = np.where(size > 0, 20 * np.log10(np.maximum(size, 1e-300)), SILENT_DB).clip(SILENT_DB, MAX_LEVEL_DB)
    columns = {
        "onset_s": np.maximum(chosen.place / dictionary.sample_rate, MIN_ONSET_S),
        "duration_s": dictionary.lengths[atom] / dictionary.sample_rate,
        "atom": atom,
    }
    for channel, (of_level, of_sign) in enumerate(SIDES[: header.channels]):
        columns[of_level], columns[of_sign] = level[channel], np.where(amplitude[channel] < 0, -1.0, 1.0)
    order = np.lexsort((atom, columns["onset_s"]))
    silence = np.zeros((header.channels, 0, AIR_BANDS))
    return events_from_columns(header, {name: values[order] for name, values in columns.items()}, silence)


def measure_learned(events: Events, dictionary: LearnedDictionary, source: NDArray[np.float32]) -> dict[str, float]:
    """SNR and log-mel distance at the source's rate; nothing where the source is silent."""
    if not np.any(source):
        return {}
    rate = events.header.sample_rate
    rendered = render_learned(events, dictionary, source.shape[1], rate)[0].astype(np.float32)
    figures = {"snr_db": snr_db(source, rendered), "log_mel_db": log_mel_db(source, rendered, rate)}
    return {name: round(value, 4) for name, value in figures.items()}
