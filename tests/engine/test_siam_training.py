"""What SIAM learns from: scenes whose atoms make their sound, peaks whose truth is known, and a loss that falls."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
import torch

from sparsecli.core.events import Header, events_from_columns
from sparsecli.engine.amplitudes import sound_of
from sparsecli.engine.modal import BLOCK
from sparsecli.engine.siam import atoms_of
from sparsecli.engine.siam_heard import heard_loss
from sparsecli.engine.siam_scenes import Excerpt, atoms_from, strikes_of_events
from sparsecli.engine.siam_training import (
    Batch,
    generator_for,
    loss_of,
    make_batch,
    overlap_of,
    scenes,
    spread_out,
    with_sound,
)
from sparsecli.losses.naming import parse_loss
from sparsecli.models.siam import VECTOR, Siam, SiamShape, Strikes, coordinates_of
from sparsecli.models.siam_file import load_siam, packaged_siam

SHAPE = SiamShape(scales=(1024, 4096), width=8, voice_width=8, voice_depth=2)


@pytest.fixture(scope="module")
def some_scenes() -> list[Excerpt]:
    return scenes(SHAPE, 2, seed=7, step=0)


@pytest.fixture(scope="module")
def batch(some_scenes: list[Excerpt]) -> Batch:
    return make_batch(SHAPE, some_scenes, generator_for(7, 0))


def test_a_scene_is_the_sound_of_its_atoms_over_noise(some_scenes: list[Excerpt]):
    for scene in some_scenes:
        assert scene.atoms is not None
        sound = sound_of(scene.atoms, -(-len(scene.samples) // BLOCK)).flatten()[: len(scene.samples)]
        floor = float((scene.samples - sound.float()).square().mean().sqrt())
        assert 10 ** (-100 / 20) < floor < 10 ** (-40 / 20)  # darkened by a mean over five: 7 dB under what is drawn


def test_a_step_depends_on_seed_step_and_rank_alone(batch: Batch):
    again = make_batch(SHAPE, scenes(SHAPE, 2, seed=7, step=0), generator_for(7, 0))
    for field in fields(Batch):
        assert torch.equal(getattr(again, field.name), getattr(batch, field.name))
    one = scenes(SHAPE, 1, 7, 0)[0].samples
    assert not torch.equal(scenes(SHAPE, 1, 7, 1)[0].samples, one)
    assert not torch.equal(scenes(SHAPE, 1, 7, 0, rank=1)[0].samples, one)


def test_the_truth_of_a_lonely_tone():
    rate, onset_s = SHAPE.sample_rate, 1.0
    strikes = Strikes(
        attack_s=torch.tensor([0.004]).double(),
        decay_s=torch.tensor([1.0]).double(),
        freq_hz=torch.tensor([[700.0, 0, 0, 0]]).double(),
        level_db=torch.tensor([[0.0, -200, -200, -200]]).double(),
        phase_rad=torch.zeros(1, 4).double(),
        noise_level_db=torch.tensor([-200.0]).double(),
        noise_hz=torch.tensor([1000.0]).double(),
        noise_decay_s=torch.tensor([1.0]).double(),
    )
    atoms = atoms_from(strikes, torch.tensor([onset_s]).double(), torch.tensor([-10.0]).double(), rate)
    sound = sound_of(atoms, 172).flatten()[: 2 * rate].float()
    found = make_batch(SHAPE, [Excerpt(sound, atoms)], generator_for(1, 1))
    known = found.known > 0
    assert bool(known.any())
    scale = torch.exp((found.extra[known, 0].double() + 3) * 2.5).round()
    assert {*scale.tolist()} <= {1024.0, 4096.0}
    ring = found.truth[known, 2].double().exp() * scale
    torch.testing.assert_close(ring, torch.full_like(ring, rate / math.log(1000)), rtol=1e-4, atol=0)
    assert bool((found.event[~known] == 0).all())
    assert found.strikes.shape == (1, VECTOR)


def test_recordings_without_truth_are_learned_from_all_the_same():
    sound = torch.randn(30_000, generator=torch.Generator().manual_seed(1))
    found = make_batch(SHAPE, [Excerpt(sound)], generator_for(1, 1))
    assert bool((found.event == -1).all())
    model = Siam(SHAPE)
    loss, figures = loss_of(model, found)
    loss.backward()
    assert float(model.eye.head.weight.grad.abs().sum()) > 0  # type: ignore[union-attr]
    assert model.voice.layers[0][0].weight.grad is None  # type: ignore[index, union-attr]
    assert figures["explained"] > 0


def test_the_truth_misses_nothing(batch: Batch):
    known = batch.known > 0
    truth = batch.truth[known]
    torch.testing.assert_close(overlap_of(truth, truth), torch.ones(len(truth)), rtol=0, atol=1e-4)
    other = truth.clone()
    other[:, 3] += 30.0  # thirty radians within the window: another tone
    assert float(overlap_of(other, truth).median()) < 0.1


def test_learning_makes_the_loss_smaller(batch: Batch):
    torch.manual_seed(0)
    model = Siam(SHAPE)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    told = []
    for _ in range(10):
        loss, figures = loss_of(model, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        told.append((float(loss.detach()), figures["missed_db"], figures["vector_nats"]))
    assert np.all(np.array(told[-1]) < np.array(told[0]))
    assert np.isfinite(told).all()


def test_what_a_look_is_heard_to_leave_is_what_its_wave_leaves(some_scenes: list[Excerpt]):
    """The waveform's loss is 10^(-SNR / 10); least squares leaves less than all, and not less than there is noise."""
    model = load_siam(packaged_siam()).requires_grad_(False)
    for scene in some_scenes:
        left = float(heard_loss(model, scene.samples, parse_loss("waveform")))
        assert 1e-4 < left < 0.9
        louder = float(heard_loss(model, 3 * scene.samples + 0.1, parse_loss("waveform")))
        assert louder == pytest.approx(left, rel=0.02)  # neither gain nor an offset matters
    assert float(heard_loss(model, torch.zeros(8000), parse_loss("waveform"))) == 0.0


