"""`sparse info`: what an events file or a model's file holds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparsecli.core.columns import KINDS, OPTIONAL_COLUMNS, SILENT_DB, STEREO, STRETCH_S, VECTOR, Column, columns_of
from sparsecli.core.errors import SparseError

from . import options
from .console import Console, print_json, print_table
from .interrupts import Interrupts
from .options import usage_errors
from .outputs import check_extensions, check_outputs, check_writable
from .runner import Record, run_each
from .tables import COLUMN_TABLE, NOTE_TABLE, ROOM_TABLE, Table
from .weights import print_weights, weights_record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sparsecli.core.events import Events
    from sparsecli.io.source import Source


def info_command(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="IN", help="Events files, or models; - is standard input.", show_default=False),
    ] = None,
    columns: Annotated[bool, typer.Option("--columns", help="Print what the numbers of an event mean.")] = False,
    notes: Annotated[bool, typer.Option("--notes", help="Print the musical notes, one a line.")] = False,
    rooms: Annotated[bool, typer.Option("--rooms", help="Print the rooms of render --room.")] = False,
    where: Annotated[str | None, options.selection("--where", "Tell only of the events")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print --notes, --columns or --rooms as CSV.")] = False,
    legacy: Annotated[
        bool, typer.Option("--legacy", help="Look into weights of the original project, which are pickled.")
    ] = False,
    plot: Annotated[
        str | None,
        typer.Option("--plot", metavar="PNG", help="Draw the atoms of a learned dictionary.", show_default=False),
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Print what events files hold: counts, ranges, source, settings and the quality reached.

    Of a model's file (.safetensors), what it says of itself and its tensors; of a learned dictionary also a picture of
    its atoms (--plot).

    --columns prints the table of columns instead; of every kind, in two channels, where no file is named. --notes
    prints the notes that sparse fit --notes has found. --where leaves out all other events, and the air unless the
    expression names it (docs/selection.md). --rooms lists the impulse responses in the folder that
    IMPULSE_RESPONSE_PATH names.
    """
    console = Console(quiet)
    with usage_errors(console):
        options.check_selection("--where", where)
        _check_meant(inputs or [], columns, notes, rooms, where, legacy)
        _check_plot(inputs or [], plot, overwrite)
        _check_csv(as_csv, columns or notes or rooms, as_json)
        rooms_found = _room_tasks() if rooms else []
    table = COLUMN_TABLE if columns else NOTE_TABLE if notes else ROOM_TABLE if rooms else None
    with _shown(table, as_csv, as_json, len(inputs or []) > 1) as show:
        if rooms:
            run_each(room_one, rooms_found, console, show)
        elif columns and not inputs:
            for kind in KINDS:
                show(_columns(kind, columns_of(kind, STEREO, OPTIONAL_COLUMNS)))
        else:
            tasks = [InfoTask(name, columns, notes, where, legacy, plot, overwrite) for name in inputs or []]
            run_each(info_one, tasks, console, show)


def _check_meant(
    inputs: Sequence[str], columns: bool, notes: bool, rooms: bool, where: str | None, legacy: bool
) -> None:
    """Raise SparseError for what no run can tell."""
    if columns and where is not None:
        raise SparseError("--where", "--columns tells of no events", "give one of them")
    if rooms and (inputs or columns or notes or legacy or where is not None):
        raise SparseError("--rooms", "tells of no events", "give it alone")
    if not (inputs or columns or rooms):
        raise SparseError("", "no events file is named", "name one, - for standard input, or give --columns")
    if columns and notes:
        raise SparseError("--notes", "--columns prints another table", "give one of them")
    check_outputs(inputs, [])


def _check_plot(inputs: Sequence[str], plot: str | None, overwrite: bool) -> None:
    """Raise SparseError where there is nothing to draw with, of or to."""
    if plot is None:
        return
    from .atom_pictures import check_drawing

    check_drawing("--plot")
    check_extensions([plot], [".png"])
    if len(inputs) != 1:
        raise SparseError("--plot", "draws one dictionary", "name one")
    check_outputs(inputs, [plot])
    check_writable(plot, overwrite)


