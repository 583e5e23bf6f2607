"""A recording to events: modes by pursuit, their places between two channels, then the air and the bursts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.audio import Audio, source_of
from ..core.columns import (
    AIR_BANDS,
    ATOM_COLUMNS,
    MAX_LEVEL_DB,
    MODES_PER_ATOM,
    NEPERS_PER_T60,
    NUMBERS_OF_BAND,
    NUMBERS_OF_BURST,
    NUMBERS_OF_MODE,
    NUMBERS_OF_PAN,
    NUMBERS_OF_STRIKE,
    PI,
    SILENT_DB,
    STRETCH_S,
)
from ..core.events import Events, Header, events_from_columns
from ..core.grids import Codes
from ..dsp.quality import log_mel_db, snr_db
from ..dsp.resample import resample
from ..synth.air import air_frames
from ..synth.modes import envelope_peak, support_s
from .beginning import state_from
from .checkpoints import Checkpoint, check_owner, digest_of, to_checkpoint, to_state
from .descending import descended, is_of_descent
from .descent import Seen
from .devices import choose_device, one_thread
from .modal import Atoms, join
from .notes import group_notes
from .panning import solve_pans
from .pursuit import pursue, rounds_of
from .quantising import atoms_of, quantise
from .rendering import render
from .scaled import Scaled, to_atoms
from .settings import Device, FitSettings, RenderSettings
from .splats import to_events as splat_events
from .splats import voice_of
from .state import State
from .texture import BURST_WORTH_DB, Burst, Cells, burst_centres, fit_air, fit_burst, make_cells

SPARE_DB = -17.0  # against the residual while it rings: a mode of less energy may make room for a burst
BURST_SHARE = 0.01  # of the numbers that a budget leaves beside the air: for some five bursts in 1.486 s
CANCELLED_DB = 20.0  # under its channels: a mean of them that is worth a word
_MODE = ("freq{}_hz", "level{}_db", "phase{}_rad")


@dataclass(frozen=True)
class Progress:
    """How far a fit has come: seconds of audio done of all, atoms found, SNR of the coherent part in dB, and the loss.

    That is of a descent; a search has none.
    """

    done_s: float
    total_s: float
    atoms: int
    snr_db: float
    loss: float | None = None


@dataclass(frozen=True)
class FitResult:
    """What a fit found.

    Attributes:
        events: of kind `atoms`; the figures reached stand in `events.header.quality`.
        seconds: the fit took.
        complete: False where it was asked to stop early.
        codes: of quantised events, for a packed file.
        skipped: steps of a descent that were left out because something in them was not finite.
    """

    events: Events
    seconds: float
    complete: bool
    codes: Codes | None = None
    skipped: int = 0


@dataclass(frozen=True)
class Beginning:
    """Atoms that a fit begins with, and the rounds that it takes from there instead of its own plan."""

    events: Events
    rounds: int


def fit(
    audio: Audio,
    settings: FitSettings | None = None,
    on_progress: Callable[[Progress], bool] | None = None,
    on_checkpoint: Callable[[Callable[[], Checkpoint]], None] | None = None,
    resume: Checkpoint | None = None,
    on_events: Callable[[Callable[[], Events]], None] | None = None,
    begin: Beginning | None = None,
    room: Audio | None = None,
) -> FitResult:
    """Fit events to a recording. In two channels each atom has its place; more than two are folded to mono.

    Args:
        audio: any length and sample rate.
        settings: see `FitSettings`.
        on_progress: told how far the fit has come; returning False ends it with what is found so far.
        on_checkpoint: given, after each round, what makes the checkpoint that a later fit may go on from.
        resume: such a checkpoint, of the same recording and settings; the result is the same as without a break.
        on_events: given, after each round, what makes the events of modes that are found so far.
        begin: atoms of the same recording to begin with.
        room: the response of `settings.room`, in which sources and excitations sound; folded to mono.

    Raises:
        SparseError: the device is not there, or the checkpoint is of something else.
        ValueError: a room is named and not given, or the other way round.
    """
    settings = settings or FitSettings()
    if (room is None) != (settings.room is None):
        raise ValueError("a room is named by `settings.room` and given as `room`, both or neither")
    room = None if room is None else replace(room, samples=room.mono()[None])
    watch = _Watch(audio.duration_s, settings, on_progress)
    source = source_of(audio)
    spend = spendable(settings, audio.duration_s)
    with one_thread():
        for_modes = _room_for_modes(spend - air_numbers(audio.duration_s, len(source)), len(source))
        events = _fit_modes(
            audio, audio.mono(), settings, for_modes, watch, on_checkpoint, resume, on_events, begin, room
        )
        events = place_atoms(events, source, settings.device)
        in_phase = settings.method != "descent"
        events = add_texture(events, source, spend - events.numbers, room, in_phase)
        events = replace(events, header=replace(events.header, quality=measure(events, source, room)))
        events = group_notes(events) if settings.notes else events
        events, codes = (events, None) if settings.bits is None else quantise_fit(events, source, settings)
    return FitResult(events, watch.elapsed_s, not watch.asked_to_stop, codes, watch.skipped)


def quantise_fit(events: Events, source: NDArray[np.float32], settings: FitSettings) -> tuple[Events, Codes]:
    """The events of a fit and their codes on a grid of `settings.bits`.

    The header tells the figures of these events, and no settings that are defaults, so that it is small.

    Args:
        events: as fitted, with the figures reached.
        source: the recording `[channels, samples]`.
        settings: of the fit, and `bits`.
    """
    assert settings.bits is not None
    found = quantise(events, source.mean(0), settings.bits, fit_rate(events.header.sample_rate, settings))
    quality = measure(found.events, source)
    lost = {"snr_lost_db": round(events.header.quality["snr_db"] - quality["snr_db"], 4)} if quality else {}
    header = replace(
        events.header,
        settings={name: value for name, value in asdict(settings).items() if value != getattr(FitSettings(), name)},
        quality={**quality, "bits": round(found.bits, 4), **lost},
    )
    return replace(found.events, header=header), found.codes


def notices(audio: Audio, with_residual: bool = False) -> tuple[str, ...]:
    """What becomes of the channels of a recording that is fitted, where that is worth a word; one sentence each."""
    also = ", and so is the residual" if with_residual else ""
    folded = (f"its {audio.channels} channels are folded to mono{also}",) if audio.channels > 2 else ()
    heard, mean = (float(np.mean(np.square(x, dtype=np.float64))) for x in (audio.samples, audio.mono()))
    if mean >= heard * 10 ** (-CANCELLED_DB / 10):
        return folded
    under = f"{10 * math.log10(heard / mean):.0f} dB under them" if mean else "silent"
    return (*folded, f"its channels cancel each other: their mean, in which atoms are found, is {under}")


class _Watch:
    """Tells how far a fit has come, and whether it shall go on: not when asked to stop, nor when the time is up."""

    def __init__(
        self, duration_s: float, settings: FitSettings, on_progress: Callable[[Progress], bool] | None
    ) -> None:
        self.started = time.monotonic()
        self.duration_s, self.limit_s, self.on_progress = duration_s, settings.seconds, on_progress
        self.asked_to_stop = False
        self.skipped = 0

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started

    def __call__(self, share: float, atoms: int, snr_db: float) -> bool:
        return self._goes_on(Progress(self.duration_s * share, self.duration_s, atoms, snr_db))

    def descending(self, seen: Seen) -> bool:
        """The same of a descent."""
        done_s = self.duration_s * seen.done
        return self._goes_on(Progress(done_s, self.duration_s, seen.active, seen.snr_db, seen.loss))

    def _goes_on(self, progress: Progress) -> bool:
        if self.on_progress and self.on_progress(progress) is False:
            self.asked_to_stop = True
        return self.goes_on

    @property
    def goes_on(self) -> bool:
        """Whether nothing asks the fit to end."""
        return not (self.asked_to_stop or (self.limit_s is not None and self.elapsed_s > self.limit_s))


def _fit_modes(
    audio: Audio,
    source: NDArray[np.float32],
    settings: FitSettings,
    spend: int,
    watch: _Watch,
    on_checkpoint: Callable[[Callable[[], Checkpoint]], None] | None = None,
    resume: Checkpoint | None = None,
    on_events: Callable[[Callable[[], Events]], None] | None = None,
    begin: Beginning | None = None,
    room: Audio | None = None,
) -> Events:
    """Events of modes alone, for the source `[samples]`, found at twice the bandwidth."""
    rate = fit_rate(audio.sample_rate, settings)
    target = resample(source, audio.sample_rate, rate)
    centred = torch.from_numpy(target - target.mean()).to(choose_device(settings.device), torch.float64)
    peak = centred.abs().max().clamp(min=1e-30) if len(centred) else torch.ones(())  # so that levels do not matter
    header = Header(
        duration_s=audio.duration_s,
        sample_rate=audio.sample_rate,
        channels=len(source_of(audio)),
        source_name=audio.name,
        source_sha256=audio.sha256,
        seed=settings.seed,
        settings=asdict(settings),
    )
    belongs_to = digest_of(source, settings) if on_checkpoint or resume else ""

    def found_so_far(atoms: Atoms) -> Events:
        return to_events(replace(atoms, amp=atoms.amp * peak), rate, header)

    def keep(phase: int, state: State) -> None:
        if on_checkpoint:
            on_checkpoint(lambda: to_checkpoint(belongs_to, phase, state))
        if on_events:
            on_events(lambda: found_so_far(join(state.atoms)))

    voice = voice_of(settings, audio.sample_rate, rate, room)

    def descended_so_far(atoms: Scaled) -> Events:
        if settings.envelope:
            return splat_events(atoms, settings.envelope, header, float(peak), room is not None)
        return found_so_far(to_atoms(atoms, rate))

    def keep_descent(checkpoint: Callable[[], Checkpoint], atoms: Callable[[], Scaled]) -> None:
        if on_checkpoint:
            on_checkpoint(checkpoint)
        if on_events:
            on_events(lambda: descended_so_far(atoms()))

    check_owner(resume, belongs_to)
    in_descent = resume if resume and is_of_descent(resume) else None
    atoms = None
    if not in_descent and (settings.method, settings.init) != ("descent", "random"):
        start = to_state(resume, belongs_to, centred.device) if resume else None
        plan = None
        if begin is not None:
            given = atoms_of(begin.events, rate)
            start = (0, state_from(replace(given, amp=given.amp / peak), centred / peak, rate, settings))
            plan = rounds_of(begin.rounds)
        atoms = pursue(centred / peak, rate, settings, spend, watch, keep, start, plan)
    if settings.method != "search" and (atoms is None or watch.goes_on):
        descent, watch.skipped = descended(
            centred / peak, rate, settings, spend, atoms, belongs_to, watch.descending, keep_descent, in_descent, voice
        )
        return descended_so_far(descent)
    assert atoms is not None
    return found_so_far(atoms)


def fit_rate(sample_rate: int, settings: FitSettings) -> int:
    """The rate in Hz at which modes are found: twice the bandwidth, or the source's where that is lower."""
    return min(sample_rate, round(2 * settings.bandwidth_hz))


