from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsecli.core.audio import Audio
from sparsecli.core.columns import (
    AIR_BANDS,
    ATOM_COLUMNS,
    MODES_PER_ATOM,
    NOISE_FREQ,
    NUMBERS_OF_BAND,
    NUMBERS_OF_BURST,
    SILENT_DB,
)
from sparsecli.core.events import Events, Header, events_from_columns
from sparsecli.engine.fitting import add_bursts, add_texture, fit
from sparsecli.engine.rendering import render
from sparsecli.engine.settings import FitSettings, RenderSettings
from sparsecli.engine.texture import Cells, burst_centres, fit_air, fit_burst, make_cells
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


def table(**numbers: list[float]) -> Events:
    """Atoms of these columns, a second of them; the slots of modes that are not named are unused."""
    count = len(next(iter(numbers.values())))
    columns = {column.name: np.zeros(count) for column in ATOM_COLUMNS}
    columns |= {name: np.full(count, SILENT_DB) for name in columns if name.endswith("_db")}
    columns |= {name: np.array(values) for name, values in numbers.items()}
    return events_from_columns(Header(duration_s=1.0, sample_rate=RATE), columns, np.zeros((1, 0, AIR_BANDS)))


def test_a_rendered_note_is_found_again() -> None:
    """Through the table of columns and back: what `fit` finds of a rendering is that rendering, and its numbers."""
    modes = ((440.0, -12.0), (881.0, -18.0), (1325.0, -24.0))
    numbers = {"onset_s": [0.2003], "attack_s": [0.005], "decay_s": [0.5]}
    for slot, (freq, level) in enumerate(modes, 1):
        numbers |= {f"freq{slot}_hz": [freq], f"level{slot}_db": [level], f"phase{slot}_rad": [0.5 * slot]}
    found = fit(render(table(**numbers)), FitSettings(atoms=8)).events
    assert found.header.quality["snr_db"] > 45
    freqs, levels = (found.modes(quantity) for quantity in ("freq_hz", "level_db"))
    for freq, level in modes:
        row, slot = divmod(int(np.argmax(np.where(abs(freqs - freq) < 5, levels, -300))), MODES_PER_ATOM)
        assert freqs[row, slot] == pytest.approx(freq, abs=0.1)
        assert found.column("decay_s")[row] == pytest.approx(0.5, rel=0.05)
        assert levels[row, slot] == pytest.approx(level, abs=1)  # a side mode found in the same round may share it


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


@pytest.mark.parametrize("budget", [1, 20, 40, 60, 200])
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


def test_what_is_heard_in_other_phases_needs_no_air() -> None:
    """Two draws of one noise differ by more than either, and yet nothing is missing."""
    asked = torch.full((4, 24), -60.0)
    recording, alike = (render_air(asked, seed, 4 * 44_100, 44_100, 22_050.0) for seed in (7, 8))
    assert float((fit_air(recording - alike, 44_100) - asked)[:, 4:].mean()) == pytest.approx(3.0, abs=1.0)
    assert float(fit_air(recording, 44_100, alike)[:, 4:].max()) < -66  # what the two differ by in level
    half = fit_air(recording, 44_100, math.sqrt(0.5) * alike)[1:3, 4:]  # the other half is missing
    assert float((half + 63).abs().mean()) < 1.0


def test_bursts_that_are_there_are_heard_before_there_is_air() -> None:
    burst = table(onset_s=[0.1], attack_s=[0.01], decay_s=[0.8], noise_level_db=[-20.0], freq4_hz=[3000.0])
    found = add_texture(burst, render(burst).samples, 1000)
    assert found.air.max() <= -150 and len(found) == 1


def planted_burst(onset_s: float, attack_s: float, decay_s: float, noise_hz: float) -> Tensor:
    """A second of a burst of -20 dB at 44.1 kHz."""
    values = [torch.tensor([v], dtype=torch.float64) for v in (onset_s, attack_s, decay_s, -20.0, noise_hz)]
    return render_bursts(Bursts(*values, seeds=torch.tensor([5])), 44_100, 44_100)


def cells_of(sound: Tensor, coherent: Tensor | None = None) -> Cells:
    """Of a sound over air of -60 dB a band, at 44.1 kHz."""
    air = torch.full((1, AIR_BANDS), -60.0)
    floor = render_air(air, 1, 44_100, 44_100, 22_050.0)
    return make_cells(sound + floor, torch.zeros(44_100) if coherent is None else coherent, air, 44_100)


