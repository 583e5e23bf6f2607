"""`sparse decompose`: recordings to events, by a trained model or by pursuit over a dictionary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from sparsecli.core.errors import SparseError
from sparsecli.engine.settings import DEFAULT_EVENTS, DEFAULT_WINDOWS, OPTIONS_OF, DecomposeSettings

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
    from sparsecli.models.finding import Trained

METHODS = options.choices_of(DecomposeSettings, "method")
FORMS = options.choices_of(DecomposeSettings, "form")
VARIANTS = options.choices_of(DecomposeSettings, "variant")

setting = partial(options.setting, DecomposeSettings)
Method = Annotated[str | None, setting("method", "--method", "|".join(METHODS), "How events are found.")]
Model = Annotated[
    str | None,
    setting("model", "--model", "NAME|FILE", "Of siam: one that fetch-models brought, or a file; else the package's."),
]
As = Annotated[
    str | None, setting("form", "--as", "|".join(FORMS), "Of siam: atoms sound the same and need no model any more.")
]
Refine = Annotated[int | None, setting("refine", "--refine", "N", "Of siam: N rounds of the fit from there; as atoms.")]
Budget = Annotated[
    int | None, setting("budget", "--budget", "NUMBERS", "Of siam: at most so many numbers for each 1.486 s.")
]
Dictionary = Annotated[
    str | None,
    setting(
        "dictionary",
        "--dictionary",
        "NAME[:WINDOWS][+...]|FILE",
        "Of pursuit: atoms to choose from, gabor:512+damped, or learned ones.",
    ),
]
Variant = Annotated[str | None, setting("variant", "--variant", "|".join(VARIANTS), "Of pursuit.")]
Atoms = Annotated[
    int | None,
    setting(
        "atoms",
        "--atoms",
        "N",
        f"Events for each 1.486 s ({DEFAULT_EVENTS} or what --budget allows; pursuit {DEFAULT_WINDOWS} or by --snr).",
    ),
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
    model: Model = None,
    form: As = None,
    refine: Refine = None,
    budget: Budget = None,
    dictionary: Dictionary = None,
    variant: Variant = None,
    atoms: Atoms = None,
    snr_db: Snr = None,
    seconds: Seconds = None,
    start_s: Start = 0.0,
    duration_s: Duration = None,
    residual: Residual = None,
    notes: Notes = None,
    device: options.Device = None,
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
    """Decompose recordings into events without fitting: what a trained model sees in them, in one pass.

    --method pursuit chooses windowed waves from a dictionary instead (docs/pursuit.md).

    In two channels each event has its place; more channels are folded to mono.

    Without -o, song.wav becomes song.npz in the current folder.
    """
    console = Console(quiet, progress)
    with usage_errors(console):
        options.check_choice("--method", method, METHODS)
        options.check_choice("--variant", variant, VARIANTS)
        options.check_choice("--as", form, FORMS)
        options.check_choice("--format", file_format, FORMATS)
        settings = settings_from(context, DecomposeSettings, "decompose", config, assignments)
        _check_method(context, settings)
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


def _check_method(context: typer.Context, settings: DecomposeSettings) -> None:
    """Raise SparseError for an option of another method, given at its default, which the settings cannot tell."""
    for method, names in OPTIONS_OF.items():
        for field, option in names.items():
            if method != settings.method and context.params.get(field) is not None:
                raise SparseError(option, f"is of --method {method}", "give that, or leave it out")


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

    trained, learned = _model(task.settings), _learned(task.settings)
    audio = read_audio(task.input, *task.excerpt_s)
    for notice in learned.notices(audio) if learned else notices(audio, task.settings, trained):
        console.say(task.input, notice)
    with console.progress(task.input) as progress:
        report = _reporting(progress, interrupts)
        if learned:
            result = learned.decompose(audio, task.settings, report)
        else:
            result = decompose(audio, task.settings, report, trained)
    save_events(task.output, result.events, overwrite=task.overwrite, file_format=task.file_format)
    if task.residual is not None:
        _write_residual(task.residual, audio, result.heard, learned, task.overwrite)
    record = record_of(task.input, task.output, result, task.settings.notes)
    named = trained or learned
    record |= {"kind": result.events.header.kind, "model": named.name if named else None}
    console.say(task.input, _summary(record))
    return record


def _learned(settings: DecomposeSettings) -> Learned | None:
    """The learned dictionary that is asked for; None where it is one of windows, or none at all."""
    from sparsecli.engine.dictionaries import names_learned
    from sparsecli.engine.learned_events import Learned, check_learned

    if not names_learned(settings.dictionary):
        return None
    from sparsecli.io.dictionaries import find_dictionary

    check_learned(settings)
    return Learned(*find_dictionary(settings.dictionary))


def _model(settings: DecomposeSettings) -> Trained | None:
    """The model of the method, if it needs one."""
    if settings.method != "siam":
        return None
    from sparsecli.models.finding import open_model

    return open_model(settings.model)


def _reporting(progress: Progress, interrupts: Interrupts) -> Callable[[decomposing.Progress], bool]:
    def report(state: decomposing.Progress) -> bool:
        progress.update(state.done_s, state.total_s, f"{state.atoms} events, SNR {state.snr_db:.1f} dB")
        return not interrupts.requested

    return report


def _write_residual(path: str, audio: Audio, events: Events, learned: Learned | None, overwrite: bool) -> None:
    """The recording minus its rendering."""
    import numpy as np

    from sparsecli.engine.decomposing import sound_of

    from .found import write_residual

    play = learned.sound_of if learned else sound_of
    write_residual(path, audio, play(events, audio.samples.shape[1]).astype(np.float32), overwrite)


def _summary(record: dict[str, Any]) -> str:
    snr, log_mel = (record["quality"].get(name) for name in ("snr_db", "log_mel_db"))
    parts = [
        f"{record['events']} {'events' if record['kind'] == 'siam' else 'atoms'}, {record['numbers']} numbers",
        "" if record["notes"] is None else plural(record["notes"], "note"),
        f"SNR {snr:.1f} dB" if snr is not None else "no SNR (silence)",
        f"log-mel {log_mel:.1f} dB" if log_mel is not None else "",
        f"{record['seconds']:.1f} s ({speed(record['duration_s'], record['seconds'])})",
        "" if record["complete"] else "ended early",
    ]
    return f"{spoken(record['output'], 'output')}: {', '.join(filter(None, parts))}"
