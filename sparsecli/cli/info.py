"""`sparse info`: what an events file holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparsecli.core.columns import KINDS, SILENT_DB, STRETCH_S, Column, columns_of
from sparsecli.core.errors import SparseError

from . import options
from .console import Console, plural, print_json, print_table
from .interrupts import Interrupts
from .options import usage_errors
from .outputs import check_outputs
from .runner import Record, run_each

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sparsecli.core.events import Events


def info_command(
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="IN", help="Events files; - is standard input.", show_default=False)
    ] = None,
    columns: Annotated[bool, typer.Option("--columns", help="Print what the numbers of an event mean.")] = False,
    notes: Annotated[bool, typer.Option("--notes", help="Print the musical notes, one a line.")] = False,
    where: Annotated[str | None, options.selection("--where", "Tell only of the events")] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Print what events files hold: counts, ranges, source, settings and the quality reached.

    --columns prints the table of columns instead; of every kind, in two channels, where no file is named. --notes
    prints the notes that sparse fit --notes has found. --where leaves out all other events, and the air unless the
    expression names it (docs/selection.md).
    """
    console = Console(quiet)
    with usage_errors(console):
        options.check_selection("--where", where)
        if columns and where is not None:
            raise SparseError("--where", "--columns tells of no events", "give one of them")
    if columns and not inputs:
        for kind in KINDS:
            (print_json if as_json else _print_columns)(_columns(kind, columns_of(kind, channels=2)))
        return
    with usage_errors(console):
        if not inputs:
            raise SparseError("", "no events file is named", "name one, - for standard input, or give --columns")
        if columns and notes:
            raise SparseError("--notes", "--columns prints another table", "give one of them")
        check_outputs(inputs, [])
    tasks = [InfoTask(name, columns, notes, where) for name in inputs]
    show = print_json if as_json else _print_columns if columns else _print_notes if notes else _print_info
    run_each(info_one, tasks, console, show)


@dataclass(frozen=True)
class InfoTask:
    """One file to describe, or the columns of its kind, or its notes; `where` selects of its events."""

    input: str
    columns: bool
    notes: bool
    where: str | None


def info_one(task: InfoTask, console: Console, interrupts: Interrupts) -> Record:
    """Read one file; returns what `--json` prints."""
    from sparsecli.io.events_file import load_events_and_size

    events, size = load_events_and_size(task.input)
    if task.columns:
        return _columns(events.header.kind, events.table)
    found = len(events)
    if task.where is not None:
        from sparsecli.engine.transforms import keep_selected

        events = keep_selected(events, task.where)
    if task.notes:
        from sparsecli.engine.notes import note_table

        return {"input": task.input, "notes": [asdict(note) for note in note_table(events)]}
    kbit_s = 8 * size / events.header.duration_s / 1000
    selection = {"where": task.where, "events_in_file": found}
    return {"input": task.input, "bytes": size, "kbit_s": kbit_s, **selection, **describe(events)}


def describe(events: Events) -> Record:
    """Counts, ranges and header of events, in numbers that JSON can hold. A range is None where nothing is in it."""
    import numpy as np

    from sparsecli.engine.notes import note_table

    notes = note_table(events)
    used = events.modes("level_db") > SILENT_DB  # [E, M]
    bursts = events.noise_level_db > SILENT_DB  # [E]
    shared = {name for slot in events.slots for name in slot} | {*events.kind.noise}
    own = [column for column in events.table if column.name not in shared]
    header = asdict(events.header)
    stretches = max(1.0, events.header.duration_s / STRETCH_S)
    return {
        "kind": header.pop("kind"),
        "events": len(events),
        "modes": int(used.sum()),
        "bursts": int(bursts.sum()),
        "notes": len(notes),
        "numbers": events.numbers,
        "numbers_per_stretch": events.numbers / stretches,
        **header,
        "ranges": {
            **{column.name: _range(events.column(column.name)) for column in own if column not in events.kind.stereo},
            "freq_hz": _range(events.modes("freq_hz")[used]),
            "level_db": _range(events.modes("level_db")[used]),
            "pitch_hz": _range(np.array([note.pitch_hz for note in notes])),
            **(_noise_ranges(events, bursts) if events.kind.noise else {}),
            **{column.name: _range(events.column(column.name)) for column in own if column in events.kind.stereo},
        },
        "air": {
            "channels": events.air.shape[0],
            "frames": events.air.shape[1],
            "bands": events.air.shape[2],
            "level_db": _range(events.air[events.air > SILENT_DB]),
        },
    }