def spendable(settings: FitSettings, duration_s: float) -> int:
    """Numbers that may be used in all."""
    if settings.budget is None:
        return 1 << 62
    return round(settings.budget * duration_s / STRETCH_S)


def air_numbers(duration_s: float, channels: int = 1) -> int:
    """Numbers of the air."""
    return channels * air_frames(duration_s) * AIR_BANDS


def _room_for_modes(numbers: int, channels: int) -> int:
    """How many of the numbers the modes may take, so that what is left is enough for bursts and places of atoms."""
    numbers -= int(BURST_SHARE * numbers)
    if channels < 2:
        return numbers
    fewest = NUMBERS_OF_STRIKE + NUMBERS_OF_MODE  # that an atom has besides its place
    return numbers * fewest // (fewest + NUMBERS_OF_PAN)


def to_events(atoms: Atoms, rate: int, header: Header) -> Events:
    """Fitted atoms `[1, A]`, in samples of `rate` Hz, as a table in the order of their onsets, loudest mode first."""
    atoms = atoms.packed()
    order = torch.argsort(atoms.onset[0], stable=True)
    onset_s, attack_s = atoms.onset[0, order] / rate, atoms.log_attack[0, order].exp() / rate
    decay_s = NEPERS_PER_T60 / (atoms.log_damping[0, order].exp() * rate)
    amp, omega = atoms.amp[0, order], atoms.omega[0, order]
    level_db = 20 * torch.log10((amp.abs() * envelope_peak(attack_s, decay_s)[:, None]).clamp(min=1e-12))
    level_db = torch.where(atoms.used[0, order], level_db.clamp(SILENT_DB, MAX_LEVEL_DB), SILENT_DB)
    slots = torch.argsort(level_db, dim=1, descending=True, stable=True)
    used = atoms.used[0, order].gather(1, slots)
    values = {
        "freq_hz": omega * rate / (2 * math.pi),
        "level_db": level_db,
        "phase_rad": amp.angle().clamp(-PI, PI),
    }
    columns = {"onset_s": onset_s, "attack_s": attack_s, "decay_s": decay_s}
    for quantity, table in values.items():
        name, _, unit = quantity.partition("_")
        sorted_ = torch.where(used, table.gather(1, slots), SILENT_DB if name == "level" else 0.0)
        columns |= {f"{name}{slot + 1}_{unit}": sorted_[:, slot] for slot in range(MODES_PER_ATOM)}
    columns["noise_level_db"] = torch.full_like(onset_s, SILENT_DB)
    columns["pan"] = torch.zeros_like(onset_s)  # left out where there is one channel
    silence = np.zeros((header.channels, 0, AIR_BANDS))
    return events_from_columns(header, {name: value.cpu().numpy() for name, value in columns.items()}, silence)


