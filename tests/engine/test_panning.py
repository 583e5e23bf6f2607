from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparsecli.core.columns import SILENT_DB
from sparsecli.core.events import Events
from sparsecli.engine.panning import RIDGE, bounded_least_squares, normal_equations, solve_pans
from sparsecli.engine.rendering import modes_of, render
from sparsecli.engine.settings import RenderSettings
from sparsecli.synth.modes import render_modes

from ..oracle.draw import Draw, draw_events

RATE = 11025


def placed(events: Events, pan: np.ndarray) -> Events:
    """The events in two channels, the air in both."""
    if "pan" in events.columns:
        events = replace(events, params=events.params[:, :-1], air=events.air[:1])
    return replace(
        events,
        header=replace(events.header, channels=2),
        params=np.column_stack([events.params, pan]).astype(np.float32),
        air=np.repeat(events.air, 2, axis=0),
    )


def sound_of(events: Events, **settings: object) -> np.ndarray:
    """Float64 `[channels, samples]`."""
    return render(events, RenderSettings(**settings)).samples.astype(np.float64)  # type: ignore[arg-type]


def side_of(events: Events) -> np.ndarray:
    left, right = render(events, RenderSettings(noise=False)).samples
    return (right - left) / 2


def drawn(seed: int, count: int, duration_s: float) -> tuple[Events, np.ndarray]:
    """Events that are heard, and places for them."""
    events = draw_events(seed, count, duration_s, RATE)
    events = replace(events, onset_s=np.clip(events.onset_s, -0.005, duration_s - 0.1))
    heard = (events.modes("level_db") > SILENT_DB) & (events.modes("freq_hz") < RATE / 2)
    events = events.take(heard.any(axis=1))
    return events, Draw(seed).between(-1, 1, len(events)).numpy()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_planted_places_are_found(seed: int):
    events, pan = drawn(seed, 40, 2.0)
    found = solve_pans(events, side_of(placed(events, pan)))
    assert np.abs(found - pan).max() < 1e-3  # of the ridge; worst 4e-4, of two atoms that sound alike


def test_long_recordings_are_solved_in_steps():
    """The places of a noise free recording, however little of it is seen at once; tails reach over many steps."""
    events, pan = drawn(4, 120, 12.0)
    side = side_of(placed(events, pan))
    whole = solve_pans(events, side, kept_s=12.0)
    for kept_s, ahead_s in ((4.0, 4.0), (1.0, 2.0)):
        stepwise = solve_pans(events, side, kept_s=kept_s, ahead_s=ahead_s)
        assert np.abs(stepwise - whole).max() < 2e-3


def test_places_equal_a_dense_solution():
    """Of a side signal that the atoms do not explain, against numpy's least squares."""
    events, _ = drawn(5, 30, 1.5)
    side = 0.01 * np.random.default_rng(0).standard_normal(round(1.5 * RATE)).astype(np.float32)
    modes = modes_of(events, torch.device("cpu"))
    each = [render_modes(modes.take(torch.tensor([e])), len(side), RATE).numpy() for e in range(len(events))]
    sounds = np.stack(each).astype(np.float64)
    norms = np.linalg.norm(sounds, axis=1)
    rows = np.vstack([sounds.T, np.sqrt(RIDGE) * np.diag(norms)])
    dense = np.linalg.lstsq(rows, np.concatenate([side, np.zeros(len(events))]), rcond=None)[0]
    assert 0.01 < np.abs(dense).max() < 1  # not held
    np.testing.assert_allclose(solve_pans(events, side), dense, atol=1e-5)  # float32 sounds


def test_the_bounds_hold_at_the_best_place():
    """No step inside the bounds makes it better (Karush, Kuhn and Tucker)."""
    random = np.random.default_rng(1)
    sounds = torch.from_numpy(random.standard_normal((40, 60)) + 2 * random.standard_normal(60))
    gram, moment = sounds @ sounds.T, sounds @ torch.from_numpy(3 * random.standard_normal(60))
    pan = bounded_least_squares(gram, moment, ridge=1e-2)
    slope = moment - gram @ pan - 1e-2 * gram.diagonal() * pan
    high, low = pan == 1, pan == -1
    assert 0 < int((high | low).sum()) < 40 and float(pan.abs().max()) == 1
    assert float(slope[~high & ~low].abs().max()) < 1e-9 * float(moment.abs().max())
    assert bool((slope[high] > 0).all()) and bool((slope[low] < 0).all())


