"""What fit and decompose tell of the events that they found."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sparsecli.core.audio import Audio, source_of
from sparsecli.core.events import Events, notes_of

from .runner import Record


class Found(Protocol):
    """Events, the seconds that they took, and whether the work came to its end."""

    @property
    def events(self) -> Events:
        """What was found."""

    @property
    def seconds(self) -> float:
        """How long it took."""

    @property
    def complete(self) -> bool:
        """False where it was asked to stop early."""


def record_of(input: str, output: str, result: Found, with_notes: bool) -> Record:
    """The record of a result, as `--json` prints it; with the number of notes where they were asked for."""
    events = result.events
    return {
        "input": input,
        "output": output,
        "events": len(events),
        "numbers": events.numbers,
        "duration_s": events.header.duration_s,
        "seconds": result.seconds,
        "complete": result.complete,
        "notes": notes_of(events) if with_notes else None,
        "quality": dict(events.header.quality),
    }


def write_residual(path: str, audio: Audio, rendered: NDArray[np.float32], overwrite: bool) -> None:
    """The recording, folded where events describe it folded, minus their sound `[channels, samples]`, as a file.

    As float samples, which nothing can clip; `sparse render --residual` adds it again.
    """
    from sparsecli.io.audio import write_audio

    residual = replace(audio, samples=source_of(audio) - rendered)
    write_audio(path, residual, bit_depth="float", overwrite=overwrite)
