"""A recording to events, by a trained model or by matching pursuit over a dictionary."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..core.audio import Audio, source_of
from ..core.columns import AIR_BANDS, COSINE, MAX_LEVEL_DB, MIN_ONSET_S, PI, SILENT_DB, STRETCH_S
from ..core.errors import SparseError
from ..core.events import Events, Header, events_from_columns
from ..dsp.quality import log_mel_db, snr_db
from .dictionaries import FAMILIES, Dictionary, build_dictionary, parse_dictionary
from .matching import Chosen, Limits, pursue
from .notes import group_notes
from .settings import DecomposeSettings
from .windows import render_windows

if TYPE_CHECKING:  # it brings torch, which pursuit can do without
    from ..models.finding import Trained

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Progress:
    """How far a decomposition has come: seconds of audio done of all, atoms found, SNR in dB."""

    done_s: float
    total_s: float
    atoms: int
    snr_db: float


@dataclass(frozen=True)
class DecomposeResult:
    """What a decomposition found.

    Attributes:
        events: of kind `siam`, `atoms` or `gabor`; the figures reached stand in `events.header.quality`.
        seconds: it took, the measuring of the figures apart.
        complete: False where it was asked to stop early.
        heard: events that sound the same and need no model: atoms for those of kind `siam`, else the events.
    """

    events: Events
    seconds: float
    complete: bool
    heard: Events


@dataclass(frozen=True)
class Found:
    """What a method found: events, the same as `heard`, and whether the work came to its end."""

    events: Events
    heard: Events
    complete: bool


def decompose(
    audio: Audio,
    settings: DecomposeSettings | None = None,
    on_progress: Callable[[Progress], bool] | None = None,
    trained: Trained | None = None,
) -> DecomposeResult:
    """Decompose a recording by the method of the settings; more than two channels are folded to mono.

    Args:
        audio: any length and sample rate.
        settings: see `DecomposeSettings`.
        on_progress: told how far it has come; returning False ends it with what is found so far.
        trained: the model of the method `siam`, which needs one (`models.finding.open_model`).

    Raises:
        SparseError: the method cannot be used on this recording.
    """
    settings = settings or DecomposeSettings()
    start = time.monotonic()
    source = source_of(audio)
    watch = Watch(audio.duration_s, energy_of(source), settings, on_progress)
    found = METHODS[settings.method](audio, source, settings, watch, trained)
    events = group_notes(found.events) if settings.notes else found.events
    seconds = time.monotonic() - start
    quality = measure(found.heard, source)
    events = replace(events, header=replace(events.header, quality=quality))
    return DecomposeResult(events, seconds, found.complete, found.heard)


def _recognise(
    audio: Audio, source: NDArray[np.float32], settings: DecomposeSettings, watch: Watch, trained: Trained | None
) -> Found:
    """What a trained model sees."""
    from .recognising import recognise

    if trained is None:
        raise ValueError("the method siam needs a model")
    return Found(*recognise(audio, source, settings, trained, watch.tell_snr))


def _pursue(
    audio: Audio, source: NDArray[np.float32], settings: DecomposeSettings, watch: Watch, trained: Trained | None
) -> Found:
    """Matching pursuit; in two channels each atom has a level and a phase in each."""
    dictionary = build_dictionary(fitting_dictionary(audio, settings), settings.overlap)
    limits = Limits(watch.goal, watch.budget, watch.tell)
    chosen = pursue(source, audio.sample_rate, dictionary, limits, settings.variant, settings.threshold)
    header = Header(
        duration_s=audio.duration_s,
        sample_rate=audio.sample_rate,
        channels=len(source),
        kind="gabor",
        source_name=audio.name,
        source_sha256=audio.sha256,
        settings=asdict(settings),
    )
    events = events_of(chosen, dictionary, header)
    return Found(events, events, chosen.complete)


# How events are found, by name: of the recording, its channels that events describe, the settings, who is told how far
# it has come, and the model if there is one.
METHODS: dict[str, Callable[..., Found]] = {"siam": _recognise, "pursuit": _pursue}


def notices(audio: Audio, settings: DecomposeSettings, trained: Trained | None = None) -> list[str]:
    """What is done to the recording or the dictionary, one sentence each."""
    if trained is not None:
        from . import recognising

        return recognising.notices(audio, trained)
    said = [f"its {audio.channels} channels are folded to mono"] if audio.channels > 2 else []
    left_out = _windows_left_out(audio, settings)
    if left_out:
        windows = ", ".join(map(str, left_out))
        said.append(f"windows of {windows} samples are longer than the recording and left out")
    return said


def fitting_dictionary(audio: Audio, settings: DecomposeSettings) -> str:
    """The dictionary without windows that are longer than the recording.

    Raises:
        SparseError: none is left, or a window lasts longer than a file can hold.
    """
    left_out = _windows_left_out(audio, settings)
    parts = [
        (name, tuple(length for length in lengths if length not in left_out))
        for name, lengths in parse_dictionary(settings.dictionary)
    ]
    longest = max((length for _, lengths in parts for length in lengths), default=0)
    if not longest:
        shortest = min(left_out)
        cause = f"all its windows are longer than the recording, {audio.samples.shape[1]} samples"
        raise SparseError(f"--dictionary {settings.dictionary}", cause, f"name one under {shortest}, or add dirac")
    if longest / 2 / audio.sample_rate > -MIN_ONSET_S:
        most = int(-MIN_ONSET_S * 2 * audio.sample_rate)
        cause = f"a window of {longest} samples lasts {longest / audio.sample_rate:.3g} s at {audio.sample_rate} Hz"
        raise SparseError(f"--dictionary {settings.dictionary}", cause, f"name windows of up to {most} samples")
    return "+".join(
        name if lengths == FAMILIES[name].windows else f"{name}:{','.join(map(str, lengths))}"
        for name, lengths in parts
        if lengths
    )


def _windows_left_out(audio: Audio, settings: DecomposeSettings) -> list[int]:
    lengths = {length for _, lengths in parse_dictionary(settings.dictionary) for length in lengths}
    return sorted(length for length in lengths if length > audio.samples.shape[1])


def events_of(chosen: Chosen, dictionary: Dictionary, header: Header) -> Events:
    """Atoms as events, in the order of their onsets."""
    rate, blocks = header.sample_rate, dictionary.blocks
    of = chosen.block
    length = np.array([block.length for block in blocks])[of]
    half = np.array([0.5 if block.shape == COSINE else 0.0 for block in blocks])[
        of
    ]  # its first sample is half a step in
    begin = chosen.place + np.array([block.start for block in blocks])[of] - half
    offset = np.array([block.offset for block in blocks])[of]
    freq = (chosen.bin + offset) / length  # in periods a sample
    size = 2 * np.abs(chosen.amplitude) * np.array([block.peak for block in blocks])[of, None]
    # An atom's phase is that at its reference sample; the middle of a cosine's window lies half a sample before.
    phase = np.angle(chosen.amplitude) - 2 * np.pi * (freq * half)[:, None]
    phase = np.remainder(phase + np.pi, 2 * np.pi) - np.pi
    level = np.where(size > 0, 20 * np.log10(np.maximum(size, 1e-300)), SILENT_DB).clip(SILENT_DB, MAX_LEVEL_DB)
    glide = np.array([block.glide for block in blocks])[of]
    sides = [("level_db", "phase_rad"), ("level_right_db", "phase_right_rad")]
    columns = {
        "onset_s": begin / rate,
        "duration_s": length / rate,
        "freq_hz": freq * rate,
        "chirp_hz_s": glide * (rate / length) ** 2,
        "shape": np.array([block.shape for block in blocks])[of],
    }
    for channel, (of_level, of_phase) in enumerate(sides[: header.channels]):
        columns[of_level], columns[of_phase] = level[:, channel], np.clip(phase[:, channel], -PI, PI)
    order = np.lexsort((columns["freq_hz"], columns["duration_s"], columns["onset_s"]))
    silence = np.zeros((header.channels, 0, AIR_BANDS))
    return events_from_columns(header, {name: values[order] for name, values in columns.items()}, silence)


def sound_of(events: Events, samples: int) -> NDArray[np.floating]:
    """What atoms or windows sound like at the source's rate, noise included, `[channels, samples]`."""
    if events.header.kind != "atoms":
        return render_windows(events, samples, events.header.sample_rate)
    from .rendering import render

    return render(events).samples


