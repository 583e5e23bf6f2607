"""`sparse render`: events to audio."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparsecli.engine.settings import RenderSettings

from . import options
from .console import Console, print_json, spoken
from .interrupts import Interrupts
from .options import settings_from, usage_errors
from .outputs import check_extensions, check_outputs, check_writable, make_folder, plan_outputs
from .runner import Record, run_each

if TYPE_CHECKING:
    from sparsecli.core.audio import Audio

BIT_DEPTHS = ("16", "24", "float")
FORMATS = ("wav", "flac", "ogg")
EXTENSIONS = (".wav", ".wave", ".flac", ".ogg", ".oga")
FULL_SCALE = 1 + 1e-6  # what float32 arithmetic may make of a peak of 1


setting = partial(options.setting, RenderSettings)
Inputs = Annotated[list[str], typer.Argument(metavar="IN", help="Events files; - is standard input.")]
Output = Annotated[str | None, options.output("Recording (.wav, .flac, .ogg), folder, or -.")]
SampleRate = Annotated[int | None, setting("sample_rate", "--sample-rate", "HZ", "Instead of the source's.")]
PitchShift = Annotated[
    float | None, setting("pitch_shift_semitones", "--pitch-shift", "SEMITONES", "Transpose; fractions are fine.")
]
TimeStretch = Annotated[float | None, setting("time_stretch", "--time-stretch", "R", "Factor on all times; 2: slower.")]
Gain = Annotated[float | None, setting("gain_db", "--gain", "DB", "Louder or softer.")]
Noise = Annotated[bool | None, setting("noise", "--noise/--no-noise", None, "With or without air and bursts.")]
Residual = Annotated[
    str | None, typer.Option("--residual", metavar="WAV", help="Add this, as it is: what `fit --residual` wrote.")
]
BitDepth = Annotated[
    str | None,
    typer.Option("--bit-depth", metavar="|".join(BIT_DEPTHS), help="Of WAV; FLAC has 16 and 24. (default 16)"),
]
Clip = Annotated[bool, typer.Option("--clip", help="Cut off peaks over full scale, instead of lowering the whole.")]
Format = Annotated[str | None, options.file_format(FORMATS)]
Only = Annotated[str | None, options.selection("--only", "Play only the events")]


def render_command(
    context: typer.Context,
    inputs: Inputs,
    output: Output = None,
    sample_rate: SampleRate = None,
    pitch_shift_semitones: PitchShift = None,
    time_stretch: TimeStretch = None,
    gain_db: Gain = None,
    noise: Noise = None,
    only: Only = None,
    residual: Residual = None,
    bit_depth: BitDepth = None,
    clip: Clip = False,
    file_format: Format = None,
    device: options.Device = None,
    config: options.Config = None,
    assignments: options.Set = None,
    overwrite: options.Overwrite = False,
    jobs: options.Jobs = 1,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Play events: write the recording that they describe, at the source's rate and channels.

    Without -o, song.npz becomes song.wav in the current folder.

    --only plays a part of them, and the air only if that names it: 'freq < 500 or air' (docs/selection.md).

    Where song.wav is the recording itself, it becomes song.render.wav.
    """
    console = Console(quiet)
    with usage_errors(console):
        settings = settings_from(context, RenderSettings, "render", config, assignments)
        options.check_selection("--only", only)
        options.check_choice("--bit-depth", bit_depth, BIT_DEPTHS)
        options.check_choice("--format", file_format, FORMATS)
        outputs = _plan(inputs, output, file_format or FORMATS[0])
        residuals = plan_outputs(inputs, residual, ".residual.wav") if residual else []
        check_outputs([*inputs, *residuals], outputs)
        check_extensions(outputs, EXTENSIONS, file_format)
        options.check_json(as_json, outputs)
        options.check_terminal(outputs)
        make_folder(inputs, output)
    # What is not given is left to write_audio's own defaults.
    written = {"bit_depth": bit_depth, "file_format": file_format}
    written = {key: value for key, value in written.items() if value is not None}
    beside: list[str | None] = [*residuals] or [None] * len(inputs)
    tasks = [
        RenderTask(*places, only, settings, written, clip, overwrite)
        for places in zip(inputs, outputs, beside, strict=True)
    ]
    run_each(render_one, tasks, console, print_json if as_json else None, jobs)


