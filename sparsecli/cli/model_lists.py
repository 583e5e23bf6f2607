"""What `sparse fetch-models` tells of models: those of a bucket, and those that are here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from sparsecli.core.errors import SparseError
from sparsecli.core.fetch_settings import FetchSettings
from sparsecli.core.manifest import MANIFEST, Model

from .console import Console, print_json, print_table
from .interrupts import Interrupts
from .runner import Named, Record, run_each

HEADING = ("name", "kind", "version", "size", "rate", "licence", "")


def list_bucket(settings: FetchSettings, task: Named, console: Console, interrupts: Interrupts) -> Record:
    """What the manifest of a bucket lists, and what else lies there; returns the records of all."""
    from sparsecli.io.buckets import Bucket
    from sparsecli.io.fetching import other_files, read_catalogue
    from sparsecli.io.model_store import is_here, local_models, model_folder

    bucket, folder = Bucket(settings), model_folder(settings.dest)
    models = read_catalogue(bucket)
    others = other_files(bucket, models or ())
    if models is None and others is None:
        cause = f"has no {MANIFEST} that may be read, and may not be listed"
        raise SparseError(bucket.place(), cause, "name whole keys, or use credentials with --signed or --profile")
    if others is None:
        console.say(bucket.place(), f"may not be listed; this is what its {MANIFEST} tells")
    elif models is None:
        console.say(bucket.place(), f"has no {MANIFEST}; nothing tells what these are, nor what bytes they should have")
    here = local_models(folder)
    records = [{**asdict(model), "here": is_here(folder, model, here)} for model in models or ()]
    unlisted = dict.fromkeys(records[0] if records else [*Model.__dataclass_fields__, "here"])
    kept = {(model.key, model.bytes) for model in here}
    return {
        "models": [
            *records,
            *(
                {**unlisted, "key": entry.key, "bytes": entry.bytes, "here": (entry.key, entry.bytes) in kept}
                for entry in others or ()
            ),
        ]
    }


def list_local(settings: FetchSettings, task: Named, console: Console, interrupts: Interrupts) -> Record:
    """What is here; returns the records of all."""
    from sparsecli.io.model_store import is_here, local_models, model_folder

    folder = model_folder(settings.dest)
    models = local_models(folder)
    return {"models": [{**asdict(model), "here": is_here(folder, model, models)} for model in models]}


def check_local(
    names: Sequence[str] | None, folder: Named, console: Console, show: Callable[[Record], None] | None
) -> None:
    """Read models that are here from end to end: those named, or all."""
    from sparsecli.io.model_store import local_models

    listed: list[Model] = []
    run_each(
        lambda task, console, interrupts: {"models": local_models(Path(task.input))},
        [folder],
        console,
        lambda record: listed.extend(record["models"]),
    )
    models = {model.name: model for model in listed}
    if not (names or models):
        console.say(folder.input, "no models are here", "fetch them with: sparse fetch-models")
    work = partial(_check_one, Path(folder.input), models)
    run_each(work, [Named(name) for name in names or models], console, show)


def _check_one(folder: Path, models: dict[str, Model], task: Named, console: Console, interrupts: Interrupts) -> Record:
    from sparsecli.io.model_store import verify_model

    model = models.get(task.input)
    if model is None:
        raise SparseError(task.input, f"is not in {folder}", "fetch it without --offline and --verify")
    path = verify_model(folder, model)
    console.say(task.input, f"{path}: has the {model.bytes} bytes that it should have")
    return {"input": task.input, "output": str(path), **asdict(model)}


def print_models_json(record: Record) -> None:
    """One object for each model."""
    for model in record["models"]:
        print_json(model)


def print_models(record: Record) -> None:
    """A table of models, by name, and of files that no manifest lists, by key."""
    print_table([HEADING, *(_row(model) for model in record["models"])])


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    here = "here" if model["here"] else "not here"
    if model["name"] is None:
        return (model["key"], "not in the manifest", "", size_text(model["bytes"]), "", "", here)
    rate = "" if model["sample_rate"] is None else f"{model['sample_rate']} Hz"
    texts = (model["name"], model["kind"], model["version"], size_text(model["bytes"]))
    return (*texts, rate, model["licence"], here)


def size_text(count: int) -> str:
    """A size in decimal units.

    >>> size_text(999), size_text(12_345_678)
    ('999 B', '12.3 MB')
    """
    if count < 1000:
        return f"{count} B"
    return f"{count / 1e3:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"
