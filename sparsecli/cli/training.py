"""What the commands under `sparse train` share: options, the run's folder, who is told, and how a run ends."""

from __future__ import annotations

import contextlib
import io
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from sparsecli.core import ranks
from sparsecli.core.errors import SparseError
from sparsecli.core.settings import build_settings, parse_assignments, read_config, read_environment
from sparsecli.engine.training_settings import TrainSettings

from . import options
from .console import Console, Unit, plural, print_json
from .interrupts import Interrupts
from .runner import INTERRUPTED, explain
from .training_sinks import Sink, tensorboard, watched_training
from .watching import monitoring

if TYPE_CHECKING:
    from sparsecli.engine import training
    from sparsecli.engine.processes import Processes
    from sparsecli.io.run_folder import Checkpoint, RunFolder

    from .console import Progress

S = TypeVar("S", bound=TrainSettings)

setting = partial(options.setting, TrainSettings)
Data = Annotated[
    str | None,
    typer.Option("--data", metavar="DIR", help="Folder of recordings; by default AUDIO_PATH's.", show_default=False),
]
Steps = Annotated[int | None, setting("steps", "--steps", "N", "Of the whole training.")]
BatchSize = Annotated[int | None, setting("batch_size", "--batch-size", "N", "Excerpts in a step, of all processes.")]
Minutes = Annotated[float | None, setting("minutes", "--minutes", "MIN", "Stop after this much time.")]
Seed = Annotated[int | None, setting("seed", "--seed", "N", "Seed of all that is drawn by chance.")]
CheckpointMinutes = Annotated[
    float | None, setting("checkpoint_minutes", "--checkpoint-minutes", "MIN", "Write a checkpoint this often.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out, if there is one.")]
Monitored = Annotated[bool, typer.Option("--monitor", help="Show curves of the training in the browser as it goes.")]


def out(kind: str) -> Any:
    """The option `--out`."""
    help = f"Folder of the run: checkpoint, history and model; by default {kind}/."
    return typer.Option("--out", metavar="DIR", help=help, show_default=False)


def train_console(quiet: bool, progress: bool | None) -> Console:
    """A console of which, where several processes train together, only the first one's is heard."""
    if ranks.rank() > 0:
        return Console(quiet=True, progress=False, stream=io.StringIO())
    return Console(quiet, progress)


def open_run(path: str, kind: str, resume: bool, overwrite: bool) -> tuple[RunFolder, Checkpoint | None]:
    """The folder of a run, and the checkpoint to go on from.

    Raises:
        SparseError: the folder cannot take a run, or its checkpoint is damaged or of another kind.
    """
    from sparsecli.io.run_folder import RunFolder

    folder = RunFolder(path)
    folder.prepare(resume, overwrite)
    if not (resume and folder.holds_run):
        return folder, None
    checkpoint = folder.load_head()
    if checkpoint.kind != kind:
        cure = f"go on with sparse train {checkpoint.kind}, or name another folder with --out"
        raise SparseError(path, f"holds a training of kind {checkpoint.kind}", cure)
    return folder, checkpoint


def train_settings(
    context: typer.Context,
    kind: type[S],
    stage: str,
    given: tuple[str | None, Sequence[str] | None],
    checkpoint: Checkpoint | None,
    smoke: Mapping[str, Any] | None = None,
) -> S:
    """The settings of a training, weakest source first.

    Defaults, the environment, what `smoke` makes small, the checkpoint, `--config`, `--set`, flags.

    Args:
        context: of the command; its parameters that are named as settings are, are flags.
        kind: of the settings.
        stage: the table in a configuration.
        given: `--config` and `--set`.
        checkpoint: of the run that goes on.
        smoke: settings of a trial.

    Raises:
        SparseError: an unknown setting or a value that it cannot have.
    """
    names = {entry.name for entry in fields(kind)}
    flags = {name: value for name, value in context.params.items() if name in names}
    config, assignments = given
    from_file = read_config(config, stage) if config else {}
    kept = checkpoint.settings if checkpoint else {}
    strong = [from_file, parse_assignments(assignments or ()), flags]
    return build_settings(kind, [read_environment(kind), smoke or {}, kept, *strong])


@dataclass(frozen=True)
class Run:
    """One training as the command line asks for it.

    Attributes:
        kind: what is trained, such as `siam`.
        folder: where it lies.
        settings: of it.
        checkpoint: where it goes on from; None: from the start.
        monitor: show it in the browser.
        port: there.
        as_json: print what came of it.
    """

    kind: str
    folder: RunFolder
    settings: TrainSettings
    checkpoint: Checkpoint | None
    monitor: bool = False
    port: int = 0
    as_json: bool = False


Make = Callable[["Processes", Console], "contextlib.AbstractContextManager[tuple[training.Learner, str]]"]
Export = Callable[["training.Learner", Path], None]


