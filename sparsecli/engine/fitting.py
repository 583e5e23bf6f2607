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
from ..core.columns import AIR_BANDS, ATOM_COLUMNS, MAX_LEVEL_DB, MODES_PER_ATOM, PI, SILENT_DB, STRETCH_S
from ..core.events import Events, Header, events_from_columns
from ..dsp.quality import log_mel_db, snr_db
from ..dsp.resample import resample
from ..synth.air import air_frames
from ..synth.modes import NEPERS_PER_T60, envelope_peak
from .devices import choose_device
from .modal import Atoms
from .pursuit import most_atoms, pursue
from .rendering import render
from .settings import FitSettings, RenderSettings
from .texture import fit_air


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
    """
    settings = settings or FitSettings()
    started = time.monotonic()
    source = audio.mono()
    rate = min(audio.sample_rate, round(2 * settings.bandwidth_hz))
    target = resample(source, audio.sample_rate, rate)
    most = most_atoms(settings, audio.duration_s)
    asked_to_stop = False

    def watch(atoms: int, snr: float) -> bool:
        nonlocal asked_to_stop
        done = audio.duration_s * min(1.0, atoms / most)
        if on_progress and on_progress(Progress(done, audio.duration_s, atoms, snr)) is False:
            asked_to_stop = True
        late = settings.seconds is not None and time.monotonic() - started > settings.seconds
        return not (asked_to_stop or late)

    device = choose_device(settings.device)
    centred = torch.from_numpy(target - target.mean()).to(device=device, dtype=torch.float64)
    atoms = pursue(centred, rate, settings, spendable(settings, audio.duration_s), watch)
    header = Header(
        duration_s=audio.duration_s,
        sample_rate=audio.sample_rate,
        source_name=audio.name,
        source_sha256=audio.sha256,
        seed=settings.seed,
        settings=asdict(settings),
    )
    events = to_events(atoms, rate, header)
    events = add_texture(events, source)
    events = replace(events, header=replace(events.header, quality=measure(events, source)))
    return FitResult(events, time.monotonic() - started, not asked_to_stop)


def spendable(settings: FitSettings, duration_s: float) -> int:
    """Numbers that the modes may use: the budget without the air."""
    if settings.budget is None:
        return 1 << 62
    return round(settings.budget * duration_s / STRETCH_S) - air_frames(duration_s) * AIR_BANDS


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
    silence = np.full((header.channels, air_frames(header.duration_s), AIR_BANDS), SILENT_DB)
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


def add_texture(events: Events, source: NDArray[np.float32]) -> Events:
    """The events with the air of what they leave of the source `[samples]`."""
    if not np.any(source):
        return events
    coherent = render(events, RenderSettings(noise=False)).samples[0]
    residual = torch.from_numpy(source - coherent)
    air = fit_air(residual, events.header.sample_rate)
    return replace(events, air=air.numpy()[None].astype(np.float32))


def measure(events: Events, source: NDArray[np.float32]) -> dict[str, float]:
    """Quality reached at the source's rate; the SNR and convergence of the coherent part, the log-mel of all."""
    if not np.any(source):
        return {}
    rate = events.header.sample_rate
    coherent = render(events, RenderSettings(noise=False)).samples[0]
    full = render(events).samples[0]
    return {
        "snr_db": snr_db(source, coherent),
        "snr_full_db": snr_db(source, full),
        "log_mel_db": log_mel_db(source, full, rate),
        "log_mel_coherent_db": log_mel_db(source, coherent, rate),
    }
