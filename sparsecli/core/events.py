"""Events: the table that every command reads and writes, as plain numpy arrays."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import (
    KINDS,
    NUMBERS_OF_AMPLITUDE,
    NUMBERS_OF_ATOM,
    NUMBERS_OF_BAND,
    NUMBERS_OF_BURST,
    NUMBERS_OF_KIND,
    NUMBERS_OF_MODE,
    NUMBERS_OF_PAN,
    NUMBERS_OF_PLACE,
    NUMBERS_OF_SIDE,
    NUMBERS_OF_STRIKE,
    NUMBERS_OF_TONE,
    NUMBERS_OF_WINDOW,
    OPTIONAL_COLUMNS,
    SILENT_DB,
    STEREO,
    VECTOR,
    Column,
    Kind,
    columns_of,
)

FORMAT = "sparse-events"
VERSION = 1


@dataclass(frozen=True)
class Header:
    """What is known of a set of events as a whole.

    Attributes:
        duration_s: length of the recording the events describe.
        sample_rate: of that recording, in Hz.
        channels: of that recording, or 1 where it was folded; two channels have one more column, `pan`.
        kind: which table of columns the events follow.
        optional: names of the columns beyond that table, of `OPTIONAL_COLUMNS`.
        source_name: file name of the recording, without folders.
        source_sha256: of the recording's file; empty where there was none.
        seed: the `--seed` from which noise seeds were made.
        settings: the settings of the command that made the events.
        quality: figures reached, e.g. `snr_db`; names carry units.
        operations: what `edit` has done since, in order; one object each, as `engine/operations.py` reads them.
        edited_name: name of the events file that they were done to, without folders; empty where there are none.
        edited_sha256: of that file.
        model_name: of the model that decodes the events, where their kind needs one.
        model_sha256: of its file.
    """

    duration_s: float
    sample_rate: int
    channels: int = 1
    kind: str = "atoms"
    source_name: str = ""
    source_sha256: str = ""
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, float] = field(default_factory=dict)
    operations: list[dict[str, Any]] = field(default_factory=list)
    edited_name: str = ""
    edited_sha256: str = ""
    optional: tuple[str, ...] = ()
    model_name: str = ""
    model_sha256: str = ""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The table of columns."""
        return columns_of(self.kind, self.channels, self.optional)


@dataclass(frozen=True)
class Events:
    """A set of E events with C columns each.

    Attributes:
        header: see `Header`.
        onset_s: float64 `[E]`, the first column, kept in double precision.
        params: float32 `[E, C - 1]`, the other columns in the order of the table.
        note: int32 `[E]`, groups events struck together; -1 where not grouped.
        id: int64 `[E]`, unique names of the events.
        noise_seed: uint64 `[E]`, key of each event's noise.
        air: float32 `[channels, frames, 24]`, level of the noise floor in dB (see `synth/air.py`).
    """

    header: Header
    onset_s: NDArray[np.float64]
    params: NDArray[np.float32]
    note: NDArray[np.int32]
    id: NDArray[np.int64]
    noise_seed: NDArray[np.uint64]
    air: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.onset_s)

    @property
    def table(self) -> tuple[Column, ...]:
        """The C columns."""
        return self.header.columns

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the C columns."""
        return tuple(column.name for column in self.table)

    def column(self, name: str) -> NDArray[np.float64]:
        """One column by name, float64 `[E]`. Raises ValueError for a name that the table lacks."""
        index = self.columns.index(name)
        return self.onset_s if index == 0 else self.params[:, index - 1].astype(np.float64)

    @property
    def kind(self) -> Kind:
        """The kind of the events."""
        return KINDS[self.header.kind]

    @property
    def slots(self) -> tuple[tuple[str, str, str], ...]:
        """Names of frequency, level and phase of each of the M modes that an event may have."""
        return self.kind.slots + (self.kind.stereo_slots if self.header.channels == STEREO else ())

    def modes(self, quantity: str) -> NDArray[np.float64]:
        """One quantity (`freq_hz`, `level_db`, `phase_rad`) of all modes, float64 `[E, M]`."""
        place = ("freq_hz", "level_db", "phase_rad").index(quantity)
        if not self.slots:
            return np.zeros((len(self), 0))
        return np.stack([self.column(slot[place]) for slot in self.slots], axis=-1)

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of all columns that hold a level: of modes, of noise, and of events as wholes."""
        return tuple(slot[1] for slot in self.slots) + self.kind.noise[1:] + self.gains

    @property
    def gains(self) -> tuple[str, ...]:
        """Names of the columns that hold the levels of events as wholes, of each channel that has its own."""
        return tuple(name for name in (self.kind.gain, self.kind.gain_right) if name in self.columns)

    @property
    def noise_level_db(self) -> NDArray[np.float64]:
        """Level of each event's noise, float64 `[E]`; -200 where there is none."""
        return self.column(self.kind.noise[1]) if self.kind.noise else np.full(len(self), SILENT_DB)

    @property
    def numbers(self) -> int:
        """How many numbers are in use: the cost that `--budget` caps. An unused slot or burst costs nothing."""
        events = _NUMBERS_OF[self.header.kind](self)
        return events + int((self.air > SILENT_DB).sum())

    def take(self, rows: NDArray[Any]) -> Events:
        """The events at `rows` (indices or a mask); the air stays."""
        return replace(
            self,
            onset_s=self.onset_s[rows],
            params=self.params[rows],
            note=self.note[rows],
            id=self.id[rows],
            noise_seed=self.noise_seed[rows],
        )