@dataclass(frozen=True)
class RenderTask:
    """One set of events to render, and where and how to write it."""

    input: str
    output: str
    residual: str | None
    only: str | None
    settings: RenderSettings
    written: dict[str, Any]
    clip: bool
    overwrite: bool

    @property
    def has_full_scale(self) -> bool:
        """Whether the format of the output cannot hold samples over 1."""
        is_ogg = self.output.lower().endswith((".ogg", ".oga")) or self.written.get("file_format") == "ogg"
        return self.written.get("bit_depth") != "float" and not is_ogg


def render_one(task: RenderTask, console: Console, interrupts: Interrupts) -> Record:
    """Read, render and write one set of events; returns what `--json` prints."""
    check_writable(task.output, task.overwrite)
    from sparsecli.engine.rendering import render
    from sparsecli.io.audio import write_audio
    from sparsecli.io.events_file import load_events

    events = whole = load_events(task.input)
    if task.only is not None:
        from sparsecli.engine.transforms import keep_selected

        events = keep_selected(whole, task.only)
    audio = render(events, task.settings)
    if task.residual is not None:
        audio = _with_residual(audio, task.residual)
    peak = float(abs(audio.samples).max(initial=0.0))
    if task.has_full_scale and peak > FULL_SCALE:
        audio = _within_full_scale(audio, peak, task, console)
    write_audio(task.output, audio, overwrite=task.overwrite, **task.written)
    shape = f"{audio.duration_s:.2f} s, {audio.channels} channel{'s'[: audio.channels > 1]}, {audio.sample_rate} Hz"
    count = len(events) if task.only is None else f"{len(events)} of {len(whole)}"
    console.say(task.input, f"{spoken(task.output, 'output')}: {count} events, {shape}")
    return {
        "input": task.input,
        "output": task.output,
        "events": len(events),
        "events_in_file": len(whole),
        "duration_s": audio.duration_s,
        "sample_rate": audio.sample_rate,
        "channels": audio.channels,
        "peak": peak,
    }


def _with_residual(audio: Audio, path: str) -> Audio:
    """A rendering and its residual, sample by sample. Raises SparseError where they are not of one form."""
    from sparsecli.core.errors import SparseError
    from sparsecli.io.audio import read_audio

    residual = read_audio(path)
    forms = [(sound.sample_rate, *sound.samples.shape) for sound in (residual, audio)]
    if forms[0] != forms[1]:
        own, asked = (f"{rate} Hz, {channels} ch, {samples} samples" for rate, channels, samples in forms)
        cure = "take the residual of these events, at the source's rate and tempo"
        raise SparseError(path, f"has {own}, and the rendering {asked}", cure)
    return replace(audio, samples=audio.samples + residual.samples)


def _within_full_scale(audio: Audio, peak: float, task: RenderTask, console: Console) -> Audio:
    import numpy as np

    if task.clip:
        over = int((abs(audio.samples) > 1).sum())
        console.say(task.input, f"{over} samples over full scale are clipped")
        return replace(audio, samples=np.clip(audio.samples, -1, 1))
    gain_db = -20 * np.log10(peak)
    said = f"its peak of {peak:.3f} is over full scale: {gain_db:.2f} dB of gain is applied to all of it"
    console.say(task.input, said, "--clip, --gain or --bit-depth float do otherwise")
    return replace(audio, samples=(audio.samples / np.float32(peak)).astype(np.float32))


def _plan(inputs: Sequence[str], given: str | None, extension: str) -> list[str]:
    """Outputs, those with names of their own kept apart from the recordings that the events were made from."""
    outputs = plan_outputs(inputs, given, f".{extension}")
    if outputs == [given]:
        return outputs
    aside = plan_outputs(inputs, given, f".render.{extension}")
    return [
        other if os.path.isfile(output) and _is_source(output, events) else output
        for output, other, events in zip(outputs, aside, inputs, strict=True)
    ]


def _is_source(path: str, events_path: str) -> bool:
    """Whether a file is the recording that the events were made from: by its bytes, by name where those are unknown."""
    import hashlib

    from sparsecli.core.errors import SparseError
    from sparsecli.io.events_file import load_events

    try:
        header = load_events(events_path).header
        with open(path, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except (SparseError, OSError):
        return False  # said when its turn comes
    if header.source_sha256:
        return sha256 == header.source_sha256
    return os.path.basename(path) == header.source_name
