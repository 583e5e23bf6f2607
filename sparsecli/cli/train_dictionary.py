"""`sparse train dictionary`: a folder of recordings to a dictionary that `sparse decompose --dictionary` takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from sparsecli.core import ranks
from sparsecli.core.errors import SparseError
from sparsecli.engine.learning_settings import DictionarySettings
from sparsecli.web.settings import ViewSettings

from . import options, training
from .console import Console, plural
from .options import settings_from, usage_errors
from .training import Run, open_run, run_training, train_console, train_settings
from .watching import check_installed

if TYPE_CHECKING:
    from sparsecli.engine import training as engine_training
    from sparsecli.engine.dictionary_learning import DictionaryLearner
    from sparsecli.engine.processes import Processes

KIND = "dictionary"
STAGE = "train-dictionary"  # the table of a configuration

setting = partial(options.setting, DictionarySettings)
Atoms = Annotated[int | None, setting("atoms", "--atoms", "N", "Of the dictionary, shared out among the lengths.")]
Length = Annotated[
    str | None, setting("length", "--length", "N[,N...]", "Of the atoms, in samples; several as 512,2048,8192.")
]
SampleRate = Annotated[
    int | None, setting("sample_rate", "--sample-rate", "HZ", "Of the dictionary; recordings are brought to it.")
]
Steps = Annotated[int | None, setting("steps", "--steps", "N", "Of the whole training.")]
BatchSize = Annotated[int | None, setting("batch_size", "--batch-size", "N", "Excerpts in a step.")]


def train_dictionary_command(
    context: typer.Context,
    audio_path: training.Data = None,
    out: Annotated[str, training.out(KIND)] = KIND,
    atoms: Atoms = None,
    length: Length = None,
    sample_rate: SampleRate = None,
    steps: Steps = None,
    minutes: training.Minutes = None,
    batch_size: BatchSize = None,
    seed: training.Seed = None,
    checkpoint_minutes: training.CheckpointMinutes = None,
    config: options.Config = None,
    assignments: options.Set = None,
    resume: training.Resume = False,
    monitor: training.Monitored = False,
    port: options.Port = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
    progress: options.ShowProgress = None,
    quiet: options.Quiet = False,
) -> None:
    """Learn a dictionary for sparse decompose --dictionary: waveforms that recordings are sums of.

    Ctrl-C writes a checkpoint, from which --resume goes on. docs/pursuit.md tells how it learns.
    """
    console = train_console(quiet, progress)
    with usage_errors(console):
        view = settings_from(context, ViewSettings, "view", None, None)
        if ranks.count() > 1:
            raise SparseError("", "a dictionary is trained by one process", "start it without torchrun")
        folder, checkpoint = open_run(out, KIND, resume, overwrite)
        settings = train_settings(context, DictionarySettings, STAGE, (config, assignments), checkpoint)
        if not settings.audio_path:
            raise SparseError("", "no folder of recordings is named", "give --data DIR, or set AUDIO_PATH")
        if monitor:
            check_installed("--monitor")
    run = Run(KIND, folder, settings, checkpoint, monitor, view.port, as_json)
    run_training(run, console, partial(_make, settings), _export)


@contextlib.contextmanager
def _make(
    settings: DictionarySettings, processes: Processes, console: Console
) -> Iterator[tuple[engine_training.Learner, str]]:
    """A learner without atoms, and what it learns from, in words too."""
    from sparsecli.engine.dictionary_learning import HELD_OUT, DictionaryLearner, drawn
    from sparsecli.engine.excerpts import Excerpts
    from sparsecli.io.recordings import find_recordings, split

    def skipped(error: SparseError) -> None:
        console.say(error.subject, f"left out, since it {error.cause}", error.cure)

    recordings, held_out = split(find_recordings(settings.audio_path, skipped))
    told = f"{plural(len(recordings), 'recording')}, {len(held_out)} held out"
    console.say(settings.audio_path, f"learns from {told}")
    given = (settings.excerpt_samples, settings.sample_rate, settings.seed)
    apart = drawn(Excerpts(held_out, *given), skipped)(HELD_OUT, settings.batch_size)
    sources = tuple(Path(recording.name).name for recording in recordings)
    yield DictionaryLearner(settings, drawn(Excerpts(recordings, *given), skipped), apart, sources), told


def _export(learner: engine_training.Learner, path: Path) -> None:
    """Write the atoms as a dictionary that `sparse decompose --dictionary` takes."""
    from sparsecli.io.dictionary_file import save_dictionary

    dictionary = cast("DictionaryLearner", learner).dictionary
    about = {
        name: value for name, value in dictionary.settings.items() if name != "audio_path"
    }  # a place of one machine
    save_dictionary(path, replace(dictionary, settings=about), overwrite=True)
