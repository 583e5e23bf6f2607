"""A recording to events: modes by pursuit, then the air and the bursts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.audio import Audio
from ..core.columns import (
    AIR_BANDS,
    ATOM_COLUMNS,
    MAX_LEVEL_DB,
    MODES_PER_ATOM,
    NUMBERS_OF_BURST,
    PI,
    SILENT_DB,
    STRETCH_S,
)
from ..core.events import Events, Header, events_from_columns
from ..dsp.quality import log_mel_db, snr_db
from ..dsp.resample import resample
from ..synth.air import air_frames
from ..synth.modes import NEPERS_PER_T60, envelope_peak
from .devices import choose_device, one_thread
from .modal import Atoms
from .pursuit import most_atoms, pursue
from .rendering import render
from .settings import FitSettings, RenderSettings
from .texture import fit_air, fit_burst, make_cells


@dataclass(frozen=True)
class Progress:
    """How far a fit has come: seconds of audio done of all, atoms found, SNR of the coherent part in dB."""

    done_s: float
    total_s: float
    atoms: int
    snr_db: float


@dataclass(frozen=True)
class FitResult:
    """What a fit found.

    Attributes:
        events: of kind `atoms`; the figures reached stand in `events.header.quality`.
        seconds: the fit took.
        complete: False where it was asked to stop early.
    """

    events: Events
    seconds: float
    complete: bool


def fit(
    audio: Audio, settings: FitSettings | None = None, on_progress: Callable[[Progress], bool] | None = None
) -> FitResult:
    """Fit events to a recording; more than one channel is folded to mono.

    Args:
        audio: any length and sample rate.
        settings: see `FitSettings`.
        on_progress: told how far the fit has come; returning False ends it with what is found so far.

    Raises:
        SparseError: the device is not there.
    """
    settings = settings or FitSettings()
    watch = _Watch(audio.duration_s, settings, on_progress)
    source = audio.mono()
    spend = spendable(settings, audio.duration_s)
    with one_thread():
        events = _fit_modes(audio, source, settings, spend - air_numbers(audio.duration_s), watch)
        events = add_texture(events, source, spend - events.numbers)
        events = replace(events, header=replace(events.header, quality=measure(events, source)))
    return FitResult(events, watch.elapsed_s, not watch.asked_to_stop)


class _Watch:
    """Tells how far a fit has come, and whether it shall go on: not when asked to stop, nor when the time is up."""

    def __init__(
        self, duration_s: float, settings: FitSettings, on_progress: Callable[[Progress], bool] | None
    ) -> None:
        self.started = time.monotonic()
        self.duration_s, self.limit_s, self.on_progress = duration_s, settings.seconds, on_progress
        self.most = most_atoms(settings, duration_s)
        self.asked_to_stop = False

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started

    def __call__(self, atoms: int, snr_db: float) -> bool:
        done_s = self.duration_s * min(1.0, atoms / self.most)
        if self.on_progress and self.on_progress(Progress(done_s, self.duration_s, atoms, snr_db)) is False:
            self.asked_to_stop = True
        return not (self.asked_to_stop or (self.limit_s is not None and self.elapsed_s > self.limit_s))


def _fit_modes(
    audio: Audio, source: NDArray[np.float32], settings: FitSettings, spend: int, watch: Callable[[int, float], bool]
) -> Events:
    """Events of modes alone, for the source `[samples]`, found at twice the bandwidth."""
    rate = min(audio.sample_rate, round(2 * settings.bandwidth_hz))
    target = resample(source, audio.sample_rate, rate)
    centred = torch.from_numpy(target - target.mean()).to(choose_device(settings.device), torch.float64)
    peak = centred.abs().max().clamp(min=1e-30) if len(centred) else torch.ones(())  # so that levels do not matter
    header = Header(
        duration_s=audio.duration_s,
        sample_rate=audio.sample_rate,
        source_name=audio.name,
        source_sha256=audio.sha256,
        seed=settings.seed,
        settings=asdict(settings),
    )
    atoms = pursue(centred / peak, rate, settings, spend, watch)
    return to_events(replace(atoms, amp=atoms.amp * peak), rate, header)


def spendable(settings: FitSettings, duration_s: float) -> int:
    """Numbers that may be used in all."""
    if settings.budget is None:
        return 1 << 62
    return round(settings.budget * duration_s / STRETCH_S)


def air_numbers(duration_s: float) -> int:
    """Numbers of the air of one channel."""
    return air_frames(duration_s) * AIR_BANDS


def to_events(atoms: Atoms, rate: int, header: Header) -> Events:
    """Fitted atoms, in samples of `rate` Hz, as a table in the order of their onsets, loudest mode first."""
    order = torch.argsort(atoms.onset, stable=True).cpu()
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    table = _mode_table(atoms, rate)
    count = len(order)
    columns = {column.name: np.zeros(count) for column in ATOM_COLUMNS}
    columns["onset_s"] = (atoms.onset.cpu()[order] / rate).numpy()
    columns["attack_s"] = (atoms.log_attack.exp().cpu()[order] / rate).numpy()
    columns["noise_level_db"][:] = SILENT_DB
    for slot in range(1, MODES_PER_ATOM + 1):
        columns[f"level{slot}_db"][:] = SILENT_DB
    rows = place[atoms.owner.cpu()].numpy()
    by_level = np.lexsort((-table["level_db"], rows))  # within an atom, loudest first
    slots = np.arange(len(rows)) - np.searchsorted(rows[by_level], rows[by_level])
    for slot in range(MODES_PER_ATOM):
        here = by_level[slots == slot]
        for quantity, values in table.items():
            name, _, unit = quantity.partition("_")
            columns[f"{name}{slot + 1}_{unit}"][rows[here]] = values[here]
    silence = np.zeros((header.channels, 0, AIR_BANDS))
    return events_from_columns(header, columns, silence)


def _mode_table(atoms: Atoms, rate: int) -> dict[str, NDArray[np.float64]]:
    """The four numbers of each mode, float64 `[K]`, within the ranges of the table of columns."""
    damping = atoms.log_damping.exp() * rate
    decay_s = NEPERS_PER_T60 / damping
    attack_s = atoms.log_attack.exp()[atoms.owner] / rate
    level_db = 20 * torch.log10((atoms.amp.abs() * envelope_peak(attack_s, decay_s)).clamp(min=1e-12))
    values = {
        "freq_hz": atoms.omega * rate / (2 * math.pi),
        "decay_s": decay_s,
        "level_db": level_db.clamp(SILENT_DB, MAX_LEVEL_DB),
        "phase_rad": atoms.amp.angle().clamp(-PI, PI),
    }
    return {name: value.cpu().numpy() for name, value in values.items()}


def add_texture(events: Events, source: NDArray[np.float32], numbers: int) -> Events:
    """The events with the air of what they leave of the source `[samples]` and noise bursts, within so many numbers."""
    if not np.any(source):
        return events
    rate = events.header.sample_rate
    coherent = torch.from_numpy(render(events, RenderSettings(noise=False)).samples[0])
    signal = torch.from_numpy(source)
    air = (
        fit_air(signal - coherent, rate)
        if numbers >= air_numbers(events.header.duration_s)
        else torch.empty(0, AIR_BANDS)
    )
    numbers -= int((air > SILENT_DB).sum())
    cells = make_cells(signal, coherent, air, rate)
    params = events.params.copy()
    for row, (onset_s, attack_s) in enumerate(zip(events.onset_s, events.column("attack_s"), strict=True)):
        if numbers >= NUMBERS_OF_BURST and (burst := fit_burst(cells, float(onset_s), float(attack_s))):
            params[row, -2:] = burst
            numbers -= NUMBERS_OF_BURST
    return replace(events, params=params, air=air.numpy()[None].astype(np.float32))


def measure(events: Events, source: NDArray[np.float32]) -> dict[str, float]:
    """Quality reached at the source's rate; the SNR and convergence of the coherent part, the log-mel of all."""
    if not np.any(source):
        return {}
    rate = events.header.sample_rate
    coherent = render(events, RenderSettings(noise=False)).samples[0]
    full = render(events).samples[0]
    figures = {
        "snr_db": snr_db(source, coherent),
        "snr_full_db": snr_db(source, full),
        "log_mel_db": log_mel_db(source, full, rate),
        "log_mel_coherent_db": log_mel_db(source, coherent, rate),
    }
    return {name: round(value, 4) for name, value in figures.items()}  # the digits beyond are rounding of the machine's
