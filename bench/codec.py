"""How few bits a recording takes: quantised fits beside Opus, in kbit/s of the whole file.

python bench/codec.py --clips DIR
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from page import make_parser, recordings, table, write_page

from sparsecli.core.audio import Audio
from sparsecli.core.events import Events
from sparsecli.dsp.quality import measure_quality, snr_db
from sparsecli.dsp.resample import resample
from sparsecli.engine.fitting import fit, quantise_fit
from sparsecli.engine.rendering import render
from sparsecli.engine.settings import FitSettings, RenderSettings
from sparsecli.io.audio import read_audio, write_audio
from sparsecli.io.events_file import load_events, save_events

OPUS_KBIT_S = (6, 8, 12, 16, 24, 32)
LONGEST_LAG_S = 0.1  # of a decoded file; Opus' own look-ahead is 6.5 ms
HEAD = ("recording", "coded", "kbit/s", "SNR dB", "lost dB", "convergence", "log-mel dB")
SUMMARY = ("mean of all", *HEAD[2:])


@dataclass(frozen=True)
class Point:
    """What one coding of one recording takes and gives; `lost_db` is NaN for Opus."""

    recording: str
    coded: str
    kbit_s: float
    snr_db: float
    lost_db: float
    convergence: float
    log_mel_db: float

    @property
    def figures(self) -> tuple[float, ...]:
        """All but the names, in the order of `HEAD`."""
        return self.kbit_s, self.snr_db, self.lost_db, self.convergence, self.log_mel_db


def main() -> None:
    """Code every recording in every way and write the page and its picture."""
    arguments = parse_arguments()
    reason = why_no_opus()
    points: list[Point] = []
    for path in recordings(arguments.clips):
        audio = read_audio(str(path), 0.0, arguments.seconds)
        audio = replace(audio, samples=audio.mono()[None])
        found = [*code_sparse(audio, path.stem, arguments), *([] if reason else code_opus(audio, path.stem))]
        for point in found:
            print(*row_of(point.recording, point.coded, point.figures), flush=True)
        points += found
    page = arguments.page or Path(__file__).with_suffix(".md")
    draw(points, page.with_suffix(".png"))
    ways = list(dict.fromkeys(point.coded for point in points))
    means = {way: np.mean([point.figures for point in points if point.coded == way], axis=0) for way in ways}
    write_page(
        __file__,
        arguments,
        f"A codec: --atoms {arguments.atoms} quantised, beside Opus",
        f"The first {arguments.seconds:g} s of {len({point.recording for point in points})} recordings, mono, at their "
        "own rates. kbit/s is the size of the whole file, header and container included, over the duration. SNR and "
        "spectral convergence are of the modes alone, log-mel distance with air and bursts; 'lost' is SNR against the "
        "unquantised fit. Opus is ffmpeg's libopus, resampled to the recording's rate and aligned by cross-correlation."
        + (f" It is missing here: {reason}." if reason else ""),
        f"![Rate against three distances]({page.with_suffix('.png').name})",
        table(SUMMARY, [row_of(way, None, tuple(mean)) for way, mean in means.items()]),
        table(HEAD, [row_of(point.recording, point.coded, point.figures) for point in points]),
    )


def parse_arguments() -> argparse.Namespace:
    """The options of all scripts and this one's."""
    parser = make_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each recording")
    parser.add_argument("--atoms", type=int, default=64, help="for each 1.486 s")
    parser.add_argument("--bits", type=float, nargs="+", default=[4, 5, 6, 7, 8, 10, 12], help="a number")
    parser.add_argument("--fits", type=Path, help="folder in which unquantised fits are kept, and looked for")
    return parser.parse_args()


def row_of(name: str, coded: str | None, figures: tuple[float, ...]) -> list[str]:
    """A row of a table."""
    forms = ("{:.2f}", "{:.2f}", "{:.2f}", "{:.3f}", "{:.2f}")
    cells = ["" if np.isnan(value) else form.format(value) for form, value in zip(forms, figures, strict=True)]
    return [name, *([] if coded is None else [coded]), *cells]


def code_sparse(audio: Audio, name: str, arguments: argparse.Namespace) -> Iterator[Point]:
    """The fit as it is and at all bits."""
    settings = FitSettings(atoms=arguments.atoms)
    events = kept_fit(audio, name, settings, arguments.fits)
    yield measured(audio, name, "float32", events, None)
    for bits in arguments.bits:
        coded, codes = quantise_fit(events, audio.samples, replace(settings, bits=bits))
        yield measured(audio, name, f"{bits:g} bits", coded, codes)


