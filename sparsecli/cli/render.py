"""`sparse render`: events to audio."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from sparsecli.core.errors import SparseError
from sparsecli.engine.settings import RenderOptions, SplitBy

from . import options
from .console import Console, plural, print_json, spoken
from .interrupts import Interrupts
from .options import settings_from, usage_errors
from .outputs import check_extensions, check_outputs, check_writable, make_folder, plan_outputs
from .runner import Record, run_each

if TYPE_CHECKING:
    from sparsecli.core.audio import Audio
    from sparsecli.core.events import Events
    from sparsecli.core.learned import LearnedDictionary
    from sparsecli.engine.stems import Part

BIT_DEPTHS = ("16", "24", "float")
FORMATS = ("wav", "flac", "ogg")
EXTENSIONS = (".wav", ".wave", ".flac", ".ogg", ".oga")
SPLITS = get_args(SplitBy)
FULL_SCALE = 1 + 1e-6  # what float32 arithmetic may make of a peak of 1


setting = partial(options.setting, RenderOptions)
Inputs = Annotated[list[str], typer.Argument(metavar="IN", help="Events files; - is standard input.")]
Output = Annotated[str | None, options.output("Recording (.wav, .flac, .ogg), folder, or -.")]
SampleRate = Annotated[int | None, setting("sample_rate", "--sample-rate", "HZ", "Instead of the source's.")]
PitchShift = Annotated[
    float | None, setting("pitch_shift_semitones", "--pitch-shift", "SEMITONES", "Transpose; fractions are fine.")
]
TimeStretch = Annotated[float | None, setting("time_stretch", "--time-stretch", "R", "Factor on all times; 2: slower.")]
Gain = Annotated[float | None, setting("gain_db", "--gain", "DB", "Louder or softer.")]
Noise = Annotated[bool | None, setting("noise", "--noise/--no-noise", None, "With or without air and bursts.")]
RandomTimes = Annotated[
    bool | None,
    setting("random_times", "--random-times", None, "Notes at random times, evenly over the recording."),
]
RandomEvents = Annotated[
    bool | None,
    setting("random_events", "--random-events", None, "Events trade sounds, or get new vectors; times stay."),
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME|FILE", help="Of events of kind siam, where it is not found by itself."),
]
Perturb = Annotated[
    float | None, setting("perturb_octaves", "--perturb", "OCTAVES", "One random change of sound, the same for all.")
]
Seed = Annotated[int | None, setting("seed", "--seed", "N", "Of what is random.")]
Room = Annotated[
    str | None,
    setting("room", "--room", "FILE|NAME", "Impulse response, a file or one that `info --rooms` lists."),
]
Wet = Annotated[float | None, setting("wet", "--wet", "SHARE", "Of the sound, into the room; 1: all of it.")]
Dry = Annotated[bool, typer.Option("--dry", help="Without the room that --config names.")]
Loop = Annotated[
    float | None, setting("loop_s", "--loop", "S", "A round of this length without a seam; 0: the recording's.")
]
Rounds = Annotated[int | None, setting("rounds", "--rounds", "N", "How often the file goes round the loop.")]
Stems = Annotated[str | None, typer.Option("--stems", metavar="DIR", help="Also write parts that add up to the whole.")]
By = Annotated[
    str | None, typer.Option("--by", metavar="|".join(SPLITS), help="A stem for each of these. (default note)")
]
Parts = Annotated[
    list[str] | None,
    typer.Option("--part", metavar="NAME=EXPR", help="Stems of selections instead; may be given several times."),
]
Residual = Annotated[
    str | None, typer.Option("--residual", metavar="WAV", help="Add this, as it is: what `fit --residual` wrote.")
]
BitDepth = Annotated[
    str | None,
    typer.Option("--bit-depth", metavar="|".join(BIT_DEPTHS), help="Of WAV; FLAC has 16 and 24. (default 16)"),
]
Clip = Annotated[bool, typer.Option("--clip", help="Cut off peaks over full scale, instead of lowering the whole.")]
Dictionary = Annotated[
    str | None,
    typer.Option(
        "--dictionary", metavar="FILE", help="That events of a learned one were made with.", show_default=False
    ),
]
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
    random_times: RandomTimes = None,
    random_events: RandomEvents = None,
    perturb_octaves: Perturb = None,
    seed: Seed = None,
    model: Model = None,
    room: Room = None,
    wet: Wet = None,
    dry: Dry = False,
    loop_s: Loop = None,
    rounds: Rounds = None,
    stems: Stems = None,
    by: By = None,
    parts: Parts = None,
    residual: Residual = None,
    dictionary: Dictionary = None,
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

    Rooms, loops and stems are explained in docs/rendering.md.
    """
    console = Console(quiet)
    with usage_errors(console):
        settings = settings_from(context, RenderOptions, "render", config, assignments)
        _check_together(context, settings)
        options.check_selection("--only", only)
        options.check_choice("--bit-depth", bit_depth, BIT_DEPTHS)
        options.check_choice("--format", file_format, FORMATS)
        outputs = _plan(inputs, output, file_format or FORMATS[0])
        residuals = plan_outputs(inputs, residual, ".residual.wav") if residual else []
        check_outputs([*inputs, *residuals, *filter(None, [settings.room, model])], outputs)
        check_extensions(outputs, EXTENSIONS, file_format)
        options.check_json(as_json, outputs)
        options.check_terminal(outputs)
        split = _split(stems, by, parts or [])
        make_folder(inputs, output)
        make_folder(inputs, split.folder if split else None)
    # What is not given is left to write_audio's own defaults.
    written = {"bit_depth": bit_depth, "file_format": file_format}
    written = {key: value for key, value in written.items() if value is not None}
    beside: list[str | None] = [*residuals] or [None] * len(inputs)
    tasks = [
        RenderTask(
            *places,
            dictionary,
            only,
            model,
            replace(settings, room=None) if dry else settings,
            split,
            written,
            clip,
            overwrite,
        )
        for places in zip(inputs, outputs, beside, strict=True)
    ]
    run_each(render_one, tasks, console, print_json if as_json else None, jobs)


