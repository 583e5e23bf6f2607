"""Draw what SIAM sees in the example recording, and how its training went, into `docs/images`.

python docs/make_siam_pictures.py [--history FILE] [--recording FILE --out FILE]

`--history` is the history that `sparse train siam` wrote. With `--recording` only the events of that one are drawn,
into `--out`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import make_pictures
import matplotlib
import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure

from sparsecli.core.events import Events
from sparsecli.engine.decomposing import decompose
from sparsecli.engine.settings import DecomposeSettings
from sparsecli.io.audio import read_audio
from sparsecli.models.finding import open_model

SMOOTHED = 10  # lines of the history that a point of the curve is the mean of


def events_of(path: Path) -> Events:
    """What the model of the package sees in a recording, as atoms."""
    return decompose(read_audio(str(path)), DecomposeSettings(form="atoms"), trained=open_model()).events


def picture_of_training(history: Path) -> Figure:
    """What the answers of the eye leave of true tones, and how unlike normal random numbers vectors are."""
    lines = [json.loads(line) for line in history.read_text().splitlines()]
    told = (("missed_db", "left of true tones, dB"), ("vector_nats", "nats a number"))
    figure, both = pyplot.subplots(1, 2, figsize=(11, 3.4), layout="constrained")
    for axes, (name, label) in zip(both, told, strict=True):
        steps, values = np.array([(line["step"], line[name]) for line in lines if name in line]).T
        smooth = np.convolve(values, np.ones(SMOOTHED) / SMOOTHED, mode="valid")
        axes.plot(steps[SMOOTHED - 1 :], smooth, color="#9aa5b4", label="scenes that it learns from")
        held = [(line["step"], line[f"validation_{name}"]) for line in lines if f"validation_{name}" in line]
        axes.plot(*np.array(held).T, color="#d5403f", marker="o", markersize=3, label="scenes held out, mean weights")
        axes.set_xlabel("steps")
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    both[0].legend(frameon=False, fontsize=9)
    return figure


def main() -> None:
    """Draw what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--history", type=Path)
    parser.add_argument("--recording", type=Path, default=make_pictures.RECORDING)
    parser.add_argument("--out", type=Path, default=make_pictures.IMAGES / "siam-events.png")
    arguments = parser.parse_args()
    matplotlib.use("Agg")
    ink = make_pictures.INK
    pyplot.rcParams.update({"axes.edgecolor": ink, "axes.labelcolor": ink, "text.color": ink, "font.size": 10.5})
    picture = make_pictures.picture_of_events(read_audio(str(arguments.recording)), events_of(arguments.recording))
    make_pictures.save(picture, str(arguments.out.resolve()))
    if arguments.history:
        make_pictures.save(picture_of_training(arguments.history), "siam-training.png")


if __name__ == "__main__":
    main()
