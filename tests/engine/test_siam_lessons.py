from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sparsecli.core.errors import SparseError
from sparsecli.engine.siam_lessons import Material, SiamLessons, onset_f1, shape_of
from sparsecli.engine.siam_training import Batch, join_batches
from sparsecli.engine.training_settings import SiamTrainSettings
from sparsecli.io.recordings import find_recordings
from sparsecli.models.siam import Siam

from .learning import ALONE

RATE = 4000
SMALL = SiamTrainSettings(
    sample_rate=RATE, width=4, depth=1, voice_width=4, voice_depth=1, validate_excerpts=1, validate_density=8
)


@pytest.fixture
def recordings(tmp_path: Path):
    """Tones struck each half second, in MusicNet's layout, with a table that tells of them."""
    for folder in ("train_data", "train_labels"):
        (tmp_path / folder).mkdir()
    t = np.arange(8 * RATE) / RATE
    onsets_s = np.arange(0.25, 8, 0.5)
    u = t - onsets_s[:, None]
    pitches_hz = np.array([300.0, 450.0, 700.0, 1000.0] * 4)[:, None]
    samples = np.where(u >= 0, np.exp(-12 * u.clip(0)) * np.sin(2 * np.pi * pitches_hz * u), 0.0).sum(0)
    soundfile.write(tmp_path / "train_data" / "1.wav", 0.3 * samples, RATE)
    rows = "".join(f"{round(44_100 * onset)},0,1,60\n" for onset in onsets_s)
    (tmp_path / "train_labels" / "1.csv").write_text(f"start_time,end_time,instrument,note\n{rows}")
    return find_recordings(str(tmp_path), lambda error: None)


def lessons(material: Material | None = None, **settings: float) -> SiamLessons:
    asked = replace(SMALL, **settings)
    return SiamLessons(shape_of(asked), material or Material(), asked, ALONE, [])


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(Batch))


def test_items_depend_on_their_numbers_alone(recordings):
    made = lessons(Material(recordings, recordings), scene_share=0.5)
    whole = made.batch(3, range(4), [])
    parts = [made.batch(3, items, []) for items in (range(2, 4), range(2))]
    assert same(whole, join_batches([parts[1], parts[0]]))
    assert not same(made.batch(4, range(4), []), whole)
    assert not same(lessons(Material(recordings, recordings), seed=1, scene_share=0.5).batch(3, range(4), []), whole)


@pytest.mark.parametrize(("share", "known"), [(0.0, False), (1.0, True)])
def test_the_share_of_scenes(recordings, share: float, known: bool):
    """Of scenes events are known, of recordings not."""
    batch = lessons(Material(recordings, recordings), scene_share=share).batch(0, range(3), [])
    assert bool((batch.event >= 0).all()) == bool(len(batch.strikes) > 0) == known


def test_what_is_held_out_is_heard(recordings):
    model = Siam(shape_of(SMALL)).eval().requires_grad_(False)
    made = lessons(Material(recordings, recordings))
    figures = made.validate(model)
    assert figures == made.validate(model)  # the same every time
    assert figures["loss"] > 0 and figures["snr_db"] > 0
    assert 0 < figures["events_per_s"] <= 8 / 1.486 * 1.05  # of whole events in 4 s
    assert 0 <= figures["onset_f1"] <= 1
    assert "onset_f1" not in lessons().validate(model)  # no tables


def test_a_table_that_cannot_be_read_is_told(recordings):
    Path(recordings[0].labels).write_text("x")
    skipped: list[SparseError] = []
    SiamLessons(shape_of(SMALL), Material(recordings, recordings), SMALL, ALONE, skipped)
    assert [Path(error.subject).name for error in skipped] == ["1.csv"]


@pytest.mark.parametrize(
    ("found", "wanted", "score"),
    [
        ([1.0, 2.0], [1.04, 1.96], 1.0),
        ([1.0, 2.0], [1.06, 1.94], 0.0),
        ([1.0, 1.01, 1.02], [1.0], 0.5),  # one has a partner: precision 1/3, recall 1
        ([], [1.0], 0.0),
        ([], [], 0.0),
    ],
)
def test_onsets_with_a_partner(found: list[float], wanted: list[float], score: float):
    assert onset_f1(np.array(found), np.array(wanted)) == pytest.approx(score)
