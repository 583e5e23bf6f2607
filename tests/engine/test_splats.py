from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparsecli.core.audio import Audio
from sparsecli.core.columns import SILENT_DB
from sparsecli.core.events import Header
from sparsecli.core.settings import build_settings, read_config
from sparsecli.dsp.quality import snr_db
from sparsecli.engine.fitting import fit
from sparsecli.engine.rendering import render
from sparsecli.engine.scaled import Scaled
from sparsecli.engine.settings import FitSettings, RenderSettings
from sparsecli.engine.splats import (
    NAMES,
    PLACE,
    excitations_of,
    random_splats,
    splat_bounds,
    splat_voice,
    splats_of,
    to_events,
)
from sparsecli.io.events_file import load_events, save_events

RATE = 22050
SAMPLES = 12000


def some(count: int = 6, wet: bool = False) -> Scaled:
    splats = random_splats(count, 0.0, 0.4, 9000.0, 5, wet)
    splats.numbers[:, PLACE["attack_s"]] = np.log(0.01)  # a burst's first milliseconds are the one thing that differs
    return splats


def header(duration_s: float = SAMPLES / RATE) -> Header:
    return Header(duration_s=duration_s, sample_rate=RATE, channels=1, seed=9)


@pytest.mark.parametrize("envelope", ["gamma", "gaussian"])
def test_events_sound_as_what_was_descended_to(envelope: str, tmp_path):
    splats = some()
    with torch.no_grad():
        sound = splat_voice(envelope, 9, RATE).sound(splats, SAMPLES, RATE, 0)
    events = to_events(splats, envelope, header(), 2.0, wet=False)
    save_events(tmp_path / "a.npz", events)
    heard = render(load_events(tmp_path / "a.npz")).samples[0]
    assert snr_db(2.0 * sound.numpy(), heard) > 30  # the filter of the noise rings into a burst otherwise at its start
    assert set(events.note.tolist()) == set(range(6))  # one label a splat
    noisy = events.noise_level_db > SILENT_DB
    assert noisy.sum() == 6 and not (events.modes("level_db")[noisy] > SILENT_DB).any()


def test_a_room_is_heard_alike():
    """What each sends into it stands in the column `wet`; all of that is played in the room."""
    splats = some(wet=True)
    splats.numbers[:, PLACE["wet"]] = torch.linspace(-2, 2, 6).double()
    response = np.random.default_rng(0).standard_normal(3000) * np.exp(-np.arange(3000) / 600)
    room = Audio(response[None].astype(np.float32), RATE, "hall.wav")
    unit = torch.from_numpy(response / np.sqrt(np.square(response).sum())).float()
    with torch.no_grad():
        sound = splat_voice("gamma", 9, RATE, unit).sound(splats, SAMPLES, RATE, 0)
    events = to_events(splats, "gamma", header(), 1.0, wet=True)
    heard = render(events, RenderSettings(wet=1.0), room).samples[0, :SAMPLES]
    assert snr_db(sound.numpy(), heard) > 30
    assert snr_db(sound.numpy(), render(events).samples[0]) < 10


def test_a_tail_of_a_room_goes_on_into_the_next_batch():
    voice = splat_voice("gamma", 0, RATE, torch.exp(-torch.arange(2000) / 500.0))
    splats = some(wet=True)
    with torch.no_grad():
        whole, late = voice.sound(splats, SAMPLES, RATE, 0), voice.sound(splats, 6000, RATE, 6000)
    assert snr_db(whole[6000:].numpy(), late.numpy()) > 80


def test_columns_go_there_and_back():
    splats = some(wet=True)
    x = excitations_of(splats, "gamma", 3)
    again = splats_of({name: getattr(x, name) for name in NAMES})
    torch.testing.assert_close(again.numbers, splats.numbers)
    assert len(set(x.seeds.tolist())) == 6
    low, high = splat_bounds(splats, -0.05, 0.5, 9000.0)
    assert bool(((splats.numbers >= low) & (splats.numbers <= high)).all())


def test_the_named_configuration_is_the_published_experiment():
    settings = build_settings(FitSettings, [read_config("original", "fit")])
    assert (settings.method, settings.init, settings.envelope) == ("descent", "random", "gamma")
    assert (settings.atoms, settings.iterations, settings.loss) == (64, 3000, "mrstft")
    assert settings.learning_rates == (1e-2, 1e-4) and settings.sparsity > 0


def test_a_fit_of_sources_and_excitations(tmp_path):
    """A struck tone: after some steps the rendering is nearer to it than silence, in a room too."""
    t = np.arange(6000) / 8000
    tone = (0.5 * np.sin(2 * np.pi * 330 * t) * np.exp(-6 * t)).astype(np.float32)
    audio = Audio(tone[None], 8000, "a.wav")
    settings = build_settings(FitSettings, [read_config("original", "fit"), {"iterations": 80, "atoms": 16}])
    result = fit(audio, settings)
    assert result.complete and result.skipped == 0 and len(set(result.events.note.tolist()) - {-1}) <= 8
    assert result.events.header.quality["log_mel_db"] < 12
    again = fit(audio, settings).events
    np.testing.assert_array_equal(again.params, result.events.params)
    room = Audio(np.exp(-np.arange(2000) / 300)[None].astype(np.float32), 8000, "hall.wav")
    with pytest.raises(ValueError, match="a room is named"):
        fit(audio, settings, room=room)
    wet = fit(audio, replace(settings, room="hall.wav", iterations=5), room=room).events
    assert wet.columns[-1] == "wet" and bool((wet.column("wet") > 0).all())


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ({"envelope": "gamma"}, "--envelope belongs to --method descent"),
        ({"method": "descent", "init": "search", "envelope": "gamma"}, "--envelope belongs to --method descent with"),
        ({"method": "descent", "room": "hall"}, "--room belongs to --envelope"),
    ],
)
def test_settings_that_make_no_sense(given, cause: str):
    with pytest.raises(ValueError, match=cause):
        FitSettings(**given)
