from __future__ import annotations

import numpy as np
import pytest

from sparsecli.engine import matching
from sparsecli.engine.correlations import correlate
from sparsecli.engine.dictionaries import build_dictionary
from sparsecli.engine.inner_products import build_tables
from sparsecli.engine.matching import Chosen, Limits, pursue
from sparsecli.engine.reprojection import cycle, solve_along
from sparsecli.engine.settings import Variant

from .test_correlations import RATE, draw_sound, tones

GABOR = build_dictionary("gabor:64,256,1024")
VARIANTS: list[Variant] = ["plain", "gradient", "orthogonal", "cyclic"]


def rest_db(sound: np.ndarray, chosen: Chosen) -> float:
    """SNR of the atoms, each added sample by sample."""
    pad = GABOR.longest
    rest = np.pad(sound.astype(np.float64), ((0, 0), (pad, pad)))
    for block_, place, k, amplitudes in zip(chosen.block, chosen.place, chosen.bin, chosen.amplitude, strict=True):
        block = GABOR.blocks[block_]
        u = np.arange(block.start, block.start + block.length)
        atom = block.window * np.exp(2j * np.pi * block.freqs[k] * u)
        rest[:, pad + place + u] -= 2 * (amplitudes[:, None] * atom).real
    inside = rest[:, pad : pad + sound.shape[1]]
    return float(10 * np.log10((sound.astype(np.float64) ** 2).sum() / (inside**2).sum()))


def goal_of(sound: np.ndarray, snr_db: float) -> float:
    return float((sound.astype(np.float64) ** 2).sum()) * 10 ** (-snr_db / 10)


