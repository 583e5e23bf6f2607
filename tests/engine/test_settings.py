from __future__ import annotations

from dataclasses import replace

import pytest

from sparsecli.engine.settings import SEEDS, FitSettings, RenderSettings

BAD = [
    (FitSettings(), "atoms", 0, "--atoms"),
    (FitSettings(), "snr_db", -1.0, "--snr"),
    (FitSettings(), "snr_db", float("nan"), "--snr"),
    (FitSettings(), "budget", 0, "--budget"),
    (FitSettings(), "seconds", -0.1, "--seconds"),
    (FitSettings(), "seconds", float("inf"), "--seconds"),
    (FitSettings(), "bandwidth_hz", 1.0, "--bandwidth"),
    (FitSettings(), "seed", -1, "--seed"),
    (FitSettings(), "seed", SEEDS, "--seed"),
    (RenderSettings(), "sample_rate", 999, "--sample-rate"),
    (RenderSettings(), "pitch_shift_semitones", 97.0, "--pitch-shift"),
    (RenderSettings(), "time_stretch", 0.0, "--time-stretch"),
    (RenderSettings(), "gain_db", float("nan"), "--gain"),
]


@pytest.mark.parametrize(("settings", "name", "value", "option"), BAD)
def test_out_of_range_names_the_option(settings: FitSettings | RenderSettings, name: str, value: float, option: str):
    with pytest.raises(ValueError, match=f"{option} .* is out of range; give "):
        replace(settings, **{name: value})


@pytest.mark.parametrize("settings", [FitSettings, RenderSettings])
def test_the_defaults_are_in_range_and_none_is_no_limit(settings: type):
    assert settings() == settings()
    assert FitSettings(snr_db=None, budget=None, seconds=None) == FitSettings()


def test_atoms_are_64_or_what_the_budget_allows():
    assert FitSettings().density == 64
    assert FitSettings(atoms=10, budget=1024).density == 10
    assert FitSettings(budget=1024).density == 1024 // 6  # an atom of one mode has six numbers
    assert FitSettings(budget=1).density == 1