def kept_fit(audio: Audio, name: str, settings: FitSettings, folder: Path | None) -> Events:
    """The unquantised fit, from `folder` where it lies there."""
    path = folder / f"{name}.npz" if folder else None
    if path and path.exists():
        return load_events(path)
    events = fit(audio, settings).events
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_events(path, events)
    return events


def measured(audio: Audio, name: str, coded: str, events: Events, codes: object) -> Point:
    """Size and likeness of a set of events."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.npz"
        save_events(path, events, codes=codes)
        kbit_s = 8 * path.stat().st_size / audio.duration_s / 1000
    coherent = measure_quality(audio.samples, render(events, RenderSettings(noise=False)).samples, audio.sample_rate)
    full = measure_quality(audio.samples, render(events).samples, audio.sample_rate)
    lost = events.header.quality.get("snr_lost_db", 0.0)
    return Point(
        name, coded, kbit_s, coherent.snr_db or 0.0, lost, coherent.spectral_convergence or 0.0, full.log_mel_db or 0.0
    )


def why_no_opus() -> str:
    """Why Opus cannot be measured; empty where it can."""
    if shutil.which("ffmpeg") is None:
        return "no ffmpeg is installed"
    encoders = subprocess.run(
        ["ffmpeg", "-hide_banner", "-encoders"], capture_output=True, text=True, check=False
    ).stdout
    return "" if re.search(r"\blibopus\b", encoders) else "this ffmpeg has no libopus"


def code_opus(audio: Audio, name: str) -> Iterator[Point]:
    """The recording through Opus and back at each rate."""
    with tempfile.TemporaryDirectory() as folder:
        wav, opus, back = (Path(folder) / file for file in ("a.wav", "a.opus", "b.wav"))
        write_audio(wav, audio, bit_depth="float")
        for rate in OPUS_KBIT_S:
            ffmpeg = ["ffmpeg", "-v", "error", "-y", "-i"]
            subprocess.run([*ffmpeg, wav, "-c:a", "libopus", "-b:a", f"{rate}k", opus], check=True)
            subprocess.run([*ffmpeg, opus, "-c:a", "pcm_f32le", back], check=True)
            decoded = read_audio(str(back))
            samples = aligned(resample(decoded.mono(), decoded.sample_rate, audio.sample_rate), audio)
            quality = measure_quality(audio.samples, samples, audio.sample_rate)
            kbit_s = 8 * opus.stat().st_size / audio.duration_s / 1000
            figures = (quality.snr_db, np.nan, quality.spectral_convergence, quality.log_mel_db)
            yield Point(name, f"Opus {rate}k", kbit_s, *(float(value or 0.0) for value in figures))


def aligned(samples: np.ndarray, audio: Audio) -> np.ndarray:
    """Samples `[n]` moved to where they are most like the recording, `[1, samples]` as long as it."""
    reference = audio.samples[0].astype(np.float64)
    size = 1 << (len(samples) + len(reference)).bit_length()
    product = np.fft.irfft(np.fft.rfft(samples, size) * np.conj(np.fft.rfft(reference, size)))
    reach = round(LONGEST_LAG_S * audio.sample_rate)
    lag = max(range(-reach, reach + 1), key=lambda k: product[k])
    moved = np.roll(np.pad(samples, (reach, len(reference) + reach)), -reach - lag)[: len(reference)]
    assert snr_db(reference, moved) > -10, "what came back is not the recording"
    return moved[None].astype(np.float32)


def draw(points: list[Point], path: Path) -> None:
    """Three distances against kbit/s: every recording thin, the means thick."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 4), layout="constrained")
    names = {"snr_db": "SNR (dB)", "convergence": "spectral convergence", "log_mel_db": "log-mel distance (dB)"}
    for kind, colour in (("bits", "tab:blue"), ("Opus", "tab:orange")):
        chosen = [point for point in points if kind in point.coded]
        ways = list(dict.fromkeys(point.coded for point in chosen))
        for axis, (field, label) in zip(axes, names.items(), strict=True):
            for recording in dict.fromkeys(point.recording for point in chosen):
                own = [point for point in chosen if point.recording == recording]
                x, y = [point.kbit_s for point in own], [getattr(point, field) for point in own]
                axis.plot(x, y, color=colour, alpha=0.25, linewidth=0.8)
            groups = [[point for point in chosen if point.coded == way] for way in ways]
            x, y = (
                [np.mean([getattr(point, what) for point in group]) for group in groups] for what in ("kbit_s", field)
            )
            axis.plot(x, y, "o-", color=colour, markersize=4, label="sparse" if kind == "bits" else "Opus")
            axis.set_xlabel("kbit/s of the file")
            axis.set_title(label)
            axis.grid(alpha=0.3)
            axis.legend()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
