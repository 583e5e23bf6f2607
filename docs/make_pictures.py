"""Draw the pictures of the documentation into `docs/images`, from the events that `make demo` fitted.

make pictures
python docs/make_pictures.py demo/morning.npz
"""

from __future__ import annotations

import io
import math
import sys
import warnings
from pathlib import Path

import librosa
import matplotlib
import numpy as np
import torch
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray
from PIL import Image

import sparsecli
from sparsecli.core.columns import NOISE_FREQ, SILENT_DB
from sparsecli.synth.noise import burst_band, burst_envelope

ROOT = Path(__file__).resolve().parent.parent
RECORDING = ROOT / "examples" / "morning.flac"
IMAGES = ROOT / "docs" / "images"

LOW_HZ, OCTAVES, BINS_PER_OCTAVE = 65.4, 6, 36  # what the spectrograms show: C2 to C8, a third of a semitone a row
HOP = 256  # samples between columns: 6 ms
RANGE_DB = 50.0  # from black to white
FAINTEST_DB = -50.0  # modes that peak lower are not drawn, and a wedge ends where its mode falls below
THICKEST_OCTAVES = 0.17  # of a wedge at 0 dB: 2 semitones

INK = "#1b2330"
SOUND = LinearSegmentedColormap.from_list("sound", ["#ffffff", "#dfe4ea", "#9aa5b4", "#4c586b", "#131a26"])
PALE_SOUND = LinearSegmentedColormap.from_list("pale sound", SOUND(np.linspace(0, 0.55, 16)))  # as a background
LEVEL = LinearSegmentedColormap.from_list("level", ["#f3b562", "#ee7f3c", "#d5403f", "#8f1d5c"])


def spectrogram(audio: sparsecli.Audio) -> NDArray[np.floating]:
    """Levels in dB on a logarithmic frequency axis, `[rows, columns]`, the loudest at 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of windows longer than the recording
        bins = librosa.vqt(
            audio.mono(),
            sr=audio.sample_rate,
            hop_length=HOP,
            fmin=LOW_HZ,
            n_bins=OCTAVES * BINS_PER_OCTAVE,
            bins_per_octave=BINS_PER_OCTAVE,
            gamma=8,  # filters wider by 8 Hz: sharper in time at low frequencies
        )
    return librosa.amplitude_to_db(np.abs(bins), ref=np.max, top_db=None)


def octaves(freq_hz: NDArray[np.floating]) -> NDArray[np.floating]:
    """Height in the picture."""
    return np.log2(np.maximum(freq_hz, 1e-3) / LOW_HZ)


def draw_sound(axes: Axes, audio: sparsecli.Audio, colours: LinearSegmentedColormap = SOUND) -> None:
    """The spectrogram of a recording in shades of grey."""
    levels = spectrogram(audio)
    extent = (0, audio.duration_s, -0.5 / BINS_PER_OCTAVE, OCTAVES - 0.5 / BINS_PER_OCTAVE)
    axes.imshow(levels, origin="lower", aspect="auto", extent=extent, cmap=colours, vmin=-RANGE_DB, vmax=0)
    axes.set_ylim(0, OCTAVES)
    axes.yaxis.set_major_locator(FixedLocator([float(octaves(np.array(f))) for f in (100, 200, 500, 1000, 2000, 5000)]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{round(LOW_HZ * 2**y):,}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("Hz")
    axes.spines[["top", "right"]].set_visible(False)


def draw_events(axes: Axes, events: sparsecli.Events) -> PolyCollection:
    """Every mode as a wedge: it starts at the onset, is as thick and dark as loud, and ends where it has died away."""
    level_db = events.modes("level_db")  # [E, 4]
    shown = level_db > FAINTEST_DB
    onset_s, decay_s = (
        np.broadcast_to(events.column(name)[:, None], level_db.shape)[shown] for name in ("onset_s", "decay_s")
    )
    level_db = level_db[shown]
    height = octaves(events.modes("freq_hz")[shown])
    end_s = np.minimum(onset_s + decay_s * (level_db - FAINTEST_DB) / 60, events.header.duration_s)
    end_s = np.maximum(end_s, onset_s + 0.012)  # to be seen at all
    left = 1 - (end_s - onset_s) / np.maximum(
        decay_s * (level_db - FAINTEST_DB) / 60, 0.012
    )  # cut by the picture's end
    half = 0.5 * THICKEST_OCTAVES * np.clip((level_db - FAINTEST_DB) / -FAINTEST_DB, 0.05, 1.2)
    tail = half * np.clip(left, 0, 1)
    corners = [(onset_s, height - half), (onset_s, height + half), (end_s, height + tail), (end_s, height - tail)]
    wedges = np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)  # [K, 4, 2]
    order = np.argsort(onset_s - end_s)  # the longest at the back
    collection = PolyCollection(
        list(wedges[order]),
        cmap=LEVEL,
        norm=Normalize(FAINTEST_DB, -5),
        edgecolors="white",
        linewidths=4 * half[order],  # parts wedges that lie on each other, and leaves thin ones their colour
    )
    collection.set_array(level_db[order])
    axes.add_collection(collection)
    return collection


def picture_of_events(recording: sparsecli.Audio, events: sparsecli.Events) -> Figure:
    """The recording with its events over it, and the events played again."""
    figure, (above, middle, below) = pyplot.subplots(
        3, 1, figsize=(11, 9.6), sharex=True, height_ratios=(1, 1.35, 1), layout="constrained"
    )
    draw_sound(above, recording)
    above.set_title("the recording", loc="left")
    draw_sound(middle, recording, PALE_SOUND)
    wedges = draw_events(middle, events)
    middle.set_title(f"its {len(events)} events: a wedge is a mode, with its onset, level and decay", loc="left")
    draw_sound(below, sparsecli.render(events))
    quality = events.header.quality
    told = f"SNR {quality['snr_db']:.1f} dB, log-mel distance {quality['log_mel_db']:.1f} dB"
    below.set_title(f"the events played again, unedited ({told})", loc="left")
    below.set_xlabel("seconds")
    below.set_xlim(0, recording.duration_s)
    bar = figure.colorbar(wedges, ax=middle, pad=0.01, aspect=24, fraction=0.03)
    bar.set_label("peak level of a mode, dB of full scale")
    bar.outline.set_visible(False)
    grey = figure.colorbar(below.images[0], ax=below, pad=0.01, aspect=20, fraction=0.03)
    grey.set_label("level, dB under the loudest")
    grey.outline.set_visible(False)
    return figure


def picture_of_an_atom() -> Figure:
    """The envelope of an atom for three attacks and two decays, and the band of its noise for three frequencies."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 3.4), layout="constrained", sharey=True)
    colours = ("#8f1d5c", "#d5403f", "#ee7f3c")
    time_s = torch.linspace(0, 0.4, 1500, dtype=torch.float64)
    for decay_s, style in ((0.6, "-"), (0.2, ":")):
        for attack_s, colour in zip((0.002, 0.02, 0.08), colours, strict=True):
            numbers = (torch.tensor(number, dtype=torch.float64) for number in (attack_s, decay_s))
            label = f"attack_s {attack_s:g}, decay_s {decay_s:g}"
            left.plot(time_s, burst_envelope(time_s, *numbers), color=colour, linestyle=style, label=label)
    left.set_title("in time: modes and noise rise and fall alike", loc="left")
    left.set_xlabel("seconds after the onset")
    left.set_ylabel("share of the peak")
    left.set_xlim(0, 0.4)
    left.legend(frameon=False, fontsize=9)
    freq_hz = torch.logspace(math.log10(30), math.log10(16_000), 1500, dtype=torch.float64)
    for centre_hz, colour in zip((250.0, 1000.0, 4000.0), colours, strict=True):
        band = burst_band(freq_hz, torch.tensor(centre_hz))
        right.plot(freq_hz, band, color=colour, label=f"{NOISE_FREQ} {centre_hz:g}")
    right.set_title("in frequency: the band of the noise", loc="left")
    right.set_xlabel("Hz")
    right.set_xscale("log")
    right.set_xlim(30, 16_000)
    right.legend(frameon=False, fontsize=9, loc="upper left")
    right.xaxis.set_major_formatter(FuncFormatter(lambda hz, _: f"{hz:,.0f}"))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylim(0, 1.05)
    return figure