def run_training(run: Run, console: Console, make: Make, export: Export) -> None:
    """Train to the end, or until Ctrl-C or the time is over; a checkpoint and the model stand in the folder then.

    Args:
        run: what was asked for.
        console: where messages go.
        make: a learner, ready for its first step, and in words what it learns from; closed again at the end.
        export: write what was learned, over what stands there.

    Raises:
        typer.Exit: with 1 where it failed, 130 after Ctrl-C.
    """
    from sparsecli.engine.processes import processes

    try:
        with (
            _Ending(console) as ctrl_c,
            _Ending(console, signal.SIGTERM) as ended,
            processes(run.settings.device, run.settings.batch_size) as together,
            make(together, console) as (learner, data),
        ):
            keeper = Keeper(run, console, learner, data, export)
            record = _train(keeper, together, lambda: ctrl_c.requested or ended.requested)
    except Exception as error:
        if os.environ.get("SPARSE_DEBUG"):
            raise
        line = _explain(error, run)
        Console().fail(line if ranks.rank() == 0 else SparseError(f"process {ranks.rank()}", str(line)))
        raise typer.Exit(1) from None
    if run.as_json and together.is_first:
        print_json(record)
    if keeper.failure is not None:
        console.fail(keeper.failure)
        raise typer.Exit(1)
    if ctrl_c.requested or ended.requested:
        cause = f"interrupted: {run.folder.path} holds a checkpoint at step {record['step']}"
        console.fail(SparseError("", cause, "go on with --resume"))
        raise typer.Exit(INTERRUPTED)


class _Ending(Interrupts):
    """The first Ctrl-C, or another signal, lets a step be finished, which may take a while, and says so."""

    def __init__(self, console: Console, signal_number: signal.Signals = signal.SIGINT) -> None:
        super().__init__(keep_partial=True, signal_number=signal_number)
        self._console = console

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        super()._handle(signum, frame)
        name = "Ctrl-C" if signum == signal.SIGINT else signal.Signals(signum).name
        self._console.say(name, "ends the training after this step, with a checkpoint", "a second one kills it")


def _train(keeper: Keeper, together: Processes, interrupted: Callable[[], bool]) -> dict[str, Any]:
    from sparsecli.engine.training import train

    run, console = keeper.run, keeper.console
    begun = keeper.go_on()
    if together.is_first:
        keeper.open()
    about = {
        "name": str(run.folder.path),
        "device": str(together.device),
        "training": run.kind,
        "curves": [{"name": name, "keys": keys} for name, keys in CURVES],
        "settings": {key: value for key, value in asdict(run.settings).items() if value is not None},
    }
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(monitoring(run.monitor and together.is_first, run.port, console))
        sinks = [
            stack.enter_context(sink)
            for sink in (watched_training(place, about, console), tensorboard(run.folder.path, begun.step, together))
        ]
        bar = stack.enter_context(console.progress(str(run.folder.path), STEPS))
        trained = train(keeper.learner, run.settings, Listener(keeper, bar, sinks, interrupted), together, begun)
    return keeper.record(trained)


class Keeper:
    """What a run leaves in its folder, and how it goes on from there.

    Args:
        run: what was asked for.
        console: where messages go.
        learner: what learns.
        data: what from, in words.
        export: writes what was learned.
    """

    def __init__(self, run: Run, console: Console, learner: training.Learner, data: str, export: Export) -> None:
        self.run, self.console, self.learner = run, console, learner
        self._data, self._export = data, export
        self._last: dict[str, Any] = {}
        self.failure: SparseError | None = None

    def go_on(self) -> training.Reached:
        """Restore the learner from the checkpoint, if there is one; where the run stands."""
        from sparsecli.engine.training import Reached

        checkpoint, settings = self.run.checkpoint, asdict(self.run.settings)
        if checkpoint is None:
            return Reached()
        self.learner.restore(self.run.folder.load_arrays(checkpoint))
        before = checkpoint.settings
        told = [
            f"{name} is {value}, before it was {before.get(name)}"
            for name, value in settings.items()
            if before.get(name) != value
        ]
        if checkpoint.data != self._data:
            told.append(f"it learns from {self._data}, before it was from {checkpoint.data}")
        self.console.say("--resume", "; ".join([f"goes on after step {checkpoint.step}", *told]))
        return Reached(checkpoint.step, checkpoint.seconds, dict(checkpoint.running))

    def open(self) -> None:
        """Begin or go on with the history; a run that is begun anew takes the place of the one before."""
        run = self.run
        history = run.folder.read_history(run.checkpoint.step) if run.checkpoint else []
        if not run.checkpoint:
            run.folder.clear()
        run.folder.start_history(history)

    def line(self, entry: dict[str, Any]) -> None:
        """Add a line to the history."""
        self._last = {name: value for name, value in entry.items() if name not in ("step", "seconds")}
        self.run.folder.add_history(entry)

    def keep(self, reached: training.Reached) -> None:
        """Write checkpoint and model. Where that cannot be, it is said, the ones before stay, and the run goes on."""
        from sparsecli.io.run_folder import Checkpoint

        run, settings = self.run, asdict(self.run.settings)
        made = Checkpoint(run.kind, reached.step, reached.seconds, settings, reached.running, self._data)
        try:
            run.folder.save(made, self.learner.arrays())
            self._export(self.learner, run.folder.model)
            self.failure = None
        except SparseError as error:
            self.failure = error
            cause = f"{error.cause}; the training goes on, and the last checkpoint stays"
            self.console.say(error.subject, cause, error.cure)

    def record(self, trained: training.Trained) -> dict[str, Any]:
        """What `--json` prints, and said in a line."""
        reached, run = trained.reached, self.run
        record = {
            "kind": run.kind,
            "output": str(run.folder.path),
            "model": str(run.folder.model),
            "step": reached.step,
            "steps": run.settings.steps,
            "complete": trained.complete,
            "seconds": round(reached.seconds, 3),
            **self._last,
            **trained.validated,
        }
        if self.failure is None:
            self.console.say(record["output"], _summary(record))
        return record


