from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from sparsecli.io import tensorboard_logs
from sparsecli.io.tensorboard_logs import TensorBoardLogs


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    """What TensorBoard reads."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = EventAccumulator(str(folder))
    logs.Reload()
    return [(point.step, point.value) for point in logs.Scalars(name)]


def test_what_is_logged_is_read(tmp_path: Path):
    logs = TensorBoardLogs(tmp_path / "logs", 0)
    for step in (1, 2, 3):
        logs.add(step, {"loss": 1 / step, "learning_rate": 0.5})
    logs.close()
    assert scalars(tmp_path / "logs", "loss") == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert scalars(tmp_path / "logs", "learning_rate") == [(1, 0.5), (2, 0.5), (3, 0.5)]


def test_what_came_after_the_checkpoint_is_void(tmp_path: Path):
    first = TensorBoardLogs(tmp_path, 0)
    for step in (1, 2, 3):
        first.add(step, {"loss": 1.0})
    first.close()
    second = TensorBoardLogs(tmp_path, 1)  # goes on after step 1
    second.add(2, {"loss": 2.0})
    second.close()
    assert scalars(tmp_path, "loss") == [(1, 1.0), (2, 2.0)]


def test_a_full_disk_leaves_out_a_record_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    logs = TensorBoardLogs(tmp_path, 0)
    logs.add(1, {"loss": 1.0})
    real = tensorboard_logs.write_all

    def half(stream: Any, data: bytes) -> int:
        real(stream, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tensorboard_logs, "write_all", half)
    logs.add(2, {"loss": 2.0})
    monkeypatch.setattr(tensorboard_logs, "write_all", real)
    logs.add(3, {"loss": 3.0})
    logs.close()
    assert scalars(tmp_path, "loss") == [(1, 1.0), (3, 3.0)]