def _check_csv(as_csv: bool, has_table: bool, as_json: bool) -> None:
    """Raise SparseError where `--csv` means nothing."""
    if as_csv and as_json:
        raise SparseError("--csv", "is beside the point of --json", "give one of them")
    if as_csv and not has_table:
        raise SparseError("--csv", "no table is asked for", "give --notes, --columns or --rooms")


@contextlib.contextmanager
def _shown(table: Table | None, as_csv: bool, as_json: bool, several: bool) -> Iterator[Callable[[Record], None]]:
    """What to do with each record; what belongs into one table is printed at the end, whatever has failed."""
    together: list[Record] = []
    if as_json:
        yield print_json
    elif table is None:
        yield _print_any
    elif as_csv or table is ROOM_TABLE:
        try:
            yield together.append
        finally:
            if together and as_csv:
                table.print_csv(together, several)
            elif together:
                table.print(together)
    else:
        yield lambda record: table.print([record])


@dataclass(frozen=True)
class RoomTask:
    """A room in a folder."""

    folder: str
    input: str


def _room_tasks() -> list[RoomTask]:
    """All rooms in the folder that the environment names. Raises SparseError where there is none."""
    from sparsecli.core.settings import read_environment
    from sparsecli.engine.settings import RenderOptions
    from sparsecli.io.rooms import room_names

    folder = read_environment(RenderOptions).get("impulse_response_path", "")
    tasks = [RoomTask(folder, name) for name in room_names(folder)]
    if not tasks:
        raise SparseError(folder, "holds no recordings", "put impulse responses there")
    return tasks


def room_one(task: RoomTask, console: Console, interrupts: Interrupts) -> Record:
    """What a room's file says of itself."""
    from sparsecli.io.rooms import describe_room

    return asdict(describe_room(task.folder, task.input)) | {"folder": task.folder}


@dataclass(frozen=True)
class InfoTask:
    """One file to describe, or the columns of its kind, or its notes; `where` selects of its events."""

    input: str
    columns: bool
    notes: bool
    where: str | None
    legacy: bool = False
    plot: str | None = None
    overwrite: bool = False


def info_one(task: InfoTask, console: Console, interrupts: Interrupts) -> Record:
    """Read one file; returns what `--json` prints."""
    from sparsecli.io.events_file import events_from
    from sparsecli.io.source import open_source

    with open_source(task.input) as source:
        weights = weights_record(source, task.legacy, console)
        if weights is not None:
            _check_of_weights(task)
            if task.plot is not None:
                _plot(task, source, weights)
            return {"input": task.input, **weights}
        if task.plot is not None:
            raise SparseError(task.input, "holds no learned dictionary for --plot to draw", "leave it out")
        events, size = events_from(source), os.fstat(source.stream.fileno()).st_size
    if task.columns:
        return {"input": task.input, **_columns(events.header.kind, events.table)}
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


def _plot(task: InfoTask, source: Source, weights: Record) -> None:
    """Draw a learned dictionary. Raises SparseError where the weights are none."""
    from sparsecli.io.atomic import open_output
    from sparsecli.io.dictionary_file import is_dictionary, load_dictionary

    from .atom_pictures import draw_atoms

    assert task.plot is not None
    if not is_dictionary(weights["metadata"]):
        raise SparseError(task.input, "holds no learned dictionary for --plot to draw", "leave it out")
    picture = draw_atoms(load_dictionary(f"/dev/fd/{source.stream.fileno()}", source.subject))
    with open_output(task.plot, overwrite=task.overwrite) as stream:
        stream.write(picture)


def _check_of_weights(task: InfoTask) -> None:
    asked = [("--columns", task.columns), ("--notes", task.notes), ("--where", task.where is not None)]
    for option, is_asked in asked:
        if is_asked:
            raise SparseError(task.input, f"holds weights, and no events for {option} to tell of", "leave it out")


