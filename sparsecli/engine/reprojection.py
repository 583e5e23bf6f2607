"""What pursuit may do beyond taking the best atom: solve the amplitudes of neighbours anew, or choose atoms again.

- Orthogonal, within a window: after each new atom, the amplitudes of all chosen atoms whose windows meet its own are
  solved together, so that what is left is orthogonal to all of them (LocOMP: Mailhe, Gribonval, Bimbot and
  Vandergheynst, ICASSP 2009).
- Gradient: one step along the gradient of the same amplitudes, of the best length (gradient pursuit: Blumensath and
  Davies 2008; the local one: Mailhe et al., Signal Processing 91, 2011).
- Cyclic: every chosen atom is put back in turn, and the atom that then takes most is taken (Sturm and Christensen,
  "Cyclic matching pursuits with multiscale time-frequency dictionaries", Asilomar 2010).
"""

from __future__ import annotations

import numba
import numpy as np

from .correlations import coefficient, find_best, subtract

MOST_NEIGHBOURS = 256  # solved together, the nearest in the order of choice: bounds time and memory
MEETS = 1e-3  # atoms of smaller inner products leave each other alone
RIDGE = 1e-9  # of the unit diagonal: a direction that an atom lacks stays at 0

_fast = numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz", "contract"}, error_model="numpy")