class Listener:
    """Passes on how a training goes: to the terminal, to the page, to TensorBoard, into the folder."""

    def __init__(self, keeper: Keeper, bar: Progress, sinks: Sequence[Sink], interrupted: Callable[[], bool]) -> None:
        self._keeper, self._bar, self._sinks, self._interrupted = keeper, bar, sinks, interrupted
        self.checkpoint = keeper.keep
        self._validated: dict[str, float] = {}

    def progress(self, progress: training.Progress) -> bool:
        """Show a step."""
        self._validated = progress.validated or self._validated
        told = figures_told({**progress.figures, **self._validated})
        self._bar.update(progress.step, progress.steps, told)
        if progress.validated is not None:
            left = "" if progress.left_s is None else f", {time_told(progress.left_s)} left"
            at = f"step {progress.step} of {progress.steps}: {told}{left}"
            self._keeper.console.say(str(self._keeper.run.folder.path), at)
        return not self._interrupted()

    def line(self, entry: dict[str, Any]) -> None:
        """Keep and show means over some steps."""
        self._keeper.line(entry)
        share = entry["step"] / self._keeper.run.settings.steps
        for sink in self._sinks:
            sink(share, entry)


STEPS = Unit("steps", 1, lambda count, elapsed_s: f"{count / max(elapsed_s, 1e-3):.3g} steps/s", digits=0)
CURVES = [  # on the page: a line, and dots
    ("loss, ● held out", ["loss", "validation_loss"]),
    ("SNR of what is held out, dB", ["validation_snr_db"]),
    ("learning rate", ["learning_rate"]),
    ("events a second", ["validation_events_per_s"]),
    ("onset F1", ["validation_onset_f1"]),
    ("memory, MB", ["memory_mb"]),
    ("memory of the device, MB", ["device_memory_mb"]),
]
TOLD = {
    "loss": "loss {:.4g}",
    "validation_loss": "validation {:.4g}",
    "snr_db": "SNR {:.2f} dB",
    "validation_snr_db": "validation SNR {:.2f} dB",
    "validation_events_per_s": "{:.0f} events/s",
    "validation_onset_f1": "onset F1 {:.2f}",
    "skipped": "{:.0f} steps skipped",
}


def figures_told(figures: Mapping[str, float]) -> str:
    """Figures in words.

    >>> figures_told({"loss": 0.51234, "validation_snr_db": 3.21, "skipped": 0})
    'loss 0.5123, validation SNR 3.21 dB'
    """
    names = [name for name in TOLD if name in figures and (figures[name] or name != "skipped")]
    return ", ".join(TOLD[name].format(figures[name]) for name in names)


def time_told(seconds: float) -> str:
    """A time as people say it.

    >>> time_told(42), time_told(200), time_told(9000)
    ('42 s', '3 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _summary(record: Mapping[str, Any]) -> str:
    whole = "" if record["complete"] else f" of {record['steps']}, go on with --resume"
    parts = [f"{plural(record['step'], 'step')}{whole}", figures_told(record), time_told(record["seconds"])]
    return f"{record['model']}: {', '.join(filter(None, parts))}"


def _explain(error: Exception, run: Run) -> SparseError:
    """Any failure as a line. What does not fit into memory is a batch."""
    line = explain(error, str(run.folder.path))
    if line.cause == "not enough memory" or "out of memory" in str(error):
        cure = f"give a smaller --batch-size than {run.settings.batch_size}"
        return SparseError(str(run.folder.path), f"not enough memory on {run.settings.device}", cure)
    return line