def measure(events: Events, source: NDArray[np.float32]) -> dict[str, float]:
    """SNR and log-mel distance at the source's rate, over all channels of the source `[channels, samples]`.

    Of atoms, what a fit tells of its own. Nothing where the source is silent.
    """
    if events.header.kind == "atoms":
        from . import fitting

        return fitting.measure(events, source)
    if not np.any(source):
        return {}
    rate = events.header.sample_rate
    rendered = sound_of(events, source.shape[1]).astype(np.float32)
    figures = {"snr_db": snr_db(source, rendered), "log_mel_db": log_mel_db(source, rendered, rate)}
    return {name: round(value, 4) for name, value in figures.items()}


def energy_of(source: NDArray[np.float32]) -> float:
    """Of all channels."""
    return float(sum(np.square(part, dtype=np.float64).sum() for part in np.array_split(source, 64, axis=1)))


class Watch:
    """The limits of a run, its clock, and its progress."""

    def __init__(
        self,
        duration_s: float,
        energy: float,
        settings: DecomposeSettings,
        on_progress: Callable[[Progress], bool] | None,
    ) -> None:
        self.energy, self.duration_s, self.settings, self.on_progress = energy, duration_s, settings, on_progress
        self.goal = 0.0 if settings.snr_db is None else energy * 10 ** (-settings.snr_db / 10)
        density = settings.density
        self.budget = None if density is None else max(1, round(density * max(1.0, duration_s / STRETCH_S)))
        self.start = time.monotonic()

    def tell(self, atoms: int, left: float) -> bool:
        """Tell how far it has come; whether to go on."""
        return self.tell_snr(atoms, 10 * math.log10(self.energy / left) if left > 0 else 200.0)

    def tell_snr(self, atoms: int, snr: float) -> bool:
        """The same, of the SNR in dB."""
        if self.settings.seconds is not None and time.monotonic() - self.start > self.settings.seconds:
            return False
        if self.on_progress is None:
            return True
        shares = [atoms / self.budget] if self.budget else []
        shares += [snr / self.settings.snr_db] if self.settings.snr_db else []
        done_s = self.duration_s * min(1.0, max(0.0, *shares, 0.0))
        return self.on_progress(Progress(done_s, self.duration_s, atoms, snr))
