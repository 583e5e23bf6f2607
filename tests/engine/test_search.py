from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sparsecli.engine.modal import BLOCK, Atoms, Basis
from sparsecli.engine.search import (
    DECAYS,
    SHAPES,
    WEAKEST,
    Candidate,
    Shape,
    pick,
    search,
    search_partials,
    to_atoms,
)

from ..oracle.draw import Draw

BLOCKS = 128
SAMPLES = BLOCKS * BLOCK  # 1.5 s at 22 050 Hz
LOW, HIGH = 0.006, 3.09


def planted(onset: float, omega: list[float], shape: Shape, amp: complex = 1.0) -> Atoms:
    """One atom of modes alike in all but frequency."""
    count = len(omega)
    return Atoms(
        onset=torch.tensor([onset]).double(),
        log_attack=torch.tensor([math.log(shape.attack)]).double(),
        owner=torch.zeros(count, dtype=torch.int64),
        log_damping=torch.full((count,), math.log(shape.damping)).double(),
        omega=torch.tensor(omega).double(),
        amp=torch.full((count,), amp, dtype=torch.complex128),
    )


def sound_of(atoms: Atoms) -> Tensor:
    """Float64 `[T]`."""
    return Basis(atoms, BLOCKS).render().flatten()


def hop_of(shape: Shape) -> float:
    return min(max(16.0, 0.35 / shape.damping), 2048.0)


def bin_of(shape: Shape) -> float:
    """Radians a sample between two bins, at most: the transform is as long as the window or longer."""
    return 2 * math.pi / max(256.0, min(SAMPLES, 5 / shape.damping + 3 * shape.attack))


@pytest.mark.parametrize("omega", [0.3, 0.7321, 2.9])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.attack:.0f}-{1 / shape.damping:.0f}")
def test_a_planted_mode_is_found(shape: Shape, omega: float):
    """By the window of its own shape within a hop and a bin; another may explain as much from another onset."""
    onset = 1000.3
    residual = sound_of(planted(onset, [omega], shape))
    candidates = search(residual.float(), 0, SAMPLES - 16, LOW, HIGH)
    own = next(candidate for candidate in candidates if candidate.shape == shape)
    energy = float(residual.square().sum())
    assert abs(own.onset - onset) <= hop_of(shape)
    assert abs(own.omega - omega) <= bin_of(shape)
    assert abs(candidates[0].omega - omega) <= bin_of(shape)
    assert 0.6 * energy < own.gain <= candidates[0].gain < 1.01 * energy  # worst 0.69, between two bins


@pytest.mark.parametrize("decay", [50.0, 150.0, 450.0, 1400.0, 4000.0])
def test_a_decay_between_two_windows_keeps_most_of_its_gain(decay: float):
    residual = sound_of(planted(4001, [0.7], Shape(0.04 * decay + 4.5, 1 / decay)))
    best = search(residual.float(), 0, SAMPLES - 16, LOW, HIGH)[0]
    assert best.gain / float(residual.square().sum()) > 0.85  # worst 0.884


def test_candidates_come_best_first_and_within_the_limits():
    residual = Draw(0).normal(SAMPLES).float()
    found = search(residual, 6000, 9000, 0.5, 1.0)
    gains = [candidate.gain for candidate in found]
    assert gains == sorted(gains, reverse=True) and gains[-1] > 0
    for candidate in found:
        assert 6000 <= candidate.onset < 9000
        assert 0.5 - 2 * math.pi / 256 <= candidate.omega <= 1.0 + 2 * math.pi / 256
    assert {candidate.shape for candidate in found} == set(SHAPES)


def test_what_rings_already_is_found_before_the_start():
    shape = SHAPES[8]
    residual = sound_of(planted(-300, [0.7], shape))
    best = search(residual.float(), 0, SAMPLES - 16, LOW, HIGH)[0]
    assert best.onset <= 0 and abs(best.omega - 0.7) <= bin_of(shape)
    later = search(residual.float(), 2000, SAMPLES - 16, LOW, HIGH)
    assert min(candidate.onset for candidate in later) >= 2000


def test_the_search_is_the_same_twice_and_finds_nothing_in_silence():
    residual = Draw(1).normal(SAMPLES).float()
    assert search(residual, 0, 9000, LOW, HIGH) == search(residual, 0, 9000, LOW, HIGH)
    assert search(torch.zeros(SAMPLES), 0, 9000, LOW, HIGH) == []


def test_a_short_recording():
    """Windows longer than the recording are cut with it."""
    best = search(sound_of(planted(20, [0.7], SHAPES[2]))[:200].float(), 0, 184, LOW, HIGH)[0]
    assert abs(best.omega - 0.7) <= 2 * math.pi / 200
    assert abs(best.onset - 20) <= 32


