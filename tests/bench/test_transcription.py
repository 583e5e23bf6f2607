"""The matching of notes, on cases worked out by hand; it agreed with mir_eval 0.8.2 on 300 random ones."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).resolve().parents[2] / "bench" / "transcription.py"
SPEC = importlib.util.spec_from_file_location("transcription", PATH)
assert SPEC is not None and SPEC.loader is not None
transcription = importlib.util.module_from_spec(SPEC)
sys.modules["transcription"] = transcription  # where dataclasses look for the names of their module
SPEC.loader.exec_module(transcription)


def score(true: list[tuple[float, float]], found: list[tuple[float, float]], pitch: bool = True):
    return transcription.score_notes(
        np.array(true, np.float64).reshape(-1, 2), np.array(found, np.float64).reshape(-1, 2), pitch
    )


def test_the_edges_of_the_tolerances():
    assert score([(1.0, 60)], [(1.05, 60.5)]).right == 1  # 50 ms and 50 cents are still right,
    assert score([(1.0, 60)], [(1.0502, 60)]).right == 0  # and no more
    assert score([(1.0, 60)], [(1.0, 60.51)]).right == 0
    assert score([(1.0, 60)], [(1.0, 72)]).right == 0  # an octave is wrong
    assert score([(1.0, 60)], [(1.0, 72)], pitch=False).right == 1


def test_each_note_counts_once():
    twice = score([(1.0, 60)], [(1.0, 60), (1.01, 60)])
    assert (twice.right, twice.precision, twice.recall, twice.f1) == (1, 0.5, 1.0, pytest.approx(2 / 3))


def test_as_many_pairs_as_there_can_be():
    # The nearest pair, 1.03 and 1.04, leaves 1.08 and 1.00 alone; the other way round both are right.
    assert score([(1.03, 60), (1.08, 60)], [(1.04, 60), (1.00, 60)]).right == 2


def test_the_order_does_not_matter():
    generator = np.random.default_rng(2)
    true, found = (np.c_[generator.uniform(0, 2, n), generator.integers(60, 64, n)] for n in (30, 40))
    right = transcription.score_notes(true, found).right
    assert 0 < right < 30
    assert transcription.score_notes(true[::-1], generator.permutation(found)).right == right
    assert transcription.score_notes(found, true).right == right


@pytest.mark.parametrize(("true", "found"), [([], []), ([(1.0, 60)], []), ([], [(1.0, 60)])])
def test_nothing_to_find_or_nothing_found(true, found):
    assert (score(true, found).right, score(true, found).f1) == (0, 0.0)


def test_a_table_of_notes(tmp_path: Path):
    (tmp_path / "a.notes.csv").write_text("onset_s,offset_s,midi_pitch\n0.5,0.7,60\n3.0,3.1,62\n")
    np.testing.assert_array_equal(transcription.read_notes(tmp_path / "a.notes.csv", 2.0), [[0.5, 60]])
