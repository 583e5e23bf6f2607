"""Inner products between the atoms of a dictionary, precomputed once: what subtracting an atom does to correlations.

For an atom s of block u at time t_s and frequency f_s, and one of block v at t_s + tau and f_s - d,

    <g_s, g_v> = exp(2 pi i f_s tau) K(tau, d)
    K(tau, d) = exp(-2 pi i d tau) sum_l w_u(l) conj(w_v(l - tau)) exp(2 pi i d l)

so that K depends on differences alone, and on a lattice takes few values: the hops of the blocks, and the steps of
their frequencies, are powers of two times each other. For every pair of blocks and every place of s between the atoms
of v, a row for each time holds K over the frequencies where it is not negligible (Prusa, Holighaus and Balazs 2021).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from .dictionaries import Block, Dictionary

Integers = NDArray[np.int64]
Reals = NDArray[np.floating]


class Tables(NamedTuple):
    """A dictionary in arrays that compiled code reads; B blocks, `bins` over all blocks one after another.

    Attributes:
        length, hop, bins: of the blocks, `[B]`.
        twice_offset: of the frequencies, in half steps, `[B]`.
        partner: `[B]`.
        first_bin: where a block's bins begin, `[B]`.
        weights: `[3, bins]`.
        first_row, rows, first_time: of pairs `[B, B]`: place of the first row, rows for each place of the atom, and the
            hop of v, counted from the last before t_s, that the first of these is for.
        least, most: of pairs `[B, B]`: first and one past the last column of any of their rows.
        row: for each row, place of its first value, its first column and its columns, `[rows, 3]`.
        real, imag: K, `[values]`.
        first_sample, window: of the blocks, for single samples: place `[B]`, and conj(w) `[2, samples]`.
        start: first sample of the windows against their references, `[B]`.
    """

    length: Integers
    hop: Integers
    bins: Integers
    twice_offset: Integers
    partner: Integers
    first_bin: Integers
    weights: Reals
    first_row: Integers
    rows: Integers
    first_time: Integers
    least: Integers
    most: Integers
    row: Integers
    real: Reals
    imag: Reals
    first_sample: Integers
    window: Reals
    start: Integers


@functools.lru_cache(maxsize=4)
def build_tables(dictionary: Dictionary, threshold: float) -> Tables:
    """The tables of a dictionary.

    Args:
        dictionary: its blocks.
        threshold: inner products smaller than this, of atoms of energy 1, count as 0; 0 keeps all, in double
            precision.
    """
    precision = np.dtype(np.float32 if threshold else np.float64)
    blocks = dictionary.blocks
    count = len(blocks)
    first_row, rows, first_time, least, most = (np.zeros((count, count), np.int64) for _ in range(5))
    row_parts, value_parts, values = [np.zeros((0, 3), np.int64)], [np.zeros(0, np.complex128)], 0
    for u, one in enumerate(blocks):
        for v, other in enumerate(blocks):
            first_row[u, v] = sum(map(len, row_parts))
            if one.is_sample or other.is_sample:
                continue  # computed as they are met: they reach over all frequencies
            times, kept = _pair(one, other, threshold)
            rows[u, v], first_time[u, v] = len(times), times[0]
            row_part = kept.row + np.array([values, 0, 0])
            least[u, v], most[u, v] = row_part[:, 1].min(), (row_part[:, 1] + row_part[:, 2]).max()
            row_parts.append(row_part)
            value_parts.append(kept.values)
            values += len(kept.values)
    value = np.concatenate(value_parts)
    bins = np.array([block.bins for block in blocks])
    lengths = np.array([block.length for block in blocks])
    window = np.concatenate([block.window.conj() for block in blocks])
    return Tables(
        length=lengths,
        hop=np.array([block.hop for block in blocks]),
        bins=bins,
        twice_offset=np.array([round(2 * block.offset) for block in blocks]),
        partner=np.array([block.partner for block in blocks]),
        first_bin=np.cumsum(bins) - bins,
        weights=np.concatenate([block.weights for block in blocks], axis=1).astype(precision),
        first_row=first_row,
        rows=rows,
        first_time=first_time,
        least=least,
        most=most,
        row=np.concatenate(row_parts),
        real=value.real.astype(precision),
        imag=value.imag.astype(precision),
        first_sample=np.cumsum(lengths) - lengths,
        window=np.stack([window.real, window.imag]).astype(precision),
        start=np.array([block.start for block in blocks]),
    )


class _Kept(NamedTuple):
    """Rows (place of the first value, first column, columns), and the values of all of them."""

    row: Integers
    values: NDArray[np.complex128]


def _pair(one: Block, other: Block, threshold: float) -> tuple[range, _Kept]:
    """The hops of `other` at which atoms of `one` are met, and the rows of the pair.

    Rows are in the order of: the place of t_s between two hops of `other`, in hops of `one`; that of f_s between two
    steps of `other`, in steps of `one`; time. Column j stands for the step of `other` that is j above the last one
    under f_s.
    """
    places, phases = max(1, other.hop // one.hop), max(1, one.length // other.length)
    # other's window begins before one's ends, and ends after it begins
    earliest = one.start - other.start - other.length + 1
    latest = one.start + one.length - 1 - other.start + (places - 1) * one.hop
    times = range(-(-earliest // other.hop), latest // other.hop + 1)
    tau = np.array([time * other.hop - place * one.hop for place in range(places) for time in times])  # [places times]
    sums = _windowed_sums(one, other, tau)  # [places times, fine]
    fine = max(one.length, other.length)
    columns = np.arange(-other.length // 2, other.length // 2)  # one period of f_v
    sizes = np.abs(sums)
    pieces, rows, values = [], [], 0
    for place in range(places):
        for phase in range(phases):
            at = (phase * (fine // one.length) - columns * (fine // other.length)) % fine
            d = (phase + one.offset) / one.length - (columns + other.offset) / other.length
            for time in range(len(times)):
                index = place * len(times) + time
                kept = np.flatnonzero(sizes[index, at] > threshold) if threshold else np.arange(len(columns))
                first, last = (kept[0], kept[-1] + 1) if len(kept) else (0, 0)
                rows.append((values, columns[first] if len(kept) else 0, last - first))
                pieces.append(sums[index, at[first:last]] * np.exp(-2j * np.pi * d[first:last] * tau[index]))
                values += last - first
    return times, _Kept(np.array(rows), np.concatenate(pieces))


def _windowed_sums(one: Block, other: Block, tau: Integers) -> NDArray[np.complex128]:
    """The sums over l of K at delays `[n]`, on a grid of differences d of the finer of both steps, `[n, fine]`.

    The part of d that the blocks' offsets make is the same for all, and is put into the windows.
    """
    fine = max(one.length, other.length)
    samples = np.arange(one.start, one.start + one.length)
    skew = one.offset / one.length - other.offset / other.length
    turned = one.window * np.exp(2j * np.pi * skew * samples)
    product = np.zeros((len(tau), fine), np.complex128)
    for row, delay in enumerate(tau):
        at = samples - delay - other.start  # in other's window
        inside = (at >= 0) & (at < other.length)
        product[row, samples[inside] % fine] = turned[inside] * other.window[at[inside]].conj()
    return np.asarray(scipy.fft.ifft(product, axis=1, norm="forward", overwrite_x=True))
