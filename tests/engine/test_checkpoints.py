from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sparsecli.core.audio import Audio
from sparsecli.core.errors import SparseError
from sparsecli.engine.checkpoints import Checkpoint
from sparsecli.engine.fitting import fit
from sparsecli.engine.settings import FitSettings

from ..oracle.draw import Draw

RATE = 8000
SETTINGS = FitSettings(atoms=16, bandwidth_hz=RATE / 2)


@pytest.fixture(scope="module")
def plucks() -> Audio:
    """Five seconds of plucked tones with some noise: four stretches, several rounds."""
    t = np.arange(5 * RATE) / RATE
    sound = np.zeros_like(t)
    for index, freq_hz in enumerate((220.0, 311.0, 523.0, 180.0, 700.0, 410.0, 950.0)):
        u = np.clip(t - 0.1 - 0.65 * index, 0, None)
        sound += 0.3 * (u > 0) * np.exp(-4 * u) * np.sin(2 * np.pi * freq_hz * u)
    sound += 0.003 * Draw(3).normal(len(t)).numpy()
    return Audio(sound[None].astype(np.float32), RATE, "plucks")


@pytest.fixture(scope="module")
def kept(plucks: Audio) -> tuple[bytes, list[Checkpoint]]:
    """The events of a fit without a break, and a checkpoint after each round."""
    checkpoints: list[Checkpoint] = []
    result = fit(plucks, SETTINGS, on_checkpoint=lambda make: checkpoints.append(copy_of(make())))
    return result.events.onset_s.tobytes() + result.events.params.tobytes(), checkpoints


def copy_of(checkpoint: Checkpoint) -> Checkpoint:
    return replace(checkpoint, arrays={name: array.copy() for name, array in checkpoint.arrays.items()})


def test_a_fit_goes_on_to_the_same_bytes_from_any_round(plucks: Audio, kept: tuple[bytes, list[Checkpoint]]):
    whole, checkpoints = kept
    assert len({checkpoint.phase for checkpoint in checkpoints}) >= 3 and len(checkpoints) > 4
    for checkpoint in (checkpoints[0], checkpoints[2], checkpoints[-3], checkpoints[-1]):
        events = fit(plucks, SETTINGS, resume=copy_of(checkpoint)).events
        assert events.onset_s.tobytes() + events.params.tobytes() == whole


def test_a_limit_of_time_may_change_and_nothing_else(plucks: Audio, kept: tuple[bytes, list[Checkpoint]]):
    whole, checkpoints = kept
    events = fit(plucks, replace(SETTINGS, seconds=1e6), resume=copy_of(checkpoints[-1])).events
    assert events.onset_s.tobytes() + events.params.tobytes() == whole
    louder = replace(plucks, samples=2 * plucks.samples)
    for audio, settings in ((plucks, replace(SETTINGS, atoms=17)), (louder, SETTINGS)):
        with pytest.raises(SparseError, match="another recording or other settings"):
            fit(audio, settings, resume=copy_of(checkpoints[0]))


@pytest.mark.parametrize("broken", ["onset", "residual", "candidates", "known"])
def test_a_damaged_checkpoint_is_refused(plucks: Audio, kept: tuple[bytes, list[Checkpoint]], broken: str):
    checkpoint = copy_of(kept[1][1])
    for arrays in (
        {name: array for name, array in checkpoint.arrays.items() if name != broken},
        {**checkpoint.arrays, broken: np.zeros((1, 1))},
    ):
        with pytest.raises(SparseError, match="damaged"):
            fit(plucks, SETTINGS, resume=replace(checkpoint, arrays=arrays))
