from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sparsecli.core.errors import SparseError
from sparsecli.engine.network_learner import MOST_SKIPPED, NetworkLearner, learning_rate
from sparsecli.engine.processes import Processes, processes
from sparsecli.engine.training import Arrays, Progress, Reached, Trained, train
from sparsecli.engine.training_settings import NetworkSettings

from .learning import ALONE, Lines, tiny_learner, tiny_model

FEW = NetworkSettings(steps=6, batch_size=4, warmup_steps=2, learning_rate=0.05, validate_steps=4, log_steps=2)


class Notes:
    """Writes down all that it is told; has enough after some steps."""

    def __init__(self, learner: NetworkLearner[Any], enough: int = 10**9) -> None:
        self.learner, self.enough = learner, enough
        self.steps: list[Progress] = []
        self.lines: list[dict[str, Any]] = []
        self.kept: list[tuple[Reached, Arrays]] = []

    def progress(self, progress: Progress) -> bool:
        self.steps.append(progress)
        return progress.step < self.enough

    def line(self, entry: dict[str, Any]) -> None:
        self.lines.append({name: value for name, value in entry.items() if name != "seconds"})

    def checkpoint(self, reached: Reached) -> None:
        self.kept.append((reached, self.learner.arrays()))


def run(
    settings: NetworkSettings, enough: int = 10**9, kept: tuple[Reached, Arrays] | None = None, **lessons: int
) -> tuple[Trained, Notes]:
    begun = kept[0] if kept else Reached()
    learner = tiny_learner(settings, begun.step, **lessons)
    if kept:
        learner.restore(kept[1])
    notes = Notes(learner, enough)
    try:
        return train(learner, settings, notes, ALONE, begun), notes
    finally:
        learner.close()


def test_it_learns():
    trained, notes = run(NetworkSettings(steps=150, learning_rate=0.05, warmup_steps=10, validate_steps=150))
    assert trained.complete and trained.reached.step == 150
    assert notes.lines[0]["loss"] > 1 and notes.lines[-1]["loss"] < 0.5  # of a target whose variance is 2, with dropout
    assert trained.validated["validation_loss"] == notes.lines[-1]["validation_loss"] < 0.2  # without


@pytest.mark.parametrize("broken", [-1, 1], ids=["", "a step skipped"])
@pytest.mark.parametrize("half", [3, 4])  # within a line of the history, and at its end
def test_six_steps_are_three_and_three(half: int, broken: int):
    whole, notes = run(FEW, broken=broken)
    first, before = run(FEW, enough=half, broken=broken)
    assert (first.complete, first.reached.step, len(before.kept)) == (False, half, 1)
    second, after = run(FEW, kept=before.kept[-1], broken=broken)
    assert second.complete and whole.complete
    straight, resumed = notes.kept[-1][1], after.kept[-1][1]
    assert straight.keys() == resumed.keys()
    for name, array in straight.items():
        np.testing.assert_array_equal(array, resumed[name], err_msg=name)  # to the last bit
    assert before.lines + after.lines == notes.lines


def test_when_what_happens():
    _, notes = run(FEW)
    assert [line["step"] for line in notes.lines] == [2, 4, 6]
    assert ["validation_loss" in line for line in notes.lines] == [False, True, True]
    assert [progress.step for progress in notes.steps if progress.validated] == [4, 6]
    assert [reached.step for reached, _ in notes.kept] == [6]  # once at the end
    assert notes.steps[0].left_s is not None and notes.steps[-1].left_s == 0.0


def test_a_line_is_the_mean_over_its_steps():
    _, each = run(NetworkSettings(**{**vars(FEW), "log_steps": 1}))
    _, notes = run(FEW)
    for line, one, other in zip(notes.lines, each.lines[::2], each.lines[1::2], strict=True):
        assert line["loss"] == pytest.approx((one["loss"] + other["loss"]) / 2, rel=1e-12)
        assert line["learning_rate"] == other["learning_rate"]  # of the moment