def _numbers_of_atoms(events: Events) -> int:
    modes = events.modes("level_db") > SILENT_DB  # [E, M]
    bursts = events.noise_level_db > SILENT_DB  # [E]
    bands = bursts & ~modes[:, -1]  # bursts whose frequency no mode shares
    return (
        (NUMBERS_OF_STRIKE + NUMBERS_OF_PAN * ("pan" in events.columns)) * len(events)
        + NUMBERS_OF_MODE * int(modes.sum())
        + NUMBERS_OF_BURST * int(bursts.sum())
        + NUMBERS_OF_BAND * int(bands.sum())
    )


def _numbers_of_gabor(events: Events) -> int:
    sides = events.modes("level_db") > SILENT_DB  # [E, M]
    extras = sum(int((events.column(name) != 0).sum()) for name in ("chirp_hz_s", "shape"))
    own = (NUMBERS_OF_WINDOW + NUMBERS_OF_TONE) * len(events)
    return own + NUMBERS_OF_SIDE * int(sides.sum()) + NUMBERS_OF_KIND * extras


def _numbers_of_vectors(events: Events) -> int:
    return (NUMBERS_OF_PLACE + len(VECTOR) + NUMBERS_OF_PAN * ("pan" in events.columns)) * len(events)


def _numbers_of_learned(events: Events) -> int:
    sides = sum(int((events.column(name) > SILENT_DB).sum()) for name in events.gains)
    return NUMBERS_OF_ATOM * len(events) + NUMBERS_OF_AMPLITUDE * sides


_NUMBERS_OF = {
    "atoms": _numbers_of_atoms,
    "gabor": _numbers_of_gabor,
    "siam": _numbers_of_vectors,
    "learned": _numbers_of_learned,
}


def with_optional(events: Events, names: Collection[str]) -> Events:
    """Events with those of `OPTIONAL_COLUMNS` too that are named, at their defaults where they are new."""
    header = replace(events.header, optional=tuple(n for n in OPTIONAL_COLUMNS if n in names or n in events.columns))
    values = [
        events.column(column.name) if column.name in events.columns else np.full(len(events), column.default)
        for column in header.columns[1:]
    ]
    return replace(events, header=header, params=np.stack(values, axis=-1).astype(np.float32))


def notes_of(events: Events) -> int:
    """How many musical notes the labels of events make."""
    return len(set(events.note[events.note >= 0].tolist()))


def make_noise_seeds(seed: int, ids: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Noise seeds `[E]` from the run's seed and the events' numbers, never from the audio.

    The two 32-bit halves are the key of the noise generator (`synth/noise.py`), which mixes them.
    """
    return np.uint64((seed & 0x1FFFFF) << 32) | (ids.astype(np.uint64) & np.uint64(0xFFFFFFFF))


def events_from_columns(header: Header, columns: dict[str, NDArray[Any]], air: NDArray[Any]) -> Events:
    """Events of consecutive ids from one array a column.

    Args:
        header: its kind and channels say which columns there are, its seed makes the noise seeds.
        columns: arrays `[E]` by column name, all that the header's table names.
        air: `[channels, frames, 24]` in dB; no frames where there is no air.
    """
    names = [column.name for column in header.columns]
    ids = np.arange(len(columns[names[0]]), dtype=np.int64)
    return Events(
        header=header,
        onset_s=np.asarray(columns[names[0]], np.float64),
        params=np.stack([np.asarray(columns[name], np.float32) for name in names[1:]], axis=-1),
        note=np.full(len(ids), -1, np.int32),
        id=ids,
        noise_seed=make_noise_seeds(header.seed, ids),
        air=np.asarray(air, np.float32),
    )