def place_atoms(events: Events, source: NDArray[np.float32], device: Device = "auto") -> Events:
    """The events of modes with their places between the two channels of the source `[2, samples]`; one has none."""
    if "pan" not in events.columns:
        return events
    left, right = source
    params = events.params.copy()
    params[:, events.columns.index("pan") - 1] = solve_pans(events, (right - left) / 2, device)
    return replace(events, params=params)


def add_texture(
    events: Events, source: NDArray[np.float32], numbers: int, room: Audio | None = None, in_phase: bool = True
) -> Events:
    """The events with the air of what they leave of the source and noise bursts, within so many numbers.

    Args:
        events: of modes, and bursts that are there already.
        source: `[channels, samples]`; each channel has an air of its own.
        numbers: what air and bursts may use together.
        room: in which the events sound.
        in_phase: they follow the waveform. The difference of others to it is full of what is there already.
    """
    if not np.any(source):
        return events
    rate = events.header.sample_rate
    heard, signal = torch.from_numpy(_heard(events, source, room)), torch.from_numpy(source)
    air = torch.empty(len(source), 0, AIR_BANDS)
    if numbers >= air_numbers(events.header.duration_s, len(source)):
        pairs = zip(signal, heard, strict=True)
        air = torch.stack([fit_air(x - y, rate) if in_phase else fit_air(x, rate, y) for x, y in pairs])
    numbers -= int((air > SILENT_DB).sum())
    residual_power = (signal - heard).double().square().mean(0)
    events = add_bursts(events, make_cells(signal, heard, air, rate), residual_power.numpy(), numbers)
    return replace(events, air=air.numpy().astype(np.float32))


