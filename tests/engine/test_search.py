from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sparsecli.engine.modal import BLOCK, Atoms, Basis
from sparsecli.engine.search import (
    SHAPES,
    WEAKEST,
    Candidate,
    Shape,
    pick,
    search,
    search_partials,
    shapes_of,
    sharpen,
    to_atoms,
)

from ..oracle.draw import Draw

BLOCKS = 128
SAMPLES = BLOCKS * BLOCK  # 1.5 s at 22 050 Hz
LOW, HIGH = 0.006, 3.09


def planted(onset: float, omega: list[float], shape: Shape, amp: complex = 1.0) -> Atoms:
    """One atom of modes alike in all but frequency."""
    atoms = to_atoms([Candidate(1.0, onset, omega[0], shape)], torch.device("cpu"))
    atoms.used[0, 0, : len(omega)] = True
    atoms.omega[0, 0, : len(omega)] = torch.tensor(omega).double()
    return replace(atoms, amp=atoms.used * torch.tensor(amp, dtype=torch.complex128))


def sound_of(atoms: Atoms) -> Tensor:
    """Float64 `[T]`."""
    return Basis(atoms, BLOCKS).render().flatten()


def hop_of(shape: Shape) -> float:
    return min(max(16.0, 0.35 / shape.damping), 4096.0)


def bin_of(shape: Shape) -> float:
    """Radians a sample between two bins, at most: the transform is as long as the window or longer."""
    return 2 * math.pi / max(256.0, min(SAMPLES, 3.5 / shape.damping + 3 * shape.attack))


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


@pytest.mark.parametrize("attack", [20.0, 60.0, 250.0])
@pytest.mark.parametrize("decay", [900.0, 2400.0, 7000.0])
def test_a_sharp_onset_between_two_hops_is_found(attack: float, decay: float):
    onset, late = 3217.0, SAMPLES - 16
    residual = sound_of(planted(onset, [0.61], Shape(attack, 1 / decay))).float()
    found = search(residual, 0, late, LOW, HIGH)[0]
    sharp = sharpen(residual, found, -3000, late)
    assert sharp.gain >= found.gain
    assert sharp.gain > 0.9 * float(residual.square().sum())
    assert abs(sharp.onset - onset) < 64 + max(attack, sharp.shape.attack)  # a longer attack may do as well earlier
    assert sharpen(residual, found, -3000, round(found.onset)).onset <= found.onset  # not too late
    assert sharpen(residual, found, round(found.onset), late).onset >= round(found.onset)  # nor too early


def test_an_onset_before_the_recording_stays_within_its_lead():
    shape = SHAPES[-2]
    residual = sound_of(planted(-9000.0, [0.61], shape)).float()
    found = search(residual, 0, SAMPLES - 16, LOW, HIGH)[0]
    sharp = sharpen(residual, found, -3000, SAMPLES - 16)
    assert -sharp.shape.lead - 1 <= sharp.onset < 100
    assert sharp.gain >= found.gain


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
    assert atoms.onset.tolist() == [[100, -7]] and atoms.omega[0, :, 0].tolist() == [0.5, 1.5]
    assert atoms.log_attack[0].exp().tolist() == pytest.approx([SHAPES[0].attack, SHAPES[9].attack])
    assert atoms.log_damping[0].exp().tolist() == pytest.approx([SHAPES[0].damping, SHAPES[9].damping])
    assert atoms.used.tolist() == [[[True, False, False, False]] * 2] and not atoms.amp.any()
    assert to_atoms([], torch.device("cpu")).onset.shape == (1, 0)


PARTIAL_SHAPES = (SHAPES[2], SHAPES[6], SHAPES[7], SHAPES[10])


@pytest.mark.parametrize("shape", PARTIAL_SHAPES, ids=lambda shape: f"{shape.attack:.0f}-{1 / shape.damping:.0f}")
@pytest.mark.parametrize("onset", [-30.0, 3000.4])
def test_a_planted_second_mode_is_found(onset: float, shape: Shape):
    """Of several candidates each finds its own; the first mode is no longer in the residual."""
    candidates = [Candidate(1.0, onset, 0.4, shape), Candidate(1.0, 12_000.0, 0.4, shape)]
    residual = sound_of(planted(onset, [1.234], shape, amp=0.5))
    omega, gain = search_partials(residual.float(), candidates, LOW, HIGH)
    energy = float(residual.square().sum())
    assert omega.shape == gain.shape == (2,)
    assert abs(float(omega[0]) - 1.234) <= bin_of(shape)
    assert 0.5 * energy < float(gain[0]) < 1.01 * energy
    if 1 / shape.damping < 1000:
        assert float(gain[1]) < 1e-3 * energy  # there is nothing under the other's onset


def test_second_modes_of_candidates_of_all_shapes_come_in_their_order():
    onsets = [500.0 + 1900.0 * index for index in range(len(SHAPES))]
    candidates = [Candidate(1.0, onset, 0.4, shape) for onset, shape in zip(onsets, SHAPES, strict=True)]
    residual = Draw(5).normal(SAMPLES).float()
    omega, gain = search_partials(residual, candidates, LOW, HIGH)
    for index, candidate in enumerate(candidates):
        alone = search_partials(residual, [candidate], LOW, HIGH)
        assert float(alone[0]) == float(omega[index])
        assert float(alone[1]) == pytest.approx(float(gain[index]), rel=1e-5)
    assert float(gain.min()) > 0 and float(omega.min()) >= LOW and float(omega.max()) <= HIGH


def test_no_second_mode_after_the_end():
    residual = Draw(4).normal(SAMPLES).float()
    _, gain = search_partials(residual, [Candidate(1.0, SAMPLES - 4.0, 0.4, SHAPES[3])], LOW, HIGH)
    _, within = search_partials(residual, [Candidate(1.0, SAMPLES / 2, 0.4, SHAPES[3])], LOW, HIGH)
    assert float(gain) < 1e-3 * float(within)
    assert search_partials(residual, [], LOW, HIGH)[1].shape == (0,)


@pytest.mark.parametrize("turns", [1, 2, 4])
def test_all_shapes_are_tried_in_some_turn_and_every_turn_has_short_and_long_ones(turns: int):
    tried = [shapes_of(turn, turns) for turn in range(turns)]
    assert sorted(index for own in tried for index in own) == list(range(len(SHAPES)))
    for own in tried:
        decays = [1 / SHAPES[index].damping for index in own]
        assert min(decays) < 300 and max(decays) > 5000
        assert len({SHAPES[index].attack * SHAPES[index].damping > 0.3 for index in own}) == 2  # struck, and swelling
