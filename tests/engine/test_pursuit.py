from __future__ import annotations

import itertools
import math

import pytest
import torch

from sparsecli.engine.modal import BLOCK, Atoms, Basis
from sparsecli.engine.pursuit import MARGIN, count_numbers, make_stretches, pursue
from sparsecli.engine.settings import FitSettings

RATE = 8000


def planted(onsets: list[float], freqs_hz: list[float], decays: list[float]) -> Atoms:
    count = len(onsets)
    return Atoms(
        torch.tensor(onsets, dtype=torch.float64),
        torch.full((count,), math.log(20.0), dtype=torch.float64),
        torch.arange(count),
        torch.tensor([-math.log(decay) for decay in decays], dtype=torch.float64),
        torch.tensor([2 * math.pi * f / RATE for f in freqs_hz], dtype=torch.float64),
        torch.polar(torch.full((count,), 0.3, dtype=torch.float64), torch.arange(count, dtype=torch.float64)),
    )


def sound(atoms: Atoms, samples: int) -> torch.Tensor:
    return Basis(atoms, -(-samples // BLOCK)).render().flatten()[:samples]


def snr_db(reference: torch.Tensor, estimate: torch.Tensor) -> float:
    return float(10 * torch.log10(reference.square().sum() / (reference - estimate).square().sum()))


def go_on(atoms: int, snr: float) -> bool:
    return True


UNLIMITED = 1 << 62


@pytest.mark.parametrize(("count", "least_db"), [(1, 45.0), (2, 50.0), (4, 50.0)])  # measured: 51, 59 and 60 dB
def test_finds_planted_atoms(count: int, least_db: float) -> None:
    columns = ([500.0, 1800.3, 3000.7, 4200.0], [440.0, 700.0, 1234.0, 2000.0], [600.0, 300.0, 900.0, 400.0])
    target = sound(planted(*(values[:count] for values in columns)), 8000)
    found = pursue(target, RATE, FitSettings(atoms=4 * count, bandwidth_hz=4000), UNLIMITED, go_on)
    assert snr_db(target, sound(found, 8000)) > least_db


def test_stretches_cover_the_recording_without_gap_or_overlap() -> None:
    for samples in (1, 100, 11_890, 20_000, 100_001):
        stretches = make_stretches(samples, RATE)
        assert stretches[0].begin == 0 and stretches[-1].end == -(-samples // BLOCK)
        assert all(a.end == b.begin for a, b in itertools.pairwise(stretches))
        assert all(s.low <= s.begin < s.end <= s.high or samples < BLOCK for s in stretches)


def test_no_more_atoms_and_numbers_than_allowed() -> None:
    noise = torch.randn(12_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    few = pursue(noise, RATE, FitSettings(atoms=3, bandwidth_hz=4000), UNLIMITED, go_on)
    assert 0 < len(few) <= 3
    cheap = pursue(noise, RATE, FitSettings(atoms=64, bandwidth_hz=4000), 50, go_on)
    assert 0 < count_numbers(cheap) <= 50


def test_an_snr_goal_ends_the_fit_early() -> None:
    target = sound(planted([100.0 + 900 * k for k in range(8)], [300.0 + 250 * k for k in range(8)], [800.0] * 8), 8000)
    some = pursue(target, RATE, FitSettings(atoms=40, snr_db=6, bandwidth_hz=4000), UNLIMITED, go_on)
    more = pursue(target, RATE, FitSettings(atoms=40, bandwidth_hz=4000), UNLIMITED, go_on)
    assert len(some) < len(more)
    assert snr_db(target, sound(some, 8000)) >= 6


def test_the_watcher_can_stop_it_and_keeps_what_is_found() -> None:
    target = sound(planted([100.0 + 900 * k for k in range(8)], [300.0 + 250 * k for k in range(8)], [800.0] * 8), 8000)
    seen: list[int] = []

    def stop_at_once(atoms: int, snr: float) -> bool:
        seen.append(atoms)
        return False

    found = pursue(target, RATE, FitSettings(atoms=40, bandwidth_hz=4000), UNLIMITED, stop_at_once)
    assert len(seen) == 1
    assert 0 < len(found) <= seen[0]


@pytest.mark.parametrize("samples", [0, 1, 63])
def test_too_short_or_silent_recordings_have_no_atoms(samples: int) -> None:
    assert len(pursue(torch.ones(samples, dtype=torch.float64), RATE, FitSettings(), UNLIMITED, go_on)) == 0
    assert len(pursue(torch.zeros(4000, dtype=torch.float64), RATE, FitSettings(), UNLIMITED, go_on)) == 0


def test_a_tone_that_crosses_stretches_leaves_no_seam() -> None:
    """One long decay over four stretches: the error around the boundaries is no higher than elsewhere."""
    samples = 48_000
    ringing = sound(planted([4000.0], [440.0], [9000.0]), samples)
    struck = sound(planted([9000.0, 21_000.0, 33_000.0], [610.0, 830.0, 510.0], [2000.0] * 3), samples)
    target = ringing + struck
    assert len(make_stretches(samples, RATE)) == 4
    found = pursue(target, RATE, FitSettings(atoms=4, bandwidth_hz=4000), UNLIMITED, go_on)
    error = (target - sound(found, samples)).square()
    assert 10 * math.log10(float(target.square().sum() / error.sum())) > 30  # measured: 45 dB
    boundaries = [stretch.begin * BLOCK for stretch in make_stretches(samples, RATE)[1:]]
    reach = MARGIN * BLOCK // 4
    near = torch.cat([error[b - reach : b + reach] for b in boundaries]).mean()
    assert float(near) < 10 * float(error.mean()) + 1e-12


def test_the_same_input_gives_the_same_atoms() -> None:
    noise = torch.randn(12_000, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    first, second = (pursue(noise, RATE, FitSettings(atoms=4, bandwidth_hz=4000), UNLIMITED, go_on) for _ in range(2))
    assert torch.equal(first.onset, second.onset)
    assert torch.equal(first.amp, second.amp)
