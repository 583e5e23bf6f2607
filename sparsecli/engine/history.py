"""Edits that are kept in the header of the events that they make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..core.events import Events
from .operations import Decode, do, no_model
from .steps import WHERE, Step


def edited(
    events: Events,
    steps: Sequence[Step],
    load: Callable[[str], Events],
    name: str = "",
    sha256: str = "",
    decode: Decode = no_model,
) -> Events:
    """Events after steps, with these behind what was done before.

    Figures of quality are those of a recording, and go.

    Args:
        events: as they are; where they were edited before, the origin in their header stays.
        steps: what to do, in order; with none nothing changes.
        load: reads another events file.
        name: of the file that the events are from, without folders; empty where there is none.
        sha256: of that file.
        decode: makes atoms of events that need a model.

    Raises:
        ValueError: a step cannot be done to these events.
    """
    header = events.header
    if not steps:
        return events
    if header.operations:
        name, sha256 = header.edited_name, header.edited_sha256
        steps = steps if steps[0].name == WHERE else [Step(WHERE, "all"), *steps]
    operations = [*header.operations, *(step.as_object() for step in steps)]
    return with_past(do(events, steps, load, decode), operations, name, sha256)


def with_past(events: Events, operations: list[dict[str, Any]], name: str, sha256: str) -> Events:
    """Events whose header says that `operations` were done to a file, without figures of quality."""
    header = replace(events.header, quality={}, operations=operations, edited_name=name, edited_sha256=sha256)
    return replace(events, header=header)
