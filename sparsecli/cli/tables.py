"""The tables that `sparse info` prints, of columns, notes and rooms: for people and as CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from sparsecli.core.columns import Column

from .console import plural, print_csv, print_table
from .runner import Record


@dataclass(frozen=True)
class Table:
    """How rows are printed that records hold.

    Attributes:
        rows: of a record, each a mapping.
        keys: of a row: the headings of CSV.
        forms: of what people see, by heading: from a row to a text.
        title: of a record.
    """

    rows: Callable[[Record], list[Record]]
    keys: Callable[[], list[str]]
    forms: dict[str, Callable[[Record], str]]
    title: Callable[[Record], str]

    def print(self, records: Sequence[Record]) -> None:
        """Records for people, under the first one's title."""
        rows = [[form(row) for form in self.forms.values()] for record in records for row in self.rows(record)]
        print_table([list(self.forms), *rows], title=self.title(records[0]))

    def print_csv(self, records: Sequence[Record], with_input: bool) -> None:
        """All rows in full under one heading, which is there without rows too; `with_input`: each with its file."""
        rows = [{"input": record.get("input")} | row for record in records for row in self.rows(record)]
        print_csv(rows, heading=[*(["input"] if with_input else []), *self.keys()])


def _text(key: str) -> Callable[[Record], str]:
    return lambda row: str(row[key])


def _number(key: str, form: str) -> Callable[[Record], str]:
    return lambda row: form.format(row[key])


def _keys_of_notes() -> list[str]:
    from sparsecli.engine.notes import Note

    return [entry.name for entry in fields(Note)]


def _keys_of_rooms() -> list[str]:
    from sparsecli.io.rooms import RoomFile

    return [*(entry.name for entry in fields(RoomFile)), "folder"]


COLUMN_TABLE = Table(
    rows=lambda record: [{"kind": record["kind"], **column} for column in record["columns"]],
    keys=lambda: ["kind", *(entry.name for entry in fields(Column))],
    forms={
        "column": _text("name"),
        "unit": _text("unit"),
        "from": _number("low", "{:g}"),
        "to": _number("high", "{:g}"),
        "scale": _text("scale"),
        "meaning": _text("meaning"),
    },
    title=lambda record: f"columns of kind {record['kind']}",
)
NOTE_TABLE = Table(
    rows=lambda record: record["notes"],
    keys=_keys_of_notes,
    forms={
        "note": _text("note"),
        "name": _text("name"),
        "midi": _number("midi", "{:.2f}"),
        "pitch_hz": _number("pitch_hz", "{:.2f}"),
        "onset_s": _number("onset_s", "{:.3f}"),
        "end_s": _number("end_s", "{:.3f}"),
        "level_db": _number("level_db", "{:.1f}"),
        "atoms": lambda row: str(len(row["ids"])),
    },
    title=lambda record: f"{record['input']}: {plural(len(record['notes']), 'note')}",
)
ROOM_TABLE = Table(
    rows=lambda record: [record],
    keys=_keys_of_rooms,
    forms={
        "room": _text("name"),
        "duration_s": _number("duration_s", "{:.2f}"),
        "sample_rate": _text("sample_rate"),
        "channels": _text("channels"),
    },
    title=lambda record: record["folder"],
)
