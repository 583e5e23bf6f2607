"""Grids: the numbers that a quantised file can hold, and how fine they lie.

Rounding costs least when each number's error costs the same energy (at equal bits a finer one gains less than a coarser
one loses). So everything follows from one number, the `fineness`, and from the energies of the modes: a mode's phase
is rounded to 2^-n of a turn, where

    n = fineness + grade,         4^grade ~ the mode's energy, in classes of 6 dB (and less than half a bit by slot)

and every other step is the one whose error is as large, once amplitudes and phases have been solved again. With
damping d (nepers/s) and attack a, for an error of 1 rad of phase:

    frequency   1 / (2 pi T),  T^2 the variance of time under the mode's energy: 1 / (2 d) for a strike
    level       1 neper
    decay       1 / (d T) nepers
    attack      (a d)^(-1/2) (1 + a d) / 1.03 nepers: even steps of atan(sqrt(a d))
    onset       sqrt(1.5 a / d / (1 + a d / 2)): what it takes to shift the rise by

The strike's three are asked of the energy of all its modes together. Steps are powers of two (of turns, Hz, dB, octaves
and seconds), 2^-depth, so that sums of them are exact. Each is known once what stands before it has been decoded:
grades, decay, attack, onset, then frequencies, levels and phases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import (
    AIR_STEP,
    ATTACK_STEP,
    DECAY_STEP,
    FREQ_STEP,
    LEVEL_STEP,
    MAX_ATTACK_S,
    MAX_DECAY_S,
    MAX_FREQ_HZ,
    MAX_LEVEL_DB,
    MIN_ATTACK_S,
    MODES_PER_ATOM,
    NEPERS_PER_T60,
    NOISE_STEP,
    ONSET_STEP,
    PAN_STEP,
    PHASE_STEP,
    PI,
    SILENT_DB,
)
from .events import Events, Header, events_from_columns

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

GRADE_DB = 20 * math.log10(2)  # 6.02: one grade more is one bit more
LOWEST_DB = -260.0  # energy of the lowest grade; levels go down to -200 dB, and a mode rings 10 us or longer
MAX_GRADE = 63
EVENNESS = 1.0  # bits of each number for each grade; 1 asks for the least energy of all errors together
SPREAD = (0.375, 0.125, -0.125, -0.375)  # bits by slot, so that not all phases become finer at once
MIN_BITS, MAX_BITS = 2.0, 20.0  # of a phase
MIN_FINENESS, MAX_FINENESS = -64.0, 32.0
SHORTEST_S, LONGEST_S = 1e-5, 1e3  # of T and of rises: keeps every depth within some 40
BURST_DEPTH = -4  # of the frequency of noise without a mode: 16 Hz, well inside its band
ENERGYLESS_BITS = 6.0  # of the strike of an atom that is noise alone


@dataclass(frozen=True)
class Codes:
    """Quantised events: whole numbers of steps.

    Attributes:
        fineness: of all steps.
        grade: `[E, 4]`, energy class of each mode; 0: unused.
        decay: `[E]`, of log2 of the decay in seconds.
        attack: `[E]`, on the compressed scale.
        onset: `[E]`, seconds since the onset before.
        freq: `[E, 4]`, Hz.
        level: `[E, 4]`, dB above the lower end of the grade.
        phase: `[E, 4]`, turns.
        noise: `[E]`, level; 0: none.
        pan: `[E]`, place between two channels; 0 in one channel.
        note: `[E]`.
        air: `[channels, frames, 24]`; 0: silent.
    """

    fineness: float
    grade: Integers
    decay: Integers
    attack: Integers
    onset: Integers
    freq: Integers
    level: Integers
    phase: Integers
    noise: Integers
    pan: Integers
    note: Integers
    air: Integers


@dataclass(frozen=True)
class Strikes:
    """What the grades alone say: the bits of phase of each mode `[E, 4]` and of each strike `[E]`."""

    mode_bits: Floats
    bits: Floats


def strikes_of(grade: Integers, fineness: float) -> Strikes:
    """The bits that grades `[E, 4]` ask for."""
    used = grade > 0
    energy = np.where(used, 4.0 ** (grade * EVENNESS), 0.0).sum(1)  # [E]
    total = np.where(energy > 0, 0.5 * np.log2(np.maximum(energy, 1e-30)) + fineness, ENERGYLESS_BITS)
    modes = np.where(used, grade * EVENNESS + fineness + np.array(SPREAD), MIN_BITS)
    return Strikes(np.clip(modes, MIN_BITS, MAX_BITS), np.clip(total, MIN_BITS, MAX_BITS))


def decay_depth(strikes: Strikes) -> Integers:
    """Depth of log2 of the decays `[E]`."""
    return _depth(strikes.bits, DECAY_STEP)


def attack_depth(strikes: Strikes) -> Integers:
    """Depth of the compressed attacks `[E]`."""
    return np.maximum(_depth(strikes.bits, ATTACK_STEP), 1)


def onset_depth(strikes: Strikes, decay_s: Floats, attack_s: Floats) -> Integers:
    """Depth of the onsets `[E]`, in seconds."""
    d = _damping(decay_s)
    rise_s = np.sqrt(1.5 * attack_s / d / (1 + attack_s * d / 2))
    return _depth(strikes.bits, ONSET_STEP * np.clip(rise_s, SHORTEST_S, LONGEST_S))


def freq_depth(strikes: Strikes, grade: Integers, decay_s: Floats, attack_s: Floats, rest_s: Floats) -> Integers:
    """Depth of the frequencies `[E, 4]`, in Hz; `rest_s` `[E]` is what the recording lasts after the onset."""
    d = _damping(decay_s)
    z = attack_s * d
    ringing_s = np.sqrt((1 + z) / (1 + 0.8 * z)) / (2 * d)  # from 1 / (2 d) to sqrt(5 / 4) of it, as swells have
    ringing_s = np.minimum(ringing_s, np.maximum(rest_s, 0.0) / math.sqrt(12))  # cut off by the end
    depth = _depth(strikes.mode_bits, FREQ_STEP / np.clip(ringing_s, SHORTEST_S, LONGEST_S)[:, None])
    return np.where(grade > 0, depth, BURST_DEPTH)


def level_depth(strikes: Strikes) -> Integers:
    """Depth of the levels `[E, 4]`, in dB."""
    return np.maximum(_depth(strikes.mode_bits, LEVEL_STEP), -1)


def phase_depth(strikes: Strikes) -> Integers:
    """Depth of the phases `[E, 4]`, in turns."""
    return _depth(strikes.mode_bits, PHASE_STEP)


def floor_db(grade: Integers, decay_s: Floats, attack_s: Floats) -> Floats:
    """Level `[E, 4]` at the lower end of each grade: what has the energy 4^grade under this envelope."""
    return LOWEST_DB + GRADE_DB * (grade - 1) - energy_db(decay_s, attack_s)[:, None]


def grades(level_db: Floats, decay_s: Floats, attack_s: Floats) -> Floats:
    """Energies of modes in units of 6 dB above the lowest, `[E, 4]`."""
    return (level_db + energy_db(decay_s, attack_s)[:, None] - LOWEST_DB) / GRADE_DB


def grade_of(level_db: Floats, decay_s: Floats, attack_s: Floats) -> Integers:
    """Grades `[E, 4]` of modes."""
    grade = np.clip(np.floor(grades(level_db, decay_s, attack_s)) + 1, 1, MAX_GRADE).astype(np.int64)
    return np.where(level_db > SILENT_DB, grade, 0)


def energy_db(decay_s: Floats, attack_s: Floats) -> Floats:
    """Energy of a mode of level 0 dB: about the seconds that it rings, in dB `[E]`."""
    d = _damping(decay_s)
    z = attack_s * d
    # From 1 / (4 d) to 0.75 e^4 / 32 / d * 0.5 for swells, u^2 e^{-d u} against its peak (2 / e)^2 / d^2.
    return 10 * np.log10(np.clip((0.25 + 0.64 * z / (1 + z)) / d, 1e-6, 1e4))


def decay_of(code: Integers, depth: Integers) -> Floats:
    """Decays `[E]` in seconds."""
    exponent = np.clip(np.ldexp(code.astype(np.float64), -depth), -40.0, math.log2(MAX_DECAY_S))
    decay_s: Floats = np.exp2(exponent)
    return np.minimum(decay_s, MAX_DECAY_S)


def attack_of(code: Integers, depth: Integers, decay_s: Floats) -> Floats:
    """Attacks `[E]` in seconds."""
    place = np.clip(np.ldexp(code.astype(np.float64), -depth), 0.0, 1.0)
    attack_s: Floats = np.tan(np.minimum(place, 0.999) * (math.pi / 2)) ** 2 / _damping(decay_s)
    return np.clip(attack_s, MIN_ATTACK_S, MAX_ATTACK_S)


def attack_place(attack_s: Floats, decay_s: Floats) -> Floats:
    """Attacks on the compressed scale from 0 to 1, `[E]`."""
    return np.arctan(np.sqrt(attack_s * _damping(decay_s))) * (2 / math.pi)


def onset_of(code: Integers, depth: Integers) -> Floats:
    """Onsets `[E]` in seconds; a sum of powers of two, which is exact."""
    return np.cumsum(np.ldexp(code.astype(np.float64), -depth))


@dataclass(frozen=True)
class Shapes:
    """Envelopes in seconds `[E]` and the depths that follow from them: of onsets `[E]`, of modes' numbers `[E, 4]`."""

    decay_s: Floats
    attack_s: Floats
    onset_s: Floats
    onset: Integers
    freq: Integers
    level: Integers
    phase: Integers


