"""SNR against numbers spent: the fit, SIAM, and pursuit over dictionaries, on the loudest 1.486 s of each recording.

python bench/decompositions.py --clips DIR [--learned FILE]

`--learned` is a dictionary of 22 050 Hz that `sparse train dictionary` wrote; bench/learned.py makes one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from page import loudest_clip, make_parser, recordings, rest_by_count, table, write_page

from sparsecli.core.audio import Audio
from sparsecli.core.events import Events
from sparsecli.dsp.quality import log_mel_db, snr_db
from sparsecli.engine.decomposing import decompose
from sparsecli.engine.fitting import fit
from sparsecli.engine.settings import DecomposeSettings, FitSettings, Variant
from sparsecli.io.dictionary_file import load_dictionary
from sparsecli.models.finding import open_model

BUDGETS = (256, 512, 1024, 2048)
SNR_CAP_DB = 40.0  # so that one easy clip does not steer the mean
TRIALS = 6  # counts of atoms until their numbers fill the budget


def pursue(dictionary: str, variant: Variant = "plain", overlap: int = 4) -> Callable[[Audio, int], Events]:
    """Pursuit with as many atoms as a budget of numbers has room for."""

    def found(clip: Audio, budget: int) -> Events:
        atoms, best = budget // 5, None
        for _ in range(TRIALS):
            settings = DecomposeSettings(
                method="pursuit", dictionary=dictionary, variant=variant, atoms=max(1, atoms), overlap=overlap
            )
            events = decompose(clip, settings).events
            if events.numbers <= budget and (best is None or len(events) > len(best)):
                best = events
            step = (budget - events.numbers) // 6 if events.numbers <= budget else -((events.numbers - budget + 5) // 6)
            if step == 0:
                break
            atoms += step
        assert best is not None
        return best

    return found


def recognise(clip: Audio, budget: int) -> Events:
    """What the model of the package sees in the recording."""
    return decompose(clip, DecomposeSettings(method="siam", budget=budget, atoms=budget), trained=open_model()).events


METHODS: dict[str, Callable[[Audio, int], Events]] = {
    "fit": lambda clip, budget: fit(clip, FitSettings(budget=budget)).events,
    "siam": recognise,
    "gabor": pursue("gabor"),
    "gabor, gradient": pursue("gabor", "gradient"),
    "gabor, orthogonal": pursue("gabor", "orthogonal"),
    "gabor, cyclic": pursue("gabor", "cyclic"),
    "gabor, overlap 16": pursue("gabor", overlap=16),
    "damped": pursue("damped"),
    "cosine": pursue("cosine"),
    "gabor+chirp": pursue("gabor+chirp"),
    "gabor+damped": pursue("gabor+damped"),
    "gabor+damped, cyclic": pursue("gabor+damped", "cyclic"),
    "gabor+dirac": pursue("gabor+dirac"),
}


def measure(clips: dict[str, Audio], method: Callable[[Audio, int], Events], budget: int) -> list[tuple[float, ...]]:
    """SNR, numbers, log-mel distance and CPU seconds of every clip."""
    rows = []
    for clip in clips.values():
        cpu = time.process_time()
        events = method(clip, budget)
        quality = events.header.quality
        log_mel = quality.get("log_mel_coherent_db", quality["log_mel_db"])
        rows.append((quality["snr_db"], events.numbers, log_mel, time.process_time() - cpu))
    return rows


def learned_row(path: str, clips: dict[str, Audio]) -> list[str]:
    """The row of a learned dictionary, of which an atom costs three numbers."""
    dictionary, counts = load_dictionary(path), [budget // 3 for budget in BUDGETS]
    snr, log_mel = [], []
    for clip in clips.values():
        (samples,) = clip.samples
        sounds = [samples - rest for rest in rest_by_count(dictionary, samples, counts)]
        snr.append([min(snr_db(samples, sound), SNR_CAP_DB) for sound in sounds])
        log_mel.append(log_mel_db(samples, sounds[BUDGETS.index(1024)], clip.sample_rate))
    means = np.mean(snr, axis=0)
    return ["learned, of string quartets", *(f"{mean:.2f}" for mean in means), f"{np.mean(log_mel):.1f}"]


def main() -> None:
    """Measure every method at every budget and write the page."""
    parser = make_parser(__doc__)
    parser.add_argument("--learned", help="a learned dictionary")
    arguments = parser.parse_args()
    clips = {path.stem: loudest_clip(Path(path)) for path in recordings(arguments.clips)}
    means: list[list[str]] = []
    columns: dict[str, list[float]] = {}
    for name, method in METHODS.items():
        cells = [name]
        for budget in BUDGETS:
            rows = np.array(measure(clips, method, budget))
            cells.append(f"{np.minimum(rows[:, 0], SNR_CAP_DB).mean():.2f}")
            if budget == 1024:
                columns[name] = rows[:, 0].tolist()
                log_mel = f"{rows[:, 2].mean():.1f}"
        means.append([*cells, log_mel])
        print(*means[-1], flush=True)
    if arguments.learned:
        means.append(learned_row(arguments.learned, clips))
    shown = ["fit", "siam", "gabor", "gabor, cyclic", "damped", "gabor+damped", "gabor+damped, cyclic"]
    per_clip = [[clip, *(f"{columns[name][row]:.2f}" for name in shown)] for row, clip in enumerate(clips)]
    write_page(
        __file__,
        arguments,
        "SNR against numbers spent",
        "Each clip is the loudest 32 768 samples of a recording at 22 050 Hz mono, scaled to a peak of 0.9. A bell "
        "costs five numbers (onset, duration, frequency, level, phase), another shape and a glide one more each. `fit` "
        "and `siam`, of which an event costs 18, have the same budget, of which the air takes 24 or 48 numbers that do "
        "nothing for the SNR. A learned atom costs three numbers. Windows are the default ones, 256 to 8192 samples. "
        f"Means over {len(clips)} clips, each capped at {SNR_CAP_DB:.0f} dB, in dB; the log-mel distance is of the "
        "modes or atoms alone, at 1024 numbers.",
        table(["", *(f"{budget} numbers" for budget in BUDGETS), "log-mel dB"], means),
        "## Clip by clip, at 1024 numbers",
        table(["clip", *shown], per_clip),
    )


if __name__ == "__main__":
    main()
