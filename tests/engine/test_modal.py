from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sparsecli.core.events import Header
from sparsecli.dsp.quality import snr_db
from sparsecli.engine import modal
from sparsecli.engine.fitting import to_events
from sparsecli.engine.modal import (
    BLOCK,
    PARAMETERS,
    Atoms,
    Basis,
    gradient,
    join,
    mode_pairs,
    no_atoms,
    normal_matrix,
    positions,
)
from sparsecli.engine.rendering import render
from sparsecli.engine.settings import RenderSettings

from ..oracle.draw import Draw, draw_atoms, modes_of_atoms
from ..oracle.twin import render_slowly

BLOCKS = 16
SAMPLES = BLOCKS * BLOCK
RATE = 22050


def sound_of(atoms: Atoms, samples: int = SAMPLES) -> Tensor:
    return Basis(atoms, -(-samples // BLOCK)).render().flatten()[:samples]


@pytest.mark.parametrize("seed", range(5))
def test_sounds_like_the_slow_twin(seed: int):
    atoms = draw_atoms(seed, 10, SAMPLES)
    slow = render_slowly(modes_of_atoms(atoms), SAMPLES, 1)
    assert float((sound_of(atoms) - slow).abs().max()) < 1e-10 * float(slow.abs().max())  # worst 5e-13


@pytest.mark.parametrize("onset", [-300.0, -0.25, 0.0, 0.5, 255.5, 256.0, 256.25, 4095.5, 4096.0, 5000.0])
def test_onsets_at_the_edges_of_blocks(onset: float):
    atoms = replace(draw_atoms(0, 1, SAMPLES), onset=torch.tensor([onset], dtype=torch.float64))
    slow = render_slowly(modes_of_atoms(atoms), SAMPLES, 1)
    assert torch.allclose(sound_of(atoms), slow, rtol=0, atol=1e-10)
    assert bool(slow.any()) == (onset < SAMPLES - 1)


def test_correlations_are_the_sums_they_stand_for():
    """Sums over t of r g_j and of r u g_j, g_j = e^{z_j u} from the onset on."""
    atoms, residual = draw_atoms(1, 8, SAMPLES), Draw(1).normal(BLOCKS, BLOCK)
    plain, ramp = Basis(atoms, BLOCKS).correlate(residual)
    for k, owner in enumerate(atoms.owner.tolist()):
        u = torch.arange(SAMPLES, dtype=torch.float64) - atoms.onset[owner]
        g = torch.where(u >= 0, torch.exp(atoms.poles[k][:, None] * u.clamp(min=0)), 0.0)  # [3, T]
        for measured, functions in ((plain[k], g), (ramp[k], u * g)):
            expected, size = (functions * residual.flatten()).sum(1), functions.abs().square().sum(1).sqrt()
            assert float(((measured - expected).abs() / (size + 1e-9)).max()) < 1e-10  # worst 4e-13


@pytest.mark.parametrize("seed", range(3))
def test_gradient_is_that_of_the_slow_twin(seed: int):
    """J^T r is the derivative of sum_t x(t) r(t), here by autograd of the twin, for every mode by itself."""
    atoms, residual = draw_atoms(seed, 6, SAMPLES), Draw(seed + 50).normal(BLOCKS, BLOCK)
    own = replace(atoms, onset=atoms.onset[atoms.owner], log_attack=atoms.log_attack[atoms.owner])  # one a mode
    leaves = [own.amp.real, own.amp.imag, own.log_damping, own.omega, own.log_attack, own.onset]
    re, im, log_damping, omega, log_attack, onset = leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    turn = omega * (onset - onset.detach())  # the carrier stays where it is when the onset moves
    amp = torch.complex(re, im) * torch.polar(torch.ones_like(turn), turn)
    single = Atoms(onset, log_attack, torch.arange(len(onset)), log_damping, omega, amp)
    sound = render_slowly(modes_of_atoms(single), SAMPLES, 1)
    slow = torch.stack(torch.autograd.grad((sound * residual.flatten()).sum(), leaves), dim=1)  # [K, 6]
    fast = gradient(Basis(atoms, BLOCKS), residual)
    assert fast.shape == (len(atoms.owner), PARAMETERS)
    for p in range(PARAMETERS):
        assert float((fast - slow)[:, p].norm() / slow[:, p].norm()) < 1e-10  # worst 7e-13


def jacobian(atoms: Atoms, samples: int) -> Tensor:
    """Central differences of the rendering, `[samples, 2A + 4K]` in the order of `positions`; 1e-7 off."""
    columns = torch.zeros(samples, 2 * len(atoms) + 4 * len(atoms.owner), dtype=torch.float64)

    def slope(name: str, index: int, step: float) -> Tensor:
        moved = []
        for sign in (1, -1):
            values = getattr(atoms, name).clone()
            values[index] += sign * step
            shifted = replace(atoms, **{name: values})
            turn = atoms.omega * (shifted.onset - atoms.onset)[atoms.owner]  # the carrier stays where it is
            shifted = replace(shifted, amp=atoms.amp * torch.polar(torch.ones_like(turn), turn))
            moved.append(sound_of(shifted, samples))
        return (moved[0] - moved[1]) / (2 * step)

    where = positions(atoms)
    for mode in range(len(atoms.owner)):
        for p, part in enumerate((1, 1j)):
            amp = torch.zeros_like(atoms.amp)
            amp[mode] = part
            columns[:, where[mode, p]] = sound_of(replace(atoms, amp=amp), samples)
        columns[:, where[mode, 2]] = slope("log_damping", mode, 1e-5)
        columns[:, where[mode, 3]] = slope("omega", mode, 1e-7)
        columns[:, where[mode, 4]] = 0
    for mode, owner in enumerate(atoms.owner.tolist()):
        columns[:, where[mode, 4]] = slope("log_attack", owner, 1e-5)
        columns[:, where[mode, 5]] = slope("onset", owner, 1e-5)
    return columns


def normalised_error(atoms: Atoms, samples: int) -> float:
    """Of J^T J: the largest error of a product of two columns, over the columns' lengths."""
    exact = jacobian(atoms, samples)
    exact = exact.T @ exact
    length = exact.diagonal().sqrt()
    heard = length > 1e-6 * length.max()
    error = (normal_matrix(atoms, samples) - exact) / (length[:, None] * length)
    return float(error[heard][:, heard].abs().max())


def test_normal_matrix_of_atoms_within_the_window(monkeypatch: pytest.MonkeyPatch):
    """The sum over samples is taken as an integral; what is not smooth costs it most."""
    monkeypatch.setattr(modal, "COUPLED", 1e-12)
    for seed in range(3):
        atoms = draw_atoms(seed, 5, 2000, onset=(100, -100), attack=(30, 200), decay=(50, 100), omega=(0.1, 2.5))
        assert normalised_error(atoms, 3000) < 1e-3  # worst 3e-4


def test_normal_matrix_of_atoms_cut_by_the_window(monkeypatch: pytest.MonkeyPatch):
    """At a cut the integral and the sum differ by half a sample of the product."""
    monkeypatch.setattr(modal, "COUPLED", 1e-12)
    for seed in range(3):
        assert normalised_error(draw_atoms(seed, 5, 2500), 3000) < 0.05  # worst of 8 draws 0.027


def test_normal_matrix_without_the_pairs_that_do_not_speak():
    for seed in range(3):
        assert normalised_error(draw_atoms(seed, 5, 2500), 3000) < 0.25  # worst of 8 draws 0.17, of derivatives


def test_normal_matrix_is_symmetric_and_of_the_size_of_all_parameters():
    atoms = draw_atoms(4, 5, SAMPLES)
    matrix = normal_matrix(atoms, SAMPLES)
    assert matrix.shape == (2 * 5 + 4 * 15,) * 2
    assert torch.equal(matrix, matrix.T)
    assert sorted(set(positions(atoms).flatten().tolist())) == list(range(70))


@pytest.mark.parametrize(("longest_attack", "bound"), [(100.0, 0.05), (15_000.0, 0.12)])
@pytest.mark.parametrize("mirror", [False, True])
def test_pairs_that_are_dropped_hardly_overlap(mirror: bool, longest_attack: float, bound: float):
    """Worst of 30 draws 0.030 for struck modes and 0.103 for swelling ones, whose energy comes late."""
    samples = 12_000
    for seed in range(6):
        highest = 3.09 if seed % 2 else 0.3  # low ones meet their mirror images
        atoms = draw_atoms(seed, 16, 11_000, attack=(4.4, longest_attack), omega=(0.006, highest))
        u = torch.arange(samples, dtype=torch.float64) - atoms.onset[atoms.owner][:, None]
        envelope = (1 - torch.exp(-u.clamp(min=0) * atoms.rate[atoms.owner][:, None])).square()
        sound = envelope * torch.exp(atoms.poles[:, :1] * u.clamp(min=0)) * (u >= 0)  # [K, T], complex
        length = sound.abs().square().sum(1).sqrt()
        sound = torch.where(length > 1e-8, 1 / length, 0.0)[:, None] * sound
        overlap = (sound @ (sound.T if mirror else sound.conj().T)).abs().triu()
        m, n = mode_pairs(atoms, samples, mirror)
        assert bool((m <= n).all()) and len(set(zip(m.tolist(), n.tolist(), strict=True))) == len(m)
        assert len(m) < 0.5 * len(atoms.owner) ** 2 / 2  # worst 0.46: worth the trouble
        overlap[m, n] = 0
        assert float(overlap.max()) < bound


def test_every_mode_speaks_to_itself():
    atoms = draw_atoms(3, 10, SAMPLES)
    m, n = mode_pairs(atoms, SAMPLES)
    assert m[m == n].tolist() == list(range(30))


def test_joined_atoms_sound_together():
    parts = [draw_atoms(seed, 3, SAMPLES, modes=seed) for seed in (1, 2, 3)]
    together = join(parts)
    assert len(together) == 9 and together.owner.tolist()[:6] == [0, 1, 2, 3, 3, 4]
    assert torch.allclose(sound_of(together), sum(sound_of(part) for part in parts), rtol=0, atol=1e-9)
    assert len(join([no_atoms(), parts[0]])) == 3
    assert not sound_of(no_atoms()).any() and sound_of(no_atoms()).shape == (SAMPLES,)


def test_taken_atoms_keep_their_modes():
    atoms = draw_atoms(5, 6, SAMPLES)
    rows = torch.tensor([4, 1])
    taken = atoms.take(rows)
    assert torch.equal(taken.onset, atoms.onset[rows])
    expected = sum(sound_of(atoms.take_modes(atoms.owner == row)) for row in (1, 4))
    assert torch.allclose(sound_of(taken), expected, rtol=0, atol=1e-9)
    assert len(atoms.take(torch.tensor([], dtype=torch.int64)).owner) == 0


@pytest.mark.parametrize("samples", [-700, BLOCK, 3])
def test_shifted_atoms_sound_later(samples: int):
    atoms = draw_atoms(6, 6, SAMPLES)
    moved, still = sound_of(atoms.shift(samples)), sound_of(atoms)
    part = slice(max(samples, 0), SAMPLES + min(samples, 0))
    before = slice(max(-samples, 0), SAMPLES - max(samples, 0))
    assert torch.allclose(moved[part], still[before], rtol=0, atol=1e-9)


def test_extremes_stay_finite():
    """The shortest and longest of a fit, from 2 s before a window to its last samples."""
    draws = [
        (-2.0 * RATE, 4.4, 8.0),
        (SAMPLES - 16.0, 15_000.0, 60_000.0),
        (-2.0 * RATE, 15_000.0, 60_000.0),
        (255.9, 4.4, 8.0),
    ]
    for onset, attack, decay in draws:
        atoms = draw_atoms(
            7, 2, 0, onset=(onset, onset), attack=(attack, attack), decay=(decay, decay), omega=(0.006, 3.09)
        )
        basis = Basis(atoms, BLOCKS)
        parts = (basis.render(), gradient(basis, Draw(0).normal(BLOCKS, BLOCK)), normal_matrix(atoms, SAMPLES))
        assert all(bool(torch.isfinite(part).all()) for part in parts)


@pytest.mark.parametrize("seed", range(3))
def test_fitted_atoms_sound_alike_as_events(seed: int):
    """From samples to the table of columns and through the renderer of events."""
    samples = RATE // 2
    atoms = draw_atoms(seed, 12, samples, onset=(0, -100), decay=(8, 20_000))
    events = to_events(atoms, RATE, Header(duration_s=0.5, sample_rate=RATE))
    assert (events.onset_s[1:] >= events.onset_s[:-1]).all()
    levels = events.modes("level_db")
    assert (levels[:, 1:] <= levels[:, :-1]).all()
    heard = render(events, RenderSettings(noise=False)).samples[0]
    assert (
        snr_db(sound_of(atoms, samples).numpy(), heard) > 75
    )  # where strikes end in the renderer of events: worst of 10 draws 78.4


def test_the_energy_of_one_mode_is_known_on_paper():
    """Slow against a sample, |E e^{su}|^2 = e^{-2du} (1 - q)^4 sums to binomials over the rates 2d + jk."""
    atoms = Atoms(
        onset=torch.tensor([100.0]).double(),
        log_attack=torch.tensor([math.log(50.0)]).double(),
        owner=torch.tensor([0]),
        log_damping=torch.tensor([-math.log(100.0)]).double(),
        omega=torch.tensor([1.0]).double(),
        amp=torch.tensor([1.0 + 0j]).to(torch.complex128),
    )
    by_hand = 0.5 * sum(
        weight / (2 / 100 + index / 50) for index, weight in enumerate((1.0, -4.0, 6.0, -4.0, 1.0))
    )  # half, the mean of a squared cosine
    measured = normal_matrix(atoms, 20_000)[positions(atoms)[0, 0], positions(atoms)[0, 0]]
    assert float(measured) == pytest.approx(by_hand, rel=1e-3)  # the other half, at twice the frequency
    assert float(sound_of(atoms, 20_000).square().sum()) == pytest.approx(by_hand, rel=1e-3)
