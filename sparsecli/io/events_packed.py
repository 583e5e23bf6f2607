"""Quantised events as bytes: whole numbers of steps, column by column.

    fineness float64 | for each column: shift int8, lowest int32 | coarse bytes, deflated | fine bits, to a whole byte

A number v of depth j (its step is 2^-j) is split on one grid for its whole column, of step 2^-shift. What is coarser is
one byte, less the column's lowest; the j - shift bits below are as good as noise and are not compressed. The coarse
bytes are a raw deflate stream (RFC 1951), hardly more than their Huffman code; LZMA's adaptive code takes 3 % more for
some 10 s. The counts in the header and the columns before say how many numbers there are and how deep each is; what an
event does not use is left out.

Some columns are differences: grades from the first slot's, notes from the event before, the air from the frame before,
and in its first frame from the band below.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsecli.core import grids
from sparsecli.core.columns import AIR_BANDS, MODES_PER_ATOM, STEREO
from sparsecli.core.errors import SparseError
from sparsecli.core.grids import Codes, Integers

from .events_header import Counts

_START = struct.Struct("<d")
_COLUMN = struct.Struct("<bi")
_STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE)
_SYMBOL_BITS = 6.0  # about what it costs to learn how often a byte occurs
_ABSENT_OFFSET = 64  # so that the difference of two grades is above 0, which stands for no mode
_BLOCK = 1 << 16  # numbers whose fine bits are worked on at once
_CHUNK_BYTES = 1 << 20
_MAX_SHIFT = 60  # either way
_MAX_CODE = 1 << 52  # what float64 holds
_MAX_LOWEST = (1 << 31) - 1


def pack_codes(codes: Codes, duration_s: float) -> bytes:
    """The bytes of quantised events; the same codes always give the same bytes.

    Args:
        codes: numbers of less than 2^52 steps.
        duration_s: of the recording, on which the depth of frequencies depends.
    """
    pieces = [_START.pack(codes.fineness)]
    for values, depth in _columns(codes, duration_s):
        pieces += _pack_column(values, depth)
    return b"".join(pieces)


def entropy_bits(codes: Codes, duration_s: float) -> float:
    """How many bits the numbers of quantised events hold: what many of their kind take in a file, in the limit."""
    return sum(_split(values, depth).bits for values, depth in _columns(codes, duration_s))


def _columns(codes: Codes, duration_s: float) -> list[tuple[Integers, Integers]]:
    """What is packed, in order: numbers `[n]` and their depths `[n]`."""
    strikes = grids.strikes_of(codes.grade, codes.fineness)
    shapes = grids.shapes_of(codes, duration_s)
    used = codes.grade > 0
    sounding = _sounding(codes.grade, codes.noise)
    plain = [_grade_steps(codes.grade).flatten(), codes.noise]
    places = [codes.pan] if len(codes.air) == STEREO else []
    last = [*places, np.diff(codes.note, prepend=np.int64(-1)), _air_steps(codes.air).flatten()]
    return [
        *((values, np.zeros_like(values)) for values in plain),
        (codes.decay, grids.decay_depth(strikes)),
        (codes.attack, grids.attack_depth(strikes)),
        (codes.onset, shapes.onset),
        (codes.freq[sounding], shapes.freq[sounding]),
        (codes.level[used], shapes.level[used]),
        (codes.phase[used], shapes.phase[used]),
        *((values, np.zeros_like(values)) for values in last),
    ]


def unpack_codes(data: bytes, counts: Counts, channels: int, duration_s: float, subject: str) -> Codes:
    """The codes in `data`, which must be of just the size that the counts ask for.

    No more memory is taken than the numbers read so far need, whatever the counts say.

    Raises:
        SparseError: too few or too many bytes, damaged ones, or numbers that no writer gives.
    """
    reader = _Reader(data, subject)
    events = counts.events
    grade = _grades(reader.column(MODES_PER_ATOM * events).reshape(events, MODES_PER_ATOM))
    if grade.size and not 0 <= grade.min() <= grade.max() <= grids.MAX_GRADE:
        raise SparseError(subject, "is a damaged events file (a grade is out of range)")
    strikes = grids.strikes_of(grade, reader.fineness)
    noise = reader.column(events)
    depth = grids.decay_depth(strikes)
    decay = reader.column(events, depth)
    decay_s = grids.decay_of(decay, depth)
    depth = grids.attack_depth(strikes)
    attack = reader.column(events, depth)
    attack_s = grids.attack_of(attack, depth, decay_s)
    depth = grids.onset_depth(strikes, decay_s, attack_s)
    onset = reader.column(events, depth)
    rest_s = duration_s - grids.onset_of(onset, depth)
    used, sounding = grade > 0, _sounding(grade, noise)
    codes = Codes(
        fineness=reader.fineness,
        grade=grade,
        decay=decay,
        attack=attack,
        onset=onset,
        freq=reader.where(sounding, grids.freq_depth(strikes, grade, decay_s, attack_s, rest_s)),
        level=reader.where(used, grids.level_depth(strikes)),
        phase=reader.where(used, grids.phase_depth(strikes)),
        noise=noise,
        pan=reader.column(events) if channels == STEREO else np.zeros(events, np.int64),
        note=_notes(reader.column(events), subject),
        air=_air(reader.column(channels * counts.air_frames * AIR_BANDS), channels),
    )
    reader.finish()
    return codes


def _deflate(plane: bytes) -> bytes:
    """The shortest raw deflate stream of zlib's."""
    packers = (zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, strategy) for strategy in _STRATEGIES)
    return min((packer.compress(plane) + packer.flush() for packer in packers), key=len)