def many_stretches(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let a stretch be of so many seconds."""
    values = sum(block.bins / block.hop for block in GABOR.blocks)
    monkeypatch.setattr(matching, "STATE_BYTES", int(seconds * RATE * values * 12))


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_stops_at_the_snr_and_at_the_atoms(variant: Variant):
    sound = tones(RATE)
    chosen = pursue(sound, RATE, GABOR, Limits(goal_of(sound, 12.0), None), variant, 1e-4)
    assert 12.0 - 0.001 <= rest_db(sound, chosen) < 12.6  # one round of cyclic pursuit gains some tenths at once
    few = pursue(sound, RATE, GABOR, Limits(goal_of(sound, 12.0), 30), variant, 1e-4)
    assert len(few.block) == 30 < len(chosen.block)
    assert len({*zip(few.block, few.place, few.bin, strict=True)}) == 30


def test_looking_back_gains_at_equal_numbers():
    """The order that the literature finds: plain, gradient, orthogonal, and cyclic ahead of plain."""
    sound = tones(RATE)
    snr_db = {
        variant: rest_db(sound, pursue(sound, RATE, GABOR, Limits(0.0, 120), variant, 1e-4)) for variant in VARIANTS
    }
    assert snr_db["plain"] < snr_db["gradient"] < snr_db["orthogonal"]
    assert snr_db["plain"] + 0.2 < snr_db["cyclic"]


def state_of(sound: np.ndarray, text: str):
    dictionary = build_dictionary(text)
    tables, pad = build_tables(dictionary, 1e-9), dictionary.longest
    padded = np.pad(sound, ((0, 0), (pad, pad))).astype(np.float32)
    return tables, correlate(dictionary, tables, padded, pad, 0, sound.shape[1] + 1)


@pytest.mark.parametrize("exact", [True, False])
def test_amplitudes_solved_together_leave_the_energy_that_is_reckoned(exact: bool):
    sound = draw_sound(2, 64, channels=2).astype(np.float32)
    tables, state = state_of(sound, "gabor:32,64+damped:64+cosine:64")
    atoms, amplitudes, energies = np.zeros((12, 3), np.int64), np.zeros((12, 2), np.complex128), np.zeros(12)
    whole = float((sound.astype(np.float64) ** 2).sum())
    count, left = solve_along(tables, state, whole, 0.0, 0.0, atoms, amplitudes, energies, 0, exact)
    assert count == 12 == len(np.unique(atoms, axis=0))
    rows = state.base[atoms[:, 0]] + atoms[:, 1] * tables.bins[atoms[:, 0]] + atoms[:, 2]
    if exact:  # of so short a sound all atoms but the faintest pairs meet, and what is left is orthogonal to them
        assert state.energy[rows].max() < 1e-4 * energies[-1]  # against what the last one took
    from sparsecli.engine.correlations import add_atoms

    rest = np.pad(sound.astype(np.float64), ((0, 0), (64, 64)))
    places = (state.first_frame[atoms[:, 0]] + atoms[:, 1]) * tables.hop[atoms[:, 0]] + 64
    add_atoms(tables, rest, atoms[:, 0].copy(), places, atoms[:, 2].copy(), amplitudes, -1)
    assert (rest**2).sum() == pytest.approx(left, abs=1e-5 * whole)  # of single precision: worst 1e-6


def test_going_around_never_loses():
    sound = tones(RATE // 2)
    tables, state = state_of(sound, "gabor:64,256,1024")
    atoms, amplitudes, energies = np.zeros((60, 3), np.int64), np.zeros((60, 1), np.complex128), np.zeros(60)
    left = float((sound.astype(np.float64) ** 2).sum())
    _, left = matching.take_best(tables, state, left, 0.0, 0.0, atoms, amplitudes, energies)
    for _ in range(4):
        before, left = left, cycle(tables, state, left, atoms, amplitudes, energies, 60)
        assert left <= before * (1 + 1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_stretches_come_down_together(monkeypatch: pytest.MonkeyPatch, variant: Variant):
    """In several stretches it takes nearly the atoms that one stretch takes, where one half is much louder."""
    sound = np.concatenate([tones(RATE), 0.1 * tones(RATE)[:, ::-1], tones(RATE // 2)], axis=1)
    limits = Limits(goal_of(sound, 12.0), None)
    whole = pursue(sound, RATE, GABOR, limits, variant, 1e-4)
    many_stretches(monkeypatch, 0.4)
    cut = pursue(sound, RATE, GABOR, limits, variant, 1e-4)
    assert rest_db(sound, cut) >= 12.0 - 0.001
    assert len(cut.block) == pytest.approx(len(whole.block), rel=0.05)
    if variant == "plain":
        shared = {*zip(whole.block, whole.place, whole.bin, strict=True)}
        shared &= {*zip(cut.block, cut.place, cut.bin, strict=True)}
        assert len(shared) > 0.75 * len(whole.block)  # near the joints, every 0.4 s, one choice leads to others: 0.81
    middle = (cut.place > RATE) & (cut.place < 2 * RATE)
    assert middle.mean() < 0.05  # the soft part is left alone, as greed over the whole would leave it
    few = pursue(sound, RATE, GABOR, Limits(0.0, 100), variant, 1e-4)
    assert len(few.block) == 100


def test_silence_has_no_atoms():
    chosen = pursue(np.zeros((1, 3000), np.float32), RATE, GABOR, Limits(0.0, 10), "plain", 1e-4)
    assert (len(chosen.block), chosen.complete) == (0, True)


def test_who_is_told_may_end_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(matching, "CHUNK", 10)
    told: list[tuple[int, float]] = []

    def tell(atoms: int, left: float) -> bool:
        told.append((atoms, left))
        return len(told) < 3

    chosen = pursue(tones(RATE // 2), RATE, GABOR, Limits(0.0, 500, tell), "plain", 1e-4)
    assert [atoms for atoms, _ in told] == [10, 20, 30] and told[2][1] < told[0][1]
    assert not chosen.complete and 25 <= len(chosen.block) <= 30  # some may have been taken twice


def test_the_same_bytes_each_time():
    one, other = (pursue(tones(RATE), RATE, GABOR, Limits(0.0, 80), "cyclic", 1e-4) for _ in range(2))
    assert one.amplitude.tobytes() == other.amplitude.tobytes()