def palette() -> Image.Image:
    """The 256 colours of the pictures: greys, and levels in full, half and a quarter."""
    greys, levels = SOUND(np.linspace(0, 1, 112))[:, :3], LEVEL(np.linspace(0, 1, 48))[:, :3]
    colours = np.concatenate([greys, *(1 - part * (1 - levels) for part in (1, 0.5, 0.25))])
    image = Image.new("P", (1, 1))
    image.putpalette(np.round(255 * colours).astype(np.uint8).tobytes())
    return image


def save(figure: Figure, name: str) -> None:
    """Write a PNG of 256 colours, which look the same and take a third of the bytes."""
    memory = io.BytesIO()
    figure.savefig(memory, dpi=100)
    picture = Image.open(memory).convert("RGB").quantize(palette=palette(), dither=Image.Dither.NONE)
    picture.save(IMAGES / name, optimize=True)
    print(f"{IMAGES / name}: {(IMAGES / name).stat().st_size:,} bytes")


def main() -> None:
    """Draw all pictures."""
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/make_pictures.py demo/morning.npz")
    matplotlib.use("Agg")
    style = {"axes.edgecolor": INK, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK}
    pyplot.rcParams.update({**style, "font.size": 10.5, "axes.titlesize": 11.5})
    events = sparsecli.load(sys.argv[1])
    events = events.take(
        (events.modes("level_db") > SILENT_DB).any(axis=1) | (events.column("noise_level_db") > SILENT_DB)
    )
    IMAGES.mkdir(exist_ok=True)
    save(picture_of_events(sparsecli.read_audio(RECORDING), events), "events.png")
    save(picture_of_an_atom(), "atom.png")


if __name__ == "__main__":
    main()