def test_what_is_not_heard_stands_in_the_middle():
    assert bounded_least_squares(torch.zeros(2, 2).double(), torch.zeros(2).double()).tolist() == [0, 0]
    assert bounded_least_squares(torch.zeros(0, 0).double(), torch.zeros(0).double()).shape == (0,)
    events, pan = drawn(6, 4, 1.0)
    late = replace(events, onset_s=events.onset_s + 5)
    assert solve_pans(late, side_of(placed(events, pan))).tolist() == [0, 0, 0, 0]
    assert solve_pans(events, np.zeros(RATE, np.float32)).tolist() == [0, 0, 0, 0]


def test_inner_products_do_not_depend_on_the_pieces(monkeypatch: pytest.MonkeyPatch):
    events, _ = drawn(7, 12, 2.0)
    modes, target = modes_of(events, torch.device("cpu")), Draw(7).normal(2 * RATE)
    whole = normal_equations(modes, target, 0, RATE)
    monkeypatch.setattr("sparsecli.engine.panning.CHUNK_NUMBERS", 1)
    for one, other in zip(whole, normal_equations(modes, target, 0, RATE), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)  # sums of float32


# The law


def test_the_mean_of_the_channels_does_not_depend_on_the_places():
    """Of modes and bursts; and of all places in the middle, both channels are that mean."""
    events, pan = draw_events(8, 12, 1.0, RATE, noise=True), Draw(8).between(-1, 1, 12).numpy()
    events = replace(events, air=events.air[:, :0])
    mono = sound_of(events)[0]
    two = sound_of(placed(events, pan))
    assert two.shape == (2, len(mono)) and np.abs(two[0] - two[1]).max() > 0.1
    np.testing.assert_allclose(two.mean(axis=0), mono, atol=1e-6 * np.abs(mono).max())
    assert np.array_equal(sound_of(placed(events, np.zeros(12))), np.stack([mono, mono]))


def test_hard_left_is_twice_the_level_on_the_left_and_nothing_on_the_right():
    events = draw_events(9, 6, 1.0, RATE, noise=True)
    events = replace(events, air=events.air[:, :0])
    left, right = sound_of(placed(events, np.full(6, -1.0)))
    np.testing.assert_allclose(left, 2 * sound_of(events)[0], rtol=1e-6, atol=1e-9)
    assert not right.any()


def test_energy_of_an_atom_follows_from_its_place():
    """(1 - p)^2 + (1 + p)^2 = 2 + 2 p^2 times that in one channel."""
    events, _ = drawn(10, 1, 1.0)
    mono = float((sound_of(events) ** 2).sum())
    for pan in (0.0, 0.5, 1.0):
        assert float((sound_of(placed(events, np.array([pan]))) ** 2).sum()) == pytest.approx((2 + 2 * pan**2) * mono)


def test_channels_swap_with_the_signs():
    """Of the rendering and of what is solved, to the last bit."""
    events, pan = draw_events(11, 9, 1.0, RATE, noise=True), Draw(11).between(-1, 1, 9).numpy()
    dry = replace(events, air=events.air[:, :0])
    assert np.array_equal(sound_of(placed(dry, pan)), sound_of(placed(dry, -pan))[::-1])
    side = side_of(placed(dry, pan))
    assert np.array_equal(solve_pans(events, side), -solve_pans(events, -side))


def test_the_air_of_two_channels_is_alike_and_independent():
    events = draw_events(12, 0, 4.0, RATE, noise=True)
    left, right = sound_of(placed(events, np.zeros(0)))
    np.testing.assert_array_equal(left, sound_of(events)[0])  # the first is that of one channel
    assert 0.8 < left.std() / right.std() < 1.25
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.05


def test_edits_keep_the_places():
    """Gain, pitch, time and rate act on two channels as on one."""
    events, pan = drawn(13, 6, 1.0)
    two = placed(events, pan)
    changes = {"gain_db": -6.0, "pitch_shift_semitones": 3.0, "time_stretch": 1.5, "sample_rate": 8000}
    np.testing.assert_allclose(sound_of(two, **changes).mean(axis=0), sound_of(events, **changes)[0], atol=1e-6)
    assert render(two, RenderSettings(**changes)).samples.shape == (2, 12000)  # type: ignore[arg-type]
