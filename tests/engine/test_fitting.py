from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sparsecli.core.audio import Audio
from sparsecli.core.columns import ATOM_COLUMNS, SILENT_DB
from sparsecli.core.events import Header, events_from_columns
from sparsecli.engine.fitting import fit
from sparsecli.engine.rendering import render
from sparsecli.engine.settings import FitSettings, RenderSettings
from sparsecli.engine.texture import fit_air, fit_burst, make_cells
from sparsecli.io.events_file import load_events, save_events
from sparsecli.synth.air import render_air
from sparsecli.synth.noise import Bursts, render_bursts

RATE = 8000


def note(freq_hz: float = 440.0, seconds: float = 1.0, decay: float = 6.0) -> NDArray[np.float32]:
    t = np.arange(int(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * freq_hz * t) * np.exp(-decay * t)).astype(np.float32)


def audio(samples: NDArray[np.float32], rate: int = RATE) -> Audio:
    return Audio(np.atleast_2d(samples).astype(np.float32), rate, "a.wav")


def test_the_same_recording_gives_the_same_bytes_on_any_number_of_threads(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        save_events(tmp_path / f"{threads}.npz", fit(audio(note()), FitSettings(atoms=3)).events)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()


def test_a_rendered_note_is_found_again() -> None:
    """Through the table of columns and back: what `fit` finds of a rendering is that rendering, and its numbers."""
    columns = {column.name: np.zeros(1) for column in ATOM_COLUMNS}
    columns |= {"onset_s": np.array([0.2003]), "attack_s": np.array([0.005]), "noise_level_db": np.array([SILENT_DB])}
    for slot, (freq, decay, level) in enumerate(((440.0, 0.8, -12.0), (881.0, 0.5, -18.0), (1325.0, 0.3, -24.0)), 1):
        columns |= {f"freq{slot}_hz": np.array([freq]), f"decay{slot}_s": np.array([decay])}
        columns |= {f"level{slot}_db": np.array([level]), f"phase{slot}_rad": np.array([0.5 * slot])}
    truth = events_from_columns(Header(duration_s=1.0, sample_rate=RATE), columns, np.zeros((1, 0, 24)))
    found = fit(render(truth), FitSettings(atoms=8)).events
    assert found.header.quality["snr_db"] > 45
    modes = {q: found.modes(q).flatten() for q in ("freq_hz", "decay_s", "level_db")}
    for slot, freq in enumerate((440.0, 881.0, 1325.0), 1):
        k = int(np.argmax(np.where(abs(modes["freq_hz"] - freq) < 5, modes["level_db"], -300)))
        assert modes["freq_hz"][k] == pytest.approx(freq, abs=0.1)
        assert modes["decay_s"][k] == pytest.approx(truth.column(f"decay{slot}_s")[0], rel=0.05)
        level_db = truth.column(f"level{slot}_db")[0]
        assert modes["level_db"][k] == pytest.approx(
            level_db, abs=1
        )  # a side mode found in the same round may share it


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_silence_and_an_offset_hold_no_events(value: float, tmp_path: Path) -> None:
    events = fit(audio(np.full(8000, value, np.float32))).events
    assert len(events) == 0
    assert not (events.air > SILENT_DB).any()
    save_events(tmp_path / "a.npz", events)
    assert len(load_events(tmp_path / "a.npz")) == 0


@pytest.mark.parametrize("samples", [1, 2, 63, 64, 65, 300])
def test_very_short_recordings(samples: int) -> None:
    noise = np.random.default_rng(samples).standard_normal(samples).astype(np.float32)
    events = fit(audio(noise), FitSettings(atoms=2)).events
    assert render(events).samples.shape == (1, samples)
    assert np.isfinite(render(events).samples).all()


@pytest.mark.parametrize("budget", [1, 20, 40, 200])
def test_the_budget_is_a_hard_cap_air_included(budget: int) -> None:
    samples = note(seconds=32768 / 22050) + note(700, 32768 / 22050)
    samples += 0.01 * np.random.default_rng(0).standard_normal(len(samples)).astype(np.float32)
    assert fit(audio(samples), FitSettings(budget=budget)).events.numbers <= budget


def test_channels_are_folded_and_levels_do_not_matter() -> None:
    loud, quiet = (fit(audio(gain * note()), FitSettings(atoms=2)).events for gain in (1.0, 1e-4))
    assert len(loud) == len(quiet)
    assert quiet.modes("level_db")[0, 0] == pytest.approx(loud.modes("level_db")[0, 0] - 80, abs=0.1)
    both = fit(audio(np.stack([note(), np.zeros_like(note())])), FitSettings(atoms=2)).events
    assert both.modes("level_db")[0, 0] == pytest.approx(loud.modes("level_db")[0, 0] - 6.02, abs=0.1)


def test_noise_brings_the_rendering_of_a_noisy_recording_nearer() -> None:
    noise = 0.1 * np.random.default_rng(1).standard_normal(2 * RATE).astype(np.float32)
    quality = fit(audio(noise), FitSettings(atoms=2)).events.header.quality
    assert quality["log_mel_db"] < 3 < 20 < quality["log_mel_coherent_db"]  # two draws of white noise differ by 2 dB


def test_the_air_of_rendered_air_is_that_air() -> None:
    asked = -60 + 20 * torch.sin(torch.arange(24) / 4) + torch.linspace(0, 6, 4)[:, None]
    found = fit_air(render_air(asked, 7, 4 * 44_100, 44_100, 22_050.0), 44_100)
    # Bands narrower than a bin, and the two ends in time where the level still moves, are less sharp.
    assert float((found - asked)[1:3, 4:].abs().max()) < 2.0  # measured: 1.2 dB


@pytest.mark.parametrize("onset_s", [0.0, 0.3])
@pytest.mark.parametrize("attack_s", [0.0005, 0.02])
def test_a_planted_burst_is_found(onset_s: float, attack_s: float) -> None:
    values = [torch.tensor([v], dtype=torch.float64) for v in (onset_s, attack_s, -20.0, 3000.0)]
    burst = render_bursts(Bursts(*values, seeds=torch.tensor([5])), 44_100, 44_100)
    floor = render_air(torch.full((1, 24), -60.0), 1, 44_100, 44_100, 22_050.0)
    cells = make_cells(burst + floor, torch.zeros(44_100), torch.full((1, 24), -60.0), 44_100)
    found = fit_burst(cells, onset_s, attack_s)
    assert found is not None
    level_db, noise_hz = found
    assert level_db == pytest.approx(-20.0, abs=6)  # a quantile of few cells of one draw
    assert 2000 < noise_hz < 4500
    assert fit_burst(cells, 0.8, 0.002) is None  # nothing there


def test_stopping_early_keeps_what_is_found() -> None:
    result = fit(audio(note() + note(700)), FitSettings(atoms=16), lambda progress: False)
    assert not result.complete
    assert 0 < len(result.events) < 16
    assert fit(audio(note()), FitSettings(atoms=2), lambda progress: True).complete


def test_the_source_stands_in_the_header() -> None:
    recording = replace(audio(note()), sha256="ab" * 32)
    header = fit(recording, FitSettings(atoms=2, seed=3)).events.header
    assert (header.source_name, header.source_sha256, header.seed) == ("a.wav", "ab" * 32, 3)
    assert header.settings["atoms"] == 2


def test_the_coherent_part_is_the_modes_alone() -> None:
    events = fit(audio(note()), FitSettings(atoms=2)).events
    modes = render(replace(events, air=np.full_like(events.air, SILENT_DB)), RenderSettings(noise=False))
    assert np.array_equal(modes.samples, render(events, RenderSettings(noise=False)).samples)
