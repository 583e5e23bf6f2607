from __future__ import annotations

import numpy as np
import pytest

from sparsecli.engine import matching
from sparsecli.engine.matching import Chosen, Limits, pursue
from sparsecli.engine.waveforms import Stretch, build_banks, take_atoms

from ..oracle.waveforms import draw_dictionary, pursue_slowly

RATE = 8000
TONES = draw_dictionary(1, {64: 4, 100: 3, 256: 5})


def draw_sound(seed: int, samples: int, channels: int = 1) -> np.ndarray:
    """Noise with a strong low end."""
    drawn = np.random.default_rng(seed)
    return 0.2 * np.cumsum(drawn.standard_normal((channels, samples)), 1) + drawn.standard_normal((channels, samples))


def energy_of(sound: np.ndarray) -> float:
    return float((sound.astype(np.float64) ** 2).sum())


def rest_of(sound: np.ndarray, chosen: Chosen, threshold: float) -> np.ndarray:
    """What is left, ends included, when each atom is taken away sample by sample."""
    banks, pad = build_banks(TONES, threshold), TONES.longest
    rest = np.pad(sound.astype(np.float64), ((0, 0), (pad, pad)))
    for bank, place, row, amplitude in zip(chosen.block, chosen.place, chosen.bin, chosen.amplitude.real, strict=True):
        atom = banks[bank].atoms[row].astype(np.float64)
        rest[:, pad + place : pad + place + len(atom)] -= amplitude[:, None] * atom
    return rest


def keys_of(chosen: Chosen, threshold: float) -> list[tuple[int, int]]:
    banks = build_banks(TONES, threshold)
    rows = zip(chosen.block.tolist(), chosen.place.tolist(), chosen.bin.tolist(), strict=True)
    return [(int(banks[bank].index[row]), place) for bank, place, row in rows]


@pytest.mark.parametrize("channels", [1, 2])
def test_the_same_atoms_as_the_slow_twin_with_thresholds_off(channels: int):
    sound, pad, steps = draw_sound(3, 500, channels), TONES.longest, 30
    keys, left = pursue_slowly(sound, TONES, steps)
    stretch = Stretch(build_banks(TONES, 0.0), np.pad(sound, ((0, 0), (pad, pad))), pad, 1 - pad, 501)
    atoms, amplitudes, energies = np.zeros((steps, 3), np.int64), np.zeros((steps, channels)), np.zeros(steps)
    done, rest = take_atoms(stretch, energy_of(sound), 0.0, 0.0, atoms, amplitudes, energies)
    found = [(int(stretch.banks[bank].index[row]), place) for bank, place, row in atoms.tolist()]
    assert (done, found) == (steps, keys)
    # atoms are of energy 1 to single precision, which is the account's error: worst 2e-7
    np.testing.assert_allclose(energy_of(sound) - np.cumsum(energies), left, rtol=1e-6)
    assert rest == pytest.approx(left[-1], rel=1e-6) and energy_of(stretch.sound) == pytest.approx(left[-1], rel=1e-12)
    chosen = pursue(sound.astype(np.float32), RATE, TONES, Limits(0.0, 20), "plain", 0.0)
    once = list(dict.fromkeys(keys))  # what is taken more than once becomes one atom
    assert keys_of(chosen, 0.0)[: len(once)] == once[:20]


def test_moments_left_out_cost_little_and_the_energy_is_true():
    sound = draw_sound(5, 4000).astype(np.float32)
    assert {bank.step for bank in build_banks(TONES, 1e-4)} > {1}
    figures = []
    for threshold in (0.0, 1e-4):
        chosen = pursue(sound, RATE, TONES, Limits(0.0, 150), "plain", threshold)
        assert len(chosen.block) == 150
        figures.append(10 * np.log10(energy_of(sound) / energy_of(rest_of(sound, chosen, threshold))))
    assert figures[1] == pytest.approx(figures[0], abs=0.1)  # one choice leads to others: 0.03 dB here


@pytest.mark.parametrize("threshold", [0.0, 1e-4])
def test_inner_products_stay_true_while_atoms_go(threshold: float):
    """After atoms are taken away, what is kept is what a new stretch over what is left works out."""
    sound, pad = draw_sound(7, 1500, 2), TONES.longest
    banks = build_banks(TONES, threshold)
    stretch = Stretch(banks, np.pad(sound, ((0, 0), (pad, pad))), pad, 1 - pad, 1500)
    for _ in range(40):
        which, atom, place, energy = stretch.best()
        own = stretch.amplitudes(which, atom, place)
        assert (own**2).sum() >= energy * (1 - 1e-4)  # between the moments it is better, up to what the band leaves out
        stretch.subtract(which, atom, place, own)
    anew = Stretch(banks, stretch.sound, stretch.origin, 1 - pad, 1500)
    off = 1e-12 if threshold == 0 else 2e-2  # of single precision, and of the frequencies that are left out
    for kept, true in zip(stretch.moments, anew.moments, strict=True):
        np.testing.assert_allclose(kept.values, true.values, atol=off * np.abs(sound).max())
        np.testing.assert_allclose(kept.top, true.top, atol=off * np.abs(sound).max() ** 2)


def test_it_stops_at_the_snr_and_going_around_gains():
    sound = draw_sound(9, 3000).astype(np.float32)
    goal = energy_of(sound) / 10**0.6
    chosen = pursue(sound, RATE, TONES, Limits(goal, None), "plain", 1e-4)
    left = energy_of(rest_of(sound, chosen, 1e-4)[:, TONES.longest : -TONES.longest])
    assert 0.9 * goal < left <= goal * 1.001
    plain, cyclic = (pursue(sound, RATE, TONES, Limits(0.0, 40), variant, 1e-4) for variant in ("plain", "cyclic"))
    left = [energy_of(rest_of(sound, found, 1e-4)) for found in (plain, cyclic)]
    assert left[1] < 0.97 * left[0]


def test_stretches_come_down_together(monkeypatch: pytest.MonkeyPatch):
    """In several stretches it takes nearly the atoms that one stretch takes, where one half is much louder."""
    sound = np.concatenate([draw_sound(11, 3000), 0.1 * draw_sound(12, 3000)], axis=1).astype(np.float32)
    limits = Limits(energy_of(sound) / 10**0.3, None)
    whole = pursue(sound, RATE, TONES, limits, "plain", 1e-4)
    monkeypatch.setattr(matching, "STATE_BYTES", 1)  # stretches of four times the longest atom
    cut = pursue(sound, RATE, TONES, limits, "plain", 1e-4)
    assert energy_of(rest_of(sound, cut, 1e-4)[:, TONES.longest : -TONES.longest]) <= limits.goal * 1.001
    assert len(cut.block) == pytest.approx(len(whole.block), rel=0.15)  # one choice leads to others: 10 % fewer
    assert (cut.place > 3000).mean() < 0.05  # the soft half is left alone


def test_silence_has_no_atoms():
    chosen = pursue(np.zeros((1, 700), np.float32), RATE, TONES, Limits(0.0, 10), "plain", 1e-4)
    assert (len(chosen.block), chosen.complete) == (0, True)