def _check_together(context: typer.Context, settings: RenderOptions) -> None:
    """Raise SparseError for options that are nothing without another, or with it."""
    given = {name for name, value in context.params.items() if value not in (None, False, [])}
    if {"room", "dry"} <= given:
        raise SparseError("--dry", "is beside the point of --room", "give one of them")
    if "wet" in given and settings.room is None:
        raise SparseError("--wet", "there is no room", "name one with --room")
    if "rounds" in given and settings.loop_s is None:
        raise SparseError("--rounds", "there is no loop", "give --loop 0, or its length")
    if "residual" in given and settings.loop_s is not None:
        raise SparseError("--residual", "does not go round", "render without --loop")
    if "residual" in given and settings.room is not None and "dry" not in given:
        raise SparseError("--residual", "is of a dry rendering", "render without --room")


@dataclass(frozen=True)
class Split:
    """Stems that are asked for: where they go, what of."""

    folder: str
    by: SplitBy
    parts: tuple[Part, ...]


def _split(folder: str | None, by: str | None, parts: Sequence[str]) -> Split | None:
    """What stems are asked for. Raises SparseError where they make no sense."""
    from sparsecli.engine.stems import part_of

    for option, given in (("--by", by), ("--part", parts)):
        if given and folder is None:
            raise SparseError(option, "there are no stems", "name their folder with --stems")
    options.check_choice("--by", by, SPLITS)
    if by and parts:
        raise SparseError("--by", "is beside the point of --part", "give one of them")
    if folder is None:
        return None
    try:
        found = tuple(part_of(text) for text in parts)
    except ValueError as error:
        raise SparseError("--part", str(error)) from None
    names = [part.name for part in found]
    if len(set(names)) < len(names):
        raise SparseError("--part", f"{max(names, key=names.count)} is named twice", "give each part its own name")
    return Split(os.path.join(folder, ""), by or "note", found)  # type: ignore[arg-type]


@dataclass(frozen=True)
class RenderTask:
    """One set of events to render, and where and how to write it."""

    input: str
    output: str
    residual: str | None
    dictionary: str | None
    only: str | None
    model: str | None
    settings: RenderOptions
    split: Split | None
    written: dict[str, Any]
    clip: bool
    overwrite: bool

    @property
    def has_full_scale(self) -> bool:
        """Whether the format of the output cannot hold samples over 1."""
        is_ogg = self.output.lower().endswith((".ogg", ".oga")) or self.written.get("file_format") == "ogg"
        return self.written.get("bit_depth") != "float" and not is_ogg


def render_one(task: RenderTask, console: Console, interrupts: Interrupts) -> Record:
    """Read, render and write one set of events, and its stems; returns what `--json` prints."""
    check_writable(task.output, task.overwrite)
    from sparsecli.engine.rendering import sound_of
    from sparsecli.io.audio import read_audio, write_audio
    from sparsecli.io.events_file import load_events

    whole = load_events(task.input)
    chosen, events = _heard(whole, task)
    learned = _dictionary(whole, task)
    room = _room(task.settings)
    residual = None if task.residual is None else read_audio(task.residual)
    stems = dict(_stems(task, events, room, residual, learned)) if task.split else {}
    _check_stems(task, list(stems))
    audio = sound_of(events, task.settings, room, learned)
    if residual is not None:
        audio = _with_residual(audio, residual, spoken(str(task.residual), "input"))
    peak = _peak(audio)
    level = _level(task, peak, (_peak(play()) for play in stems.values()), console)
    write_audio(task.output, level(audio), overwrite=task.overwrite, **task.written)
    for path, play in stems.items():
        write_audio(path, level(play()), overwrite=task.overwrite, **task.written)
    shape = f"{audio.duration_s:.2f} s, {plural(audio.channels, 'channel')}, {audio.sample_rate} Hz"
    count = chosen if task.only is None else f"{chosen} of {len(whole)}"
    console.say(task.input, f"{spoken(task.output, 'output')}: {count} events, {shape}")
    if task.split:
        _say_stems(task, len(stems), console)
    return {
        "input": task.input,
        "output": task.output,
        "events": chosen,
        "events_in_file": len(whole),
        "duration_s": audio.duration_s,
        "sample_rate": audio.sample_rate,
        "channels": audio.channels,
        "peak": peak,
        "room": room.name if room else None,
        "stems": list(stems),
    }


