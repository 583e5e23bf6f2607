"""What `sparse fetch-models` does over the network: bring models here, and write one's own into a bucket."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sparsecli.core.errors import SparseError
from sparsecli.core.fetch_settings import FetchSettings
from sparsecli.core.manifest import MANIFEST, ORIGINAL, UNKNOWN, Model

from .console import BYTES, Console, Progress
from .interrupts import Interrupts
from .model_lists import size_text
from .runner import Named, Record, run_each

if TYPE_CHECKING:
    from sparsecli.io.buckets import Bucket
    from sparsecli.io.fetching import Rules

Show = Callable[[Record], None] | None


@dataclass(frozen=True)
class Wish:
    """What else to fetch: what is here already, and weights of the original project."""

    force: bool
    legacy: bool


@dataclass(frozen=True)
class Source:
    """A bucket and the models that its manifest lists; None: there is no manifest."""

    bucket: Bucket
    models: tuple[Model, ...] | None


class Tally:
    """How far several downloads are together, not counting what was here before.

    Args:
        progress: is told of it.
        planned: bytes to come, by name.
    """

    def __init__(self, progress: Progress, planned: dict[str, int]) -> None:
        self._progress, self._planned = progress, dict(planned)
        self._first: dict[str, int] = {}
        self._came: dict[str, int] = {}
        self._lock = threading.Lock()

    def update(self, name: str, have: int, size: int) -> None:
        """So many bytes of a file are here, of so many."""
        with self._lock:
            first = self._first[name] = min(have, self._first.get(name, have))
            self._came[name], self._planned[name] = have - first, size - first
            files = sum(came >= self._planned[name] for name, came in self._came.items())
            total = max(1, sum(self._planned.values()))
            self._progress.update(sum(self._came.values()), total, f"{files} of {len(self._planned)} files")


def fetch(
    names: Sequence[str] | None,
    place: Named,
    settings: FetchSettings,
    wish: Wish,
    console: Console,
    show: Show,
    jobs: int,
) -> None:
    """Fetch the models named, or all that the manifest lists, several at once."""
    found: list[Source] = []
    run_each(partial(_open, settings, bool(names)), [place], console, lambda record: found.append(record["source"]))
    (source,) = found
    tasks = [Named(name) for name in names or [model.name for model in source.models or ()]]
    rules = _rules(settings, wish)
    with console.progress(place.input, BYTES) as progress:
        tally = Tally(progress, _planned(source, tasks, rules))
        run_each(partial(_fetch_one, source, rules, tally), tasks, console, show, jobs, threads=True)


def _open(settings: FetchSettings, named: bool, task: Named, console: Console, interrupts: Interrupts) -> Record:
    from sparsecli.io.buckets import Bucket
    from sparsecli.io.fetching import read_catalogue

    bucket = Bucket(settings)
    models = read_catalogue(bucket)
    if models is None and not named:
        cure = "name the keys to fetch (--list shows them), or use credentials with --signed or --profile"
        raise SparseError(bucket.place(MANIFEST), "is not there or may not be read", cure)
    return {"source": Source(bucket, models)}


def _rules(settings: FetchSettings, wish: Wish) -> Rules:
    from sparsecli.io.downloads import Patience
    from sparsecli.io.fetching import Rules
    from sparsecli.io.model_store import model_folder

    patience = Patience(settings.timeout_s, settings.attempts)
    check = _check_legacy if wish.legacy else None
    return Rules(model_folder(settings.dest), settings.max_bytes, patience, wish.force, check)


def _check_legacy(path: Path) -> None:
    from sparsecli.engine.legacy import read_legacy

    with path.open("rb") as stream:
        read_legacy(stream, str(path))


def _planned(source: Source, tasks: Sequence[Named], rules: Rules) -> dict[str, int]:
    from sparsecli.io.model_store import is_here, local_models

    try:
        here = local_models(rules.folder)
    except SparseError:
        here = ()  # said when it is written
    wanted = {task.input for task in tasks}
    models = [model for model in source.models or () if model.name in wanted or model.key in wanted]
    return {model.name: model.bytes for model in models if rules.force or not is_here(rules.folder, model, here)}


def _fetch_one(
    source: Source, rules: Rules, tally: Tally, task: Named, console: Console, interrupts: Interrupts
) -> Record:
    from sparsecli.io.fetching import fetch_model, model_named
    from sparsecli.io.model_store import no_model

    wanted = model_named(task.input, source.models, source.bucket, rules.check_legacy is not None)
    name = wanted if isinstance(wanted, str) else wanted.name

    def on_bytes(have: int, size: int) -> None:
        if interrupts.requested:
            raise SystemExit  # which ends this thread in silence
        tally.update(name, have, size)

    started = time.monotonic()
    done = fetch_model(
        source.bucket, wanted, rules, on_bytes, lambda: console.say(name, "another process is fetching it; waiting")
    )
    seconds = time.monotonic() - started
    told = "is here already" if done.was_here else f"fetched in {seconds:.1f} s"
    console.say(task.input, f"{done.path}: {_told(done.model)}, {told}")
    if done.model.kind == ORIGINAL:
        reason = no_model(task.input)
        console.say(reason.subject, reason.cause, reason.cure)
    elif done.model.licence == UNKNOWN and isinstance(wanted, str):
        console.say(task.input, "is in no manifest: its size and form were checked, not that it is what was published")
    return {"input": task.input, "output": str(done.path), **asdict(done.model), "fetched": not done.was_here}


def _told(model: Model) -> str:
    facts = (model.kind, f"version {model.version}", f"licence {model.licence}")
    return ", ".join([size_text(model.bytes), *(fact for fact in facts if not fact.endswith(UNKNOWN))])


def publish_folder(
    folder: Path, place: Named, settings: FetchSettings, overwrite: bool, console: Console, show: Show
) -> None:
    """Write the models of a folder into a bucket and its manifest, one after the other."""
    from sparsecli.io.publishing import files_to_publish

    files: list[Path] = []
    run_each(
        lambda task, console, interrupts: {"files": files_to_publish(folder)},
        [Named(str(folder))],
        console,
        lambda record: files.extend(record["files"]),
    )
    found: list[Source] = []
    # Whoever may not sign may not write.
    run_each(
        partial(_open, replace(settings, signed=True), True), [place], console, lambda r: found.append(r["source"])
    )
    run_each(partial(_publish_one, found[0].bucket, overwrite), [Named(str(path)) for path in files], console, show)


def _publish_one(bucket: Bucket, overwrite: bool, task: Named, console: Console, interrupts: Interrupts) -> Record:
    from sparsecli.io.publishing import describe_file, publish

    path = Path(task.input)
    model = describe_file(path)
    written = publish(bucket, path, model, overwrite)
    console.say(
        task.input, f"{bucket.place(model.key)}: {_told(model)}, {'written' if written else 'is there already'}"
    )
    return {"input": task.input, "output": bucket.place(model.key), **asdict(model), "written": written}
