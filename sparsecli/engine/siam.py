"""Events of a recording by the Sparse Interpretable Audio Model: look, pick, solve, subtract, and look again.

A look finds the peaks of the residual's spectrum on several scales and asks the model what strikes made them. The best
that do not overlap are taken; each gets up to four tones under its attack and decay, found in the spectrum of the
residual under its envelope; amplitudes and phases of all that are taken are solved jointly by least squares, their
sound is subtracted as a wave, and the model looks again. In the end all amplitudes are solved once more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.columns import (
    ATOM_COLUMNS,
    MIN_ATTACK_S,
    MIN_ONSET_S,
    MODES_PER_ATOM,
    NEPERS_PER_T60,
    NOISE_FREQ,
    PI,
    SILENT_DB,
)
from ..dsp.parallel import side_by_side
from ..dsp.resample import resample
from ..models.siam import Siam, Strikes
from ..synth.modes import envelope_peak
from .amplitudes import solve_all
from .devices import one_thread
from .modal import BLOCK, Atoms, join, no_atoms
from .refine import restraint_of
from .siam_bands import Peaks, ask, find_peaks, join_peaks
from .siam_tones import give_tones

LOWEST_HZ = 20.0
LOOKS = 8  # at least: none takes more than its share of the events
PEAKS_PER_PICK = 3  # of each scale, for each event that a look may take
LEAST_PEAKS = 64
UNLIKELY = 0.02  # of a peak that the model takes for the beginning of an event: it ends where all are less
RIVALS = 2  # events that are compared with all their tones, for each that a look may take
ASKED_AGAIN = 6  # of all scales, for each event: those that are made exact
WEAKEST = 0.05  # of the best gain of a look: what is weaker waits, since it may be a side lobe
STEPS = 1  # of conjugate gradients over the amplitudes of what a look takes
FILLS = 2  # times that slots which were left empty are offered new tones in the end
LAST_STEPS = 4  # over all amplitudes in the end
FAINT = 1e-12  # of the recording's energy: rounding, not sound
MIN_SAMPLES = 64


@dataclass(frozen=True)
class SiamLimits:
    """When to stop.

    Attributes:
        events: at most, over the whole recording.
        snr_db: once this SNR is reached; None: no such goal.
    """

    events: int
    snr_db: float | None = None


@dataclass(frozen=True)
class Found:
    """E events in the order of their onsets.

    Attributes:
        vectors: float32 `[E, 16]`.
        onset_s: float64 `[E]`.
        gain_db: float32 `[E]`, level of the loudest tone.
        complete: False where it was asked to stop early.
    """

    vectors: NDArray[np.float32]
    onset_s: NDArray[np.float64]
    gain_db: NDArray[np.float32]
    complete: bool


Tell = Callable[[int, float], bool]  # told the events so far and the SNR in dB; says whether to go on


def find_events(
    model: Siam,
    samples: NDArray[np.float32],
    sample_rate: int,
    limits: SiamLimits,
    tell: Tell = lambda events, snr_db: True,
) -> Found:
    """The events of a recording; the air and the noise of bursts are found elsewhere, in what these leave.

    Args:
        model: on the device that is to work.
        samples: float32 `[channels, T]`; the mean of the channels is looked at.
        sample_rate: in Hz.
        limits: when to stop.
        tell: told how far it has come; returning False ends it with what is found so far.
    """
    rate = model.shape.sample_rate
    mono = resample(np.ascontiguousarray(samples.mean(0), np.float32), sample_rate, rate)
    device = next(model.parameters()).device
    with one_thread(), torch.no_grad():
        atoms, complete = pick_atoms(model, torch.from_numpy(mono).to(device), limits, tell)
        onset_s, gain_db, strikes = strikes_of_atoms(atoms, rate)
        vectors = model.encode(strikes)
    return Found(
        vectors.float().cpu().numpy(), onset_s.cpu().numpy(), gain_db.float().cpu().numpy(), complete
    )  # fmt: skip


def pick_atoms(model: Siam, sound: Tensor, limits: SiamLimits, tell: Tell) -> tuple[Atoms, bool]:
    """Atoms `[1, A]` of a sound at the model's rate, float32 `[T]`, onsets in samples; and whether they are all."""
    samples = len(sound)
    centred = sound.double() - sound.double().mean() if samples else sound.double()
    energy = float(centred.square().sum())
    atoms = no_atoms(device=sound.device)
    if samples < MIN_SAMPLES or energy == 0:
        return atoms, True
    blocks = -(-samples // BLOCK)
    residual = torch.nn.functional.pad(centred, (0, blocks * BLOCK - samples)).view(blocks, BLOCK)
    complete = True
    while room := limits.events - atoms.onset.shape[1]:
        new, _ = look(model, residual.flatten()[:samples].float(), min(room, -(-limits.events // LOOKS)), energy)
        if not new.onset.shape[1]:
            break
        restraint = restraint_of(residual, energy)
        new, residual = solve_all(new, residual, samples, restraint, STEPS)
        atoms = join([atoms, new])
        snr_db = 10 * math.log10(energy / max(float(residual.square().sum()), 1e-20 * energy))
        complete = tell(atoms.onset.shape[1], snr_db)
        if not complete or (limits.snr_db is not None and snr_db >= limits.snr_db):
            break
    for _ in range(FILLS):
        filled = fill(model, residual.flatten()[:samples].float(), atoms, FAINT * energy)
        atoms, residual = solve_all(filled, residual, samples, restraint_of(residual, energy), STEPS)
    atoms, _ = solve_all(atoms, residual, samples, restraint_of(residual, energy), LAST_STEPS)
    return atoms, complete


def fill(model: Siam, residual: Tensor, atoms: Atoms, least: float) -> Atoms:
    """Atoms with tones of amplitude 0 in the slots that were left empty, none of which takes another's."""
    empty = torch.nonzero(~atoms.used[0].all(-1))[:, 0]
    part = atoms.columns(empty)
    filled, gains = give_tones(residual, part, *band_of(model))
    gains = torch.where(part.used[0], 0.0, gains)
    rows, free = apart(filled, gains, len(gains), least)
    used = part.used.clone()
    used[0, rows] |= free
    if not len(empty):
        return atoms
    return replace(
        atoms,
        omega=atoms.omega.index_copy(1, empty, filled.omega),
        used=atoms.used.index_copy(1, empty, used),
    )


def band_of(model: Siam) -> tuple[float, float]:
    """Lowest and highest frequency of tones, in radians a sample."""
    return 2 * math.pi * LOWEST_HZ / model.shape.sample_rate, 0.985 * math.pi


def look(model: Siam, residual: Tensor, most: int, energy: float) -> tuple[Atoms, Peaks]:
    """What the model sees in a residual, float32 `[T]`: atoms `[1, n]` with amplitudes still 0, and their peaks."""
    rate = model.shape.sample_rate
    low, high = band_of(model)
    count = max(LEAST_PEAKS, PEAKS_PER_PICK * most)
    found = side_by_side(lambda scale: find_peaks(residual, scale, low, high, count), model.shape.scales)
    peaks = join_peaks(found)
    peaks, said, gain = ask(model, residual, peaks, max(LEAST_PEAKS, ASKED_AGAIN * most))
    shapes = shapes_of(peaks, said, rate, len(residual), high)
    likely = torch.sigmoid(said[:, 4])
    likely = torch.where(likely > UNLIKELY, likely, 0.0)
    offered, _ = apart(shapes, (gain * likely)[:, None], RIVALS * most, FAINT * energy)
    events, gains = give_tones(residual, shapes.columns(offered), low, high)
    rows, free = apart(events, gains * likely[offered, None], most, FAINT * energy)
    return events.columns(rows).without(~free[None]), peaks.at(offered[rows])


def shapes_of(peaks: Peaks, said: Tensor, rate: int, samples: int, high: float) -> Atoms:
    """What the model says of peaks as atoms `[1, K]` of one tone each without amplitude, within bounds."""
    scale, said = peaks.scale.double(), said.double()
    onset = peaks.middle + said[:, 0] * scale
    attack = (said[:, 1].exp() * scale).clamp(max(MIN_ATTACK_S * rate, 1.0), 0.7 * rate)
    ring = (said[:, 2].exp() * scale).clamp(8.0, 60_000.0)  # as the fit bounds them (`refine.py`)
    new = no_atoms(1, len(scale), scale.device)
    new.used[0, :, 0] = True
    new.omega[0, :, 0] = (peaks.omega + said[:, 3] / scale).clamp(1e-3, high)
    return replace(
        new,
        onset=onset.clamp(MIN_ONSET_S * rate, samples - 16.0)[None],
        log_attack=attack.log()[None],
        log_damping=-ring.log()[None],
    )


def apart(events: Atoms, gains: Tensor, most: int, least: float) -> tuple[Tensor, Tensor]:
    """The best of events that do not take each other's tones.

    Args:
        events: `[1, K]`.
        gains: energy that their first m tones explain, `[K, m]`.
        most: how many at most.
        least: gain of an event that is worth taking; less than a share of the best waits for the next look.

    Returns:
        Rows `[n]`, best first, and which tones `[n, 4]` none of those before has taken.
    """
    onset, omega = events.onset[0], events.omega[0, :, : gains.shape[1]]
    damping, attack = events.log_damping[0].exp(), events.log_attack[0].exp()
    length = 2 / damping + 2 * attack
    left, chosen, free = gains.clone(), list[int](), list[Tensor]()
    least = max(least, WEAKEST * float(gains.sum(1).amax())) if len(gains) else least
    while len(chosen) < most and len(gains):
        total = left.sum(1)
        best = int(total.argmax())
        if not float(total[best]) > least:
            break
        own = left[best] > 0
        chosen.append(best)
        free.append(own)
        shorter = torch.minimum(length, length[best]).clamp(min=64.0)
        width = 2 * (damping + damping[best]) + 4 * math.pi / shorter  # within which two tones are not told apart
        meet = torch.minimum(onset + length, onset[best] + length[best]) > torch.maximum(onset, onset[best])
        close = (omega[:, :, None] - omega[best, own]).abs() < width[:, None, None]  # [K, m, own]
        left = torch.where(meet[:, None] & close.any(-1), 0.0, left)
        left[best] = 0.0
    if not chosen:
        return torch.zeros(0, dtype=torch.int64, device=gains.device), gains[:0] > 0
    return torch.tensor(chosen, device=gains.device), torch.stack(free)


def strikes_of_atoms(atoms: Atoms, rate: int) -> tuple[Tensor, Tensor, Strikes]:
    """Onsets in seconds, gains in dB and strikes without noise of atoms `[1, A]`, by onset, each loudest tone first."""
    atoms = atoms.packed()
    order = torch.argsort(atoms.onset[0], stable=True)
    attack_s, decay_s = atoms.log_attack[0, order].exp() / rate, atoms.log_damping[0, order].exp() * rate
    decay_s = NEPERS_PER_T60 / decay_s
    amp, used = atoms.amp[0, order], atoms.used[0, order]
    level_db = 20 * torch.log10((amp.abs() * envelope_peak(attack_s, decay_s)[:, None]).clamp(min=1e-10))
    level_db = torch.where(used, level_db, SILENT_DB)
    slots = torch.argsort(level_db, dim=1, descending=True, stable=True)
    level_db = level_db.gather(1, slots)
    gain_db = level_db[:, 0].clamp(min=SILENT_DB)
    silent = torch.full_like(gain_db, SILENT_DB)
    strikes = Strikes(
        attack_s=attack_s,
        decay_s=decay_s,
        freq_hz=(atoms.omega[0, order] * (rate / (2 * math.pi))).gather(1, slots),
        level_db=torch.where(level_db > SILENT_DB, level_db - gain_db[:, None], SILENT_DB),
        phase_rad=torch.remainder(amp.angle(), 2 * math.pi).gather(1, slots),
        noise_level_db=silent,
        noise_hz=torch.full_like(silent, 1000.0),
        noise_decay_s=decay_s,
    )
    return atoms.onset[0, order] / rate, gain_db, strikes


@dataclass(frozen=True)
class AtomRows:
    """Events of kind `siam` as rows of kind `atoms`.

    Attributes:
        columns: `[A]` each, by name; those of an event stand together.
        event: which event each row is of, int64 `[A]`: one for its tones, one more where it has noise.
    """

    columns: dict[str, NDArray[np.float64]]
    event: NDArray[np.int64]


def atoms_of(model: Siam, onset_s: NDArray[Any], gain_db: NDArray[Any], vectors: NDArray[Any]) -> AtomRows:
    """The atoms of events, which sound alike and need no model any more.

    Args:
        model: that the vectors are of.
        onset_s: `[E]`.
        gain_db: `[E]`.
        vectors: `[E, 16]`.
    """
    with torch.no_grad():
        device = next(model.parameters()).device
        strikes = model.decode(torch.as_tensor(np.asarray(vectors, np.float64), device=device).reshape(-1, 16))
    values = {name: getattr(strikes, name).cpu().numpy() for name in Strikes.__dataclass_fields__}
    gain = np.asarray(gain_db, np.float64)
    noisy = np.flatnonzero(values["noise_level_db"] > SILENT_DB)
    event = np.concatenate([np.arange(len(gain)), noisy])
    order = np.argsort(event, kind="stable")
    burst = np.arange(len(event)) >= len(gain)
    columns = {column.name: np.zeros(len(event)) for column in ATOM_COLUMNS}
    columns["onset_s"] = np.asarray(onset_s, np.float64)[event]
    columns["attack_s"] = values["attack_s"][event]
    columns["decay_s"] = np.where(burst, values["noise_decay_s"][event], values["decay_s"][event])
    for slot in range(MODES_PER_ATOM):
        level = values["level_db"][event, slot]
        sounding = (level > SILENT_DB) & ~burst
        levels = np.where(sounding, level + gain[event], SILENT_DB)
        phase = np.remainder(values["phase_rad"][event, slot] + math.pi, 2 * math.pi) - math.pi
        columns[f"freq{slot + 1}_hz"] = np.where(sounding, values["freq_hz"][event, slot], 0.0)
        columns[f"level{slot + 1}_db"] = levels
        columns[f"phase{slot + 1}_rad"] = np.where(sounding, phase.clip(-PI, PI), 0.0)
    noise = values["noise_level_db"][event] + gain[event]
    columns["noise_level_db"] = np.where(burst, noise, SILENT_DB)
    columns[NOISE_FREQ] = np.where(burst, values["noise_hz"][event], columns[NOISE_FREQ])
    for column in ATOM_COLUMNS:
        columns[column.name] = np.clip(columns[column.name], column.low, column.high)[order]
    return AtomRows(columns, event[order])
