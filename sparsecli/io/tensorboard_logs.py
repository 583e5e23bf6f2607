"""Figures as logs of TensorBoard, written where that is installed.

TensorBoard's own writer does this in a thread, which a full disk ends with a traceback; here a figure that cannot be
written is left out, and the file stays whole.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .atomic import write_all


class TensorBoardLogs:
    """A file of events in a folder of logs.

    Args:
        folder: of the logs; made if there is none.
        step: what was logged after it by an earlier part of the run is void.

    Raises:
        ImportError: TensorBoard is not installed.
        OSError: the file cannot be written.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event: Any = Event
        folder.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns() // 1000}.{socket.gethostname()}.{os.getpid()}"
        self._stream = (folder / name).open("xb", buffering=0)
        self._writer, self._end = RecordWriter(SimpleNamespace(write=lambda data: write_all(self._stream, data))), 0
        self._write(file_version="brain.Event:2")
        self._write(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Log figures of a step, or leave them out where the disk is full."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
        with contextlib.suppress(OSError):
            self._write(step=step, summary=Summary(value=values))

    def close(self) -> None:
        """End the file."""
        with contextlib.suppress(OSError):
            self._stream.close()

    def _write(self, **fields: Any) -> None:
        """A record, whole or not at all."""
        record = self._event(wall_time=time.time(), **fields).SerializeToString()
        try:
            self._writer.write(record)
            self._end = self._stream.tell()
        except OSError:
            self._stream.truncate(self._end)
            self._stream.seek(self._end)
            raise