@pytest.mark.parametrize("onset_s", [0.0, 0.3])
@pytest.mark.parametrize(("attack_s", "decay_s"), [(0.0005, 0.02), (0.0005, 0.3), (0.02, 0.15)])
def test_a_planted_burst_is_found(onset_s: float, attack_s: float, decay_s: float) -> None:
    cells = cells_of(planted_burst(onset_s, attack_s, decay_s, 3000.0))
    found = fit_burst(cells, onset_s, attack_s, decay_s, burst_centres(cells))
    assert found is not None and found.gain_db > 0
    assert found.level_db == pytest.approx(-20.0, abs=6)  # a quantile of few cells of one draw
    assert 2000 < found.freq_hz < 4500
    assert found.power.shape == cells.model[found.rows].shape
    given = torch.tensor([200.0, 3100.0, 9000.0])
    nearest = fit_burst(cells, onset_s, attack_s, decay_s, given)
    assert nearest is not None and nearest.freq_hz == pytest.approx(3100.0)
    nothing = fit_burst(cells, 0.8, 0.002, 0.02, burst_centres(cells))  # there; what helps are chances of the air
    assert nothing is None or nothing.gain_db < 0.2 * found.gain_db


STRUCK = {"onset_s": [0.1], "attack_s": [0.001], "decay_s": [0.3]}


def noisy_events(slots: int, last_db: float) -> tuple[Events, Cells, NDArray[np.float64]]:
    """An atom of so many modes, the quietest as loud as that, over a burst around 3 kHz that it does not explain."""
    numbers = dict(STRUCK)
    for slot, freq in zip(range(1, slots + 1), (440.0, 3100.0, 880.0, 1500.0), strict=False):
        numbers |= {f"freq{slot}_hz": [freq], f"level{slot}_db": [-20.0 if slot < 4 else last_db]}
    events = table(**numbers)
    events = replace(events, header=replace(events.header, sample_rate=44_100))
    coherent = torch.from_numpy(render(events, RenderSettings(noise=False)).samples[0])
    burst = planted_burst(0.1, 0.001, 0.3, 3000.0)
    return events, cells_of(burst + coherent, coherent), burst.double().square().numpy()


@pytest.mark.parametrize("slots", [1, 3])
def test_a_burst_under_an_atom_with_a_free_slot_is_found_near_its_centre(slots: int) -> None:
    events, cells, power = noisy_events(slots, SILENT_DB)
    before = cells.model.clone()
    found = add_bursts(events, cells, power, 100)
    assert found.column("noise_level_db")[0] == pytest.approx(-20, abs=6)
    assert 2000 < found.column(NOISE_FREQ)[0] < 4500
    assert np.array_equal(found.modes("level_db"), events.modes("level_db"))
    assert found.numbers == events.numbers + NUMBERS_OF_BURST + NUMBERS_OF_BAND
    assert bool((cells.model >= before).all()) and bool((cells.model > before).any())
    assert events.column("noise_level_db")[0] == SILENT_DB  # what was given stays


def test_loud_modes_are_never_replaced_by_a_burst() -> None:
    """All four slots are loud: the burst lies on the mode nearest to it, which moves to the last slot."""
    events, cells, power = noisy_events(4, -20.0)
    found = add_bursts(events, cells, power, 100)
    assert found.column("noise_level_db")[0] > SILENT_DB
    assert found.column(NOISE_FREQ)[0] == 3100.0
    for quantity in ("freq_hz", "level_db"):
        assert sorted(found.modes(quantity)[0]) == sorted(events.modes(quantity)[0])
    assert found.numbers == events.numbers + NUMBERS_OF_BURST


def test_a_mode_that_hardly_matters_makes_room_for_a_burst() -> None:
    events, cells, power = noisy_events(4, -90.0)
    found = add_bursts(events, cells, power, 100)
    assert found.column("noise_level_db")[0] == pytest.approx(-20, abs=6)
    assert 2000 < found.column(NOISE_FREQ)[0] < 4500
    assert found.modes("level_db")[0].tolist() == [-20.0, -20.0, -20.0, SILENT_DB]


def test_where_there_is_only_air_there_is_no_burst() -> None:
    events, _, power = noisy_events(1, SILENT_DB)
    coherent = torch.from_numpy(render(events, RenderSettings(noise=False)).samples[0])
    found = add_bursts(events, cells_of(coherent, coherent), 0 * power, 100)
    assert found.column("noise_level_db")[0] == SILENT_DB and np.array_equal(found.params, events.params)


@pytest.mark.parametrize("slots", [1, 4])
def test_bursts_keep_the_budget(slots: int) -> None:
    for numbers in range(4):
        events, cells, power = noisy_events(slots, -20.0)
        found = add_bursts(events, cells, power, numbers)
        assert found.numbers <= events.numbers + numbers
        free = NUMBERS_OF_BAND * int(slots < 4)
        assert (found.column("noise_level_db")[0] > SILENT_DB) == (numbers >= NUMBERS_OF_BURST + free)


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