def test_time_ends_it():
    trained, notes = run(NetworkSettings(steps=10**9, minutes=0.0005, batch_size=1))
    assert not trained.complete and 1 <= trained.reached.step == notes.kept[-1][0].step < 10**6


def test_checkpoints_by_the_clock():
    _, notes = run(NetworkSettings(**{**vars(FEW), "checkpoint_minutes": 0.0}))
    assert [reached.step for reached, _ in notes.kept] == [1, 2, 3, 4, 5, 6]


def test_a_step_that_is_not_finite_changes_nothing_and_is_counted():
    def weights(steps: int) -> tuple[Arrays, Notes]:
        settings = NetworkSettings(**{**vars(FEW), "log_steps": 1})
        _, notes = run(settings, enough=steps, broken=2)
        return notes.kept[-1][1], notes

    (before, _), (after, notes) = weights(2), weights(3)
    for name in before.keys() - {"skipped"}:
        np.testing.assert_array_equal(before[name], after[name])
    assert (before["skipped"], after["skipped"]) == (0, 1)
    assert "loss" not in notes.lines[2] and notes.lines[2]["skipped"] == 1


def test_a_training_that_has_come_apart_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Lines, "batch", lambda self, *about: (torch.full((1, 2), torch.nan), torch.zeros(1, 1)))
    with pytest.raises(SparseError, match=r"not finite.*--lr"):
        run(NetworkSettings(steps=MOST_SKIPPED + 1))


def test_the_mean_of_the_weights_follows_them():
    """With decays of 1/10 and 2/11, by hand."""
    learner = tiny_learner(FEW)
    means = learner.arrays()["average.3.bias"]
    for index, decay in enumerate((1 / 10, 2 / 11)):
        learner.step(index)
        means = decay * means + (1 - decay) * learner.arrays()["model.3.bias"]
    np.testing.assert_allclose(learner.arrays()["average.3.bias"], means, rtol=1e-6)  # float32
    learner.close()


def test_gradients_are_clipped():
    """AdamW forgets the size of the first gradient but for epsilon, so the norm is made smaller than that."""

    def moved(clip_norm: float) -> float:
        learner = tiny_learner(NetworkSettings(**{**vars(FEW), "clip_norm": clip_norm, "weight_decay": 0.0}))
        before = learner.arrays()["model.0.weight"].copy()
        learner.step(0)
        learner.close()
        return float(np.abs(learner.arrays()["model.0.weight"] - before).max())

    assert moved(1e-12) < 1e-4 * learning_rate(0, FEW) < 0.5 * learning_rate(0, FEW) < moved(1.0)


def test_arrays_of_another_network():
    learner = tiny_learner(FEW)
    arrays = learner.arrays()
    other = NetworkLearner(tiny_model(hidden=4), Lines(), FEW, ALONE)
    with pytest.raises(SparseError, match=r"model\.0\.bias is of shape \[3\].*is of shape \[4\]"):
        other.restore(arrays)
    with pytest.raises(SparseError, match=r"average\.0\.bias is missing"):
        learner.restore({name: value for name, value in arrays.items() if name != "average.0.bias"})
    learner.close()
    other.close()


def test_an_error_in_a_batch_is_that_of_the_step(monkeypatch: pytest.MonkeyPatch):
    def fail(self: Lines, *about: Any) -> Any:
        raise SparseError("a.wav", "is damaged")

    monkeypatch.setattr(Lines, "batch", fail)
    with pytest.raises(SparseError, match=r"a.wav: is damaged"):
        run(FEW)


def test_processes_share_a_batch_without_rest():
    cpu = torch.device("cpu")
    assert [[*Processes(rank, 3, cpu).share(6)] for rank in range(3)] == [[0, 1], [2, 3], [4, 5]]


def test_a_batch_that_cannot_be_shared(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(SparseError, match=r"--batch-size.*evenly by 3.*multiple of 3"), processes("cpu", 4):
        pass


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SparseError, match="--device cuda"), processes("cuda", 4):
        pass
