"""Settings of learning a dictionary, the only place where their defaults and ranges stand. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from sparsecli.core.columns import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, STRETCH_S
from sparsecli.core.lengths import MAX_ATOMS, MAX_LENGTH, MIN_LENGTH, check_lengths

from .settings import check_range
from .training_settings import TrainSettings

MAX_EXCERPT_S = 60.0


@dataclass(frozen=True)
class DictionarySettings(TrainSettings):
    """What the training of a dictionary has beside.

    Attributes:
        atoms: how many, shared out evenly among the lengths.
        length: of the atoms, in samples; several, joined by commas.
        sample_rate: in Hz, that recordings are brought to.
        excerpt_s: length of an excerpt.
        density: atoms that excerpts are taken apart into, for each 1.486 s.
    """

    steps: int = 100
    batch_size: int = 8
    validate_steps: int = 10
    log_steps: int = 1
    atoms: int = 512
    length: str = "1024"
    sample_rate: int = 22050
    excerpt_s: float = STRETCH_S
    density: int = 128

    @property
    def lengths(self) -> tuple[int, ...]:
        """Of atoms, the shortest first."""
        parts = [part.strip() for part in str(self.length).split(",")]
        if not all(part.isdecimal() for part in parts):
            wanted = f"{MIN_LENGTH} to {MAX_LENGTH} samples, or several lengths as 512,2048,8192"
            raise ValueError(f"--length {self.length} is no length; give {wanted}")
        return check_lengths([int(part) for part in parts])

    @property
    def counts(self) -> tuple[int, ...]:
        """Atoms of each length: as many of each, of the first ones one more where that leaves a rest."""
        each, rest = divmod(self.atoms, len(self.lengths))
        return tuple(each + (index < rest) for index in range(len(self.lengths)))

    @property
    def excerpt_samples(self) -> int:
        """Length of an excerpt."""
        return round(self.excerpt_s * self.sample_rate)

    def atoms_of(self, samples: int) -> int:
        """Atoms that an excerpt of so many samples is taken apart into."""
        return max(1, round(self.density * samples / self.sample_rate / STRETCH_S))

    def __post_init__(self) -> None:
        super().__post_init__()
        lengths = self.lengths
        check_range("--atoms", self.atoms, len(lengths), MAX_ATOMS)
        check_range("--sample-rate", self.sample_rate, MIN_SAMPLE_RATE, MAX_SAMPLE_RATE, "Hz")
        check_range("excerpt_s", self.excerpt_s, max(lengths) / self.sample_rate, MAX_EXCERPT_S, "s")
        check_range("density", self.density, 1, None)
