from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sparsecli.core.columns import MIN_ATTACK_S, MIN_ONSET_S
from sparsecli.engine import refine as refine_module
from sparsecli.engine.modal import BLOCK, Atoms, Basis, join, no_atoms
from sparsecli.engine.refine import RESTRAINT, Bounds, bounds_for, cut, mode_gains, refine, solve_amplitudes

from ..oracle.draw import Draw, draw_atoms

RATE = 22050
BLOCKS = 64
SAMPLES = BLOCKS * BLOCK
BOUNDS = bounds_for(RATE, 0, SAMPLES - 16, 2 * math.pi * 20 / RATE, 0.985 * math.pi)
STRUCK = {"onset": (200, -6000), "attack": (20, 400), "decay": (400, 4000), "omega": (0.05, 2.5)}


def sound_of(atoms: Atoms, blocks: int = BLOCKS) -> Tensor:
    return Basis(atoms, blocks).render()


def energy(signal: Tensor) -> float:
    return float(signal.square().sum())


def perturbed(atoms: Atoms, seed: int) -> Atoms:
    """Within the basin of a fit's search: 1 ms, half a bandwidth, a third in attack and decay; no amplitudes."""
    draw, modes = Draw(seed), len(atoms.owner)
    return Atoms(
        onset=atoms.onset + draw.between(-20, 20, len(atoms)),
        log_attack=atoms.log_attack + draw.between(-0.3, 0.3, len(atoms)),
        owner=atoms.owner,
        log_damping=atoms.log_damping + draw.between(-0.3, 0.3, modes),
        omega=atoms.omega + draw.between(-0.5, 0.5, modes) * atoms.log_damping.exp(),
        amp=torch.zeros_like(atoms.amp),
    )


@pytest.fixture
def unrestrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """The residual's energy alone is what a step lowers."""
    monkeypatch.setattr(refine_module, "RESTRAINT", 0.0)


def recovered(true: Atoms, seed: int) -> tuple[Atoms, float]:
    """What 120 steps make of perturbed atoms, and the SNR reached in dB."""
    target = sound_of(true)
    start = solve_amplitudes(perturbed(true, seed), target, SAMPLES)
    assert energy(target - sound_of(start)) > energy(target) / 300  # there is something to do: under 25 dB
    found = refine(start, target, SAMPLES, BOUNDS, 120, 1e-2)
    return found.atoms, 10 * math.log10(energy(target) / max(energy(found.residual), 1e-30))


@pytest.mark.parametrize(("count", "least_db"), [(1, 60), (2, 57), (4, 52)])  # worst of 16 draws 61.6, 60.4 and 55.4
@pytest.mark.parametrize("modes", [1, 3])
@pytest.mark.parametrize("seed", [0, 3])
def test_known_atoms_are_recovered(count: int, least_db: float, modes: int, seed: int):
    true = draw_atoms(seed, count, SAMPLES, modes=modes, **STRUCK)
    found, snr_db = recovered(true, seed + 100)
    assert snr_db > least_db
    assert float((found.omega - true.omega).abs().max()) < 1e-5  # worst of 48 draws 2e-6


@pytest.mark.usefixtures("unrestrained")
@pytest.mark.parametrize("seed", range(4))
def test_one_atom_is_recovered_exactly(seed: int):
    true = draw_atoms(seed, 1, SAMPLES, **STRUCK)
    found, snr_db = recovered(true, seed + 100)
    assert snr_db > 150  # worst 185.6
    assert float(found.onset) == pytest.approx(float(true.onset), abs=1e-3)
    assert float(found.log_attack) == pytest.approx(float(true.log_attack), abs=1e-5)
    assert torch.allclose(found.amp, true.amp, rtol=1e-5)


def test_modes_do_not_grow_huge_and_cancel():
    """Two modes 1e-6 apart and ten times louder than what is heard of them shrink; one alone loses next to nothing."""
    true = draw_atoms(0, 1, SAMPLES, modes=1, **STRUCK)
    target = sound_of(true)
    alone = refine(true, target, SAMPLES, BOUNDS, 20, 1e-3).atoms
    assert 1 - 10 * RESTRAINT < float((alone.amp / true.amp).real) < 1  # worst of 4 draws 5e-4 too low
    pair = join([true, true])
    pair = replace(pair, omega=pair.omega + torch.tensor([0, 1e-6]), amp=pair.amp * torch.tensor([10, -9]))
    quiet = refine(pair, target, SAMPLES, BOUNDS, 20, 1e-3)
    assert float(pair.amp.abs().sum()) > 18 * float(true.amp.abs())
    assert float(quiet.atoms.amp.abs().sum()) < 1.01 * float(true.amp.abs())
    assert energy(quiet.residual) < 1e-5 * energy(target)