def _notes(steps: Integers, subject: str) -> Integers:
    """Notes from their differences, all of which int32 holds."""
    note: Integers = np.cumsum(steps) - 1
    limits = np.iinfo(np.int32)
    if note.size and not limits.min <= note.min() <= note.max() <= limits.max:
        raise SparseError(subject, "is a damaged events file (a note is out of range)")
    return note


def _sounding(grade: Integers, noise: Integers) -> NDArray[np.bool_]:
    """Which slots have a frequency, `[E, 4]`: modes, and the last where there is noise."""
    sounding = grade > 0
    sounding[:, -1] |= noise > 0
    return sounding


def _grade_steps(grade: Integers) -> Integers:
    """Grades `[E, 4]` as the first one and how far the others lie under it, all but 0 shifted."""
    under = np.where(grade > 0, grade[:, :1] - grade + _ABSENT_OFFSET, 0)
    return np.concatenate([grade[:, :1], under[:, 1:]], axis=1)


def _grades(steps: Integers) -> Integers:
    """The inverse of `_grade_steps`."""
    grade = np.where(steps > 0, steps[:, :1] - steps + _ABSENT_OFFSET, 0)
    return np.concatenate([steps[:, :1], grade[:, 1:]], axis=1)


def _air_steps(air: Integers) -> Integers:
    """Codes `[channels, frames, 24]` as differences."""
    steps = np.diff(air, axis=1, prepend=0)
    steps[:, :1] = np.diff(steps[:, :1], axis=2, prepend=0)
    return steps


def _air(steps: Integers, channels: int) -> Integers:
    """The inverse of `_air_steps`, from a flat array."""
    steps = steps.reshape(channels, -1, AIR_BANDS)
    steps[:, :1] = np.cumsum(steps[:, :1], axis=2)
    air: Integers = np.cumsum(steps, axis=1)
    return air


def _pack_column(values: Integers, depth: Integers) -> Iterator[bytes]:
    """The bytes of a column `[n]` of numbers of depths `[n]`."""
    split = _split(values, depth)
    lowest = int(split.coarse.min()) if len(values) else 0
    yield _COLUMN.pack(split.shift, lowest)
    yield _deflate((split.coarse - lowest).astype(np.uint8).tobytes())
    widths = np.maximum(depth - split.shift, 0)
    yield np.packbits(np.concatenate([np.zeros(0, np.uint8), *_fine_bits(values, widths)])).tobytes()


@dataclass(frozen=True)
class _Split:
    """Where a column is split, its coarse part `[n]`, and the bits of both parts by order-0 entropy."""

    shift: int
    coarse: Integers
    bits: float


def _split(values: Integers, depth: Integers) -> _Split:
    """Split a column `[n]` of numbers of depths `[n]` where that takes fewest bits."""
    best, least = _Split(0, values, 0.0), math.inf
    for shift in range(-_MAX_SHIFT, int(depth.max()) + 1 if len(values) else -_MAX_SHIFT):
        coarse = _coarse(values, depth, shift)
        lowest = int(coarse.min())
        if int(coarse.max()) - lowest > 255 or abs(lowest) > _MAX_LOWEST:
            break  # finer ones are larger still
        counts = np.bincount(coarse - lowest)
        counts = counts[counts > 0]
        bits = -float((counts * np.log2(counts / len(values))).sum()) + int(np.maximum(depth - shift, 0).sum())
        if bits + _SYMBOL_BITS * len(counts) < least:
            best, least = _Split(shift, coarse, bits), bits + _SYMBOL_BITS * len(counts)
    return best


