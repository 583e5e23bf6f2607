"""How many of a piece's true notes the events of SIAM find, before and after three refining rounds.

    python bench/siam_notes.py --clips DIR [--model FILE]

A recording counts where a table of its notes lies beside it, as for `bench/notes.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from page import make_parser, recordings, table, write_page
from transcription import Notes, read_notes, score_notes

from sparsecli.engine.decomposing import decompose
from sparsecli.engine.notes import group_notes, note_table
from sparsecli.engine.settings import DecomposeSettings
from sparsecli.io.audio import read_audio
from sparsecli.models.finding import Trained, open_model

HEAD = ("piece", "s", "notes", "SNR dB", "found", "F1", "onset F1", "SNR 3", "found 3", "F1 3", "onset F1 3")


def notes_found(path: Path, trained: Trained, longest_s: float) -> list[str]:
    """How many true notes of a piece the events find, and their onsets alone."""
    audio = read_audio(str(path), 0.0, longest_s)
    true = read_notes(path.with_suffix(".notes.csv"), audio.duration_s)
    cells = [path.stem, f"{audio.duration_s:.1f}", str(len(true))]
    for rounds in (0, 3):
        events = decompose(audio, DecomposeSettings(form="atoms", refine=rounds), trained=trained).events
        found: Notes = np.array([(note.onset_s, note.midi) for note in note_table(group_notes(events))], np.float64)
        scores = [score_notes(true, found.reshape(-1, 2), pitch) for pitch in (True, False)]
        snr_db = events.header.quality["snr_db"]
        cells += [f"{snr_db:.1f}", str(len(found)), *(f"{score.f1:.2f}" for score in scores)]
    print(*cells, flush=True)
    return cells


def main() -> None:
    """Measure every piece and write the page."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", help="a model; default: that of the package")
    arguments = parser.parse_args()
    trained = open_model(arguments.model)
    paths = [path for path in recordings(arguments.clips) if path.with_suffix(".notes.csv").exists()]
    write_page(
        __file__,
        arguments,
        "Notes that the events of SIAM find",
        f"At most the first {arguments.longest:g} s of each piece, at the default density. A note is right within "
        "50 ms and 50 cents of a true one, each once; onset F1 leaves the pitch aside. Events as atoms, grouped as "
        "`--notes` does, without refining and after three rounds.",
        table(HEAD, [notes_found(path, trained, arguments.longest) for path in paths]),
    )


if __name__ == "__main__":
    main()