def _dictionary(events: Events, task: RenderTask) -> LearnedDictionary | None:
    """The dictionary of events of a learned one; None for all others."""
    if events.header.kind != "learned":
        return None
    from sparsecli.io.dictionaries import dictionary_of

    return dictionary_of(events.header, task.dictionary, task.input)


def _heard(whole: Events, task: RenderTask) -> tuple[int, Events]:
    """How many events are played, and what they sound like, as the task wants it."""
    if whole.kind.has_vectors:
        from sparsecli.engine.vectors import heard, keep_heard
        from sparsecli.models.finding import model_of

        siam = model_of(whole.header, task.model).siam
        chosen = whole if task.only is None else keep_heard(whole, siam, task.only)
        return len(chosen), heard(chosen, siam, task.settings)
    from sparsecli.engine.transforms import keep_selected, transformed

    events = transformed(whole if task.only is None else keep_selected(whole, task.only), task.settings)
    return len(events), events


def _room(settings: RenderOptions) -> Audio | None:
    """The room that is asked for, and None for none."""
    if settings.room is None:
        return None
    from sparsecli.io.rooms import read_room

    return read_room(settings.room, settings.impulse_response_path)


def _stems(
    task: RenderTask, events: Events, room: Audio | None, residual: Audio | None, learned: LearnedDictionary | None
) -> Iterator[tuple[str, Callable[[], Audio]]]:
    """The file of each stem and what renders it, the residual among them."""
    from sparsecli.engine.rendering import sound_of
    from sparsecli.engine.stems import RESIDUAL, split_by

    assert task.split is not None
    (begin,) = plan_outputs([task.input], task.split.folder, "")
    named = os.path.splitext(task.output)[1].lower()
    extension = f".{task.written['file_format']}" if "file_format" in task.written else named or f".{FORMATS[0]}"
    for stem in split_by(events, task.split.by, task.split.parts):
        yield f"{begin}.{stem.name}{extension}", partial(sound_of, stem.events, task.settings, room, learned)
    if residual is not None:
        yield f"{begin}.{RESIDUAL}{extension}", lambda: residual


def _check_stems(task: RenderTask, stems: Sequence[str]) -> None:
    """Raise SparseError where a stem could not be written, or only over the whole or over what is read."""
    others = {os.path.realpath(name) for name in (task.output, task.residual, task.settings.room) if name is not None}
    for path in stems:
        if os.path.realpath(path) in others:
            raise SparseError(path, "would be written over, by a stem", "name another folder with --stems")
        check_writable(path, task.overwrite)


def _say_stems(task: RenderTask, count: int, console: Console) -> None:
    assert task.split is not None
    rounded = "" if task.written.get("bit_depth") == "float" else ", each rounded on its own"
    cure = "--bit-depth float keeps their sum exact" if rounded else ""
    console.say(task.input, f"{task.split.folder}: {plural(count, 'stem')}{rounded}", cure)


def _peak(audio: Audio) -> float:
    return float(abs(audio.samples).max(initial=0.0))


def _with_residual(audio: Audio, residual: Audio, subject: str) -> Audio:
    """A rendering and its residual, sample by sample. Raises SparseError where they are not of one form."""
    forms = [(sound.sample_rate, *sound.samples.shape) for sound in (residual, audio)]
    if forms[0] != forms[1]:
        own, asked = (f"{rate} Hz, {channels} ch, {samples} samples" for rate, channels, samples in forms)
        cure = "take the residual of these events, at the source's rate and tempo"
        raise SparseError(subject, f"has {own}, and the rendering {asked}", cure)
    return replace(audio, samples=audio.samples + residual.samples)


def _level(task: RenderTask, peak: float, of_stems: Iterable[float], console: Console) -> Callable[[Audio], Audio]:
    """What brings a rendering, and its stems alike, within full scale where the format of the output has one."""
    import numpy as np

    if not task.has_full_scale:
        return lambda audio: audio
    if task.clip:
        return partial(_clipped, task, console)
    stems = max(of_stems, default=0.0)
    highest = max(peak, stems)
    if highest <= FULL_SCALE:
        return lambda audio: audio
    gain_db = -20 * np.log10(highest)
    whose = f"its peak of {highest:.3f}" if peak >= stems else f"a stem's peak of {highest:.3f}"
    said = f"{whose} is over full scale: {gain_db:.2f} dB of gain is applied to all of it"
    console.say(task.input, said, "--clip, --gain or --bit-depth float do otherwise")
    return lambda audio: replace(audio, samples=(audio.samples / np.float32(highest)).astype(np.float32))


def _clipped(task: RenderTask, console: Console, audio: Audio) -> Audio:
    import numpy as np

    over = int((abs(audio.samples) > 1).sum())
    if over:
        console.say(task.input, f"{over} samples over full scale are clipped")
    return replace(audio, samples=np.clip(audio.samples, -1, 1))


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