def _coarse(values: Integers, depth: Integers, shift: int) -> Integers:
    """Whole steps of 2^-shift in values of depth `depth`."""
    return np.where(
        depth >= shift, values >> np.clip(depth - shift, 0, 63), values << np.clip(shift - depth, 0, _MAX_SHIFT)
    )


def _places(widths: Integers) -> tuple[Integers, Integers]:
    """Of each bit of numbers of so many bits: the number that it belongs to, and its place, the highest first."""
    owner = np.repeat(np.arange(len(widths)), widths)
    begin = np.cumsum(widths) - widths
    return owner, widths[owner] - 1 - (np.arange(len(owner)) - begin[owner])


def _fine_bits(values: Integers, widths: Integers) -> Iterator[NDArray[np.uint8]]:
    """The lowest `widths` bits of values, block by block."""
    for begin in range(0, len(values), _BLOCK):
        owner, place = _places(widths[begin : begin + _BLOCK])
        yield (values[begin : begin + _BLOCK][owner] >> place & 1).astype(np.uint8)


class _Reader:
    """The columns of packed events, one after the other."""

    def __init__(self, data: bytes, subject: str) -> None:
        self.data, self.place, self.subject = data, 0, subject
        (self.fineness,) = _START.unpack(self._take(_START.size))
        if not grids.MIN_FINENESS <= self.fineness <= grids.MAX_FINENESS:  # NaN too
            raise self._fault("its fineness is out of range")

    def column(self, count: int, depth: Integers | None = None) -> Integers:
        """The next column `[count]`, of numbers of depths `[count]`, 0 by default."""
        shift, lowest = _COLUMN.unpack(self._take(_COLUMN.size))
        if abs(shift) > _MAX_SHIFT:
            raise self._fault("a shift is out of range")
        coarse = np.frombuffer(self._plane(count), np.uint8).astype(np.int64) + lowest
        below = np.broadcast_to(np.int64(-shift) if depth is None else depth - shift, coarse.shape)
        widths, lifts = np.maximum(below, 0), np.maximum(-below, 0)
        if count and (
            int(widths.max()) > _MAX_SHIFT
            or int(lifts.max()) > _MAX_SHIFT
            or (np.abs(coarse) >= _MAX_CODE >> widths).any()
        ):
            raise self._fault("a number is too large")
        values: Integers = (coarse << widths) >> lifts
        bits = self._bits(int(widths.sum()))
        for begin in range(0, count, _BLOCK):
            owner, place = _places(widths[begin : begin + _BLOCK])
            np.add.at(values[begin : begin + _BLOCK], owner, bits(len(owner)) << place)
        return values

    def where(self, mask: NDArray[np.bool_], depth: Integers) -> Integers:
        """The next column spread to `mask` `[E, 4]`, 0 elsewhere."""
        values = np.zeros(mask.shape, np.int64)
        values[mask] = self.column(int(mask.sum()), depth[mask])
        return values

    def finish(self) -> None:
        """Check that nothing is left."""
        if self.place != len(self.data):
            raise self._fault("it holds more than it declares")

    def _take(self, size: int) -> bytes:
        taken = self.data[self.place : self.place + size]
        if len(taken) < size:
            raise self._fault("it is cut off")
        self.place += size
        return taken

    def _plane(self, count: int) -> bytearray:
        """One deflate stream of `count` bytes; memory grows with what is there."""
        unpacker, plane = zlib.decompressobj(-zlib.MAX_WBITS), bytearray()
        given = self.data[self.place :]
        try:
            while not unpacker.eof and len(plane) <= count:
                chunk = unpacker.decompress(given, min(_CHUNK_BYTES, count - len(plane) + 1))
                given = unpacker.unconsumed_tail
                plane += chunk
                if not chunk and not unpacker.eof:
                    raise self._fault("it is cut off")
        except zlib.error as error:
            raise self._fault(str(error)) from None
        if len(plane) != count:
            raise self._fault(f"it holds {'more' if len(plane) > count else 'less'} than it declares")
        self.place = len(self.data) - len(unpacker.unused_data)
        return plane

    def _bits(self, count: int) -> Callable[[int], Integers]:
        """The next `count` bits, to a whole byte, given out piece by piece."""
        packed, done = np.frombuffer(self._take(-(-count // 8)), np.uint8), 0

        def give(size: int) -> Integers:
            nonlocal done
            first = done // 8
            bits = np.unpackbits(packed[first : -(-(done + size) // 8)])[done - 8 * first :][:size]
            done += size
            return bits.astype(np.int64)

        return give

    def _fault(self, cause: str) -> SparseError:
        return SparseError(self.subject, f"is a damaged events file ({cause})")