def add_bursts(events: Events, cells: Cells, residual_power: NDArray[np.float64], numbers: int) -> Events:
    """The events with the noise bursts that are worth their numbers, as long as those last.

    Where numbers are few, what helps most for each of them comes first. An atom whose last slot is free, or holds a
    mode that hardly matters, has its burst anywhere; another's lies on one of its modes, which moves to the last slot.
    At the place p of its atom a burst of level N has the power (1 + p^2) N^2 in the mean of two channels.
    """
    params = events.params.copy()
    aside = 1 + events.column("pan") ** 2 if "pan" in events.columns else np.ones(len(events))
    place = {column.name: index - 1 for index, column in enumerate(ATOM_COLUMNS)}
    slots = np.array([[place[name.format(slot)] for name in _MODE] for slot in range(1, MODES_PER_ATOM + 1)])
    freq, level = slots[:, 0], slots[:, 1]
    anywhere, spare = burst_centres(cells), _spare_modes(events, residual_power)

    def burst_of(row: int) -> tuple[Burst | None, bool, int]:
        """The burst that would help, whether it may lie anywhere, and what it costs."""
        attack_s, decay_s = params[row, place["attack_s"]].item(), params[row, place["decay_s"]].item()
        full = params[row, level[-1]] > SILENT_DB  # the loudest stand first
        free = not full or bool(spare[row])
        centres = anywhere if free else torch.from_numpy(params[row, freq])
        burst = fit_burst(cells, float(events.onset_s[row]), attack_s, decay_s, centres)
        cost = NUMBERS_OF_BURST + NUMBERS_OF_BAND * int(free)
        return (burst if burst and burst.gain_db >= BURST_WORTH_DB else None), free, cost

    rows = [row for row in range(len(events)) if params[row, place["noise_level_db"]] <= SILENT_DB]
    if numbers < len(rows) * (NUMBERS_OF_BURST + NUMBERS_OF_BAND):  # not enough for all: the best first
        worths = [burst.gain_db / cost if burst else 0.0 for burst, _, cost in map(burst_of, rows)]
        rows = sorted((row for row in rows if worths[row]), key=lambda row: -worths[row])
    for row in rows:
        if numbers < NUMBERS_OF_BURST:
            break
        burst, free, cost = burst_of(row)
        if burst is None or cost > numbers:
            continue
        if free:
            numbers += NUMBERS_OF_MODE * int(params[row, level[-1]] > SILENT_DB)
            params[row, slots[-1]] = (burst.freq_hz, SILENT_DB, 0.0)
        else:
            chosen = int(np.argmin(np.abs(params[row, freq] - burst.freq_hz)))
            params[row, slots[[chosen, -1]]] = params[row, slots[[-1, chosen]]]
        params[row, place["noise_level_db"]] = burst.level_db - 10 * math.log10(aside[row])
        cells.model[burst.rows] += burst.power
        numbers -= cost
    return replace(events, params=params)


