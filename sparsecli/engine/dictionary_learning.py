"""Learning a dictionary whose atoms may stand at any moment, from excerpts of recordings.

In each step some excerpts are taken apart by pursuit over the atoms as they are, and then every atom in turn becomes
the mean of what is left where it was found, itself put back, weighted by its amplitudes there: the least squares
solution for an atom whose places and amplitudes are known (Aharon, Elad and Bruckstein, K-SVD, 2006; with shifts:
Jost et al. 2006, Mailhe et al. 2008). Its amplitudes are then measured anew before the next atom's turn. Means go on
from step to step with a weight that fades, so that a step may be short (Mairal et al., "Online learning for matrix
factorization and sparse coding", JMLR 2010). Atoms that are hardly used become what is left where most is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SparseError
from ..core.learned import LearnedDictionary, atoms_to_arrays, name_of_length, normalised
from .excerpts import Excerpts
from .learning_settings import DictionarySettings
from .training import Arrays, Figures
from .waveforms import Stretch, build_banks, take_atoms

Samples = NDArray[np.float32]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Take = Callable[[int, int], Sequence[Samples]]  # of a step and a number of excerpts, so many

BEFORE = 1 << 40  # the step of the excerpts that the first atoms are cut from,
HELD_OUT = 1 << 41  # and of those that are held out: no training comes there
LOUDNESS = 0.1  # RMS of every excerpt, so that soft music counts as loud music does
FADE = 0.9  # of the weight of earlier steps, from one to the next
LAST_STEPS = 0.1  # of all: in these no atom is replaced
DEAD = 0.01  # of the mean energy of the atoms of its length: one that takes less is replaced
LOOKS = 5  # steps from one look for such atoms to the next
SEARCH_THRESHOLD = 1e-4  # any above 0: moments between steps are left out
BESIDE = 0.25  # of an atom's length on both sides, in which there may be more of what it stands for
SEEN = 3  # an atom that was found so often at least may move,
CLEARLY = 1.02  # where it has so much more energy then
EDGE = 0.1  # of a new atom's length in which it rises, and falls


@dataclass(frozen=True, eq=False)
class _Found:
    """Where atoms were found: row among all atoms, excerpt, first sample in it, amplitude; `[N]` each."""

    row: Integers
    excerpt: Integers
    place: Integers
    amplitude: Floats


def drawn(excerpts: Excerpts, skipped: Callable[[SparseError], None]) -> Take:
    """Excerpts at random, all equally loud; `skipped` is told once of each recording that cannot be read somewhere."""
    told = set[str]()

    def take(step: int, count: int) -> list[Samples]:
        unheard: list[SparseError] = []
        sounds = [_equally_loud(excerpts.draw(step, item, unheard)) for item in range(count)]
        for error in unheard:
            if error.subject not in told:
                skipped(error)
            told.add(error.subject)
        return sounds

    return take


def _equally_loud(sound: Samples) -> Samples:
    rms = math.sqrt(np.mean(np.square(sound, dtype=np.float64)))
    return np.asarray(sound * (LOUDNESS / rms), np.float32)


class DictionaryLearner:
    """A dictionary that learns from excerpts, some in a step. A `Learner` of `training.train`.

    Args:
        settings: of the training.
        excerpts: gives so many excerpts of a step, each scaled as it shall count.
        held_out: excerpts that nothing is learned from.
        sources: names of the recordings.
    """

    def __init__(
        self,
        settings: DictionarySettings,
        excerpts: Take,
        held_out: Sequence[Samples] = (),
        sources: tuple[str, ...] = (),
    ) -> None:
        self.settings, self._excerpts, self._held_out, self._sources = settings, excerpts, held_out, sources
        self.atoms: list[Samples] = []  # `[length]` each, the shortest first
        self._weight: Floats = np.zeros(settings.atoms)  # sums of squared amplitudes that atoms are means of, faded

    @property
    def dictionary(self) -> LearnedDictionary:
        """What was learned so far."""
        stacks = np.split(np.arange(len(self.atoms)), np.cumsum(self.settings.counts)[:-1])
        atoms = tuple(np.stack([self.atoms[row] for row in rows]) for rows in stacks)
        about = asdict(self.settings)
        return LearnedDictionary(self.settings.sample_rate, atoms, self.settings.seed, about, self._sources)

    def step(self, index: int) -> Figures:
        """Learn from the excerpts of one step; SNR of the atoms as they were, and how many were used and replaced."""
        if not self.atoms:
            self._begin()
        sounds = self._excerpts(index, self.settings.batch_size)
        rests = self._padded(sounds)
        before = [float((rest**2).sum()) for rest in rests]
        found = self._take_apart(rests)
        left = np.array([(rest**2).sum() for rest in rests]) / np.maximum(before, 1e-30)
        self._weight *= FADE
        for row in range(len(self.atoms)):
            self.atoms[row], energy = _renewed(self.atoms[row], float(self._weight[row]), found, row, rests)
            self._weight[row] += energy
        replaced = 0
        is_late = index + 1 > (1 - LAST_STEPS) * self.settings.steps  # what comes then has no time to learn
        if (index + 1) % LOOKS == 0 and not is_late:
            replaced = _replace_dead(self.atoms, self._weight, rests)
        snr_db = float(-10 * np.log10(np.maximum(left, 1e-30)).mean())
        used = len(np.unique(found.row))
        return {"loss": float(left.mean()), "snr_db": snr_db, "used": float(used), "replaced": float(replaced)}

    def gauges(self) -> Figures:
        """None."""
        return {}

    def validate(self) -> Figures:
        """SNR of what was held out; nothing where there is none."""
        if not self._held_out:
            return {}
        rests = self._padded(self._held_out)
        before = np.array([(rest**2).sum() for rest in rests])
        self._take_apart(rests)
        left = np.array([(rest**2).sum() for rest in rests]) / np.maximum(before, 1e-30)
        return {"loss": float(left.mean()), "snr_db": float(-10 * np.log10(np.maximum(left, 1e-30)).mean())}

    def arrays(self) -> Arrays:
        """Atoms, and the weights of their means."""
        return {**atoms_to_arrays(self.dictionary.atoms), "weight": self._weight.copy()}

    def restore(self, arrays: Arrays) -> None:
        """Go on from arrays. Raises SparseError where they are not of as many atoms of the same lengths."""
        settings = self.settings
        sizes = zip(settings.lengths, settings.counts, strict=True)
        wanted: dict[str, tuple[int, ...]] = {name_of_length(length): (count, length) for length, count in sizes}
        wanted["weight"] = (settings.atoms,)
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes != wanted:
            cure = "resume with the --atoms and --length of the run, or train anew with --overwrite"
            raise SparseError("checkpoint", f"holds arrays of {shapes}, and the settings ask for {wanted}", cure)
        self.atoms = [atom for length in settings.lengths for atom in arrays[name_of_length(length)]]
        self._weight = arrays["weight"].astype(np.float64)

    def _begin(self) -> None:
        """Atoms that are windows of excerpts, at random places, the louder the likelier."""
        draw = np.random.default_rng([self.settings.seed, 0])
        sounds = self._excerpts(BEFORE, max(self.settings.batch_size, self.settings.atoms // 8))
        for length, count in zip(self.settings.lengths, self.settings.counts, strict=True):
            for _ in range(count):
                sound = sounds[int(draw.integers(len(sounds)))]
                sums = np.cumsum(np.r_[0.0, sound.astype(np.float64) ** 2])
                energy = sums[length:] - sums[:-length] + 1e-30
                place = int(draw.choice(len(energy), p=energy / energy.sum()))
                self.atoms.append(normalised(sound[place : place + length] * edges(length)))

    def _padded(self, sounds: Sequence[Samples]) -> list[Floats]:
        """Excerpts, with room for atoms that reach over their ends, and for what is beside those."""
        return [np.pad(sound.astype(np.float64), self._pad) for sound in sounds]

    @property
    def _pad(self) -> int:
        return 2 * max(self.settings.lengths)

    def _take_apart(self, rests: list[Floats]) -> _Found:
        """Take atoms out of padded excerpts, which then hold what is left; where they were found."""
        pad, longest = self._pad, max(self.settings.lengths)
        banks = build_banks(self.dictionary, SEARCH_THRESHOLD)
        parts = []
        for number, rest in enumerate(rests):
            samples = len(rest) - 2 * pad
            stretch = Stretch(banks, rest[None], pad, 1 - longest, samples)
            count = self.settings.atoms_of(samples)
            atoms, amplitudes = np.zeros((count, 3), np.int64), np.zeros((count, 1))
            done, _ = take_atoms(stretch, math.inf, 0.0, 0.0, atoms, amplitudes, np.zeros(count))
            rows = np.array([banks[bank].index[atom] for bank, _, atom in atoms[:done]], np.int64)
            places = atoms[:done, 1] + pad
            for row, place, amplitude in zip(rows, places, amplitudes[:done, 0], strict=True):
                own = self.atoms[row]
                rest[place : place + len(own)] -= amplitude * own
            parts.append((rows, np.full(done, number), places, amplitudes[:done, 0]))
        return _Found(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def edges(length: int) -> Samples:
    """A window that is 1 but for its edges, `[length]`."""
    rise = max(1, round(EDGE * length))
    window = np.ones(length, np.float32)
    window[:rise] = np.sin(np.pi / 2 * (np.arange(rise) + 0.5) / rise) ** 2
    window[-rise:] = window[rise - 1 :: -1]
    return window


def _renewed(atom: Samples, weight: float, found: _Found, index: int, rests: list[Floats]) -> tuple[Samples, float]:
    """An atom, renewed from where it was found, and its energy there; what is left is renewed with it.

    The mean is taken over somewhat more than the atom's length, and the part of it becomes the atom that has most
    energy: an atom that was cut off at one end moves along what it stands for.
    """
    rows = np.flatnonzero(found.row == index)
    if not len(rows):
        return atom, 0.0
    length, margin, old = len(atom), round(BESIDE * len(atom)), atom.astype(np.float64)
    mean = np.zeros(length + 2 * margin)
    mean[margin : margin + length] = weight * old
    windows = [
        rests[found.excerpt[row]][found.place[row] - margin : found.place[row] + length + margin] for row in rows
    ]
    for row, window in zip(rows, windows, strict=True):
        window[margin : margin + length] += found.amplitude[row] * old
    for row, window in zip(rows, windows, strict=True):
        mean += found.amplitude[row] * window
    start = _moved(mean, length, margin) if len(rows) >= SEEN else margin
    new = normalised(mean[start : start + length])
    exact, energy = new.astype(np.float64), 0.0
    for row, window in zip(rows, windows, strict=True):
        part = window[start : start + length]
        found.amplitude[row] = part @ exact
        part -= found.amplitude[row] * exact
        energy += float(found.amplitude[row] ** 2)
    return new, energy


def _moved(mean: Floats, length: int, margin: int) -> int:
    """Where in a mean the part with most energy begins; in its middle where little speaks against it."""
    sums = np.cumsum(np.r_[0.0, mean**2])
    energies = sums[length:] - sums[:-length]
    best = int(np.argmax(energies))
    return best if energies[best] > CLEARLY * energies[margin] else margin


def _replace_dead(atoms: list[Samples], weight: Floats, rests: list[Floats]) -> int:
    """Make atoms that are hardly used what is left where most is left; returns how many."""
    lengths = np.array([len(atom) for atom in atoms])
    replaced = 0
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        dead = rows[weight[rows] < DEAD * weight[rows].mean()]
        places = _loudest_places(rests, int(length), len(dead))
        for index, (excerpt, place) in zip(dead, places, strict=False):
            atoms[index] = normalised(rests[excerpt][place : place + length] * edges(int(length)))
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