def _noise_ranges(events: Events, bursts: NDArray[np.bool_]) -> Record:
    names = ("noise_hz", "noise_level_db")
    return {name: _range(events.column(key)[bursts]) for name, key in zip(names, events.kind.noise, strict=True)}


def _range(values: NDArray[np.floating[Any]]) -> list[float] | None:
    return [float(values.min()), float(values.max())] if values.size else None


def _columns(kind: str, table: Sequence[Column]) -> Record:
    return {"kind": kind, "columns": [asdict(column) for column in table]}


def _print_columns(record: Record) -> None:
    heading = ("column", "unit", "from", "to", "scale", "meaning")
    keys = ("name", "unit", "low", "high", "scale", "meaning")
    rows = [
        [f"{column[key]:g}" if key in ("low", "high") else column[key] for key in keys] for column in record["columns"]
    ]
    print_table([heading, *rows], title=f"columns of kind {record['kind']}")


def _print_info(record: Record) -> None:
    air = record["air"]
    rows = [
        ("kind", record["kind"]),
        ("events", f"{_count_text(record)} with {record['modes']} modes and {record['bursts']} noise bursts"),
        ("notes", _notes_text(record)),
        ("numbers in use", f"{record['numbers']}, {record['numbers_per_stretch']:.0f} for each {STRETCH_S:.3f} s"),
        ("duration", f"{record['duration_s']:.3f} s"),
        ("file", _file_text(record)),
        ("source", f"{record['source_name'] or 'unnamed'}, {record['channels']} ch, {record['sample_rate']} Hz"),
        ("source sha256", record["source_sha256"] or "unknown"),
        ("seed", str(record["seed"])),
        *((name, _range_text(low_high)) for name, low_high in record["ranges"].items()),
        ("air", f"{air['channels']} x {air['frames']} x {air['bands']} levels, {_range_text(air['level_db'])} dB"),
        ("quality", _pairs(record["quality"])),
        ("settings", _pairs(record["settings"])),
        *(("edited", _edit_text(operation)) for operation in record["operations"]),
    ]
    print_table(rows, title=record["input"])


def _edit_text(operation: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in operation.items())


def _count_text(record: Record) -> str:
    if record["where"] is None:
        return str(record["events"])
    return f"{record['events']} of {record['events_in_file']} selected,"


def _file_text(record: Record) -> str:
    quality = record["quality"]
    parts = [
        f"{record['bytes']} bytes, {record['kbit_s']:.2f} kbit/s",
        f"quantised to {quality['bits']:.2f} bits a number" if "bits" in quality else "",
        f"{quality['snr_lost_db']:.2f} dB of SNR lost" if "snr_lost_db" in quality else "",
    ]
    return ", ".join(filter(None, parts))


def _print_notes(record: Record) -> None:
    heading = ("note", "name", "midi", "pitch_hz", "onset_s", "end_s", "level_db", "atoms")
    rows = [
        [
            str(note["note"]),
            note["name"],
            *(f"{note[key]:.{digits}f}" for key, digits in zip(heading[2:7], (2, 2, 3, 3, 1), strict=True)),
            str(len(note["ids"])),
        ]
        for note in record["notes"]
    ]
    print_table([heading, *rows], title=f"{record['input']}: {plural(len(rows), 'note')}")


def _notes_text(record: Record) -> str:
    if not record["notes"]:
        return "none; sparse fit --notes groups atoms into notes" if record["where"] is None else "none"
    from sparsecli.core.partials import midi_of, name_of

    lowest, highest = (name_of(float(midi_of(pitch_hz))) for pitch_hz in record["ranges"]["pitch_hz"])
    return f"{record['notes']}, {lowest} to {highest}"


def _range_text(low_high: Sequence[float] | None) -> str:
    return "none" if low_high is None else f"{low_high[0]:.5g} to {low_high[1]:.5g}"


def _pairs(values: dict[str, Any]) -> str:
    texts = [f"{key}={value:.5g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()]
    return ", ".join(texts) or "none"
