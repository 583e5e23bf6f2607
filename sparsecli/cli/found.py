"""What fit and decompose tell of the events that they found."""

from __future__ import annotations

from typing import Protocol

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