@pytest.mark.parametrize("name", ["mrstft-linear", "logmel+0.1*scrapl"])
def test_what_is_heard_teaches_the_eye(some_scenes: list[Excerpt], name: str):
    torch.manual_seed(0)
    model, loss = Siam(SHAPE), parse_loss(name)
    optimiser = torch.optim.Adam(model.eye.parameters(), 2e-3)
    told = []
    for _ in range(12):
        heard = heard_loss(model, some_scenes[1].samples, loss)
        optimiser.zero_grad()
        heard.backward()
        optimiser.step()
        told.append(float(heard.detach()))
    assert np.isfinite(told).all() and min(told[-4:]) < 0.98 * told[0]


def test_sounds_are_heard_where_a_loss_is_named(batch: Batch, some_scenes: list[Excerpt]):
    model, loss = Siam(SHAPE), parse_loss("mrstft")
    given = with_sound(batch, some_scenes[0], 5)
    assert given.steps.tolist() == [5] and given.sounds.shape == (1, len(some_scenes[0].samples))
    plain, figures = loss_of(model, given)
    assert "heard" not in figures and "heard" not in loss_of(model, batch, heard_by=loss)[1]
    more, figures = loss_of(model, given, heard_by=loss)
    assert float((more - plain).detach()) == pytest.approx(figures["heard"], rel=1e-4)
    heard = heard_loss(model, some_scenes[0].samples, loss, 5)
    assert figures["heard"] == pytest.approx(float(heard.detach()), rel=1e-5)


def test_vectors_of_normal_numbers_cost_what_a_normal_number_does():
    model = Siam(SHAPE)  # whose voice changes nothing
    nothing = torch.zeros(0, dtype=torch.complex64).view(0, 256)
    empty = torch.zeros(0)
    strikes = torch.randn(20_000, VECTOR, generator=torch.Generator().manual_seed(2))
    found = Batch(nothing, torch.zeros(0, 2), torch.zeros(0, 4), empty, empty, strikes, empty[:, None], empty.long())
    # The entropy of a normal number: ln(2 pi e) / 2.
    assert loss_of(model, found)[1]["vector_nats"] == pytest.approx(0.5 * math.log(2 * math.pi * math.e), abs=0.01)


def test_tones_that_are_not_there_are_chance():
    model = Siam(SHAPE).requires_grad_(False)
    strikes = model.decode(torch.randn(400, VECTOR, generator=torch.Generator().manual_seed(3)).double())
    silent = strikes.level_db.clone()
    silent[:, 1], silent[:, 2:] = -6.0, -200.0
    bare = Strikes(**{**strikes.__dict__, "level_db": silent})
    plain, spread = coordinates_of(bare), spread_out(bare, generator_for(0, 0))
    assert float(plain[:, 5].std()) < 1e-12
    assert float(spread[:, 5].std()) == pytest.approx(1.0, abs=0.15)
    assert float(spread[:, 12].std()) == pytest.approx(1.0, abs=0.15)
    torch.testing.assert_close(spread[:, :4], plain[:, :4])


def test_events_of_a_fit_are_strikes():
    model = Siam(SHAPE)
    vectors = 0.5 * np.random.default_rng(1).standard_normal((20, VECTOR))
    vectors[:, 13] = -4.0  # no noise
    onset_s, gain_db = np.linspace(0, 1, 20), np.linspace(-30, -10, 20)
    rows = atoms_of(model, onset_s, gain_db, vectors)
    events = events_from_columns(Header(2.0, 44_100), rows.columns, np.zeros((1, 0, 24)))
    strikes, onsets, gains = strikes_of_events(events)
    assert onsets.tolist() == pytest.approx(onset_s)
    assert gains.tolist() == pytest.approx(gain_db, abs=1e-4)
    with torch.no_grad():
        wanted = model.decode(torch.from_numpy(vectors))
    used = wanted.level_db > -200
    torch.testing.assert_close(strikes.freq_hz[used], wanted.freq_hz[used], rtol=1e-6, atol=0)
    torch.testing.assert_close(strikes.attack_s, wanted.attack_s, rtol=1e-6, atol=0)


def test_the_model_of_the_package_has_learned():
    trained, chance = load_siam(packaged_siam()), Siam().requires_grad_(False)
    unheard = make_batch(trained.shape, scenes(trained.shape, 2, seed=1 << 50, step=0), generator_for(1 << 50, 0))
    with torch.no_grad():
        (_, knows), (_, guesses) = loss_of(trained, unheard), loss_of(chance, unheard)
    assert knows["missed_db"] < guesses["missed_db"] - 2  # 6.6 dB against 2.6 where it was validated
    assert knows["event_accuracy"] > guesses["event_accuracy"]
