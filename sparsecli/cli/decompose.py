"""`sparse decompose`: recordings to events, by pursuit over a dictionary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from sparsecli.engine.settings import DEFAULT_WINDOWS, DecomposeSettings

from . import options
from .console import Console, Progress, plural, print_json, speed, spoken
from .fit import EXTENSIONS, FORMATS, Duration, Inputs, KeepPartial, Output, Residual, Start
from .interrupts import Interrupts
from .options import settings_from, usage_errors
from .outputs import check_extensions, check_outputs, check_writable, make_folder, plan_outputs
from .runner import Record, run_each

if TYPE_CHECKING:
    from sparsecli.core.audio import Audio
    from sparsecli.core.events import Events
    from sparsecli.engine import decomposing
    from sparsecli.engine.learned_events import Learned
    from sparsecli.io.events_file import EventsFormat

METHODS = options.choices_of(DecomposeSettings, "method")
VARIANTS = options.choices_of(DecomposeSettings, "variant")

setting = partial(options.setting, DecomposeSettings)
Method = Annotated[str | None, setting("method", "--method", "|".join(METHODS), "How events are found.")]
Dictionary = Annotated[
    str | None,
    setting(
        "dictionary",
        "--dictionary",
        "NAME[:WINDOWS][+...]|FILE",
        "Atoms to choose from: gabor:512,2048+damped, or learned.",
    ),
]
Variant = Annotated[str | None, setting("variant", "--variant", "|".join(VARIANTS), "Of the pursuit.")]
Atoms = Annotated[
    int | None,
    setting("atoms", "--atoms", "N", f"Atoms for each 1.486 s of audio ({DEFAULT_WINDOWS}, or what --snr takes)."),
]
Snr = Annotated[float | None, setting("snr_db", "--snr", "DB", "Stop once this SNR is reached.")]
Seconds = Annotated[float | None, setting("seconds", "--seconds", "S", "Stop after this much time.")]
Notes = Annotated[bool | None, setting("notes", "--notes", None, "Group events into musical notes.")]
Format = Annotated[str | None, options.file_format(FORMATS)]


def decompose_command(
    context: typer.Context,
    inputs: Inputs,
    output: Output = None,
    method: Method = None,
    dictionary: Dictionary = None,
    variant: Variant = None,
    atoms: Atoms = None,
    snr_db: Snr = None,
    seconds: Seconds = None,
    start_s: Start = 0.0,
    duration_s: Duration = None,
    residual: Residual = None,
    notes: Notes = None,
    config: options.Config = None,
    assignments: options.Set = None,
    file_format: Format = None,
    keep_partial: KeepPartial = False,
    overwrite: options.Overwrite = False,
    jobs: options.Jobs = 1,
    as_json: options.Json = False,
    progress: options.ShowProgress = None,
    quiet: options.Quiet = False,
) -> None:
    """Decompose recordings into atoms of a dictionary: windowed waves, each with its time, frequency and phase.

    In two channels each has a level and a phase in each; more channels are folded to mono.

    Without -o, song.wav becomes song.npz in the current folder. docs/pursuit.md tells of dictionaries and variants.
    """
    console = Console(quiet, progress)
    with usage_errors(console):
        options.check_choice("--method", method, METHODS)
        options.check_choice("--variant", variant, VARIANTS)
        options.check_choice("--format", file_format, FORMATS)
        settings = settings_from(context, DecomposeSettings, "decompose", config, assignments)
        outputs = plan_outputs(inputs, output, f".{file_format or FORMATS[0]}")
        residuals = plan_outputs(inputs, residual, ".residual.wav") if residual else []
        check_outputs(inputs, outputs + residuals)
        check_extensions(outputs, EXTENSIONS, file_format)
        check_extensions(residuals, [".wav"])
        options.check_json(as_json, outputs + residuals)
        make_folder(inputs, output)
        make_folder(inputs, residual)
    beside: list[str | None] = [*residuals] or [None] * len(inputs)
    chosen, excerpt_s = cast("EventsFormat | None", file_format), (start_s, duration_s)
    tasks = [
        DecomposeTask(*places, chosen, settings, excerpt_s, overwrite)
        for places in zip(inputs, outputs, beside, strict=True)
    ]
    run_each(decompose_one, tasks, console, print_json if as_json else None, jobs, keep_partial)


@dataclass(frozen=True)
class DecomposeTask:
    """One recording to decompose, and where to write what."""

    input: str
    output: str
    residual: str | None
    file_format: EventsFormat | None
    settings: DecomposeSettings
    excerpt_s: tuple[float, float | None]
    overwrite: bool


def decompose_one(task: DecomposeTask, console: Console, interrupts: Interrupts) -> Record:
    """Read, decompose and write one recording; returns what `--json` prints."""
    for path in filter(None, (task.output, task.residual)):
        check_writable(path, task.overwrite)
    from sparsecli.engine.decomposing import decompose, notices
    from sparsecli.io.audio import read_audio
    from sparsecli.io.events_file import save_events

    from .found import record_of

    learned = _learned(task.settings)
    audio = read_audio(task.input, *task.excerpt_s)
    for notice in learned.notices(audio) if learned else notices(audio, task.settings):
        console.say(task.input, notice)
    with console.progress(task.input) as progress:
        report = _reporting(progress, interrupts)
        result = learned.decompose(audio, task.settings, report) if learned else decompose(audio, task.settings, report)
    save_events(task.output, result.events, overwrite=task.overwrite, file_format=task.file_format)
    if task.residual is not None:
        _write_residual(task.residual, audio, result.events, learned, task.overwrite)
    record = record_of(task.input, task.output, result, task.settings.notes)
    console.say(task.input, _summary(record))
    return record


def _learned(settings: DecomposeSettings) -> Learned | None:
    """The learned dictionary that is asked for; None where it is one of windows."""
    from sparsecli.engine.dictionaries import names_learned
    from sparsecli.engine.learned_events import Learned, check_learned

    if not names_learned(settings.dictionary):
        return None
    from sparsecli.io.dictionaries import find_dictionary

    check_learned(settings)
    return Learned(*find_dictionary(settings.dictionary))


def _reporting(progress: Progress, interrupts: Interrupts) -> Callable[[decomposing.Progress], bool]:
    def report(state: decomposing.Progress) -> bool:
        progress.update(state.done_s, state.total_s, f"{state.atoms} atoms, SNR {state.snr_db:.1f} dB")
        return not interrupts.requested

    return report


def _write_residual(path: str, audio: Audio, events: Events, learned: Learned | None, overwrite: bool) -> None:
    """The recording minus its rendering, as float samples; `sparse render --residual` adds it again."""
    import numpy as np

    from sparsecli.engine.decomposing import source_of
    from sparsecli.engine.windows import render_windows
    from sparsecli.io.audio import write_audio

    play = learned.render if learned else render_windows
    rendered = play(events, audio.samples.shape[1], audio.sample_rate).astype(np.float32)
    residual = replace(audio, samples=source_of(audio) - rendered)  # [channels, samples]
    write_audio(path, residual, bit_depth="float", overwrite=overwrite)


def _summary(record: dict[str, Any]) -> str:
    snr, log_mel = (record["quality"].get(name) for name in ("snr_db", "log_mel_db"))
    parts = [
        f"{record['events']} atoms, {record['numbers']} numbers",
        "" if record["notes"] is None else plural(record["notes"], "note"),
        f"SNR {snr:.1f} dB" if snr is not None else "no SNR (silence)",
        f"log-mel {log_mel:.1f} dB" if log_mel is not None else "",
        f"{record['seconds']:.1f} s ({speed(record['duration_s'], record['seconds'])})",
        "" if record["complete"] else "ended early",
    ]
    return f"{spoken(record['output'], 'output')}: {', '.join(filter(None, parts))}"
