"""Recordings of two channels, from the samples to the events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsecli.core.audio import Audio, source_of
from sparsecli.core.columns import SILENT_DB, STRETCH_S
from sparsecli.core.events import Events
from sparsecli.dsp.quality import snr_db
from sparsecli.engine.fitting import add_bursts, fit, measure, notices
from sparsecli.engine.rendering import render
from sparsecli.engine.settings import FitSettings, RenderSettings
from sparsecli.engine.texture import make_cells
from sparsecli.io.events_file import load_events, save_events

RATE = 22050
QUICK = FitSettings(atoms=4, quality="fast")


def struck(onset_s: float, freq_hz: float, seconds: float = 0.5) -> np.ndarray:
    u = np.maximum(np.arange(round(seconds * RATE)) / RATE - onset_s, 0)
    return 0.4 * np.exp(-20 * u) * np.sin(2 * np.pi * freq_hz * u)


def audio(*channels: np.ndarray) -> Audio:
    return Audio(np.stack(channels).astype(np.float32), RATE, "a.wav")


def pans(events: Events) -> np.ndarray:
    return events.column("pan")


MIDDLE = struck(0.02, 500.0) + 0.01 * np.random.default_rng(0).standard_normal(round(0.5 * RATE))


def test_identical_channels_lie_in_the_middle():
    """Their places are exactly 0, and what is found is what is found in one channel."""
    one, two = fit(audio(MIDDLE), QUICK).events, fit(audio(MIDDLE, MIDDLE), QUICK).events
    assert two.header.channels == 2 and len(two) > 0 and not pans(two).any()
    assert np.array_equal(two.onset_s, one.onset_s) and np.array_equal(two.params[:, :-1], one.params)
    assert np.array_equal(two.air, np.repeat(one.air, 2, axis=0))
    assert two.numbers == one.numbers + len(one) + int((one.air > SILENT_DB).sum())
    coherent = {"snr_db", "log_mel_coherent_db"}  # the air of the second channel is another
    assert {two.header.quality[name] for name in coherent} == {one.header.quality[name] for name in coherent}


@pytest.mark.parametrize("side", [-1, 1])
def test_one_silent_channel(side: int):
    """All lies at one end: the other channel is digital silence again."""
    channels = (MIDDLE, np.zeros_like(MIDDLE))[::-side]
    events = fit(audio(*channels), QUICK).events
    assert pans(events) == pytest.approx(side, abs=1e-4)  # of the ridge
    silent = (1 + side) // 2 - 1  # 0 is left
    ended = replace(events, params=np.column_stack([events.params[:, :-1], np.full(len(events), side, np.float32)]))
    rendered = render(ended).samples
    assert not rendered[silent].any() and rendered[1 + silent].any()
    assert (events.air[silent] == SILENT_DB).all()


def test_opposite_channels_have_air_alone(tmp_path: Path):
    recording = audio(MIDDLE, -MIDDLE)
    assert notices(recording) == ("its channels cancel each other: their mean, in which atoms are found, is silent",)
    events = fit(recording, QUICK).events
    assert len(events) == 0 and (events.air > SILENT_DB).any() and events.header.quality["snr_db"] == 0
    save_events(tmp_path / "a.npz", events)
    assert load_events(tmp_path / "a.npz").columns[-1] == "pan"
    assert render(events).samples.shape == recording.samples.shape


def test_notices():
    assert (
        notices(audio(MIDDLE)) == notices(audio(MIDDLE, 0.5 * MIDDLE)) == notices(audio(0 * MIDDLE, 0 * MIDDLE)) == ()
    )
    assert notices(audio(*[MIDDLE] * 3)) == ("its 3 channels are folded to mono",)
    assert "are found, is 26 dB under them" in notices(audio(MIDDLE, -0.9 * MIDDLE))[0]  # 0.05^2 to (1 + 0.9^2) / 2


@pytest.mark.parametrize("samples", [1, 2, 50, 300])
def test_very_short_recordings(samples: int):
    noise = np.random.default_rng(1).standard_normal((2, samples))
    events = fit(audio(*(0.1 * noise)), QUICK).events
    assert np.isfinite(events.params).all() and np.abs(pans(events)).max(initial=0) <= 1
    assert render(events).samples.shape == (2, samples)


def test_more_channels_are_folded():
    recording = audio(MIDDLE, 0.5 * MIDDLE, 0 * MIDDLE)
    events = fit(recording, QUICK).events
    assert events.header.channels == 1 and "pan" not in events.columns
    assert np.array_equal(source_of(recording), recording.mono()[None])
    assert np.array_equal(events.params, fit(audio(recording.mono()), QUICK).events.params)


def test_channels_that_swap_swap_the_places():
    left = struck(0.02, 500.0) + 0.3 * struck(0.2, 900.0)
    right = 0.2 * struck(0.02, 500.0) + struck(0.2, 900.0)
    one, other = fit(audio(left, right), QUICK).events, fit(audio(right, left), QUICK).events
    assert np.abs(pans(one)).max() > 0.3
    assert np.array_equal(pans(one), -pans(other))
    assert np.array_equal(one.params[:, :-1], other.params[:, :-1]) and np.array_equal(one.air, other.air[::-1])


def test_both_channels_are_followed():
    """Strikes at places of their own are followed in both channels as well as in their mean."""
    strikes = [struck(0.02 + 0.1 * k, 400.0 * 1.4**k) for k in range(4)]
    places = (-0.8, 0.3, 1.0, -0.2)
    left = sum((1 - p) * x for p, x in zip(places, strikes, strict=True))
    right = sum((1 + p) * x for p, x in zip(places, strikes, strict=True))
    recording = audio(left, right)
    events = fit(recording, FitSettings(atoms=12)).events
    coherent = render(events, RenderSettings(noise=False))
    mono = snr_db(recording.mono(), coherent.mono())
    assert mono > 25
    assert events.header.quality["snr_db"] == pytest.approx(snr_db(recording.samples, coherent.samples), abs=1e-3)
    assert events.header.quality["snr_db"] > mono - 3


def test_quality_is_that_of_all_channels_as_one_signal():
    """Two channels of which one is missed altogether: half of the energy, 3.01 dB."""
    events = fit(audio(MIDDLE), QUICK).events
    left_alone = replace(
        events,
        header=replace(events.header, channels=2),
        params=np.column_stack([events.params, np.full(len(events), -1.0)]).astype(np.float32),
        air=np.repeat(events.air, 2, axis=0),
    )
    heard = render(left_alone, RenderSettings(noise=False)).samples[0]
    assert measure(left_alone, np.stack([heard, heard]))["snr_db"] == pytest.approx(10 * np.log10(2), abs=1e-3)


@pytest.mark.parametrize("budget", [150, 250, 500])
def test_a_budget_holds_with_places_and_two_airs(budget: int):
    random = np.random.default_rng(2)
    channels = [MIDDLE + struck(0.1 * k, 300.0 + 400 * k) * random.uniform(0, 1) for k in range(2)]
    events = fit(audio(*channels), replace(QUICK, budget=budget)).events
    assert 0 < events.numbers <= round(budget * 0.5 / STRETCH_S)


def test_a_burst_is_as_loud_wherever_its_atom_lies():
    """N of a burst aside makes the same power, in the mean of both channels, as N of one in the middle."""
    noise = 0.05 * np.random.default_rng(3).standard_normal(round(0.5 * RATE)) * np.exp(-np.arange(11025) / 1500)
    levels = []
    for pan in (0.0, 1.0):
        events = fit(audio(struck(0.0, 440.0), struck(0.0, 440.0)), QUICK).events.take(np.array([0]))
        params = events.params.copy()
        params[:, -1] = pan
        params[:, events.columns.index("noise_level_db") - 1] = SILENT_DB
        events = replace(events, params=params)
        source = torch.from_numpy(np.stack([(1 - pan) * noise, (1 + pan) * noise]).astype(np.float32))
        cells = make_cells(source, torch.zeros_like(source), torch.full((2, 1, 24), -90.0), RATE)
        left_over = source.double().square().mean(0).numpy()
        levels.append(float(add_bursts(events, cells, left_over, 100).column("noise_level_db")[0]))
    assert levels[0] > -60 and levels[1] == pytest.approx(levels[0], abs=0.5)  # the floor is 3 dB higher
