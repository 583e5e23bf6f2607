"""Events to a grid of so many bits a number: shapes are rounded, amplitudes solved again, levels and phases rounded.

The grid is that of `core/grids.py`. Rounding the shapes first lets the amplitudes, which are linear, make good what of
it they can; so of a wrong frequency only the part counts that is not a wrong phase.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core import grids
from ..core.columns import AIR_STEP, MAX_LEVEL_DB, MODES_PER_ATOM, NEPERS_PER_T60, NOISE_STEP, PAN_STEP, SILENT_DB
from ..core.events import Events
from ..core.grids import Codes
from ..dsp.resample import resample
from ..io.events_packed import entropy_bits
from ..synth.modes import envelope_peak
from .amplitudes import solve_all, sound_of
from .modal import BLOCK, Atoms
from .refine import restraint_of

FAINT_BITS = 2.5  # of phase: a mode that asks for less is dropped; matters below 6 bits a number
HALVINGS = 14  # of the range of the fineness: to 0.006 bits
STEPS = 8  # of conjugate gradients over all amplitudes


@dataclass(frozen=True)
class Quantised:
    """Events on a grid.

    Attributes:
        codes: what a packed file holds.
        events: what they stand for, with the header given.
        bits: of entropy a number of the events before.
    """

    codes: Codes
    events: Events
    bits: float


def quantise(events: Events, source: NDArray[np.float32], bits: float, rate: int) -> Quantised:
    """Quantise events to about so many bits of entropy for each of their numbers in use.

    Below some 6 bits the faintest modes are dropped, so that others have the bits that they need.

    Args:
        events: of kind `atoms`, of modes below half of `rate`; they become sorted by onset and get consecutive ids.
        source: the recording `[samples]` that they describe, at its own rate.
        bits: wanted.
        rate: in Hz, at which amplitudes are solved; not above the source's.
    """
    events = events.take(np.argsort(events.onset_s, kind="stable"))
    numbers = events.numbers
    fineness = find_fineness(events, bits)
    events = thin(events, fineness)
    codes = encode(events, fineness)
    if len(events) and np.any(source):
        amps = solve(grids.events_of(codes, events.header), source, rate)
        codes = encode(with_levels(events, amps), fineness)  # now the grades are those that the modes will have
        codes = with_amplitudes(codes, solve(grids.events_of(codes, events.header), source, rate))
    return Quantised(codes, grids.events_of(codes, events.header), bits_of(codes, events.header.duration_s, numbers))


def bits_of(codes: Codes, duration_s: float, numbers: int) -> float:
    """Bits for each of so many numbers, by entropy."""
    return entropy_bits(codes, duration_s) / max(1, numbers)


def find_fineness(events: Events, bits: float) -> float:
    """The fineness that takes so many bits a number; they grow with it, but for accidents of few numbers."""
    low, high = grids.MIN_FINENESS, grids.MAX_FINENESS
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        codes = encode(thin(events, middle), middle)
        too_many = bits_of(codes, events.header.duration_s, events.numbers) > bits
        low, high = (low, middle) if too_many else (middle, high)
    return low


def thin(events: Events, fineness: float) -> Events:
    """The events without modes too faint for their bits, and without those of which nothing is left."""
    levels = [events.columns.index(f"level{slot + 1}_db") - 1 for slot in range(MODES_PER_ATOM)]
    grade = grids.grades(events.modes("level_db"), events.column("decay_s"), events.column("attack_s"))
    faint = (grade + 0.5) * grids.EVENNESS + fineness < FAINT_BITS  # [E, 4]
    params = events.params.copy()
    params[:, levels] = np.where(faint, SILENT_DB, params[:, levels])
    sounding = (params[:, levels] > SILENT_DB).any(1) | (events.column("noise_level_db") > SILENT_DB)
    return replace(events, params=params).take(sounding)


def encode(events: Events, fineness: float) -> Codes:
    """The nearest codes, one column after the other. Events must be sorted by onset."""
    level_db = events.modes("level_db")
    grade = grids.grade_of(level_db, events.column("decay_s"), events.column("attack_s"))
    strikes = grids.strikes_of(grade, fineness)
    depth = grids.decay_depth(strikes)
    decay = grids.round_to(np.log2(np.maximum(events.column("decay_s"), 1e-9)), depth)
    decay_s = grids.decay_of(decay, depth)
    depth = grids.attack_depth(strikes)
    attack = grids.round_to(grids.attack_place(events.column("attack_s"), decay_s), depth)
    attack_s = grids.attack_of(attack, depth, decay_s)
    onset = _follow(events.onset_s, depth := grids.onset_depth(strikes, decay_s, attack_s))
    rest_s = events.header.duration_s - grids.onset_of(onset, depth)
    noise = grids.code_of_level(events.column("noise_level_db"), NOISE_STEP)
    sounding = grade > 0
    sounding[:, -1] |= noise > 0
    pan = events.column("pan") if "pan" in events.columns else np.zeros(len(events))
    freq = grids.round_to(events.modes("freq_hz"), grids.freq_depth(strikes, grade, decay_s, attack_s, rest_s))
    codes = Codes(
        fineness=fineness,
        grade=grade,
        decay=decay,
        attack=attack,
        onset=onset,
        freq=np.where(sounding, np.maximum(freq, 1), 0),
        level=np.zeros_like(grade),
        phase=np.zeros_like(grade),
        noise=noise,
        pan=np.rint(pan / PAN_STEP).astype(np.int64),
        note=events.note.astype(np.int64),
        air=grids.code_of_level(events.air, AIR_STEP),
    )
    return with_amplitudes(codes, events)


def with_amplitudes(codes: Codes, events: Events) -> Codes:
    """The codes with the levels and phases nearest to those of `events`; the steps stay."""
    shapes = grids.shapes_of(codes, events.header.duration_s)
    used = codes.grade > 0
    above_db = events.modes("level_db") - grids.floor_db(codes.grade, shapes.decay_s, shapes.attack_s)
    later_s = shapes.onset_s - events.onset_s  # under a rounded onset, carriers stay where they were
    turns = events.modes("phase_rad") / (2 * math.pi) + events.modes("freq_hz") * later_s[:, None]
    phase = grids.round_to(turns, shapes.phase) & ((np.int64(1) << shapes.phase) - 1)
    return replace(
        codes,
        level=np.where(used, grids.round_to(above_db, shapes.level), 0),
        phase=np.where(used, phase, 0),
    )


def _follow(values: NDArray[np.float64], depth: NDArray[np.int64]) -> NDArray[np.int64]:
    """Differences in steps 2^-depth, each from where the ones before have led, so that errors do not add up."""
    codes, reached = [], 0.0
    for value, places in zip(values.tolist(), depth.tolist(), strict=True):
        codes.append(round(math.ldexp(value - reached, places)))
        reached += math.ldexp(codes[-1], -places)
    return np.array(codes, np.int64)


def solve(events: Events, source: NDArray[np.float32], rate: int) -> Events:
    """The events with levels and phases that come closest to the source, all else as it is."""
    header = events.header
    target = torch.from_numpy(resample(source, header.sample_rate, rate)).double()
    target = target - target.mean()
    peak = float(target.abs().max())
    samples, blocks = len(target), -(-len(target) // BLOCK)
    residual = torch.nn.functional.pad(target / peak, (0, blocks * BLOCK - samples)).view(blocks, BLOCK)
    atoms = atoms_of(events, rate)
    atoms = replace(atoms, amp=atoms.amp / peak)
    residual = residual - sound_of(atoms, blocks)
    residual.flatten()[samples:] = 0.0
    restraint = restraint_of(residual, float((target / peak).square().sum()))
    return with_amps(events, solve_all(atoms, residual, samples, restraint, STEPS)[0].amp[0] * peak)


def atoms_of(events: Events, rate: int) -> Atoms:
    """Events as atoms `[1, E]` in samples of `rate` Hz; the inverse of `fitting.to_events`."""

    def tensor(values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values))[None]

    attack_s, decay_s = tensor(events.column("attack_s")), tensor(events.column("decay_s")).clamp(min=1e-6)
    level_db = tensor(events.modes("level_db"))
    used = level_db > SILENT_DB
    size = torch.pow(10.0, level_db / 20) / envelope_peak(attack_s, decay_s)[..., None]
    return Atoms(
        onset=tensor(events.onset_s) * rate,
        log_attack=(attack_s * rate).log(),
        log_damping=(NEPERS_PER_T60 / (decay_s * rate)).log(),
        omega=tensor(events.modes("freq_hz")) * (2 * math.pi / rate),
        amp=torch.where(used, torch.polar(size, tensor(events.modes("phase_rad"))), 0.0),
        used=used,
    )


def with_levels(events: Events, other: Events) -> Events:
    """The events with the levels of others, and so with their grades."""
    params = events.params.copy()
    for slot in range(MODES_PER_ATOM):
        place = events.columns.index(f"level{slot + 1}_db") - 1
        params[:, place] = other.params[:, place]
    return replace(events, params=params)


def with_amps(events: Events, amp: Tensor) -> Events:
    """The events with the complex amplitudes `[E, 4]`."""
    peak = envelope_peak(*(torch.from_numpy(events.column(name)) for name in ("attack_s", "decay_s")))[:, None]
    level_db = 20 * torch.log10((amp.abs() * peak).clamp(min=1e-9)).clamp(max=MAX_LEVEL_DB)
    used = events.modes("level_db") > SILENT_DB
    params = events.params.copy()
    for slot in range(MODES_PER_ATOM):
        for name, values in ((f"level{slot + 1}_db", level_db), (f"phase{slot + 1}_rad", amp.angle())):
            place = events.columns.index(name) - 1
            params[:, place] = np.where(used[:, slot], values[:, slot].numpy(), params[:, place])
    return replace(events, params=params)
