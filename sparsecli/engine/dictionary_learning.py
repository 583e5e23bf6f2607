"""Learning a dictionary whose atoms may stand at any moment, from excerpts of recordings.

In each epoch some excerpts are taken apart by pursuit over the atoms as they are, and then every atom in turn becomes
the mean of what is left where it was found, itself put back, weighted by its amplitudes there: the least squares
solution for an atom whose places and amplitudes are known (Aharon, Elad and Bruckstein, K-SVD, 2006; with shifts:
Jost et al. 2006, Mailhe et al. 2008). Its amplitudes are then measured anew before the next atom's turn. Means go on
from epoch to epoch with a weight that fades, so that an epoch may be short (Mairal et al., "Online learning for matrix
factorization and sparse coding", JMLR 2010). Atoms that are hardly used become what is left where most is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..core.learned import LearnedDictionary, normalised
from .learning_settings import DictionarySettings
from .waveforms import Bank, Stretch, build_banks, take_atoms

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Excerpts = Callable[[int], Sequence[NDArray[np.float32]]]

FADE = 0.7  # of the weight of earlier epochs, from one to the next
DEAD = 0.05  # of the mean energy of the atoms of its length: one that takes less is replaced
SEARCH_THRESHOLD = 1e-4  # any above 0: moments between steps are left out
EDGE = 0.1  # of a new atom's length in which it rises, and falls


@dataclass(frozen=True)
class LearningState:
    """What goes from one epoch to the next.

    Attributes:
        atoms: float32 `[count, length]` for each length, the shortest first.
        weight: sum of the squared amplitudes that each atom is the mean of, faded, `[count]` for each length.
        epoch: how many are done.
    """

    atoms: tuple[NDArray[np.float32], ...]
    weight: tuple[Floats, ...]
    epoch: int = 0


@dataclass(frozen=True)
class EpochFigures:
    """What an epoch found, with the atoms as they were before it.

    Attributes:
        snr_db: mean over the excerpts.
        used: atoms that were used at all.
        replaced: atoms that were replaced at its end.
    """

    snr_db: float
    used: int
    replaced: int


@dataclass(frozen=True)
class _Found:
    """Where atoms were found: row among all atoms, excerpt, first sample in it, amplitude; `[N]` each."""

    row: Integers
    excerpt: Integers
    place: Integers
    amplitude: Floats


def begin_learning(settings: DictionarySettings, excerpts: Excerpts) -> LearningState:
    """Atoms that are windows of excerpts, at random places, the louder the likelier.

    Args:
        settings: how many atoms of which lengths, and the seed.
        excerpts: gives those of an epoch; asked for epoch -1.
    """
    draw = np.random.default_rng([settings.seed, 0])
    sounds = excerpts(-1)
    atoms = []
    for length, count in zip(settings.lengths, settings.counts, strict=True):
        usable = [sound for sound in sounds if len(sound) > length]
        taken = []
        for _ in range(count):
            sound = usable[int(draw.integers(len(usable)))]
            energy = np.convolve(sound.astype(np.float64) ** 2, np.ones(length), "valid")
            place = int(draw.choice(len(energy), p=energy / energy.sum()))
            taken.append(sound[place : place + length] * edges(length))
        atoms.append(normalised(np.stack(taken)))
    return LearningState(tuple(atoms), tuple(np.zeros(len(of_length)) for of_length in atoms))


def edges(length: int) -> NDArray[np.float32]:
    """A window that is 1 but for its edges, `[length]`."""
    rise = max(1, round(EDGE * length))
    window = np.ones(length, np.float32)
    window[:rise] = np.sin(np.pi / 2 * (np.arange(rise) + 0.5) / rise) ** 2
    window[-rise:] = window[rise - 1 :: -1]
    return window


def learn_epoch(
    state: LearningState, settings: DictionarySettings, excerpts: Excerpts, on_excerpt: Callable[[int], None]
) -> tuple[LearningState, EpochFigures]:
    """One epoch.

    Args:
        state: atoms so far.
        settings: of the training.
        excerpts: gives those of an epoch, each scaled as it shall count.
        on_excerpt: told how many are done; what it raises ends the epoch.
    """
    sounds = excerpts(state.epoch)
    longest = max(of_length.shape[1] for of_length in state.atoms)
    rests = [np.pad(sound.astype(np.float64), (longest, longest)) for sound in sounds]
    banks = build_banks(LearnedDictionary(settings.sample_rate, state.atoms), SEARCH_THRESHOLD)
    parts, snr = [], []
    for number, sound in enumerate(sounds):
        part = _take_apart(banks, rests[number], longest, len(sound), settings.atoms_of(len(sound)))
        parts.append((np.full(len(part[0]), number), *part))
        snr.append(10 * np.log10((rests[number] ** 2).sum() / np.maximum(_subtract(rests[number], banks, *part), 1e-30)))
        on_excerpt(number + 1)
    excerpt, bank, place, atom, amplitude = (np.concatenate(values) for values in zip(*parts, strict=True))
    row = np.zeros(len(bank), np.int64)
    for which, one in enumerate(banks):
        row[bank == which] = one.index[atom[bank == which]]
    found = _Found(row, excerpt, place, amplitude)
    flat = [one for of_length in state.atoms for one in of_length]
    weight = np.concatenate(state.weight) * FADE
    energy = np.zeros(len(flat))
    for index in range(len(flat)):
        flat[index], energy[index] = _renew(flat[index], float(weight[index]), found, index, rests)
    weight += energy
    replaced = _replace_dead(flat, weight, rests)
    counts = np.cumsum([len(of_length) for of_length in state.atoms])[:-1]
    atoms = tuple(np.stack(flat[begin:end]) for begin, end in _spans(state.atoms))
    figures = EpochFigures(float(np.mean(snr)), len(np.unique(row)), replaced)
    return replace(state, atoms=atoms, weight=tuple(np.split(weight, counts)), epoch=state.epoch + 1), figures


def _spans(atoms: tuple[NDArray[np.float32], ...]) -> list[tuple[int, int]]:
    ends = np.cumsum([len(of_length) for of_length in atoms])
    return [(int(end) - len(of_length), int(end)) for of_length, end in zip(atoms, ends, strict=True)]


def _take_apart(
    banks: tuple[Bank, ...], padded: Floats, pad: int, samples: int, count: int
) -> tuple[Integers, Integers, Integers, Floats]:
    """Pursuit of an excerpt: bank, first sample in the padded one, atom of the bank and amplitude of each atom."""
    stretch = Stretch(banks, padded[None], pad, 1 - pad, samples)
    atoms, amplitudes = np.zeros((count, 3), np.int64), np.zeros((count, 1))
    done, _ = take_atoms(stretch, float((padded**2).sum()), 0.0, 0.0, atoms, amplitudes, np.zeros(count))
    return atoms[:done, 0], atoms[:done, 1] + pad, atoms[:done, 2], amplitudes[:done, 0]


def _subtract(
    padded: Floats, banks: tuple[Bank, ...], bank: Integers, place: Integers, atom: Integers, amplitude: Floats
) -> float:
    """Take atoms out of an excerpt; returns the energy that is left."""
    for which, at, row, a in zip(bank, place, atom, amplitude, strict=True):
        padded[at : at + banks[which].length] -= a * banks[which].atoms[row]
    return float((padded**2).sum())


def _renew(
    atom: NDArray[np.float32], weight: float, found: _Found, index: int, rests: list[Floats]
) -> tuple[NDArray[np.float32], float]:
    """An atom, renewed from where it was found, and its energy there; what is left is renewed with it."""
    rows = np.flatnonzero(found.row == index)
    if not len(rows):
        return atom, 0.0
    length, old = len(atom), atom.astype(np.float64)
    mean = weight * old
    windows = [rests[found.excerpt[row]][found.place[row] : found.place[row] + length] for row in rows]
    for row, window in zip(rows, windows, strict=True):
        window += found.amplitude[row] * old
    for row, window in zip(rows, windows, strict=True):
        mean += found.amplitude[row] * window
    new = normalised(mean)
    exact, energy = new.astype(np.float64), 0.0
    for row, window in zip(rows, windows, strict=True):
        found.amplitude[row] = window @ exact
        window -= found.amplitude[row] * exact
        energy += float(found.amplitude[row] ** 2)
    return new, energy


def _replace_dead(flat: list[NDArray[np.float32]], weight: Floats, rests: list[Floats]) -> int:
    """Make atoms that are hardly used what is left where most is left; returns how many."""
    lengths = np.array([len(atom) for atom in flat])
    replaced = 0
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        dead = rows[weight[rows] < DEAD * weight[rows].mean()]
        places = _loudest_places(rests, int(length), len(dead))
        for index, (excerpt, place) in zip(dead, places, strict=False):
            flat[index] = normalised(rests[excerpt][place : place + length] * edges(int(length)))
            weight[index] = 0.0
            replaced += 1
    return replaced


def _loudest_places(rests: list[Floats], length: int, count: int) -> list[tuple[int, int]]:
    """Excerpts and places of windows that hold most energy, half a window apart at least."""
    step = max(1, length // 2)
    found = []
    for excerpt, rest in enumerate(rests):
        sums = np.cumsum(np.r_[0.0, rest**2])
        places = np.arange(0, len(rest) - length + 1, step)
        energy = sums[places + length] - sums[places]
        found += [(-float(one), excerpt, int(place)) for one, place in zip(energy, places, strict=True) if one > 0]
    return [(excerpt, place) for _, excerpt, place in sorted(found)[:count]]
