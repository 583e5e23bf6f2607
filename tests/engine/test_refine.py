from __future__ import annotations

import math
import sys
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from sparsecli.core.columns import MIN_ATTACK_S, MIN_ONSET_S
from sparsecli.engine import refine as refine_module
from sparsecli.engine.modal import BLOCK, Atoms, Basis, fast_dtype, join, no_atoms, stack
from sparsecli.engine.refine import (
    Bounds,
    Refined,
    Windows,
    bounds_for,
    cut,
    mode_gains,
    refine,
    solve_amplitudes,
)

from ..oracle.draw import Draw, draw_atoms

RATE = 22050
BLOCKS = 64
SAMPLES = BLOCKS * BLOCK
RESTRAINT = 1e-4
STRUCK = {"onset": (200, -6000), "attack": (20, 400), "decay": (400, 4000), "omega": (0.05, 2.5)}


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def bounds_of(windows: int) -> Bounds:
    zeros = torch.zeros(windows, dtype=torch.float64)
    return bounds_for(RATE, zeros, zeros + SAMPLES - 16, 2 * math.pi * 20 / RATE, 0.985 * math.pi)


def windows_for(target: Tensor, *samples: float) -> Windows:
    """Windows `[G, B, N]` of so many samples each, all that the target has by default."""
    target = target if target.dim() == 3 else target[None]
    within = column(*samples) if samples else torch.full((len(target),), float(target[0].numel())).double()
    return Windows(target, within, bounds_of(len(target)), torch.full_like(within, RESTRAINT))


def sound_of(atoms: Atoms, blocks: int = BLOCKS) -> Tensor:
    return Basis(atoms, blocks).render()


def energy(signal: Tensor) -> float:
    return float(signal.square().sum())


def refined(atoms: Atoms, windows: Windows, steps: int, damping: float = 1e-3) -> Refined:
    return refine(basis_of(atoms, windows), windows, steps, torch.full_like(windows.samples, damping))


def basis_of(atoms: Atoms, windows: Windows) -> Basis:
    return Basis(atoms, windows.target.shape[1], fast_dtype(atoms))


def solved(atoms: Atoms, windows: Windows) -> Atoms:
    """From nothing, in three steps."""
    basis = basis_of(replace(atoms, amp=torch.zeros_like(atoms.amp)), windows)
    return solve_amplitudes(basis, windows, windows.target, 3).basis.atoms


def perturbed(atoms: Atoms, seed: int) -> Atoms:
    """Within the basin of a fit's search: 1 ms, half a bandwidth, a third in attack and decay; no amplitudes."""
    draw, shape = Draw(seed), atoms.onset.shape
    return replace(
        atoms,
        onset=atoms.onset + draw.between(-20, 20, *shape),
        log_attack=atoms.log_attack + draw.between(-0.3, 0.3, *shape),
        log_damping=atoms.log_damping + draw.between(-0.3, 0.3, *shape),
        omega=atoms.omega + draw.between(-0.5, 0.5, *atoms.omega.shape) * atoms.log_damping.exp()[..., None],
        amp=torch.zeros_like(atoms.amp),
    )