@pytest.mark.usefixtures("unrestrained")
@pytest.mark.parametrize("damping", [1e-6, 1e-2, 10.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_energy_never_rises(seed: int, damping: float):
    """From bad starts, on noise, over the edge of the window: the residual is exact, and no step makes it louder."""
    target = cut(Draw(seed).normal(16, BLOCK), 4000)
    atoms = draw_atoms(seed, 5, 4000)
    first = last = energy(cut(target - sound_of(atoms, 16), 4000))
    for _ in range(6):
        refined = refine(atoms, target, 4000, BOUNDS, 1, damping)
        assert torch.allclose(refined.residual, cut(target - sound_of(refined.atoms, 16), 4000), rtol=0, atol=1e-9)
        assert not refined.residual.flatten()[4000:].any()
        assert energy(refined.residual) <= last
        last, atoms, damping = energy(refined.residual), refined.atoms, refined.damping
    assert last < first


def test_bounds_hold():
    """The target pulls every number over its bound; there it stays."""
    true = draw_atoms(1, 1, 0, modes=1, onset=(150, 150), attack=(200, 200), decay=(900, 900), omega=(1.0, 1.0))
    start = replace(
        true,
        onset=true.onset + 20,
        log_attack=true.log_attack - 0.3,
        log_damping=true.log_damping + 0.3,
        omega=true.omega - 5e-4,
    )
    bounds = Bounds(
        onset=(160, 2000),
        omega=(0.2, 1.0 - 2e-4),
        log_attack=(3.0, float(true.log_attack) - 0.1),
        log_damping=(float(true.log_damping) + 0.1, -4.0),
    )
    target = sound_of(true)
    found = refine(solve_amplitudes(start, target, SAMPLES), target, SAMPLES, bounds, 30, 1e-3).atoms
    for name, limits in vars(bounds).items():
        assert limits[0] <= float(getattr(found, name)) <= limits[1], name
    assert float(found.omega) == 1.0 - 2e-4
    assert float(found.log_damping) == bounds.log_damping[0]
    assert float(found.log_attack) == bounds.log_attack[1]


def test_bounds_of_a_window():
    first, later = bounds_for(RATE, 0, 1000, 0.1, 3.0), bounds_for(RATE, 20, 1000, 0.1, 3.0)
    assert first.onset == (MIN_ONSET_S * RATE, 1000)
    assert later.onset == (20, 1000)
    assert math.exp(first.log_attack[0]) == pytest.approx(MIN_ATTACK_S * RATE)


def test_nothing_to_refine():
    target = Draw(2).normal(4, BLOCK)
    refined = refine(no_atoms(), target, 1000, BOUNDS, 5, 1e-3)
    assert len(refined.atoms) == 0 and torch.equal(refined.residual, cut(target, 1000))
    atoms = draw_atoms(3, 2, 1000)
    still = refine(atoms, target, 1024, BOUNDS, 0, 1e-3)
    assert torch.equal(still.atoms.onset, atoms.onset)


def dense_columns(atoms: Atoms, blocks: int, samples: int) -> Tensor:
    """The sounds of all real and imaginary unit amplitudes, `[samples, 2K]`."""
    columns = []
    for mode in range(len(atoms.owner)):
        for part in (1, 1j):
            amp = torch.zeros_like(atoms.amp)
            amp[mode] = part
            columns.append(sound_of(replace(atoms, amp=amp), blocks).flatten()[:samples])
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("seed", range(3))
def test_amplitudes_are_the_least_squares_solution(seed: int):
    samples = 8000
    atoms = draw_atoms(seed, 6, samples, onset=(-500, -1000), attack=(4.4, 400), decay=(100, 60_000))
    target = cut(Draw(seed).normal(32, BLOCK), samples)
    columns = dense_columns(atoms, 32, samples)
    best = torch.linalg.lstsq(columns, target.flatten()[:samples, None], driver="gelsd").solution
    least = energy(target.flatten()[:samples, None] - columns @ best)
    solved = solve_amplitudes(atoms, target, samples)
    assert torch.equal(solved.onset, atoms.onset) and torch.equal(solved.omega, atoms.omega)
    explained = energy(target) - least
    reached = energy(target) - energy(cut(target - sound_of(solved, 32), samples))
    assert explained * (1 - 1e-5) < reached <= explained * (1 + 1e-9)  # worst of 16 draws 2e-9


def test_amplitudes_of_well_separated_modes():
    atoms = draw_atoms(4, 6, 6000, onset=(100, -3000), attack=(20, 200), decay=(300, 900), omega=(0.1, 2.5))
    amp = solve_amplitudes(atoms, sound_of(atoms, 32), 8000).amp
    assert float((amp - atoms.amp).abs().max()) < 1e-3  # worst of 10 draws 4e-5


@pytest.mark.parametrize("seed", range(3))
def test_gains_are_what_a_refit_without_the_mode_loses(seed: int):
    samples = 8000
    atoms = draw_atoms(seed, 4, 6000, onset=(100, -2000), attack=(20, 400), decay=(100, 2000), omega=(0.1, 2.5))
    twin = replace(atoms.take(torch.tensor([0])), omega=atoms.omega[:3] + 0.002)  # nearly the same sounds again
    atoms = Atoms(
        atoms.onset,
        atoms.log_attack,
        *(torch.cat([getattr(atoms, n), getattr(twin, n)]) for n in ("owner", "log_damping", "omega", "amp")),
    )
    gains = mode_gains(atoms, samples)
    columns = dense_columns(atoms, 32, samples)
    target = sound_of(atoms, 32).flatten()[:samples, None]
    for mode in range(len(atoms.owner)):
        others = columns[:, [c for c in range(columns.shape[1]) if c // 2 != mode]]
        left = energy(target - others @ torch.linalg.lstsq(others, target, driver="gelsd").solution)
        assert float(gains[mode]) == pytest.approx(left, rel=0.005)  # worst of 6 draws 0.0007
    assert float(gains.min()) < 0.1 * float(columns[:, :2].square().sum())  # some hide behind others


def test_cut_ends_a_recording():
    signal = torch.ones(3, BLOCK)
    assert float(cut(signal, 300).sum()) == 300
    assert cut(signal, 3 * BLOCK) is signal
    assert not cut(signal, 300).flatten()[300:].any()