def shapes_of(codes: Codes, duration_s: float) -> Shapes:
    """What codes say of envelopes, in a recording of so many seconds."""
    strikes = strikes_of(codes.grade, codes.fineness)
    decay_s = decay_of(codes.decay, decay_depth(strikes))
    attack_s = attack_of(codes.attack, attack_depth(strikes), decay_s)
    onset = onset_depth(strikes, decay_s, attack_s)
    onset_s = onset_of(codes.onset, onset)
    freq = freq_depth(strikes, codes.grade, decay_s, attack_s, duration_s - onset_s)
    return Shapes(decay_s, attack_s, onset_s, onset, freq, level_depth(strikes), phase_depth(strikes))


def events_of(codes: Codes, header: Header) -> Events:
    """The events that codes stand for; the same codes always give the same events."""
    shapes = shapes_of(codes, header.duration_s)
    decay_s, attack_s, onset_s = shapes.decay_s, shapes.attack_s, shapes.onset_s
    used = codes.grade > 0
    freq_hz = np.clip(np.ldexp(codes.freq.astype(np.float64), -shapes.freq), 0.0, MAX_FREQ_HZ)
    above_db = np.ldexp(codes.level.astype(np.float64), -shapes.level)
    level_db = np.clip(floor_db(codes.grade, decay_s, attack_s) + above_db, SILENT_DB + 1, MAX_LEVEL_DB)
    turns = np.ldexp(codes.phase.astype(np.float64), -shapes.phase)
    phase_rad = np.clip((turns - np.rint(turns)) * (2 * math.pi), -PI, PI)
    columns: dict[str, NDArray[Any]] = {"onset_s": onset_s, "attack_s": attack_s, "decay_s": decay_s}
    for slot in range(MODES_PER_ATOM):
        columns[f"freq{slot + 1}_hz"] = freq_hz[:, slot]
        columns[f"level{slot + 1}_db"] = np.where(used, level_db, SILENT_DB)[:, slot]
        columns[f"phase{slot + 1}_rad"] = np.where(used, phase_rad, 0.0)[:, slot]
    columns["noise_level_db"] = level_of_code(codes.noise, NOISE_STEP)
    columns["pan"] = np.clip(codes.pan * PAN_STEP, -1.0, 1.0)
    assert {column.name for column in header.columns} <= set(columns)
    events = events_from_columns(header, columns, level_of_code(codes.air, AIR_STEP))
    events.note[:] = codes.note
    return events


def code_of_level(level_db: NDArray[Any], step_db: float) -> Integers:
    """Levels of noise in steps above -200 dB, where there is none."""
    return np.rint((level_db.astype(np.float64) - SILENT_DB) / step_db).astype(np.int64)


def level_of_code(code: Integers, step_db: float) -> Floats:
    """The inverse of `code_of_level`."""
    return np.clip(SILENT_DB + step_db * code, SILENT_DB, MAX_LEVEL_DB)


def round_to(values: Floats, depth: Integers) -> Integers:
    """Values as whole numbers of steps 2^-depth."""
    return np.rint(np.ldexp(values, depth)).astype(np.int64)


def _depth(bits: Floats, step: float | Floats) -> Integers:
    """The power of two nearest to a step `step` times 2^-bits, as its negative exponent."""
    return np.rint(bits - np.log2(step)).astype(np.int64)


def _damping(decay_s: Floats) -> Floats:
    return NEPERS_PER_T60 / np.maximum(decay_s, 1e-9)
