"""Rooms in a folder: impulse responses by their file names, never by their places in a listing."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass

import soundfile

from sparsecli.core.audio import Audio
from sparsecli.core.errors import SparseError

from .audio import read_audio

VARIABLE = "IMPULSE_RESPONSE_PATH"
SUFFIXES = (".wav", ".wave", ".flac", ".ogg", ".oga", ".aif", ".aiff", ".caf", ".w64")  # what responses come as
_CURE = "sparse info --rooms lists them"


@dataclass(frozen=True)
class RoomFile:
    """An impulse response in a folder.

    Attributes:
        name: path from the folder, as `--room` takes it.
        duration_s: length.
        sample_rate: in Hz.
        channels: how many.
    """

    name: str
    duration_s: float
    sample_rate: int
    channels: int


def room_names(folder: str) -> list[str]:
    """Paths of all recordings in a folder and those in it, from there, by name.

    Raises:
        SparseError: no folder is named, or there is none.
    """
    if not folder:
        raise SparseError(VARIABLE, "is not set", "name the folder of impulse responses in it, or in .env")
    if not os.path.isdir(folder):
        raise SparseError(folder, "is no folder", f"name that of the impulse responses in {VARIABLE}")
    found = [
        os.path.relpath(os.path.join(place, name), folder)
        for place, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(SUFFIXES) and not name.startswith(".")
    ]
    return sorted(found)


def describe_room(folder: str, name: str) -> RoomFile:
    """What a room's file says of itself. Raises SparseError where it cannot be read."""
    path = os.path.join(folder, name)
    try:
        info = soundfile.info(path)
    except (soundfile.LibsndfileError, OSError) as error:
        cause = getattr(error, "error_string", str(error)).rstrip(".")
        raise SparseError(path, f"cannot be read as a recording ({cause})", "remove or replace it") from None
    return RoomFile(name, info.frames / info.samplerate, info.samplerate, info.channels)


def find_room(name: str, folder: str) -> str:
    """The path of a room: a file as it is named, else the one in the folder whose name this is.

    Args:
        name: a file; or a path from the folder, the name of a file anywhere in it, or that without its extension.
        folder: of impulse responses; empty where none is known.

    Raises:
        SparseError: there is none, or several.
    """
    if os.path.isfile(name):
        return name
    if os.sep in name and (os.path.isabs(name) or not folder):
        raise SparseError(name, "no such file", _CURE)
    try:
        names = room_names(folder)
    except SparseError as error:
        raise SparseError(name, f"no such file, and {error.subject} {error.cause}", error.cure) from None
    for as_written in (lambda room: room, os.path.basename, _stem, lambda room: _stem(room).lower()):
        matching = [room for room in names if as_written(room) == name]
        if len(matching) > 1:
            raise SparseError(name, f"could be {' or '.join(matching)}", "name it with its folder and extension")
        if matching:
            return os.path.join(folder, matching[0])
    stems = [_stem(room) for room in names]
    with_it = [stem for stem in stems if name.lower() in stem.lower()]
    near = [*with_it, *difflib.get_close_matches(name, stems, n=1, cutoff=0.0)]
    nearest = f"; the nearest name is {near[0]}" if near else ""
    raise SparseError(name, f"neither a file nor a room in {folder}{nearest}", _CURE)


def read_room(name: str, folder: str) -> Audio:
    """The impulse response of a room, found as `find_room` does. Raises SparseError."""
    return read_audio(find_room(name, folder))


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]
