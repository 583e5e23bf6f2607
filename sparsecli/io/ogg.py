"""Ogg pages: the little of RFC 3533 that libsndfile leaves open.

A page: `OggS`, version, flags, granule position (8 bytes), serial number (4), page number (4), CRC (4), segment count,
segment sizes, segments.
"""

from __future__ import annotations

import zlib

_SYNC = b"OggS"
_SERIAL, _CRC, _COUNT, _SIZES = slice(14, 18), slice(22, 26), 26, 27
_LAST_PAGE = 4
MAX_PAGE_BYTES = _SIZES + 255 + 255 * 255

_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def with_serial(ogg: bytes, serial: int) -> bytes:
    """The same single stream under another serial number; libsndfile draws one from the clock.

    Args:
        ogg: whole pages of one logical stream.
        serial: 0 .. 2^32 - 1.
    """
    pages, start = bytearray(ogg), 0
    while start < len(pages):
        page = pages[start : start + _page_bytes(pages, start)]
        page[_SERIAL] = serial.to_bytes(4, "little")
        page[_CRC] = bytes(4)
        page[_CRC] = _crc(page).to_bytes(4, "little")
        pages[start : start + len(page)] = page
        start += len(page)
    return bytes(pages)


def ends_complete(tail: bytes) -> bool:
    """Whether the last page is whole and marked as the last of its stream.

    Args:
        tail: the file's last `MAX_PAGE_BYTES` or more.
    """
    start = tail.rfind(_SYNC)
    if start < 0 or start + _SIZES > len(tail):
        return False
    return bool(tail[start + 5] & _LAST_PAGE) and start + _page_bytes(tail, start) <= len(tail)


def _page_bytes(pages: bytes | bytearray, start: int) -> int:
    count = pages[start + _COUNT]
    return _SIZES + count + sum(pages[start + _SIZES : start + _SIZES + count])


def _crc(page: bytes | bytearray) -> int:
    """Ogg's CRC-32: zlib's polynomial, but the most significant bit first, from 0, and not inverted at the end."""
    reflected = ~zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) & 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