@pytest.mark.parametrize("count", [1, 5, 50])
def test_no_two_picked_are_near(count: int):
    candidates = search(Draw(2).normal(SAMPLES).float(), 0, SAMPLES - 16, LOW, HIGH)
    chosen = pick(candidates, count, 0.0)
    assert chosen[0] == candidates[0] and 1 <= len(chosen) <= count
    assert not any(a.near(b) or b.near(a) for i, a in enumerate(chosen) for b in chosen[:i])
    assert [c.gain for c in chosen] == sorted((c.gain for c in chosen), reverse=True)
    assert chosen[-1].gain >= WEAKEST * candidates[0].gain
    if count == 5:
        assert len(chosen) == 5
        skipped = [c for c in candidates if c.gain > chosen[-1].gain and c not in chosen]
        assert all(any(c.near(other) for other in chosen) for c in skipped)


def test_only_what_is_worth_it_is_picked():
    candidates = search(Draw(3).normal(SAMPLES).float(), 0, SAMPLES - 16, LOW, HIGH)
    least = 0.7 * candidates[0].gain
    chosen = pick(candidates, 50, least)
    assert 1 <= len(chosen) < 50 and min(c.gain for c in chosen) >= least
    assert pick(candidates, 50, 2 * candidates[0].gain) == []
    assert pick([], 50, 0.0) == []


def test_near_means_overlapping_in_time_and_frequency():
    shape = Shape(10, 1 / 270)
    one = Candidate(1.0, 5000, 1.0, shape)
    assert one.near(Candidate(0.5, 5100, 1.0, shape))
    assert one.near(Candidate(0.5, 5000, 1.0 + shape.damping, shape))
    assert not one.near(Candidate(0.5, 5000, 1.3, shape))
    assert not one.near(Candidate(0.5, 9000, 1.0, shape))


def test_candidates_become_atoms_of_one_mode():
    candidates = [Candidate(2.0, 100.0, 0.5, SHAPES[0]), Candidate(1.0, -7.0, 1.5, SHAPES[9])]
    atoms = to_atoms(candidates, torch.device("cpu"))
    assert atoms.onset.tolist() == [100, -7] and atoms.omega.tolist() == [0.5, 1.5]
    assert atoms.log_attack.exp().tolist() == pytest.approx([SHAPES[0].attack, SHAPES[9].attack])
    assert atoms.log_damping.exp().tolist() == pytest.approx([SHAPES[0].damping, SHAPES[9].damping])
    assert atoms.owner.tolist() == [0, 1] and not atoms.amp.any()


@pytest.mark.parametrize("decay", [DECAYS[1], DECAYS[3], DECAYS[5]])
@pytest.mark.parametrize("onset", [-150.0, 3000.4])
def test_a_planted_second_mode_is_found(onset: float, decay: float):
    """Of several atoms each finds its own; the first mode is no longer in the residual."""
    shape = Shape(20.0, 1 / decay)
    second = planted(onset, [1.234], shape, amp=0.5)
    atoms = planted(onset, [0.4], shape)
    other = planted(12_000.0, [0.4], shape)
    both = Atoms(
        *(torch.cat([getattr(atoms, n), getattr(other, n)]) for n in ("onset", "log_attack")),
        torch.tensor([0, 1]),
        *(torch.cat([getattr(atoms, n), getattr(other, n)]) for n in ("log_damping", "omega", "amp")),
    )
    residual = sound_of(second)
    gain, partial = search_partials(both, residual.float(), LOW, HIGH)
    assert len(partial) == len(partial.owner) == 2 and partial.owner.tolist() == [0, 1]
    assert torch.equal(partial.onset, both.onset) and torch.equal(partial.log_attack, both.log_attack)
    assert abs(float(partial.omega[0]) - 1.234) <= bin_of(shape)
    assert float(partial.log_damping[0]) == pytest.approx(-math.log(decay))
    energy = float(residual.square().sum())
    assert float(gain[0]) == pytest.approx(energy, rel=0.12)  # worst 0.910, between two bins
    assert not partial.amp.any()
    if decay < 1000:
        assert float(gain[1]) < 1e-3 * energy  # there is nothing under the other's onset


def test_no_second_mode_after_the_end():
    gain, _ = search_partials(planted(SAMPLES - 4.0, [0.4], SHAPES[3]), Draw(4).normal(SAMPLES).float(), LOW, HIGH)
    assert gain.tolist() == [0.0]
