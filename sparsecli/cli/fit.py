"""`sparse fit`: recordings to events."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from sparsecli.core.errors import SparseError
from sparsecli.core.settings import read_variables
from sparsecli.engine.settings import DEFAULT_ATOMS, EFFORTS, Envelope, FitSettings
from sparsecli.web.settings import ViewSettings

from . import options
from .console import Console, Progress, plural, print_json, speed, spoken
from .interrupts import Interrupts
from .options import settings_from, usage_errors
from .outputs import check_extensions, check_outputs, check_writable, make_folder, plan_outputs
from .runner import Record, run_each
from .watching import check_installed, monitoring, watched

if TYPE_CHECKING:
    from pathlib import Path

    from sparsecli.core.audio import Audio
    from sparsecli.core.events import Events
    from sparsecli.engine import fitting
    from sparsecli.engine.checkpoints import Checkpoint
    from sparsecli.io.events_file import EventsFormat
    from sparsecli.web.monitor import Place
    from sparsecli.web.reporting import Reporter

FORMATS = ("npz", "json", "csv")
EXTENSIONS = (".npz", ".json", ".csv")

SAVE_EVERY_S = 60.0
METHODS, INITS = (options.choices_of(FitSettings, name) for name in ("method", "init"))
ENVELOPES = get_args(Envelope)


def _efforts_told() -> str:
    return "; ".join(f"{name} takes {effort.told}" for name, effort in EFFORTS.items() if effort.told)


setting = partial(options.setting, FitSettings)
Inputs = Annotated[list[str], typer.Argument(metavar="IN", help="Recordings; - is standard input.")]
Output = Annotated[str | None, options.output("Events file (.npz, .json, .csv), folder, or -.")]
Atoms = Annotated[
    int | None,
    setting("atoms", "--atoms", "N", f"Atoms for each 1.486 s of audio ({DEFAULT_ATOMS}, or what --budget allows)."),
]
Snr = Annotated[float | None, setting("snr_db", "--snr", "DB", "Stop once this SNR is reached.")]
Budget = Annotated[int | None, setting("budget", "--budget", "NUMBERS", "At most so many numbers for each 1.486 s.")]
Seconds = Annotated[float | None, setting("seconds", "--seconds", "S", "Stop after this much time.")]
Bandwidth = Annotated[float | None, setting("bandwidth_hz", "--bandwidth", "HZ", "Search modes up to this frequency.")]
Bits = Annotated[float | None, setting("bits", "--bits", "BITS", "Round to so many bits a number, for a small file.")]
Start = Annotated[float, typer.Option("--start", metavar="S", help="Leave out so much of the beginning.")]
Duration = Annotated[float | None, typer.Option("--duration", metavar="S", help="Fit only this much.")]
Residual = Annotated[
    str | None,
    typer.Option("--residual", metavar="WAV", help="Also write the recording minus its rendering, as float samples."),
]
Seed = Annotated[int | None, setting("seed", "--seed", "N", "Seed of the noise bursts.")]
Notes = Annotated[bool | None, setting("notes", "--notes", None, "Group atoms into musical notes.")]
Format = Annotated[str | None, options.file_format(FORMATS)]
Quality = Annotated[
    str | None,
    setting("quality", "--quality", "|".join(EFFORTS), f"How much work: {_efforts_told()}."),
]
Method = Annotated[str | None, setting("method", "--method", "|".join(METHODS), "How atoms are found.")]
Init = Annotated[str | None, setting("init", "--init", "|".join(INITS), "Where --method descent begins.")]
Iterations = Annotated[int | None, setting("iterations", "--iterations", "N", "Steps of descent at most.")]
Rates = Annotated[str | None, setting("lr", "--lr", "HIGH..LOW", "Learning rate of descent, from first to last step.")]
LossOption = Annotated[
    str | None, setting("loss", "--loss", "NAME[+W*NAME...]", "What descent lowers, e.g. mrstft+0.1*scattering.")
]
Sparsity = Annotated[
    float | None, setting("sparsity", "--sparsity", "W", "Weight of the mean amplitude beside the loss of descent.")
]
Bursts = Annotated[
    str | None, setting("envelope", "--envelope", "|".join(ENVELOPES), "Descend to bursts and what they set ringing.")
]
Room = Annotated[
    str | None, setting("room", "--room", "FILE|NAME", "Where these sound: an impulse response, or one by its name.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the checkpoint beside the output, if an earlier fit left one.")
]
SaveEvery = Annotated[
    float,
    typer.Option("--save-every", metavar="S", min=0, help="Write the checkpoint this often, in seconds; 0: always."),
]
KeepPartial = Annotated[
    bool, typer.Option("--keep-partial", help="After Ctrl-C, write what is found so far (a second one kills).")
]

Monitored = Annotated[
    bool, typer.Option("--monitor", help="Show the fit as it goes in the browser: figures, events and sound.")
]


def fit_command(
    context: typer.Context,
    inputs: Inputs,
    output: Output = None,
    atoms: Atoms = None,
    snr_db: Snr = None,
    budget: Budget = None,
    seconds: Seconds = None,
    bandwidth_hz: Bandwidth = None,
    bits: Bits = None,
    start_s: Start = 0.0,
    duration_s: Duration = None,
    residual: Residual = None,
    seed: Seed = None,
    notes: Notes = None,
    device: options.Device = None,
    config: options.Config = None,
    assignments: options.Set = None,
    file_format: Format = None,
    quality: Quality = None,
    method: Method = None,
    init: Init = None,
    iterations: Iterations = None,
    lr: Rates = None,
    loss: LossOption = None,
    sparsity: Sparsity = None,
    envelope: Bursts = None,
    room: Room = None,
    resume: Resume = False,
    save_every_s: SaveEvery = SAVE_EVERY_S,
    keep_partial: KeepPartial = False,
    monitor: Monitored = False,
    port: options.Port = None,
    overwrite: options.Overwrite = False,
    jobs: options.Jobs = 1,
    as_json: options.Json = False,
    progress: options.ShowProgress = None,
    quiet: options.Quiet = False,
) -> None:
    """Fit events to recordings: atoms that start, ring and decay, and the air behind them.

    In two channels each atom has its place between them; more channels are folded to mono.

    Without -o, song.wav becomes song.npz in the current folder.
    """
    console = Console(quiet, progress)
    with usage_errors(console):
        options.check_choice("--method", method, METHODS)
        options.check_choice("--init", init, INITS)
        options.check_choice("--envelope", envelope, ENVELOPES)
        settings = settings_from(context, FitSettings, "fit", config, assignments)
        check_method(context, settings)
        options.check_choice("--format", file_format, FORMATS)
        options.check_choice("--quality", quality, tuple(EFFORTS))
        outputs = plan_outputs(inputs, output, f".{file_format or FORMATS[0]}")
        residuals = plan_outputs(inputs, residual, ".residual.wav") if residual else []
        check_outputs(inputs, outputs + residuals)
        check_extensions(outputs, EXTENSIONS, file_format)
        check_extensions(residuals, [".wav"])
        options.check_json(as_json, outputs + residuals)
        make_folder(inputs, output)
        make_folder(inputs, residual)
        view = settings_from(context, ViewSettings, "view", None, None)
        if monitor:
            check_installed("--monitor")
    beside: list[str | None] = [*residuals] or [None] * len(inputs)
    chosen, excerpt_s = cast("EventsFormat | None", file_format), (start_s, duration_s)
    with monitoring(monitor, view.port, console) as place:
        tasks = [
            FitTask(*places, chosen, settings, excerpt_s, overwrite, resume, save_every_s, place)
            for places in zip(inputs, outputs, beside, strict=True)
        ]
        run_each(fit_one, tasks, console, print_json if as_json else None, jobs, keep_partial)


def check_method(context: typer.Context, settings: FitSettings) -> None:
    """Raise SparseError where an option was given, be it with its default, that the method has no use for."""
    given = {name for name, value in context.params.items() if value is not None}
    try:
        settings.check_method(given)
    except ValueError as error:
        raise SparseError("", str(error)) from None


@dataclass(frozen=True)
class FitTask:
    """One recording to fit, and where to write what."""

    input: str
    output: str
    residual: str | None
    file_format: EventsFormat | None
    settings: FitSettings
    excerpt_s: tuple[float, float | None]
    overwrite: bool
    resume: bool
    save_every_s: float
    monitor: Place | None


def fit_one(task: FitTask, console: Console, interrupts: Interrupts) -> Record:
    """Read, fit and write one recording; returns what `--json` prints."""
    for path in filter(None, (task.output, task.residual)):
        check_writable(path, task.overwrite)
    from sparsecli.engine.fitting import fit, notices
    from sparsecli.io.audio import read_audio
    from sparsecli.io.checkpoint_file import checkpoint_path, remove
    from sparsecli.io.events_file import save_events
    from sparsecli.io.rooms import read_room

    from .found import record_of

    audio = read_audio(task.input, *task.excerpt_s)
    for notice in notices(audio, task.residual is not None):
        console.say(task.input, notice)
    room = None if task.settings.room is None else read_room(task.settings.room, _folder_of_rooms())
    checkpoint = checkpoint_path(task.output)
    resumed = _read_checkpoint(checkpoint) if task.resume else None
    with console.progress(task.input) as progress, watched(task, audio, console) as watching:
        report = _reporting(progress, interrupts, watching)
        on_events = watching.events_so_far if watching else None
        result = fit(
            audio, task.settings, report, _keeping(checkpoint, task.save_every_s), resumed, on_events, room=room
        )
        if watching:
            watching.end(result.events, result.complete)
    save_events(task.output, result.events, overwrite=task.overwrite, file_format=task.file_format, codes=result.codes)
    if task.residual is not None:
        _write_residual(task, audio, result.events, room)
    if checkpoint is not None:
        remove(checkpoint)
    record = record_of(task.input, task.output, result, task.settings.notes)
    if result.skipped:
        cure = "a lower --lr may do without"
        console.say(task.input, f"{plural(result.skipped, 'step')} of descent left out: not finite", cure)
    console.say(task.input, _summary(record))
    return record


def _folder_of_rooms() -> str:
    from sparsecli.io.rooms import VARIABLE

    return read_variables().get(VARIABLE, "")


def _reporting(
    progress: Progress, interrupts: Interrupts, watching: Reporter | None
) -> Callable[[fitting.Progress], bool]:
    def report(state: fitting.Progress) -> bool:
        reached = f"SNR {state.snr_db:.1f} dB" if state.loss is None else f"loss {state.loss:.4f}"
        progress.update(state.done_s, state.total_s, f"{state.atoms} atoms, {reached}")
        if watching:
            share = state.done_s / state.total_s if state.total_s else 0.0
            left = 10 ** (-state.snr_db / 10)  # of the recording's energy
            loss = left if state.loss is None else state.loss
            watching.point(share, atoms=state.atoms, snr_db=state.snr_db, loss=loss)
        return not interrupts.requested

    return report


def _read_checkpoint(path: Path | None) -> Checkpoint | None:
    """The checkpoint at `path`; None where an earlier fit left none, or finished."""
    from sparsecli.engine.checkpoints import Checkpoint
    from sparsecli.io.checkpoint_file import load_arrays

    if path is None or not path.exists():
        return None
    arrays = load_arrays(path)
    return Checkpoint(str(arrays.pop("belongs_to", "")), int(arrays.pop("phase", 0)), arrays)


def _keeping(path: Path | None, every_s: float) -> Callable[[Callable[[], Checkpoint]], None] | None:
    """Writes a checkpoint at `path` this often."""
    import numpy as np

    from sparsecli.io.checkpoint_file import save_arrays

    if path is None:
        return None
    last = time.monotonic()

    def keep(make: Callable[[], Checkpoint]) -> None:
        nonlocal last
        if time.monotonic() - last < every_s:
            return
        made = make()
        about = {"belongs_to": np.array(made.belongs_to), "phase": np.array(made.phase)}
        save_arrays(path, {**about, **made.arrays})
        last = time.monotonic()

    return keep


def _write_residual(task: FitTask, audio: Audio, events: Events, room: Audio | None) -> None:
    """The recording minus the full rendering."""
    from sparsecli.engine.rendering import render
    from sparsecli.engine.settings import RenderSettings

    from .found import write_residual

    assert task.residual is not None
    rendered = render(events, RenderSettings(device=task.settings.device, wet=1.0), room).samples
    write_residual(task.residual, audio, rendered[:, : audio.samples.shape[1]], task.overwrite)


def _summary(record: dict[str, Any]) -> str:
    quality = record["quality"]
    snr, log_mel, bits, lost = (quality.get(name) for name in ("snr_db", "log_mel_db", "bits", "snr_lost_db"))
    parts = [
        f"{record['events']} atoms, {record['numbers']} numbers",
        "" if record["notes"] is None else plural(record["notes"], "note"),
        f"SNR {snr:.1f} dB" if snr is not None else "no SNR (silence)",
        f"log-mel {log_mel:.1f} dB" if log_mel is not None else "",
        f"{bits:.1f} bits a number" if bits is not None else "",
        f"{lost:.2f} dB lost" if lost is not None else "",
        f"{record['seconds']:.1f} s ({speed(record['duration_s'], record['seconds'])})",
        "" if record["complete"] else "ended early",
    ]
    return f"{spoken(record['output'], 'output')}: {', '.join(filter(None, parts))}"
