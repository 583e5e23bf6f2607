from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from sparsecli.engine import amplitudes
from sparsecli.engine.amplitudes import solve_all, sound_of, spans_of
from sparsecli.engine.modal import BLOCK, Atoms, Basis, no_atoms

RESTRAINT = 1e-4


def random_atoms(count: int, samples: int, seed: int) -> Atoms:
    """Atoms with two modes each and one slot that is unused between them."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(1, count, *shape, generator=generator, dtype=torch.float64)

    used = torch.zeros(1, count, 4, dtype=torch.bool)
    used[..., [0, 2]] = True
    return Atoms(
        onset=draw(-300.0, 0.9 * samples),
        log_attack=draw(math.log(5.0), math.log(200.0)),
        log_damping=-draw(math.log(100.0), math.log(3000.0)),
        omega=draw(0.05, 2.5, 4),
        amp=torch.where(used, torch.polar(draw(0.1, 0.6, 4), draw(-3.0, 3.0, 4)), 0.0),
        used=used,
    )


def sound_by_itself(atoms: Atoms, samples: int) -> torch.Tensor:
    return Basis(atoms, -(-samples // BLOCK)).render()[0].flatten()[:samples]


@pytest.mark.parametrize("span", [3, 512])
@pytest.mark.parametrize("part", [2, 64])
def test_the_sound_is_that_of_all_atoms_at_once(span: int, part: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(amplitudes, "SPAN", span)
    monkeypatch.setattr(amplitudes, "PART", part)
    atoms, samples = random_atoms(9, 20_000, 0), 20_000
    whole = Basis(atoms, 157).render()[0]
    assert float((sound_of(atoms, 157) - whole).norm()) < 1e-4 * float(whole.norm())  # tails end at -100 dB
    covered = torch.zeros(9, 157)
    for one in spans_of(atoms, torch.arange(9), 157):
        covered[one.rows, one.begin : one.end] += 1
    assert float(covered.max()) == 1
    assert samples // BLOCK < 157


@pytest.mark.parametrize("part", [2, 64])
def test_amplitudes_are_those_of_dense_least_squares(part: int, monkeypatch: pytest.MonkeyPatch):
    """Against a design matrix of every mode's two quadratures, rendered one by one."""
    monkeypatch.setattr(amplitudes, "PART", part)
    count, samples = 8, 9000
    atoms = random_atoms(count, samples, 1)
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    target = sound_by_itself(atoms, samples) + 0.3 * noise
    start = replace(atoms, amp=torch.where(atoms.used, 0.01, 0.0).to(torch.complex128))
    columns = []
    for row in range(count):
        for slot in (0, 2):
            for quadrature in (1.0, 1.0j):
                amp = torch.zeros_like(atoms.amp)
                amp[0, row, slot] = quadrature
                columns.append(sound_by_itself(replace(atoms, amp=amp), samples))
    design = torch.stack(columns, 1)
    ridge = torch.diag(RESTRAINT * design.square().sum(0))
    exact = torch.linalg.solve(design.T @ design + ridge, design.T @ target).view(count, 2, 2)
    blocks = -(-samples // BLOCK)
    left = torch.nn.functional.pad(target - sound_by_itself(start, samples), (0, blocks * BLOCK - samples))
    solved, residual = solve_all(start, left.view(blocks, BLOCK), samples, RESTRAINT, 30)
    found = torch.view_as_real(solved.amp[0])
    assert float((found[:, [0, 2]] - exact).norm()) < 1e-3 * float(exact.norm())
    assert not found[:, [1, 3]].any()
    expected = target - sound_by_itself(solved, samples)
    assert float((residual.flatten()[:samples] - expected).norm()) < 1e-4 * float(expected.norm())
    assert not residual.flatten()[samples:].any()


@pytest.mark.parametrize("steps", [1, 3])
def test_a_few_steps_never_make_it_worse(steps: int):
    samples = 30_000
    for seed in range(4):
        atoms = random_atoms(30, samples, seed)
        left = torch.randn(235, BLOCK, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        left.flatten()[samples:] = 0.0
        _, residual = solve_all(atoms, left, samples, RESTRAINT, steps)
        restraint = RESTRAINT * float(sound_of(atoms, 235).square().sum()) * 30
        assert float(residual.square().sum()) < float(left.square().sum()) + restraint


def test_no_atoms_leave_all():
    left = torch.ones(3, BLOCK, dtype=torch.float64)
    atoms, residual = solve_all(no_atoms(), left, 3 * BLOCK, RESTRAINT, 2)
    assert atoms.onset.numel() == 0
    assert residual.equal(left)
    assert not sound_of(no_atoms(), 3).any()