def _spare_modes(events: Events, residual_power: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the quietest mode of each atom is far under the residual while it rings, `[E]`."""
    rate = events.header.sample_rate
    attack_s, decay_s = (torch.from_numpy(events.column(name)) for name in ("attack_s", "decay_s"))
    ringing_s = support_s(attack_s, decay_s, 20.0).numpy()  # about as long as its energy lasts
    peak = 10 ** (events.modes("level_db")[:, -1] / 10)
    total = np.concatenate([[0.0], np.cumsum(residual_power)])
    begin = np.clip(np.round(events.onset_s * rate).astype(int), 0, len(residual_power))
    end = np.clip(np.round((events.onset_s + ringing_s) * rate).astype(int), begin, len(residual_power))
    energy = 0.25 * peak * (end - begin)  # half the peak's power, and half of that for its decay
    return np.asarray(energy < 10 ** (SPARE_DB / 10) * (total[end] - total[begin]))


def _heard(events: Events, source: NDArray[np.float32], room: Audio | None, noise: bool = True) -> NDArray[np.float32]:
    """The sound of events, all of what they send into a room in it, over the source `[channels, samples]`."""
    return render(events, RenderSettings(noise=noise, wet=1.0), room).samples[:, : source.shape[1]]


def measure(events: Events, source: NDArray[np.float32], room: Audio | None = None) -> dict[str, float]:
    """Quality reached at the source's rate, over all channels of the source `[channels, samples]` as one signal.

    SNR and log-mel distance of the coherent part and of all; nothing where the source is silent.
    """
    if not np.any(source):
        return {}
    rate = events.header.sample_rate
    coherent, full = (_heard(events, source, room, noise) for noise in (False, True))
    figures = {
        "snr_db": snr_db(source, coherent),
        "snr_full_db": snr_db(source, full),
        "log_mel_db": log_mel_db(source, full, rate),
        "log_mel_coherent_db": log_mel_db(source, coherent, rate),
    }
    return {name: round(value, 4) for name, value in figures.items()}  # the digits beyond are rounding of the machine's