def describe(events: Events) -> Record:
    """Counts, ranges and header of events, in numbers that JSON can hold. A range is None where nothing is in it."""
    import numpy as np

    from sparsecli.engine.notes import note_table

    notes = note_table(events)
    used = events.modes("level_db") > SILENT_DB  # [E, M]
    bursts = events.noise_level_db > SILENT_DB  # [E]
    shared = {name for slot in events.slots for name in slot} | {*events.kind.noise}
    own = [column for column in events.table if column.name not in shared]
    last = (*events.kind.stereo, *OPTIONAL_COLUMNS.values())
    header = asdict(events.header)
    del header["optional"]  # seen in the ranges
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
            **{column.name: _range(events.column(column.name)) for column in own if column not in last},
            "freq_hz": _range(events.modes("freq_hz")[used]),
            "level_db": _range(_levels_of(events)),
            "pitch_hz": _range(np.array([note.pitch_hz for note in notes])),
            **(_noise_ranges(events, bursts) if events.kind.noise else {}),
            **{column.name: _range(events.column(column.name)) for column in own if column in last},
        },
        "air": {
            "channels": events.air.shape[0],
            "frames": events.air.shape[1],
            "bands": events.air.shape[2],
            "level_db": _range(events.air[events.air > SILENT_DB]),
        },
    }


def _levels_of(events: Events) -> NDArray[np.floating[Any]]:
    """Of modes in use, or of the events of a learned dictionary that are not silent."""
    levels = events.modes("level_db")
    if "level_db" in events.gains:
        levels = events.column("level_db")
    return levels[levels > SILENT_DB]


def _noise_ranges(events: Events, bursts: NDArray[np.bool_]) -> Record:
    names = ("noise_hz", "noise_level_db")
    return {name: _range(events.column(key)[bursts]) for name, key in zip(names, events.kind.noise, strict=True)}


def _range(values: NDArray[np.floating[Any]]) -> list[float] | None:
    return [float(values.min()), float(values.max())] if values.size else None


def _columns(kind: str, table: Sequence[Column]) -> Record:
    return {"kind": kind, "columns": [asdict(column) for column in table]}


def _print_any(record: Record) -> None:
    (print_weights if "tensors" in record else _print_info)(record)


def _print_info(record: Record) -> None:
    air, is_decoded = record["air"], KINDS[record["kind"]].decoded
    rows = [
        ("kind", record["kind"]),
        *([("model", _model_text(record))] if is_decoded else []),
        ("events", _events_text(record)),
        *([] if is_decoded else [("notes", _notes_text(record))]),
        ("numbers in use", f"{record['numbers']}, {record['numbers_per_stretch']:.0f} for each {STRETCH_S:.3f} s"),
        ("duration", f"{record['duration_s']:.3f} s"),
        ("file", _file_text(record)),
        ("source", f"{record['source_name'] or 'unnamed'}, {record['channels']} ch, {record['sample_rate']} Hz"),
        ("source sha256", record["source_sha256"] or "unknown"),
        ("seed", str(record["seed"])),
        *((name, _range_text(low_high)) for name, low_high in _shown_ranges(record).items()),
        ("air", f"{air['channels']} x {air['frames']} x {air['bands']} levels, {_range_text(air['level_db'])} dB"),
        ("quality", _pairs(record["quality"])),
        ("settings", _pairs(record["settings"])),
        *(("edited", _edit_text(operation)) for operation in record["operations"]),
    ]
    print_table(rows, title=record["input"])


def _edit_text(operation: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in operation.items())


def _model_text(record: Record) -> str:
    return f"{record['model_name'] or 'unnamed'}, sha256 {record['model_sha256']}"


def _shown_ranges(record: Record) -> dict[str, list[float] | None]:
    """The ranges of a record, those of a vector's numbers as one; without what the kind has not."""
    kind, ranges = KINDS[record["kind"]], dict(record["ranges"])
    if not kind.decoded:
        return ranges
    for name in ("freq_hz", "pitch_hz", *(["level_db"] if kind.has_vectors else [])):
        del ranges[name]
    if not kind.has_vectors:
        return ranges
    found = [ranges.pop(column.name) for column in kind.columns if column.name in VECTOR]
    ends = [end for low_high in found if low_high is not None for end in low_high]
    return {**ranges, "vectors": [min(ends), max(ends)] if ends else None}


def _events_text(record: Record) -> str:
    kind = KINDS[record["kind"]]
    if kind.decoded and not kind.has_vectors:
        return f"{_count_text(record)} of a learned dictionary"
    if kind.decoded:
        return f"{_count_text(record)} with vectors of {len(VECTOR)} numbers"
    return f"{_count_text(record)} with {record['modes']} modes and {record['bursts']} noise bursts"


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
