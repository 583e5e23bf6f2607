"""The inner products of a stretch of sound with all atoms of a dictionary, kept true while atoms are taken away.

Compiled (numba), on one thread: the same input gives the same bytes. Beside the inner products stand the energies that
atoms would take, their greatest in each group of 32 frequencies and in each frame, and a tournament tree over the
frames of each block, so that neither finding the greatest nor taking its atom away depends on how long the stretch is.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from .dictionaries import Dictionary
from .inner_products import Integers, Reals, Tables

GROUP = 32  # frequencies whose greatest energy is kept: as many as are compared at once in a few instructions
_BATCH = 1 << 19  # samples that are transformed at once, which bounds memory

_fast = numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz", "contract"}, error_model="numpy")


class Correlations(NamedTuple):
    """The state over one stretch: all frames of B blocks one after another, the bins of a frame side by side.

    Attributes:
        real, imag: inner products, `[channels, values]`.
        energy: that each atom would take, over all channels, `[values]`.
        greatest: energy of each group of bins, `[groups]`.
        tree: for each block a heap of the greatest energies of its frames; its root is entry 1.
        first_frame, frames: of each block, counted in its hops from the stretch's origin, `[B]`.
        base, group_base, tree_base: where a block's values, groups and tree begin, `[B]`.
        groups: of a frame, `[B]`.
        leaves: of a tree, `[B]`.
    """

    real: Reals
    imag: Reals
    energy: Reals
    greatest: Reals
    tree: Reals
    first_frame: Integers
    frames: Integers
    base: Integers
    group_base: Integers
    tree_base: Integers
    groups: Integers
    leaves: Integers


def lattice(dictionary: Dictionary, first: int, end: int) -> tuple[Integers, Integers]:
    """First frames and their numbers `[B]` of atoms whose window has its middle in samples `first` to `end`."""
    hops = np.array([block.hop for block in dictionary.blocks])
    middles = np.array([block.start + block.length // 2 for block in dictionary.blocks])
    begin = -(-(first - middles) // hops)
    return begin, np.maximum(0, -(-(end - middles) // hops) - begin)


def correlate(
    dictionary: Dictionary, tables: Tables, sound: NDArray[np.floating], origin: int, first: int, end: int
) -> Correlations:
    """The inner products of a stretch.

    Args:
        dictionary: of B blocks.
        tables: of the dictionary.
        sound: `[channels, samples]`, which reaches half the longest window beyond the stretch.
        origin: the sample from which the lattice of atoms counts.
        first, end: the stretch, against the origin: of atoms the middle of whose window lies in it.
    """
    first_frame, frames = lattice(dictionary, first, end)
    bins = tables.bins
    groups = -(-bins // GROUP)
    leaves = np.array([1 << max(0, int(count) - 1).bit_length() for count in frames])
    base, group_base, tree_base = (
        np.cumsum(sizes) - sizes for sizes in (frames * bins, frames * groups, 2 * leaves)
    )  # fmt: skip
    kind = tables.real.dtype
    values = int((frames * bins).sum())
    state = Correlations(
        real=np.empty((len(sound), values), kind),
        imag=np.empty((len(sound), values), kind),
        energy=np.zeros(values, kind),
        greatest=np.empty(int((frames * groups).sum()), kind),
        tree=np.zeros(int((2 * leaves).sum()), kind),
        first_frame=first_frame,
        frames=frames,
        base=base,
        group_base=group_base,
        tree_base=tree_base,
        groups=groups,
        leaves=leaves,
    )
    for index, block in enumerate(dictionary.blocks):
        _transform(state, tables, index, block.window, block.offset, sound, origin + block.start)
        _settle(tables, state, index)
    return state


def _transform(
    state: Correlations,
    tables: Tables,
    index: int,
    window: NDArray[np.complex128],
    offset: float,
    sound: NDArray[np.floating],
    at: int,
) -> None:
    """Fill in the inner products of one block; its frame 0 is the samples from `at`."""
    length, hop, bins = len(window), int(tables.hop[index]), int(tables.bins[index])
    kind = state.real.dtype
    freqs = (np.arange(bins) + offset) / length
    turn = np.exp(-2j * np.pi * freqs * int(tables.start[index])).astype(np.result_type(kind, np.complex64))
    own = window.conj() * np.exp(-2j * np.pi * offset * np.arange(length) / length)
    is_real = not np.any(own.imag)
    weights = (own.real if is_real else own).astype(kind if is_real else turn.dtype)
    batch = max(1, _BATCH // length)
    for channel, signal in enumerate(sound):
        frames = np.lib.stride_tricks.sliding_window_view(signal.astype(kind, copy=False), length)
        for begin in range(0, int(state.frames[index]), batch):
            count = min(batch, int(state.frames[index]) - begin)
            place = at + (int(state.first_frame[index]) + begin) * hop
            piece = frames[place : place + (count - 1) * hop + 1 : hop] * weights
            spectrum = scipy.fft.rfft(piece, axis=1) if is_real else scipy.fft.fft(piece, axis=1, overwrite_x=True)
            start = int(state.base[index]) + begin * bins
            _spread(spectrum, turn, state.real[channel, start:], state.imag[channel, start:])


@_fast  # type: ignore[untyped-decorator]
def _spread(spectrum, turn, real, imag):  # type: ignore[no-untyped-def]
    """Transforms `[frames, at least bins]`, turned to the reference, as real and imaginary parts side by side."""
    bins = turn.size
    for frame in range(spectrum.shape[0]):
        for k in range(bins):
            value = spectrum[frame, k] * turn[k]
            real[frame * bins + k] = value.real
            imag[frame * bins + k] = value.imag


@_fast  # type: ignore[untyped-decorator]
def _weigh(tables, state, v, frame, low, high):  # type: ignore[no-untyped-def]
    """Renew the energies of bins `low` to `high` of a frame, the groups that they lie in, and the frame's leaf."""
    base = state.base[v] + frame * tables.bins[v]
    bin0 = tables.first_bin[v]
    for channel in range(state.real.shape[0]):
        for k in range(low, high):
            x, y = state.real[channel, base + k], state.imag[channel, base + k]
            a, b, c = tables.weights[0, bin0 + k], tables.weights[1, bin0 + k], tables.weights[2, bin0 + k]
            one = a * x * x + b * y * y + c * x * y
            state.energy[base + k] = one if channel == 0 else state.energy[base + k] + one
    groups = state.groups[v]
    begin = state.group_base[v] + frame * groups
    for group in range(low // GROUP, (high - 1) // GROUP + 1):
        top = state.energy[base + group * GROUP]
        for k in range(base + group * GROUP + 1, base + min((group + 1) * GROUP, tables.bins[v])):
            if state.energy[k] > top:
                top = state.energy[k]
        state.greatest[begin + group] = top
    top = state.greatest[begin]
    for group in range(begin + 1, begin + groups):
        if state.greatest[group] > top:
            top = state.greatest[group]
    state.tree[state.tree_base[v] + state.leaves[v] + frame] = top


@_fast  # type: ignore[untyped-decorator]
def _climb(state, v, first, last):  # type: ignore[no-untyped-def]
    """Renew the tree of a block above its frames `first` to `last`."""
    base = state.tree_base[v]
    low, high = (state.leaves[v] + first) >> 1, (state.leaves[v] + last) >> 1
    while low:
        for node in range(low, high + 1):
            state.tree[base + node] = max(state.tree[base + 2 * node], state.tree[base + 2 * node + 1])
        low >>= 1
        high >>= 1


@_fast  # type: ignore[untyped-decorator]
def _settle(tables, state, v):  # type: ignore[no-untyped-def]
    """Energies and tree of a whole block."""
    for frame in range(state.frames[v]):
        _weigh(tables, state, v, frame, 0, tables.bins[v])
    if state.frames[v]:
        _climb(state, v, 0, state.frames[v] - 1)


@_fast  # type: ignore[untyped-decorator]
def find_best(tables, state):  # type: ignore[no-untyped-def]
    """Block, frame and bin of the atom that would take most energy, and that energy; of equal ones the first."""
    v, top = 0, state.tree[state.tree_base[0]] * 0
    for block in range(state.frames.size):
        root = state.tree[state.tree_base[block] + min(1, state.leaves[block])] if state.frames[block] else top
        if root > top:
            v, top = block, root
    base, node = state.tree_base[v], 1
    while node < state.leaves[v]:
        node = 2 * node if state.tree[base + 2 * node] == top else 2 * node + 1
    frame = node - state.leaves[v]
    begin = state.base[v] + frame * tables.bins[v]
    for k in range(tables.bins[v]):
        if state.energy[begin + k] == top:
            return v, frame, k, top
    return v, frame, 0, top


@_fast  # type: ignore[untyped-decorator]
def coefficient(tables, state, channel, v, frame, k):  # type: ignore[no-untyped-def]
    """The complex amplitude of an atom that takes most energy from what is left."""
    x = state.real[channel, state.base[v] + frame * tables.bins[v] + k]
    y = state.imag[channel, state.base[v] + frame * tables.bins[v] + k]
    at = tables.first_bin[v] + k
    a, b, c = tables.weights[0, at], tables.weights[1, at], tables.weights[2, at]
    return complex((a * x + c * y / 2) / 2, (c * x / 2 + b * y) / 2)


@_fast  # type: ignore[untyped-decorator]
def subtract(tables, state, u, frame, m, amplitudes):  # type: ignore[no-untyped-def]
    """Take 2 Re(amplitude g) away from the sound, for one atom and every channel: renew all that it meets.

    Args:
        tables, state: the dictionary and the stretch.
        u, frame, m: the atom.
        amplitudes: complex128 `[channels]`; negative ones put it back.
    """
    at = (state.first_frame[u] + frame) * tables.hop[u]
    for v in range(tables.hop.size):
        if state.frames[v] == 0:
            continue
        if tables.length[u] == 1 or tables.length[v] == 1:
            _subtract_samples(tables, state, u, at, m, amplitudes, v)
        else:
            _subtract_rows(tables, state, u, at, m, amplitudes, v)


@_fast  # type: ignore[untyped-decorator]
def _subtract_rows(tables, state, u, at, m, amplitudes, v):  # type: ignore[no-untyped-def]
    hop, length, bins = tables.hop[v], tables.length[v], tables.bins[v]
    before = at // hop  # the last hop of v that is not later
    place = (at - before * hop) // tables.hop[u]
    first = max(0, before + tables.first_time[u, v] - state.first_frame[v])
    end = min(state.frames[v], before + tables.first_time[u, v] + tables.rows[u, v] - state.first_frame[v])
    if first >= end:
        return
    # The atom, and its mirror image at the opposite frequency: bin -m, or -m - 1 where frequencies lie half a step off.
    freq = (m + tables.twice_offset[u] / 2) / tables.length[u]
    phases = max(1, tables.length[u] // length)
    finer = max(1, length // tables.length[u])
    images = ((u, m), (tables.partner[u], -m - tables.twice_offset[u]))
    low_row, under, reach = np.empty(2, np.int64), np.empty(2, np.int64), np.empty((2, 3), np.bool_)
    for image in range(2):
        block, bin_ = images[image]
        last = bin_ * finer // phases
        under[image] = last
        low_row[image] = (
            tables.first_row[block, v]
            + (place * phases + (bin_ - last * phases if finer == 1 else 0)) * tables.rows[block, v]
        )
        for turn in range(3):
            shift = last + (turn - 1) * length
            reach[image, turn] = shift + tables.least[block, v] < bins and shift + tables.most[block, v] > 0
    turned = np.exp(2j * np.pi * freq * ((first + state.first_frame[v]) * hop - at))
    step = np.exp(2j * np.pi * freq * hop)
    for to in range(first, end):
        base = state.base[v] + to * bins
        time = to + state.first_frame[v] - before - tables.first_time[u, v]
        low, high = bins, 0
        for image in range(2):
            row = low_row[image] + time
            value, column, columns = tables.row[row, 0], tables.row[row, 1], tables.row[row, 2]
            for turn in range(3):
                if not reach[image, turn]:
                    continue
                shift = under[image] + column + (turn - 1) * length
                begin, stop = max(0, shift), min(bins, shift + columns)
                if begin >= stop:
                    continue
                low, high = min(low, begin), max(high, stop)
                for channel in range(amplitudes.size):
                    whole = amplitudes[channel] * turned
                    a = tables.real.dtype.type(whole.real)
                    b = tables.real.dtype.type(whole.imag if image == 0 else -whole.imag)
                    _take(
                        state.real[channel],
                        state.imag[channel],
                        tables.real,
                        tables.imag,
                        base,
                        value - shift,
                        begin,
                        stop,
                        a,
                        b,
                    )
        if low < high:
            _weigh(tables, state, v, to, low, high)
        turned *= step
    _climb(state, v, first, end - 1)


@_fast  # type: ignore[untyped-decorator]
def _take(real, imag, k_real, k_imag, base, value, begin, stop, a, b):  # type: ignore[no-untyped-def]
    for k in range(begin, stop):
        x, y = k_real[value + k], k_imag[value + k]
        real[base + k] -= a * x - b * y
        imag[base + k] -= a * y + b * x


@_fast  # type: ignore[untyped-decorator]
def _subtract_samples(tables, state, u, at, m, amplitudes, v):  # type: ignore[no-untyped-def]
    """Where one of the two blocks is of single samples: its atoms' values are the sound itself."""
    hop, length, bins = tables.hop[v], tables.length[v], tables.bins[v]
    if length == 1:  # a window, or a sample, from the sound
        freq = (m + tables.twice_offset[u] / 2) / tables.length[u]
        origin = at + tables.start[u]
        first = max(0, origin - state.first_frame[v])
        end = min(state.frames[v], origin + tables.length[u] - state.first_frame[v])
        for to in range(first, end):
            sample = to + state.first_frame[v] - origin
            w = tables.first_sample[u] + sample
            atom = complex(tables.window[0, w], -tables.window[1, w]) * np.exp(
                2j * np.pi * freq * (sample + tables.start[u])
            )
            for channel in range(amplitudes.size):
                state.real[channel, state.base[v] + to] -= 2 * (amplitudes[channel] * atom).real
            _weigh(tables, state, v, to, 0, 1)
        if first < end:
            _climb(state, v, first, end - 1)
        return
    # a sample from the windows that hold it
    first = max(state.first_frame[v], -((tables.start[v] + length - 1 - at) // hop))
    end = min(state.first_frame[v] + state.frames[v], (at - tables.start[v]) // hop + 1)
    for hops in range(first, end):
        sample = at - hops * hop
        w = tables.first_sample[v] + sample - tables.start[v]
        conj = complex(tables.window[0, w], tables.window[1, w])
        to = hops - state.first_frame[v]
        turned = conj * np.exp(-2j * np.pi * (tables.twice_offset[v] / 2) * sample / length)
        step = np.exp(-2j * np.pi * sample / length)
        for k in range(bins):
            for channel in range(amplitudes.size):
                value = 2 * amplitudes[channel].real * turned
                state.real[channel, state.base[v] + to * bins + k] -= value.real
                state.imag[channel, state.base[v] + to * bins + k] -= value.imag
            turned *= step
        _weigh(tables, state, v, to, 0, bins)
    if first < end:
        _climb(state, v, first - state.first_frame[v], end - 1 - state.first_frame[v])


@_fast  # type: ignore[untyped-decorator]
def add_atoms(tables, sound, blocks, places, bins, amplitudes, sign):  # type: ignore[no-untyped-def]
    """Add sign times 2 Re(amplitude g), atom by atom, to sound `[channels, samples]`.

    Args:
        tables: the dictionary.
        sound: float, changed in place; holds every window whole.
        blocks, places, bins: of N atoms: block, reference in samples of the sound, bin, `[N]`.
        amplitudes: complex128 `[N, channels]`.
        sign: 1 or -1.
    """
    for row in range(blocks.size):
        u = blocks[row]
        freq = (bins[row] + tables.twice_offset[u] / 2) / tables.length[u]
        turned = np.exp(2j * np.pi * freq * tables.start[u])
        step = np.exp(2j * np.pi * freq)
        begin = places[row] + tables.start[u]
        for sample in range(tables.length[u]):
            w = tables.first_sample[u] + sample
            atom = complex(tables.window[0, w], -tables.window[1, w]) * turned
            for channel in range(sound.shape[0]):
                a = amplitudes[row, channel]
                sound[channel, begin + sample] += 2 * sign * (a.real * atom.real - a.imag * atom.imag)
            turned *= step


@_fast  # type: ignore[untyped-decorator]
def take_best(tables, state, left, goal, least, atoms, amplitudes, energies):  # type: ignore[no-untyped-def]
    """Take atoms away, each the one that takes most, until one of the limits is reached.

    Args:
        tables, state: the dictionary and the stretch.
        left: energy of the sound.
        goal: energy at which to stop.
        least: energy that an atom takes at least.
        atoms: int64 `[N, 3]`, filled with block, frame and bin.
        amplitudes: complex128 `[N, channels]`, filled.
        energies: float64 `[N]`, filled with what each atom took.

    Returns:
        How many were taken, and the energy that is left.
    """
    count = 0
    while count < atoms.shape[0] and left > goal:
        v, frame, k, energy = find_best(tables, state)
        if not energy > 0 or energy < least:
            break
        atoms[count, 0], atoms[count, 1], atoms[count, 2] = v, frame, k
        for channel in range(amplitudes.shape[1]):
            amplitudes[count, channel] = coefficient(tables, state, channel, v, frame, k)
        subtract(tables, state, v, frame, k, amplitudes[count])
        energies[count] = energy
        left -= energy
        count += 1
    return count, left
