"""`sparse train siam`: a folder of recordings to a model that `sparse decompose` takes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from sparsecli.core.errors import SparseError
from sparsecli.engine.training_settings import SMOKE, SiamTrainSettings
from sparsecli.web.settings import ViewSettings

from . import options, training
from .console import Console, plural
from .options import settings_from, usage_errors
from .training import Run, open_run, run_training, train_console, train_settings
from .watching import check_installed

if TYPE_CHECKING:
    from sparsecli.engine import training as engine_training
    from sparsecli.engine.network_learner import NetworkLearner
    from sparsecli.engine.processes import Processes
    from sparsecli.engine.siam_lessons import Material

KIND = "siam"
STAGE = "train-siam"  # the table of a configuration

setting = partial(options.setting, SiamTrainSettings)
LearningRate = Annotated[float | None, setting("learning_rate", "--lr", "RATE", "Learning rate at its peak.")]
Loss = Annotated[
    str | None,
    setting("loss", "--loss", "NAME[+W*NAME...]", "What a look is to sound like is learned by this too, e.g. mrstft."),
]
Smoke = Annotated[
    bool, typer.Option("--smoke", help="A trial: a tiny model from made-up scenes alone, in less than a minute.")
]


def train_siam_command(
    context: typer.Context,
    audio_path: training.Data = None,
    out: Annotated[str, training.out(KIND)] = KIND,
    steps: training.Steps = None,
    minutes: training.Minutes = None,
    batch_size: training.BatchSize = None,
    learning_rate: LearningRate = None,
    loss: Loss = None,
    seed: training.Seed = None,
    device: options.Device = None,
    checkpoint_minutes: training.CheckpointMinutes = None,
    config: options.Config = None,
    assignments: options.Set = None,
    smoke: Smoke = False,
    resume: training.Resume = False,
    monitor: training.Monitored = False,
    port: options.Port = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
    progress: options.ShowProgress = None,
    quiet: options.Quiet = False,
) -> None:
    """Train SIAM on a folder of recordings, and on scenes of the own renderer.

    Ctrl-C writes a checkpoint, from which --resume goes on. docs/training.md tells of data, files and several GPUs.
    """
    console = train_console(quiet, progress)
    with usage_errors(console):
        view = settings_from(context, ViewSettings, "view", None, None)
        folder, checkpoint = open_run(out, KIND, resume, overwrite)
        small = SMOKE if smoke else {}
        settings = train_settings(context, SiamTrainSettings, STAGE, (config, assignments), checkpoint, small)
        if not (settings.audio_path or smoke or settings.scene_share == 1):
            raise SparseError("", "no folder of recordings is named", "give --data DIR, set AUDIO_PATH, or try --smoke")
        if monitor:
            check_installed("--monitor")
    run = Run(KIND, folder, settings, checkpoint, monitor, view.port, as_json)
    run_training(run, console, partial(_make, settings, checkpoint.step if checkpoint else 0), _export)


@contextlib.contextmanager
def _make(
    settings: SiamTrainSettings, begin: int, processes: Processes, console: Console
) -> Iterator[tuple[engine_training.Learner, str]]:
    """A network with chance weights, and what it learns from, in words too."""
    import torch

    from sparsecli.engine.network_learner import NetworkLearner
    from sparsecli.engine.siam_lessons import SiamLessons, shape_of
    from sparsecli.models.siam import Siam

    def skipped(error: SparseError) -> None:
        console.say(error.subject, f"left out, since it {error.cause}", error.cure)

    shape = shape_of(settings)
    material, told = _material(settings, skipped)
    console.say(settings.audio_path or KIND, f"learns from {told}")
    unheard: list[SparseError] = []
    lessons = SiamLessons(shape, material, settings, processes, unheard)
    for error in unheard:
        skipped(error)
    torch.manual_seed(settings.seed)
    learner = NetworkLearner(Siam(shape), lessons, settings, processes, begin, skipped)
    try:
        yield learner, told
    finally:
        learner.close()


def _material(settings: SiamTrainSettings, skipped: Callable[[SparseError], None]) -> tuple[Material, str]:
    """Recordings of the folder, and fits that lie beside them."""
    from sparsecli.engine.siam_lessons import Material
    from sparsecli.io.events_file import load_events
    from sparsecli.io.recordings import find_recordings, split

    if not settings.audio_path or settings.scene_share == 1:
        return Material(), "scenes of its own alone"
    recordings, held_out = split(find_recordings(settings.audio_path, skipped))
    fits = []
    for recording in recordings:
        beside = Path(recording.path).with_suffix(".npz")
        if beside.is_file():
            try:
                fits.append(load_events(str(beside)))
            except SparseError as error:
                skipped(error)
    told = [plural(len(recordings), "recording"), f"{len(held_out)} held out"]
    if fits:
        told.append(plural(len(fits), "fit"))
    return Material(recordings, held_out, fits), ", ".join(told)


def _export(learner: engine_training.Learner, path: Path) -> None:
    """Write the mean of the weights as a model that `sparse decompose --model` takes."""
    from sparsecli.models.siam import Siam
    from sparsecli.models.siam_file import save_siam

    model = cast("NetworkLearner[object]", learner).average
    assert isinstance(model, Siam)
    save_siam(path, model, {"trained_by": "sparse train siam"}, half=True, overwrite=True)
