"""A score: notes with pitches and times, as a MIDI file holds them and as events are played from them."""

from __future__ import annotations

from dataclasses import dataclass

MIN_VELOCITY, MAX_VELOCITY = 1, 127  # of a note that sounds; MIDI's 0 ends one


@dataclass(frozen=True)
class ScoreNote:
    """A note to play.

    Attributes:
        onset_s: when it is struck.
        end_s: when it is let go, not before its onset.
        midi: its pitch as a MIDI number with cents as decimals; 69 is 440 Hz.
        velocity: how hard it is struck, 1 to 127.
        part: which of the score's parts plays it, from 0.
        drum: whether `midi` names a drum (General MIDI) and no pitch.
    """

    onset_s: float
    end_s: float
    midi: float
    velocity: int
    part: int = 0
    drum: bool = False


@dataclass(frozen=True)
class Score:
    """Notes in the order of their onsets.

    Attributes:
        notes: see `ScoreNote`.
        tempo_bpm: quarter notes a minute at the start; the notes' times are in seconds and do not depend on it.
        name: of the file it was read from, without folders; may be empty.
    """

    notes: tuple[ScoreNote, ...]
    tempo_bpm: float = 120.0
    name: str = ""

    def __len__(self) -> int:
        return len(self.notes)

    @property
    def end_s(self) -> float:
        """When the last note is let go; 0 without notes."""
        return max((note.end_s for note in self.notes), default=0.0)


def in_order(notes: list[ScoreNote]) -> tuple[ScoreNote, ...]:
    """Notes by onset, then pitch, part and end."""
    return tuple(sorted(notes, key=lambda note: (note.onset_s, note.midi, note.part, note.end_s)))
