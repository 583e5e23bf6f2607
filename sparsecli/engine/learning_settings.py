"""Settings of learning a dictionary, the only place where their defaults and ranges stand. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from sparsecli.core.columns import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, STRETCH_S
from sparsecli.core.learned import MAX_ATOMS, MAX_LENGTH, MIN_LENGTH, check_lengths

from .settings import MAX_SEED, check_range

MAX_EXCERPTS = 100_000
MAX_EXCERPT_S = 60.0


@dataclass(frozen=True)
class DictionarySettings:
    """Settings of learning a dictionary.

    Attributes:
        atoms: how many, shared out evenly among the lengths.
        lengths: of atoms, in samples, joined by commas.
        sample_rate: in Hz, that recordings are brought to.
        epochs: in each of them excerpts are taken apart, and the atoms made anew.
        excerpts: in an epoch.
        excerpt_s: length of an excerpt.
        density: atoms that excerpts are taken apart into, for each 1.486 s.
        seed: of the excerpts and the first atoms.
    """

    atoms: int = 512
    length: str = "1024"
    sample_rate: int = 22050
    epochs: int = 20
    excerpts: int = 24
    excerpt_s: float = STRETCH_S
    density: int = 128
    seed: int = 0

    @property
    def lengths(self) -> tuple[int, ...]:
        """Of atoms, the shortest first."""
        parts = [part.strip() for part in str(self.length).split(",")]
        if not all(part.isdecimal() for part in parts):
            raise ValueError(f"--length {self.length}; give {MIN_LENGTH} to {MAX_LENGTH}, or several as 512,2048,8192")
        return check_lengths([int(part) for part in parts])

    @property
    def counts(self) -> tuple[int, ...]:
        """Atoms of each length: as many of each, the first ones one more where that leaves a rest."""
        each, rest = divmod(self.atoms, len(self.lengths))
        return tuple(each + (index < rest) for index in range(len(self.lengths)))

    def atoms_of(self, samples: int) -> int:
        """Atoms that an excerpt of so many samples is taken apart into."""
        return max(1, round(self.density * samples / self.sample_rate / STRETCH_S))

    def __post_init__(self) -> None:
        lengths = self.lengths
        check_range("--atoms", self.atoms, len(lengths), MAX_ATOMS)
        check_range("--sample-rate", self.sample_rate, MIN_SAMPLE_RATE, MAX_SAMPLE_RATE, "Hz")
        check_range("--epochs", self.epochs, 1, None)
        check_range("excerpts", self.excerpts, 1, MAX_EXCERPTS)
        check_range("excerpt_s", self.excerpt_s, max(lengths) / self.sample_rate, MAX_EXCERPT_S, "s")
        check_range("density", self.density, 1, None)
        check_range("--seed", self.seed, 0, MAX_SEED)