@_fast  # type: ignore[untyped-decorator]
def products(tables, u, at, m, v, other, k):  # type: ignore[no-untyped-def]
    """<g, h> and <conj(g), h> of two atoms: blocks, references in samples, bins."""
    if tables.length[u] == 1 or tables.length[v] == 1:
        w, sample = (v, at - other) if tables.length[u] == 1 else (u, other - at)
        inside = sample - tables.start[w]
        if inside < 0 or inside >= tables.length[w]:
            return 0j, 0j
        b = k if w == v else m
        freq = (b + tables.twice_offset[w] / 2) / tables.length[w]
        place = tables.first_sample[w] + inside
        value = complex(tables.window[0, place], tables.window[1, place]) * np.exp(-2j * np.pi * freq * sample)
        if w == v:
            return value, value
        return value.conjugate(), value
    hop, length = tables.hop[v], tables.length[v]
    before = at // hop
    time = other // hop - before - tables.first_time[u, v]
    if time < 0 or time >= tables.rows[u, v]:
        return 0j, 0j
    place = (at - before * hop) // tables.hop[u]
    phases, finer = max(1, tables.length[u] // length), max(1, length // tables.length[u])
    turned = np.exp(2j * np.pi * (m + tables.twice_offset[u] / 2) / tables.length[u] * (other - at))
    direct, mirrored = 0j, 0j
    for image in range(2):
        block = u if image == 0 else tables.partner[u]
        bin_ = m if image == 0 else -m - tables.twice_offset[u]
        under = bin_ * finer // phases
        phase = bin_ - under * phases if finer == 1 else 0
        row = tables.first_row[block, v] + (place * phases + phase) * tables.rows[block, v] + time
        column = (k - under - tables.row[row, 1]) % length
        if column < tables.row[row, 2]:
            value = complex(tables.real[tables.row[row, 0] + column], tables.imag[tables.row[row, 0] + column])
            if image == 0:
                direct = value * turned
            else:
                mirrored = value * turned.conjugate()
    return direct, mirrored


@_fast  # type: ignore[untyped-decorator]
def root_of_weights(tables, v, k):  # type: ignore[no-untyped-def]
    """The symmetric matrix B, as its entries (xx, yy, xy), of an atom: it takes the energy |B (Re c, Im c)|^2.

    y = B (Re c, Im c) are coordinates on an orthonormal basis of the real atom, and its amplitude is B y / 2.
    """
    at = tables.first_bin[v] + k
    a, b, c = float(tables.weights[0, at]), float(tables.weights[1, at]), float(tables.weights[2, at]) / 2
    root = np.sqrt(max(a * b - c * c, 0.0))  # of a 2 x 2 matrix W: (W + sqrt(det W)) / sqrt(tr W + 2 sqrt(det W))
    scale = np.sqrt(a + b + 2 * root)
    return (a + root) / scale, (b + root) / scale, c / scale


@_fast  # type: ignore[untyped-decorator]
def _gram(tables, state, atoms, rows, count):  # type: ignore[no-untyped-def]
    """Inner products of the orthonormal bases of `count` atoms, `[2 count, 2 count]`."""
    gram = np.zeros((2 * count, 2 * count))
    for i in range(count):
        u, m = atoms[rows[i], 0], atoms[rows[i], 2]
        at = (state.first_frame[u] + atoms[rows[i], 1]) * tables.hop[u]
        xx, yy, xy = root_of_weights(tables, u, m)
        gram[2 * i, 2 * i] = gram[2 * i + 1, 2 * i + 1] = 1 + RIDGE
        for j in range(i):
            v, k = atoms[rows[j], 0], atoms[rows[j], 2]
            other = (state.first_frame[v] + atoms[rows[j], 1]) * tables.hop[v]
            direct, mirrored = products(tables, u, at, m, v, other, k)
            px, py, pxy = root_of_weights(tables, v, k)
            for side in range(2):
                half = complex(xx, xy) / 2 if side == 0 else complex(xy, yy) / 2
                c = half * direct + half.conjugate() * mirrored  # what the other then measures
                gram[2 * i + side, 2 * j] = gram[2 * j, 2 * i + side] = px * c.real + pxy * c.imag
                gram[2 * i + side, 2 * j + 1] = gram[2 * j + 1, 2 * i + side] = pxy * c.real + py * c.imag
    return gram


@_fast  # type: ignore[untyped-decorator]
def _neighbours(tables, state, atoms, count, new, buckets, following, width, rows):  # type: ignore[no-untyped-def]
    """Rows of the chosen atoms that meet the atom `new`, itself first; returns how many. Chains are by time."""
    u, m = atoms[new, 0], atoms[new, 2]
    at = (state.first_frame[u] + atoms[new, 1]) * tables.hop[u]
    origin = state.first_frame[0] * tables.hop[0]
    home = (at - origin) // width
    rows[0], found = new, 1
    for bucket in range(max(0, home - 1), min(buckets.size, home + 2)):
        row = buckets[bucket]
        while row >= 0 and found < rows.size:
            v, k = atoms[row, 0], atoms[row, 2]
            other = (state.first_frame[v] + atoms[row, 1]) * tables.hop[v]
            if row != new:
                direct, mirrored = products(tables, u, at, m, v, other, k)
                if abs(direct) + abs(mirrored) > MEETS:
                    rows[found] = row
                    found += 1
            row = following[row]
    return found


@_fast  # type: ignore[untyped-decorator]
def solve_along(tables, state, left, goal, least, atoms, amplitudes, energies, count, exact):  # type: ignore[no-untyped-def]
    """Take atoms as `correlations.take_best` does, and after each one solve it and its neighbours together.

    Args:
        tables, state: the dictionary and the stretch.
        left, goal, least: as there.
        atoms, amplitudes, energies: as there; the first `count` rows are chosen already, and none is chosen twice.
        count: how many.
        exact: solve them; else one step along the gradient.

    Returns:
        How many are chosen, and the energy that is left.
    """
    channels = amplitudes.shape[1]
    # Two atoms meet only if their references lie less than two windows apart.
    width = 2 * tables.length.max()
    origin = state.first_frame[0] * tables.hop[0]
    longest = 0
    for v in range(state.frames.size):
        longest = max(longest, (state.first_frame[v] + state.frames[v]) * tables.hop[v] - origin)
    buckets = np.full(longest // width + 2, -1, np.int64)
    following = np.full(atoms.shape[0], -1, np.int64)
    rows = np.empty(MOST_NEIGHBOURS, np.int64)
    change = np.empty(channels, np.complex128)
    for row in range(count):
        u = atoms[row, 0]
        bucket = max(0, ((state.first_frame[u] + atoms[row, 1]) * tables.hop[u] - origin) // width)
        following[row], buckets[bucket] = buckets[bucket], row
    while count < atoms.shape[0] and left > goal:
        v, frame, k, energy = find_best(tables, state)
        if not energy > 0 or energy < least:
            break
        at = (state.first_frame[v] + frame) * tables.hop[v]
        bucket = max(0, (at - origin) // width)
        new = buckets[bucket]
        while new >= 0 and not (atoms[new, 0] == v and atoms[new, 1] == frame and atoms[new, 2] == k):
            new = following[new]
        if new < 0:
            new = count
            atoms[new, 0], atoms[new, 1], atoms[new, 2] = v, frame, k
            amplitudes[new] = 0
            following[new], buckets[bucket] = buckets[bucket], new
            count += 1
        energies[new] = energy
        found = _neighbours(tables, state, atoms, count, new, buckets, following, width, rows)
        gram = _gram(tables, state, atoms, rows, found)
        steps = np.zeros((2 * found, channels))
        for i in range(found):
            u, m = atoms[rows[i], 0], atoms[rows[i], 2]
            value = state.base[u] + atoms[rows[i], 1] * tables.bins[u] + m
            xx, yy, xy = root_of_weights(tables, u, m)
            for channel in range(channels):
                x, y = state.real[channel, value], state.imag[channel, value]
                steps[2 * i, channel] = xx * x + xy * y
                steps[2 * i + 1, channel] = xy * x + yy * y
        gradient = steps.copy()
        if exact:
            steps = np.linalg.solve(gram, gradient)
        else:
            for channel in range(channels):
                along = gradient[:, channel].copy()
                square = (along * along).sum()
                if square > 0:
                    steps[:, channel] = along * (square / (along * (gram @ along)).sum())
        for channel in range(channels):  # |r - A s|^2 = |r|^2 - 2 s'g + s'A'A s
            own = steps[:, channel].copy()
            left -= 2 * (own * gradient[:, channel]).sum() - (own * (gram @ own)).sum()
        for i in range(found):
            u, frame_, m = atoms[rows[i], 0], atoms[rows[i], 1], atoms[rows[i], 2]
            xx, yy, xy = root_of_weights(tables, u, m)
            for channel in range(channels):
                x, y = steps[2 * i, channel], steps[2 * i + 1, channel]
                change[channel] = complex(xx * x + xy * y, xy * x + yy * y) / 2
                amplitudes[rows[i], channel] += change[channel]
            subtract(tables, state, u, frame_, m, change)
    return count, left


@_fast  # type: ignore[untyped-decorator]
def cycle(tables, state, left, atoms, amplitudes, energies, count):  # type: ignore[no-untyped-def]
    """Put each of `count` atoms back in turn and take the best one instead; returns the energy that is left."""
    for row in range(count):
        v, frame, k = atoms[row, 0], atoms[row, 1], atoms[row, 2]
        # |r + x|^2 = |r|^2 + 2 <r, x> + |x|^2, with x = 2 Re(a g) and <r, x> = 2 Re(conj(a) c)
        value = state.base[v] + frame * tables.bins[v] + k
        xx, yy, xy = root_of_weights(tables, v, k)
        determinant = xx * yy - xy * xy
        for channel in range(amplitudes.shape[1]):
            a = amplitudes[row, channel]
            left += 4 * (a.real * state.real[channel, value] + a.imag * state.imag[channel, value])
            if determinant > 1e-9:  # a = B y / 2 has one y
                x = 2 * (yy * a.real - xy * a.imag) / determinant
                y = 2 * (xx * a.imag - xy * a.real) / determinant
                left += x * x + y * y
            else:  # B = b t t', |t| = 1: a = b t y / 2
                left += (2 * abs(a) / (xx + yy)) ** 2
        subtract(tables, state, v, frame, k, -amplitudes[row])
        v, frame, k, energy = find_best(tables, state)
        atoms[row, 0], atoms[row, 1], atoms[row, 2] = v, frame, k
        for channel in range(amplitudes.shape[1]):
            amplitudes[row, channel] = coefficient(tables, state, channel, v, frame, k)
        subtract(tables, state, v, frame, k, amplitudes[row])
        energies[row] = energy
        left -= energy
    return left
