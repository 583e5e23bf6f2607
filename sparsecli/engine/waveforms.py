"""The inner products of a stretch of sound with all atoms of a learned dictionary, at every moment, kept true while
atoms are taken away.

Atoms have no structure that could be worked out beforehand, and the inner products of all pairs at all delays would
take gigabytes. So an atom that is taken away is itself transformed, and its inner products with all others come back
by inverse transforms of the products of spectra: two windows' worth of samples, however long the recording is.

What an atom's inner product is as a function of time has no higher frequencies than the atom. It is kept at every
`step`-th sample only, so many that an atom half a step off still has most of its inner product; the best moment
between them is found by inner products in the sound itself. With a threshold of 0 every sample is kept, in double
precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ..core.learned import LearnedDictionary
from .settings import Variant

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Reals = NDArray[np.floating]
Rows = tuple[Integers, NDArray[np.complex128], Floats]

GROUP = 32  # moments whose greatest energy is kept
STEPS = (8, 4, 2, 1)
STILL = 0.9  # of its inner product with itself that an atom has half a step off, at least
FAINT = 1e-4  # of an atom's energy: frequencies above which less is left count as nothing
CHUNK = 1 << 15  # samples that are transformed at once, at least

_fast = numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz", "contract"}, error_model="numpy")


@dataclass(frozen=True, eq=False)
class Bank:
    """Atoms of one length whose inner products are kept at the same moments.

    Attributes:
        atoms: `[K, length]`, of energy 1.
        index: of each in the dictionary, `[K]`.
        step: between the moments, in samples.
        band: share of half the rate that the atoms reach up to.
        spectra: conjugate transforms by their size, made as they are needed.
    """

    atoms: Reals
    index: Integers
    step: int
    band: float
    spectra: dict[int, NDArray[np.complexfloating]] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Of the atoms, in samples."""
        return int(self.atoms.shape[1])

    def size(self, samples: int) -> int:
        """A size of transform, of so many samples at least, that has whole steps."""
        return self.step * 2 * int(scipy.fft.next_fast_len(-(-samples // (2 * self.step)), real=True))

    def correlate(self, sound: Reals, size: int, count: int) -> Reals:
        """Inner products at moments 0, step, 2 step, ... of a sound of at most `size` samples, `[K, count]`.

        Moments at which an atom reaches over the sound's end take it to go on with its beginning, or with the silence
        between its end and `size`.
        """
        # Every step-th value of a transform of size n is the transform of size m = n / step of the sums over all
        # frequencies that are the same modulo m.
        half = size // (2 * self.step)
        if size not in self.spectra:
            folds = max(1, min(self.step, -(-int(self.band * (size // 2)) // half)))
            whole = scipy.fft.rfft(self.atoms, size, axis=1)[:, : folds * half + 1]
            self.spectra[size] = np.ascontiguousarray(whole.conj())
        spectra = self.spectra[size]
        folded = np.empty((len(spectra), half + 1), spectra.dtype)
        _fold(spectra, scipy.fft.rfft(sound, size) / self.step, folded)
        return np.asarray(scipy.fft.irfft(folded, 2 * half, axis=1, overwrite_x=True)[:, :count])


@_fast  # type: ignore[untyped-decorator]
def _fold(spectra, spectrum, folded):  # type: ignore[no-untyped-def]
    """Products of spectra `[K, folds half + 1]` and one, summed over frequencies that look the same."""
    half = folded.shape[1] - 1
    folds = (spectra.shape[1] - 1) // half
    for k in range(spectra.shape[0]):
        for g in range(half + 1):
            folded[k, g] = spectra[k, g] * spectrum[g]
        for fold in range(1, folds):
            at = fold * half
            if fold % 2:
                for g in range(half + 1):
                    folded[k, half - g] += (spectra[k, at + g] * spectrum[at + g]).conjugate()
            else:
                for g in range(half + 1):
                    folded[k, g] += spectra[k, at + g] * spectrum[at + g]


@dataclass
class _Moments:
    """The state of a bank over a stretch.

    Attributes:
        first: of the moments, in steps from the recording's start.
        values: inner products, `[channels, K, moments]`.
        greatest: energy of each group of moments, `[K, groups]`.
        top: of all atoms, `[groups]`.
    """

    first: int
    values: Reals
    greatest: Reals
    top: Reals


class Stretch:
    """A stretch of sound: what is left of it, and the inner products with all atoms that begin in it."""

    def __init__(self, banks: tuple[Bank, ...], sound: Reals, origin: int, first: int, end: int) -> None:
        """Work out the inner products.

        Args:
            banks: of the dictionary.
            sound: `[channels, samples]`, which reaches the longest atom beyond the stretch.
            origin: the sample of the sound at which the recording begins.
            first, end: samples of the recording at which atoms begin.
        """
        self.banks, self.origin, self.first, self.end = banks, -first, first, end
        kind, longest = banks[0].atoms.dtype, max(bank.length for bank in banks)
        self.sound = sound[:, origin + first : origin + end + longest].astype(kind)  # a copy
        self.moments = []
        for bank in banks:
            begin, stop = -(-first // bank.step), -(-end // bank.step)
            count = max(0, stop - begin)
            values = np.empty((len(sound), len(bank.atoms), count), kind)
            for channel, at, piece, size, number in self._pieces(bank, begin, count):
                values[channel, :, at : at + number] = bank.correlate(piece, size, number)
            groups = -(-count // GROUP)
            state = _Moments(begin, values, np.zeros((len(bank.atoms), groups), kind), np.zeros(groups, kind))
            if count:
                _settle(state.values, state.greatest, state.top, 0, groups)
            self.moments.append(state)

    def _pieces(self, bank: Bank, begin: int, count: int) -> Iterator[tuple[int, int, Reals, int, int]]:
        """Parts of the sound, channel by channel: channel, first moment, samples, size of transform, moments."""
        most = max(1, min(count, (max(CHUNK, 4 * bank.length) - bank.length) // bank.step))
        size = bank.size((most - 1) * bank.step + bank.length)  # one for all: transforms of the atoms are kept
        for channel, sound in enumerate(self.sound):
            for at in range(0, count, most):
                number = min(most, count - at)
                start = (begin + at) * bank.step + self.origin
                samples = (number - 1) * bank.step + bank.length
                yield channel, at, sound[start : start + samples], size, number

    def best(self) -> tuple[int, int, int, float]:
        """Bank, atom, first sample and energy of the atom that takes most, of equal ones the first."""
        tops = [float(state.top.max(initial=0.0)) for state in self.moments]
        which = int(np.argmax(tops))
        if not tops[which] > 0:
            return 0, 0, 0, 0.0
        bank, state = self.banks[which], self.moments[which]
        group = int(np.argmax(state.top))
        atom = int(np.argmax(state.greatest[:, group]))
        window = state.values[:, atom, group * GROUP : (group + 1) * GROUP]
        place = (state.first + group * GROUP + int(np.argmax((window**2).sum(0)))) * bank.step
        if bank.step > 1:
            place = self._between(bank, atom, place)
        return which, atom, place, tops[which]

    def _between(self, bank: Bank, atom: int, place: int) -> int:
        """The best moment within a step of a place."""
        low, high = max(self.first, place - bank.step + 1), min(self.end, place + bank.step)
        energies = _energies(self.sound, bank.atoms[atom], low + self.origin, high - low)
        return low + int(np.argmax(energies))

    def amplitudes(self, which: int, atom: int, place: int) -> Floats:
        """Inner products of an atom with what is left, `[channels]`."""
        at = place + self.origin
        inside = self.sound[:, at : at + self.banks[which].length].astype(np.float64)
        return np.asarray(inside @ self.banks[which].atoms[atom].astype(np.float64))

    def subtract(self, which: int, atom: int, place: int, amplitudes: Floats) -> None:
        """Take an atom away from what is left, or put it back where its amplitudes are negative."""
        own = self.banks[which].atoms[atom]
        at = place + self.origin
        self.sound[:, at : at + len(own)] -= (amplitudes[:, None] * own).astype(own.dtype)
        for bank, state in zip(self.banks, self.moments, strict=True):
            begin = max(state.first, -(-(place - bank.length + 1) // bank.step))
            end = min(state.first + state.values.shape[2], -(-(place + len(own)) // bank.step))
            if begin >= end:
                continue
            # The atom in a sound that begins at the first moment, where what lies before it comes last.
            size, late = bank.size(len(own) + bank.length + bank.step), place - begin * bank.step
            piece = np.zeros(size, own.dtype)
            piece[max(0, late) : late + len(own)] = own[max(0, -late) :]
            if late < 0:
                piece[size + late :] = own[:-late]
            change = bank.correlate(piece, size, end - begin)
            low = begin - state.first
            _change(state.values, change, amplitudes.astype(own.dtype), low)
            _settle(state.values, state.greatest, state.top, low // GROUP, (end - 1 - state.first) // GROUP + 1)


@_fast  # type: ignore[untyped-decorator]
def _change(values, change, amplitudes, low):  # type: ignore[no-untyped-def]
    for channel in range(values.shape[0]):
        a = amplitudes[channel]
        for k in range(change.shape[0]):
            for moment in range(change.shape[1]):
                values[channel, k, low + moment] -= a * change[k, moment]


@_fast  # type: ignore[untyped-decorator]
def _settle(values, greatest, top, first, end):  # type: ignore[no-untyped-def]
    """Renew the greatest energies of groups `first` to `end`."""
    channels, atoms, moments = values.shape
    zero = values.dtype.type(0)
    for group in range(first, end):
        top[group] = zero
    for k in range(atoms):
        for group in range(first, end):
            most = zero
            for moment in range(group * GROUP, min((group + 1) * GROUP, moments)):
                energy = values[0, k, moment] * values[0, k, moment]
                for channel in range(1, channels):
                    energy += values[channel, k, moment] * values[channel, k, moment]
                if energy > most:
                    most = energy
            greatest[k, group] = most
            if most > top[group]:
                top[group] = most


@_fast  # type: ignore[untyped-decorator]
def _energies(sound, atom, first, count):  # type: ignore[no-untyped-def]
    """Energies of an atom that begins at samples `first` to `first + count` of sound `[channels, samples]`."""
    energies = np.zeros(count)
    for channel in range(sound.shape[0]):
        for at in range(count):
            inner = sound.dtype.type(0)
            for sample in range(atom.size):
                inner += sound[channel, first + at + sample] * atom[sample]
            energies[at] += float(inner) * float(inner)
    return energies


def build_banks(dictionary: LearnedDictionary, threshold: float) -> tuple[Bank, ...]:
    """The atoms of a dictionary by length and step; a threshold of 0 keeps every moment, in double precision."""
    banks, first = [], 0
    for atoms in dictionary.atoms:
        steps, bands = _steps(atoms) if threshold else (np.ones(len(atoms), np.int64), np.ones(len(atoms)))
        for step in sorted(set(steps.tolist())):
            rows = np.flatnonzero(steps == step)
            own: Reals = atoms[rows] if threshold else atoms[rows].astype(np.float64)
            banks.append(Bank(own, first + rows, step, float(bands[rows].max())))
        first += len(atoms)
    return tuple(banks)


def _steps(atoms: NDArray[np.float32]) -> tuple[Integers, Floats]:
    """The greatest step at which each atom's best moment is not missed, and the share of the band that it takes."""
    power = np.abs(scipy.fft.rfft(atoms.astype(np.float64), 2 * atoms.shape[1], axis=1)) ** 2  # [K, bins]
    power /= np.maximum(power.sum(1, keepdims=True), 1e-300)
    freqs = np.arange(power.shape[1]) / (2 * atoms.shape[1])  # periods a sample
    halfway = np.stack([power @ np.cos(np.pi * freqs * step) for step in STEPS])  # [steps, K]
    halfway[-1] = 1.0
    steps = np.array(STEPS)[np.argmax(halfway >= STILL, axis=0)]
    band = ((np.cumsum(power, axis=1) < 1 - FAINT).sum(1) + 2) / (power.shape[1] - 1)
    return steps, np.minimum(band, 1.0)


def take_atoms(
    stretch: Stretch, left: float, goal: float, least: float, atoms: Integers, amplitudes: Floats, energies: Floats
) -> tuple[int, float]:
    """Take atoms away, each the one that takes most, until one of the limits is reached.

    Args:
        stretch: of sound.
        left: energy of the sound.
        goal: energy at which to stop.
        least: energy that an atom takes at least.
        atoms: int64 `[N, 3]`, filled with bank, first sample and atom of the bank.
        amplitudes: `[N, channels]`, filled.
        energies: `[N]`, filled with what each atom took.

    Returns:
        How many were taken, and the energy that is left.
    """
    for count in range(len(atoms)):
        if left <= goal:
            return count, left
        which, atom, place, energy = stretch.best()
        if not energy > 0 or energy < least:
            return count, left
        own = stretch.amplitudes(which, atom, place)
        stretch.subtract(which, atom, place, own)
        atoms[count], amplitudes[count], energies[count] = (which, place, atom), own, (own**2).sum()
        left -= float(energies[count])
    return len(atoms), left


def go_around(stretch: Stretch, left: float, atoms: Integers, amplitudes: Floats, energies: Floats) -> float:
    """Put each atom back in turn and take the best one instead; returns the energy that is left."""
    for row, (which, place, atom) in enumerate(atoms.tolist()):
        inner = stretch.amplitudes(which, atom, place)
        left += float((2 * inner * amplitudes[row] + amplitudes[row] ** 2).sum())
        stretch.subtract(which, atom, place, -amplitudes[row])
        which, atom, place, _ = stretch.best()
        own = stretch.amplitudes(which, atom, place)
        stretch.subtract(which, atom, place, own)
        atoms[row], amplitudes[row], energies[row] = (which, place, atom), own, (own**2).sum()
        left -= float(energies[row])
    return left


class Waveforms:
    """Learned atoms as a space of `matching.pursue`: block, first sample and atom of the block.

    Args:
        dictionary: of atoms.
        threshold: 0 keeps every moment, in double precision.
    """

    def __init__(self, dictionary: LearnedDictionary, threshold: float) -> None:
        self.banks = build_banks(dictionary, threshold)
        self.kind: np.dtype[Any] = self.banks[0].atoms.dtype
        self.pad = dictionary.longest
        self.grain = max(bank.step for bank in self.banks)

    def bytes_per_sample(self, channels: int) -> float:
        """Of a number for each atom and channel at each moment, and the greatest of every 32."""
        moments = sum(len(bank.atoms) / bank.step for bank in self.banks)
        return moments * (channels + 1 / GROUP) * self.kind.itemsize

    def first_frames(self, first: int, end: int) -> Integers:
        """Not needed: rows hold first samples."""
        return np.zeros(len(self.banks), np.int64)

    def open(self, sound: Reals, first: int, end: int) -> Stretch:
        """All inner products; in the first stretch also of atoms that begin before the recording."""
        return Stretch(self.banks, sound, self.pad, 1 - self.pad if first == 0 else first, end)

    def take(
        self, state: Stretch, variant: Variant, limits: tuple[float, float, float], rows: Rows, count: int
    ) -> tuple[int, float]:
        """By `take_atoms`."""
        atoms, amplitudes, energies = rows[0][count:], rows[1].real[count:], rows[2][count:]
        found, left = take_atoms(state, *limits, atoms, amplitudes, energies)
        return count + found, left

    def cycle(self, state: Stretch, left: float, rows: Rows) -> float:
        """By `go_around`."""
        return go_around(state, left, rows[0], rows[1].real, rows[2])

    def places(self, first_frames: Integers, atoms: Integers) -> Integers:
        """First samples."""
        return np.asarray(atoms[:, 1])

    def add(self, sound: Reals, places: Integers, atoms: Integers, amplitudes: NDArray[Any], sign: float) -> None:
        """Add atoms to a padded sound, or take them away."""
        for (which, _, atom), place, own in zip(atoms.tolist(), places.tolist(), amplitudes.real, strict=True):
            wave = self.banks[which].atoms[atom]
            at = place + self.pad
            sound[:, at : at + len(wave)] += (sign * own[:, None] * wave).astype(sound.dtype)
