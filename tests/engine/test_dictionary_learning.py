from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sparsecli.core.errors import SparseError
from sparsecli.core.learned import LearnedDictionary, normalised
from sparsecli.engine.dictionary_learning import DEAD, LOUDNESS, DictionaryLearner, drawn
from sparsecli.engine.excerpts import Excerpts
from sparsecli.engine.learning_settings import DictionarySettings
from sparsecli.io.recordings import find_recordings

RATE = 8000
SETTINGS = DictionarySettings(
    steps=40, batch_size=4, atoms=16, length="64,160", sample_rate=RATE, excerpt_s=0.25, density=120, seed=4
)


def planted() -> LearnedDictionary:
    """Three atoms of each length, short chirps and clangs that no window has."""
    at = {length: np.linspace(0, 1, length) for length in (64, 160)}
    atoms = [
        np.stack([np.sin(np.pi * x) * np.sin(2 * np.pi * (a * x + b * x**2)) * np.exp(-c * x) for a, b, c in shapes])
        for x, shapes in zip(
            at.values(), [[(3, 6, 1), (9, -3, 0), (2, 0, 4)], [(5, 20, 2), (30, 0, 3), (12, -8, 0)]], strict=True
        )
    ]
    return LearnedDictionary(RATE, tuple(map(normalised, atoms)))


def scene(step: int, count: int) -> list[np.ndarray]:
    """Excerpts of planted atoms at random moments, of either sign."""
    sounds = []
    for item in range(count):
        draw, sound = np.random.default_rng([step % 2**32, item]), np.zeros(2400)
        for _ in range(24):
            atom = TRUE.atom(int(draw.integers(6))).astype(np.float64)
            place = int(draw.integers(0, 2400 - len(atom)))
            sound[place : place + len(atom)] += draw.choice([-1, 1]) * draw.uniform(0.3, 1) * atom
        sounds.append(sound.astype(np.float32)[:2000])
    return sounds


TRUE = planted()


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Of two atoms up to sign and shift: 1 for the same."""
    return float(np.abs(np.correlate(one, other, "full")).max())


def test_planted_atoms_are_found_up_to_sign_and_shift():
    learner = DictionaryLearner(SETTINGS, scene, scene(1 << 20, 4))
    before = {}
    for index in range(SETTINGS.steps):
        figures = learner.step(index)
        before = before or learner.validate()
    found = learner.dictionary
    best = [max(likeness(TRUE.atom(k), found.atom(j)) for j in range(len(found))) for k in range(len(TRUE))]
    assert min(best) > 0.98, best  # with more atoms than there are; with as many, one may settle for a half of two
    assert learner.validate()["snr_db"] > before["snr_db"] + 6
    assert set(figures) == {"loss", "snr_db", "used", "replaced"}
    for atoms in found.atoms:
        np.testing.assert_allclose(np.square(atoms, dtype=np.float64).sum(1), 1, atol=1e-6)


def test_a_run_that_goes_on_learns_the_same_bits():
    settings = replace(SETTINGS, steps=8)
    whole, first, second = (DictionaryLearner(settings, scene) for _ in range(3))
    for index in range(8):
        whole.step(index)
    for index in range(4):
        first.step(index)
    second.restore({name: array.copy() for name, array in first.arrays().items()})
    for index in range(4, 8):
        second.step(index)
    for name, array in whole.arrays().items():
        assert array.tobytes() == second.arrays()[name].tobytes(), name


def test_a_checkpoint_of_other_atoms_is_refused():
    learner = DictionaryLearner(SETTINGS, scene)
    learner.step(0)
    other = DictionaryLearner(replace(SETTINGS, length="64,128"), scene)
    with pytest.raises(SparseError, match="resume with the --atoms and --length of the run"):
        other.restore(learner.arrays())


def test_atoms_that_nothing_uses_become_what_is_left():
    learner = DictionaryLearner(replace(SETTINGS, steps=100), scene)
    for index in range(4):
        learner.step(index)
    learner.atoms[0] = normalised((-1.0) ** np.arange(64))  # the highest frequency, which no scene has
    learner._weight[0] = 0.0
    replaced = learner.step(4)["replaced"]
    assert replaced >= 1 and likeness(learner.atoms[0], normalised((-1.0) ** np.arange(64))) < 0.5
    assert 0 < DEAD < 1


def test_excerpts_are_drawn_equally_loud_and_alike_each_time(tmp_path: Path):
    noise = np.random.default_rng(0).standard_normal(16000)
    for name, gain in (("soft.wav", 0.01), ("loud.wav", 0.2)):
        soundfile.write(tmp_path / name, gain * noise, RATE)
    recordings = find_recordings(str(tmp_path), lambda error: None)
    sounds = drawn(Excerpts(recordings, 2000, RATE, 5), lambda error: None)(3, 6)
    again = drawn(Excerpts(recordings, 2000, RATE, 5), lambda error: None)(3, 6)
    for sound, other in zip(sounds, again, strict=True):
        assert np.sqrt((sound.astype(np.float64) ** 2).mean()) == pytest.approx(LOUDNESS, rel=1e-5)
        assert sound.tobytes() == other.tobytes()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"length": "1000000"}, "a length of 1000000; atoms are 16 to 8192 samples long"),
        ({"length": "long"}, "--length long is no length; give 16 to 8192 samples, or several"),
        ({"length": "64,64"}, "a length is named twice"),
        ({"atoms": 1}, "--atoms 1 is out of range; give 2 to"),
        ({"excerpt_s": 0.001}, "excerpt_s 0.001 is out of range"),
    ],
)
def test_settings_that_make_no_sense(changes: dict[str, object], line: str):
    with pytest.raises(ValueError, match=line):
        replace(SETTINGS, **changes)