@pytest.fixture
def unrestrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """The residual's energy alone is what a step lowers."""
    monkeypatch.setattr(sys.modules[__name__], "RESTRAINT", 0.0)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps go on however little they gain."""
    monkeypatch.setattr(refine_module, "STALLED", 1e-12)


def recovered(true: Atoms, seed: int) -> tuple[Atoms, float]:
    """What 120 steps make of perturbed atoms, and the SNR reached in dB."""
    windows = windows_for(sound_of(true))
    start = solved(perturbed(true, seed), windows)
    assert energy(windows.left_by(Basis(start, BLOCKS))) > energy(windows.target) / 300  # something to do: under 25 dB
    found = refined(start, windows, 120, 1e-2)
    return found.atoms, 10 * math.log10(energy(windows.target) / max(energy(found.residual), 1e-30))


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize(("count", "least_db"), [(1, 57), (2, 65), (4, 56)])  # worst of 10 draws 61.2, 70.1 and 60.0
@pytest.mark.parametrize("modes", [1, 4])
@pytest.mark.parametrize("seed", [0, 3])
def test_known_atoms_are_recovered(count: int, least_db: float, modes: int, seed: int):
    true = draw_atoms(seed, count, SAMPLES, modes=modes, **STRUCK)
    found, snr_db = recovered(true, seed + 100)
    assert snr_db > least_db
    assert float((found.omega - true.omega)[true.used].abs().max()) < 5e-6  # worst of 30 draws 5e-7


@pytest.mark.usefixtures("unrestrained", "unhurried")
@pytest.mark.parametrize("seed", range(4))
def test_one_atom_is_recovered_exactly(seed: int):
    true = draw_atoms(seed, 1, SAMPLES, **STRUCK)
    found, snr_db = recovered(true, seed + 100)
    assert snr_db > 130  # single precision: worst of 4 draws 138
    assert float(found.onset) == pytest.approx(float(true.onset), abs=1e-3)
    assert float(found.log_attack) == pytest.approx(float(true.log_attack), abs=1e-5)
    assert torch.allclose(found.amp, true.amp, rtol=5e-5)  # worst of 4 draws 2.4e-5


def test_modes_do_not_grow_huge_and_cancel():
    """Two modes 1e-6 apart and ten times louder than what is heard of them shrink; one alone loses next to nothing."""
    true = draw_atoms(0, 1, SAMPLES, modes=1, **STRUCK)
    windows = windows_for(sound_of(true))
    alone = refined(true, windows, 20).atoms
    assert 1 - 10 * RESTRAINT < float((alone.amp / true.amp).real[0, 0, 0]) < 1
    pair = join([true, true])
    pair = replace(pair, omega=pair.omega + column(0, 1e-6)[:, None], amp=pair.amp * column(10, -9)[:, None])
    quiet = refined(pair, windows, 20)
    assert float(pair.amp.abs().sum()) > 18 * float(true.amp.abs().sum())
    assert float(quiet.atoms.amp.abs().sum()) < 1.01 * float(true.amp.abs().sum())
    assert energy(quiet.residual) < 1e-5 * energy(windows.target)


@pytest.mark.usefixtures("unrestrained")
@pytest.mark.parametrize("damping", [1e-6, 1e-2, 10.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_energy_never_rises(seed: int, damping: float):
    """From bad starts, on noise, over the edge of the window: the residual is true, and no step makes it louder."""
    samples = column(4000, 3000)
    windows = windows_for(cut(Draw(seed).normal(2, 16, BLOCK), samples), *samples.tolist())
    atoms = stack([draw_atoms(seed, 5, 4000), draw_atoms(seed + 10, 2, 4000)])
    first = last = windows.left_by(Basis(atoms, 16)).square().sum((1, 2))
    lamb = torch.full_like(samples, damping)
    for _ in range(6):
        found = refine(basis_of(atoms, windows), windows, 1, lamb)
        sound = sound_of(found.atoms, 16)
        error = found.residual - cut(windows.target - sound, samples)
        assert energy(error) < 1e-11 * energy(sound)  # single precision
        assert not found.residual[0].flatten()[4000:].any() and not found.residual[1].flatten()[3000:].any()
        now = found.residual.square().sum((1, 2))
        assert bool((now <= last * (1 + 1e-9)).all())  # the first is in double precision
        last, atoms, lamb = now, found.atoms, found.damping
    assert bool((last < first).all())


def test_a_window_is_refined_alike_alone_and_beside_others():
    """One with more atoms, one whose steps end at once, one without any: to rounding, since the sums are padded."""
    parts = [draw_atoms(seed, count, SAMPLES, modes=2, **STRUCK) for seed, count in ((0, 2), (1, 5), (2, 1))]
    targets = [sound_of(part) for part in parts] + [Draw(0).normal(1, BLOCKS, BLOCK)]
    starts = [perturbed(part, seed) for seed, part in enumerate(parts[:2])] + [parts[2], no_atoms()]
    together = windows_for(torch.cat(targets))
    begun = solved(stack(starts), together)
    found = refined(begun, together, 10)
    for index, (start, target) in enumerate(zip(starts, targets, strict=True)):
        alone = refined(solved(start, windows_for(target)), windows_for(target), 10)
        count = start.onset.shape[1]
        size = energy(target) ** 0.5
        assert float((found.residual[index] - alone.residual[0]).norm()) < 1e-4 * size
        for name, bound in (("onset", 0.05), ("log_attack", 1e-3), ("log_damping", 1e-3), ("omega", 1e-6)):
            difference = getattr(found.atoms, name)[index, :count] - getattr(alone.atoms, name)[0]
            assert not count or float(difference[start.used[0] if name == "omega" else ...].abs().max()) < bound
        assert not found.atoms.used[index, count:].any() and not found.atoms.amp[index, count:].any()


def test_a_matrix_that_is_no_number_ends_the_step():
    """Nothing moves, and the other window is stepped all the same."""
    true = draw_atoms(0, 1, SAMPLES, modes=1, **STRUCK)
    target = torch.cat([sound_of(true), sound_of(true)])
    windows, start = windows_for(target), perturbed(true, 0)
    atoms = solved(stack([start, start]), windows)
    atoms = replace(atoms, amp=atoms.amp * torch.tensor([1e150, 1.0])[:, None, None])
    found = refined(atoms, windows, 2)
    assert torch.equal(found.atoms.onset[0], atoms.onset[0])
    assert energy(found.residual[1]) < energy(target[1])


def test_the_order_of_atoms_does_not_matter():
    true = draw_atoms(3, 4, SAMPLES, **STRUCK)
    windows, start = windows_for(sound_of(true)), perturbed(true, 3)
    order = [2, 0, 3, 1]
    turned = Atoms(*(getattr(start, field.name)[:, order] for field in fields(Atoms)))
    one, other = (refined(solved(atoms, windows), windows, 8) for atoms in (start, turned))
    assert float((one.residual - other.residual).norm()) < 1e-4 * energy(windows.target) ** 0.5
    assert torch.allclose(one.atoms.onset[:, order], other.atoms.onset, atol=0.05)
    assert torch.allclose(one.atoms.omega[:, order], other.atoms.omega, atol=1e-6)


def test_the_same_input_gives_the_same_bytes():
    true = draw_atoms(4, 5, SAMPLES, **STRUCK)
    windows, start = windows_for(sound_of(true)), perturbed(true, 4)
    one, other = (refined(solved(start, windows), windows, 6) for _ in range(2))
    assert torch.equal(one.residual, other.residual) and torch.equal(one.damping, other.damping)
    assert all(torch.equal(getattr(one.atoms, f.name), getattr(other.atoms, f.name)) for f in fields(Atoms))


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
        earliest=column(160),
        latest=column(2000),
        omega=(0.2, 1.0 - 2e-4),
        log_attack=(3.0, float(true.log_attack) - 0.1),
        log_damping=(float(true.log_damping) + 0.1, -4.0),
    )
    windows = replace(windows_for(sound_of(true)), bounds=bounds)
    found = refined(solved(start, windows), windows, 30).atoms
    assert 160 <= float(found.onset) <= 2000
    assert bounds.log_attack[0] <= float(found.log_attack) <= bounds.log_attack[1]
    assert float(found.omega[0, 0, 0]) == 1.0 - 2e-4
    assert float(found.log_damping) == bounds.log_damping[0]
    assert float(found.log_attack) == bounds.log_attack[1]


def test_bounds_of_windows():
    bounds = bounds_for(RATE, column(0, 20), column(1000, 1100), 0.1, 3.0)
    assert bounds.earliest.tolist() == [MIN_ONSET_S * RATE, 20]
    assert bounds.latest.tolist() == [1000, 1100]
    assert math.exp(bounds.log_attack[0]) == pytest.approx(MIN_ATTACK_S * RATE)
    assert bounds.windows(torch.tensor([1])).latest.tolist() == [1100]


def test_nothing_to_refine():
    windows = windows_for(cut(Draw(2).normal(1, 4, BLOCK), column(1000)), 1000)
    found = refined(no_atoms(), windows, 5)
    assert found.atoms.onset.shape == (1, 0) and torch.equal(found.residual, windows.target)
    assert solved(no_atoms(), windows).onset.shape == (1, 0)
    assert mode_gains(no_atoms(), windows.samples).shape == (1, 0, 4)
    still = refined(draw_atoms(3, 2, 1000), windows, 0)
    assert torch.equal(still.atoms.onset, draw_atoms(3, 2, 1000).onset)


def dense_columns(atoms: Atoms, blocks: int, samples: int) -> Tensor:
    """The sounds of all real and imaginary unit amplitudes of the modes in use, `[samples, 2K]`."""
    columns = []
    for a, m in torch.nonzero(atoms.used[0]).tolist():
        for part in (1, 1j):
            amp = torch.zeros_like(atoms.amp)
            amp[0, a, m] = part
            columns.append(sound_of(replace(atoms, amp=amp), blocks).flatten()[:samples])
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("seed", range(3))
def test_amplitudes_are_the_least_squares_solution(seed: int):
    samples = 8000
    atoms = draw_atoms(seed, 6, samples, onset=(-500, -1000), attack=(4.4, 400), decay=(100, 60_000))
    windows = windows_for(cut(Draw(seed).normal(1, 32, BLOCK), column(samples)), samples)
    target = windows.target.flatten()[:samples, None]
    columns = dense_columns(atoms, 32, samples)
    best = torch.linalg.lstsq(columns, target, driver="gelsd").solution
    explained = energy(target) - energy(target - columns @ best)
    found = solved(atoms, windows)
    assert torch.equal(found.onset, atoms.onset) and torch.equal(found.omega, atoms.omega)
    assert not found.amp[~atoms.used].any()
    reached = energy(target) - energy(windows.left_by(Basis(found, 32)))
    assert explained * (1 - 1e-5) < reached <= explained * (1 + 1e-9)


def test_amplitudes_of_well_separated_modes():
    atoms = draw_atoms(4, 6, 6000, onset=(100, -3000), attack=(20, 200), decay=(300, 900), omega=(0.1, 2.5))
    amp = solved(atoms, windows_for(cut(sound_of(atoms, 32), column(8000)), 8000)).amp
    assert float((amp - atoms.amp).abs().max()) < 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_gains_are_what_a_refit_without_the_mode_loses(seed: int):
    samples = 8000
    atoms = draw_atoms(seed, 4, 6000, onset=(100, -2000), attack=(20, 400), decay=(100, 2000), omega=(0.1, 2.5))
    twin = Atoms(*(getattr(atoms, field.name)[:, :1] for field in fields(Atoms)))
    atoms = join([atoms, replace(twin, omega=twin.omega + 0.002), no_atoms(1, 2)])  # nearly the same sounds again
    gains = mode_gains(atoms, column(samples))
    assert gains.shape == (1, 7, 4) and not gains[~atoms.used].any()
    columns = dense_columns(atoms, 32, samples)
    target = sound_of(atoms, 32).flatten()[:samples, None]
    for mode, gain in enumerate(gains[atoms.used].tolist()):
        others = columns[:, [c for c in range(columns.shape[1]) if c // 2 != mode]]
        left = energy(target - others @ torch.linalg.lstsq(others, target, driver="gelsd").solution)
        assert gain == pytest.approx(left, rel=0.005)
    assert float(gains[atoms.used].min()) < 0.1 * float(columns[:, :2].square().sum())  # some hide behind others


def test_cut_ends_recordings():
    signal = torch.ones(2, 3, BLOCK)
    assert cut(signal, column(300, 500)).sum((1, 2)).tolist() == [300, 500]
    assert cut(signal, column(3 * BLOCK, 3 * BLOCK)) is signal
    assert not cut(signal, column(300, 500))[0].flatten()[300:].any()
