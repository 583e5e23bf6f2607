from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from sparsecli.core.events import Header
from sparsecli.dsp.quality import snr_db
from sparsecli.engine import modal
from sparsecli.engine.fitting import to_events
from sparsecli.engine.modal import (
    BLOCK,
    OF_MODE,
    PARAMETERS,
    Atoms,
    Basis,
    coefficients_of,
    gradient,
    join,
    mode_norms,
    mode_pairs,
    no_atoms,
    normal_matrix,
    parameters_of,
    positions,
    stack,
)
from sparsecli.engine.refine import bounds_for
from sparsecli.engine.rendering import render
from sparsecli.engine.settings import RenderSettings

from ..oracle.draw import Draw, draw_atoms, modes_of_atoms
from ..oracle.twin import render_slowly

BLOCKS = 16

SAMPLES = BLOCKS * BLOCK
RATE = 22050


def sound_of(atoms: Atoms, samples: int = SAMPLES) -> Tensor:
    return Basis(atoms, -(-samples // BLOCK)).render().flatten()[:samples]


def matrix_of(atoms: Atoms, samples: float) -> Tensor:
    """J^T J of one window, both triangles, float64 `[Q, Q]`."""
    within = torch.tensor([samples], dtype=torch.float64)
    lower = normal_matrix(atoms, within, mode_pairs(atoms, within))[0].double()
    return lower + lower.tril(-1).T


def window_of(atoms: Atoms, index: int) -> Atoms:
    return atoms.windows(slice(index, index + 1))


@pytest.mark.parametrize("seed", range(5))
def test_sounds_like_the_slow_twin(seed: int):
    atoms = draw_atoms(seed, 10, SAMPLES, modes=1 + seed % 4)
    slow = render_slowly(modes_of_atoms(atoms), SAMPLES, 1)
    assert float((sound_of(atoms) - slow).abs().max()) < 1e-10 * float(slow.abs().max())  # worst 7e-13


@pytest.mark.parametrize("onset", [-300.0, -0.25, 0.0, 0.5, 255.5, 256.0, 256.25, 4095.5, 4096.0, 5000.0])
def test_onsets_at_the_edges_of_blocks(onset: float):
    atoms = replace(draw_atoms(0, 1, SAMPLES), onset=torch.tensor([[onset]], dtype=torch.float64))
    slow = render_slowly(modes_of_atoms(atoms), SAMPLES, 1)
    assert torch.allclose(sound_of(atoms), slow, rtol=0, atol=1e-10)
    assert bool(slow.any()) == (onset < SAMPLES - 1)


def test_correlations_are_the_sums_they_stand_for():
    """Sums over t of r g_j and of r u g_j, g_j = e^{z_j u} from the onset on; in single precision."""
    atoms, residual = draw_atoms(1, 8, SAMPLES), Draw(1).normal(1, BLOCKS, BLOCK)
    plain, ramp = Basis(atoms, BLOCKS).correlate(residual)
    u = torch.arange(SAMPLES, dtype=torch.float64) - atoms.onset[0, :, None]  # [A, T]
    for a in range(8):
        for m in range(3):
            poles = torch.complex(-atoms.rates[0, a], atoms.omega[0, a, m].expand(3))
            g = torch.where(u[a] >= 0, torch.exp(poles[:, None] * u[a].clamp(min=0)), 0.0)  # [3, T]
            for measured, functions in ((plain[0, a, m], g), (ramp[0, a, m], u[a] * g)):
                expected, size = (functions * residual.flatten()).sum(1), functions.abs().square().sum(1).sqrt()
                assert float(((measured - expected).abs() / (size + 1e-9)).max()) < 1e-5  # worst of 6 draws 9e-7


@pytest.mark.parametrize("seed", range(3))
def test_gradient_is_that_of_the_slow_twin(seed: int):
    """J^T r is the derivative of sum_t x(t) r(t), here by autograd of the twin, for every mode by itself."""
    atoms, residual = draw_atoms(seed, 6, SAMPLES, modes=4), Draw(seed + 50).normal(1, BLOCKS, BLOCK)

    def by_mode(values: Tensor) -> Tensor:
        return values[0, :, None].expand(-1, 4).flatten()

    leaves = [atoms.amp.real.flatten(), atoms.amp.imag.flatten(), atoms.omega.flatten()]
    leaves += [by_mode(values) for values in (atoms.log_damping, atoms.log_attack, atoms.onset)]
    re, im, omega, log_damping, log_attack, onset = leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    turn = omega * (onset - onset.detach())  # the carrier stays where it is when the onset moves
    amp = torch.complex(re, im) * torch.polar(torch.ones_like(turn), turn)
    single = Atoms(
        onset[None],
        log_attack[None],
        log_damping[None],
        omega[None, :, None],
        amp[None, :, None],
        amp[None, :, None] != 0,
    )
    sound = render_slowly(modes_of_atoms(single), SAMPLES, 1)
    slow = torch.stack(torch.autograd.grad((sound * residual.flatten()).sum(), leaves), dim=1)  # [A M, 6]
    fast = gradient(Basis(atoms, BLOCKS), residual).view(-1, PARAMETERS)
    for p in range(PARAMETERS):
        assert float((fast - slow)[:, p].norm() / slow[:, p].norm()) < 1e-5  # single precision


def jacobian(atoms: Atoms, samples: int) -> Tensor:
    """Central differences of the rendering, `[samples, Q]` in the order of `positions`; 1e-7 off."""
    columns = torch.zeros(samples, parameters_of(atoms), dtype=torch.float64)

    def slope(name: str, index: tuple[int, ...], step: float) -> Tensor:
        moved = []
        for sign in (1, -1):
            values = getattr(atoms, name).clone()
            values[index] += sign * step
            shifted = replace(atoms, **{name: values})
            turn = atoms.omega * (shifted.onset - atoms.onset)[..., None]  # the carrier stays where it is
            shifted = replace(shifted, amp=atoms.amp * torch.polar(torch.ones_like(turn), turn))
            moved.append(sound_of(shifted, samples))
        return (moved[0] - moved[1]) / (2 * step)

    where = positions(atoms)
    for a, m in torch.nonzero(atoms.used[0]).tolist():
        for p, part in enumerate((1, 1j)):
            amp = torch.zeros_like(atoms.amp)
            amp[0, a, m] = part
            columns[:, where[0, a, m, p]] = sound_of(replace(atoms, amp=amp), samples)
        columns[:, where[0, a, m, 2]] = slope("omega", (0, a, m), 1e-7)
        for p, (name, step) in enumerate((("log_damping", 1e-5), ("log_attack", 1e-5), ("onset", 1e-5)), OF_MODE):
            columns[:, where[0, a, m, p]] = slope(name, (0, a), step)
    return columns


def normalised_error(atoms: Atoms, samples: int) -> float:
    """Of J^T J: the largest error of a product of two columns, over the columns' lengths."""
    exact = jacobian(atoms, samples)
    exact = exact.T @ exact
    length = exact.diagonal().sqrt()
    heard = length > 1e-4 * length.max()
    error = (matrix_of(atoms, samples) - exact) / (length[:, None] * length)
    return float(error[heard][:, heard].abs().max())


def test_normal_matrix_of_atoms_within_the_window(monkeypatch: pytest.MonkeyPatch):
    """The sum over samples is taken as an integral; what is not smooth costs it most."""
    monkeypatch.setattr(modal, "COUPLED", 1e-12)
    for seed in range(3):
        atoms = draw_atoms(seed, 5, 2000, onset=(100, -100), attack=(30, 200), decay=(50, 100), omega=(0.1, 2.5))
        assert normalised_error(atoms, 3000) < 2e-3  # worst of 8 draws 6e-4


def test_normal_matrix_of_atoms_cut_by_the_window(monkeypatch: pytest.MonkeyPatch):
    """At a cut the midpoint rule errs by 1 / 24 of the slope of the product there."""
    monkeypatch.setattr(modal, "COUPLED", 1e-12)
    for seed in range(3):
        assert normalised_error(draw_atoms(seed, 5, 2500, omega=(0.006, 2.8)), 3000) < 0.01  # worst of 10 draws 0.0034


def test_normal_matrix_without_the_pairs_that_do_not_speak():
    for seed in range(3):
        assert normalised_error(draw_atoms(seed, 5, 2500, omega=(0.006, 2.8)), 3000) < 0.1  # worst of 10 draws 0.048


def test_normal_matrix_is_a_triangle_of_the_size_of_all_parameters():
    atoms, samples = draw_atoms(4, 5, SAMPLES), torch.tensor([float(SAMPLES)])
    matrix = normal_matrix(atoms, samples, mode_pairs(atoms, samples))
    assert matrix.shape == (1, 3 * 5 + 3 * 15, 3 * 5 + 3 * 15)  # three modes an atom; a slot that is unused has none
    assert not matrix.triu(1).any()
    assert sorted(set(positions(atoms)[0][atoms.used[0]].flatten().tolist())) == list(range(60))


@pytest.mark.parametrize(("longest_attack", "bound"), [(100.0, 0.06), (15_000.0, 0.12)])
@pytest.mark.parametrize("mirror", [False, True])
def test_pairs_that_are_dropped_hardly_overlap(mirror: bool, longest_attack: float, bound: float):
    """Worst of 20 draws 0.046 for struck modes and 0.051 for swelling ones, whose energy comes late."""
    samples = 12_000
    for seed in range(6):
        highest = 3.09 if seed % 2 else 0.3  # low ones meet their mirror images
        atoms = draw_atoms(seed, 12, 11_000, modes=4, attack=(4.4, longest_attack), omega=(0.006, highest))
        u = torch.arange(samples, dtype=torch.float64) - atoms.onset[0, :, None]  # [A, T]
        late = u.clamp(min=0)
        k, d = torch.exp(-atoms.log_attack[0])[:, None], atoms.log_damping[0].exp()[:, None]
        envelope = (1 - torch.exp(-k * late)).square() * torch.exp(-d * late) * (u >= 0)
        turn = atoms.omega[0][..., None] * u[:, None]
        sound = (envelope[:, None] * torch.polar(torch.ones_like(turn), turn)).flatten(0, 1)  # [A M, T], complex
        length = sound.abs().square().sum(1).sqrt()
        sound = torch.where(length > 1e-8, 1 / length, 0.0)[:, None] * sound
        overlap = (sound @ (sound.T if mirror else sound.conj().T)).abs()
        pairs = mode_pairs(atoms, torch.tensor([float(samples)]))
        assert bool((pairs.first <= pairs.second).all())
        chosen = pairs.sign == (-1.0 if mirror else 1.0)
        m, n = pairs.first[chosen], pairs.second[chosen]
        assert len(set(zip(m.tolist(), n.tolist(), strict=True))) == len(m)
        assert len(m) < 0.8 * 48**2 / 2  # worst of 20 draws 0.68: worth the trouble
        overlap[m, n] = overlap[n, m] = 0
        assert float(overlap.max()) < bound


def test_every_mode_speaks_to_itself():
    atoms = draw_atoms(3, 10, SAMPLES)
    pairs = mode_pairs(atoms, torch.tensor([float(SAMPLES)]))
    itself = pairs.first[(pairs.first == pairs.second) & (pairs.sign > 0)]
    assert itself.tolist() == torch.nonzero(atoms.used.flatten())[:, 0].tolist()
    assert bool(atoms.used.flatten()[torch.cat([pairs.first, pairs.second])].all())


def test_padding_and_other_windows_change_nothing():
    """Of three windows side by side, with 7, 2 and no atoms and of different lengths, each is as it is by itself."""
    parts = [draw_atoms(0, 7, SAMPLES), draw_atoms(1, 2, SAMPLES, modes=2), no_atoms()]
    samples = torch.tensor([4000.0, 3000.0, 2000.0])
    together, residual = stack(parts), Draw(3).normal(3, BLOCKS, BLOCK)
    assert together.onset.shape == (3, 7) and together.present.sum(1).tolist() == [7, 2, 0]
    basis = Basis(together, BLOCKS)
    sound, slopes, norms = basis.render(), gradient(basis, residual), mode_norms(together, samples)
    matrix, where = normal_matrix(together, samples, mode_pairs(together, samples)), positions(together)
    for index, part in enumerate(parts):
        count, own = part.onset.shape[1], samples[index : index + 1]
        alone = Basis(part, BLOCKS)
        assert torch.allclose(sound[index], alone.render()[0], rtol=0, atol=1e-10)
        assert not slopes[index, count:].any()
        if not count:
            assert not matrix[index].any()
            continue
        expected = gradient(alone, residual[index : index + 1])[0]
        assert torch.allclose(slopes[index, :count], expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))
        assert torch.equal(norms[index, :count], mode_norms(part, own)[0])
        rows = where[index, :count][part.used[0]].flatten()
        expected = normal_matrix(part, own, mode_pairs(part, own))[0]
        ordered = positions(part)[part.used].flatten()
        expected = expected[ordered][:, ordered]
        length = expected.diagonal().sqrt()
        error = (matrix[index][rows][:, rows] - expected).abs() / (length[:, None] * length).clamp(min=1e-30)
        assert float(error.max()) < 1e-4  # one of them may be worked out in single precision
    assert torch.equal(stack([parts[1], parts[0]]).packed().windows(slice(1, 2)).onset, parts[0].onset)


def test_joined_atoms_sound_together():
    parts = [draw_atoms(seed, 3, SAMPLES, modes=seed) for seed in (1, 2, 3)]
    together = join(parts)
    assert together.onset.shape == (1, 9) and together.used.sum(-1)[0].tolist() == [1] * 3 + [2] * 3 + [3] * 3
    assert torch.allclose(sound_of(together), sum(sound_of(part) for part in parts), rtol=0, atol=1e-9)
    assert join([no_atoms(), parts[0]]).onset.shape == (1, 3)
    assert not sound_of(no_atoms()).any() and sound_of(no_atoms()).shape == (SAMPLES,)


def test_packed_atoms_are_the_same_without_the_padding():
    atoms = draw_atoms(5, 6, SAMPLES)
    gone = torch.zeros_like(atoms.used)
    gone[0, [0, 3]] = True
    gone[0, 4, 1] = True
    left = atoms.without(gone)
    packed = left.packed()
    assert packed.onset.tolist() == [atoms.onset[0, [1, 2, 4, 5]].tolist()]
    assert packed.used.sum(-1).tolist() == [[3, 3, 2, 3]]
    assert torch.allclose(sound_of(packed), sound_of(left), rtol=0, atol=1e-10)
    assert no_atoms(2, 5).packed().onset.shape == (2, 0) and no_atoms().packed().onset.shape == (1, 0)
    padded = join([no_atoms(1, 2), atoms, no_atoms(1, 3)]).packed()
    assert all(torch.equal(getattr(padded, f.name), getattr(atoms, f.name)) for f in fields(Atoms))


@pytest.mark.parametrize("samples", [-700, BLOCK, 3])
def test_shifted_atoms_sound_later(samples: int):
    atoms = draw_atoms(6, 6, SAMPLES)
    moved, still = sound_of(atoms.shift(samples)), sound_of(atoms)
    part = slice(max(samples, 0), SAMPLES + min(samples, 0))
    before = slice(max(-samples, 0), SAMPLES - max(samples, 0))
    assert torch.allclose(moved[part], still[before], rtol=0, atol=1e-9)


@pytest.mark.parametrize("rate", [RATE, 1000])
def test_extremes_stay_finite(rate: int):
    """The shortest and longest of a fit, from 2 s before a window to its last samples; of slow recordings as well."""
    bounds = bounds_for(rate, torch.zeros(1), torch.zeros(1), 0.006, 3.09)
    attacks, decays = [math.exp(value) for value in bounds.log_attack], [8.0, 60_000.0]
    for onset in (-2.0 * rate, SAMPLES - 16.0, 255.9, 1.1):
        for attack in attacks:
            for decay in decays:
                atoms = draw_atoms(7, 2, 0, onset=(onset, onset), attack=(attack, attack), decay=(decay, decay))
                basis = Basis(atoms, BLOCKS)
                parts = (basis.render(), gradient(basis, Draw(0).normal(1, BLOCKS, BLOCK)), matrix_of(atoms, SAMPLES))
                assert all(bool(torch.isfinite(part).all()) for part in parts)


@pytest.mark.parametrize("seed", range(3))
def test_fitted_atoms_sound_alike_as_events(seed: int):
    """From samples to the table of columns and through the renderer of events."""
    samples = RATE // 2
    atoms = draw_atoms(seed, 12, samples, modes=2 + seed % 3, onset=(0, -100), decay=(8, 20_000))
    padded = join([no_atoms(1, 2), atoms])
    events = to_events(padded, RATE, Header(duration_s=0.5, sample_rate=RATE))
    assert len(events) == 12 and (events.onset_s[1:] >= events.onset_s[:-1]).all()
    levels = events.modes("level_db")
    assert (levels[:, 1:] <= levels[:, :-1]).all()
    assert ((levels > -200).sum(1) == 2 + seed % 3).all()
    heard = render(events, RenderSettings(noise=False)).samples[0]
    assert snr_db(sound_of(atoms, samples).numpy(), heard) > 75  # where strikes end there: worst of 60 draws 77.8


def test_the_energy_of_one_mode_is_known_on_paper():
    """Slow against a sample, |E e^{su}|^2 = e^{-2du} (1 - q)^4 sums to binomials over the rates 2d + jk."""
    atoms = draw_atoms(0, 1, 0, modes=1, onset=(100, 100), attack=(50, 50), decay=(100, 100), omega=(1, 1))
    atoms = replace(atoms, amp=atoms.used.to(torch.complex128))
    by_hand = 0.5 * sum(
        weight / (2 / 100 + index / 50) for index, weight in enumerate((1.0, -4.0, 6.0, -4.0, 1.0))
    )  # half, the mean of a squared cosine
    measured = matrix_of(atoms, 20_000)[positions(atoms)[0, 0, 0, 0], positions(atoms)[0, 0, 0, 0]]
    assert float(mode_norms(atoms, torch.tensor([20_000.0]))) == pytest.approx(by_hand, rel=1e-9)
    assert float(measured) == pytest.approx(by_hand, rel=1e-3)  # the other half, at twice the frequency
    assert float(sound_of(atoms, 20_000).square().sum()) == pytest.approx(by_hand, rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_norms_are_the_sums_they_stand_for(seed: int):
    """Also of atoms that began before the window, or are cut by its end."""
    atoms, samples = draw_atoms(seed, 30, 3000, attack=(20, 5000), decay=(30, 60_000)), 3000
    u = torch.arange(samples, dtype=torch.float64) - atoms.onset[0, :, None]
    late = u.clamp(min=0)
    k, d = torch.exp(-atoms.log_attack[0])[:, None], atoms.log_damping[0].exp()[:, None]
    envelope = (1 - torch.exp(-k * late)).square() * torch.exp(-d * late) * (u >= 0)
    slow = 0.5 * envelope.square().sum(1)
    fast = mode_norms(atoms, torch.tensor([float(samples)]))[0]
    beyond = atoms.onset[0] > samples
    assert bool(beyond.any()) and not fast[beyond].any()
    inside = atoms.onset[0] < samples - 20
    assert float(((fast - slow).abs() / slow)[inside].max()) < 2e-3  # worst of 12 draws 8e-4, cut soon after the onset


def test_unused_slots_have_no_derivatives():
    atoms = draw_atoms(0, 3, SAMPLES, modes=2)
    assert not coefficients_of(atoms)[..., 2:, :].any() and coefficients_of(atoms)[..., :2, :].all()
