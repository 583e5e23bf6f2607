"""`sparse edit`: events to other events, by operations in the order in which the command line has them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from sparsecli.core.errors import SparseError
from sparsecli.engine.steps import (
    AUTO,
    NOTES,
    OPERATIONS,
    QUALIFIERS,
    WHERE,
    Step,
    check_step,
    check_tempo,
    parameter_of,
    steps_of,
)
from sparsecli.io.atomic import STANDARD

from . import options
from .console import Console, plural, print_json, print_table, spoken
from .interrupts import Interrupts
from .options import usage_errors
from .outputs import check_extensions, check_outputs, check_writable, make_folder, plan_outputs
from .runner import Record, run_each

if TYPE_CHECKING:
    from sparsecli.core.events import Events
    from sparsecli.engine.vectors import Decoded

MIDI = "mid"
FORMATS = ("npz", "json", "csv", MIDI)
MIDI_EXTENSIONS = (".mid", ".midi")
EXTENSIONS = (".npz", ".json", ".csv", *MIDI_EXTENSIONS)
PANEL = "Operations, done in the order in which they stand"
QUALIFIED = "What qualifies operations, wherever it stands"
_ARGUMENTS = "sparse.arguments"  # where a context keeps what was typed


class OrderedCommand(TyperCommand):
    """A command that knows in which order its options were given."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as usual, and keep what was typed."""
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)


def edit_command(
    context: typer.Context,
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="IN", help="Events files; - is standard input.", show_default=False)
    ] = None,
    output: Annotated[
        str | None, options.output("Events file (.npz, .json, .csv), its notes as MIDI (.mid), folder, or -.")
    ] = None,
    score: Annotated[
        str | None, typer.Option("--from-midi", metavar="SCORE", help="Play this MIDI file, with the notes of --voice.")
    ] = None,
    voice: Annotated[str | None, typer.Option("--voice", metavar="EVENTS", help="What --from-midi plays with.")] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME|FILE", help="Of --as, where it is not found by itself."),
    ] = None,
    bend: Annotated[bool, typer.Option("--bend", help="In MIDI, pitch bends for what lies between semitones.")] = False,
    whole_notes: Annotated[
        bool, typer.Option("--notes", help="A note of which one event is selected is selected whole.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would change, and write nothing.")] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take the last operation back; needs the file that was edited first.")
    ] = False,
    file_format: Annotated[str | None, options.file_format(FORMATS)] = None,
    overwrite: options.Overwrite = False,
    jobs: options.Jobs = 1,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    **given: Any,
) -> None:
    """Change events: select some, transpose, move, stretch, mute, duplicate, quantise, merge.

    Without -o, song.npz becomes song.edited.npz in the current folder.

    --where selects for the operations that follow it; those before the first act on everything, the air included.
    """
    console = Console(quiet)
    with usage_errors(console):
        steps = _steps(context, given, whole_notes)
        options.check_choice("--format", file_format, FORMATS)
        sources = _sources(inputs or [], score, voice)
        outputs = [] if dry_run else plan_outputs(sources, output, _extension(score is None, file_format))
        to_midi = any(_is_midi(name, file_format) for name in outputs)
        converts = score is not None or output is not None or file_format is not None
        _check_steps(steps, undo, converts)
        _check_qualifiers(steps, given, to_midi)
        tempo = given["tempo"] or QUALIFIERS["tempo"].default
        _say_plainly(check_tempo, tempo)
        if bend and not to_midi:
            raise SparseError("--bend", "only MIDI has bends", "name an output that ends with .mid")
        also_read = [step.value for step in steps if step.name != WHERE and OPERATIONS[step.name].takes_file]
        check_outputs([*sources, *also_read, *filter(None, [voice, model])], outputs)
        check_extensions(outputs, EXTENSIONS, file_format)
        options.check_json(as_json, outputs)
        if not dry_run:
            make_folder(sources, output)
    tasks = [
        EditTask(name, place, tuple(steps), undo, dry_run, file_format, overwrite, voice, tempo, bend, model)
        for name, place in zip(sources, outputs or [""] * len(sources), strict=True)
    ]
    show = print_json if as_json else _print_changes if dry_run else None
    run_each(edit_one, tasks, console, show, jobs)


def _sources(inputs: Sequence[str], score: str | None, voice: str | None) -> list[str]:
    """What is edited: the inputs, or what a score says."""
    if (score is None) != (voice is None):
        given, lacking = ("--from-midi", "--voice") if voice is None else ("--voice", "--from-midi")
        raise SparseError(given, f"needs {lacking}", "name a MIDI file and the events to play it with")
    if score is not None and inputs:
        raise SparseError(inputs[0], "is beside the point of --from-midi", "edit it apart, or add it with --merge")
    if score is None and not inputs:
        raise SparseError("", "no events file is named", "name one, - for standard input, or give --from-midi")
    return [score] if score is not None else list(inputs)


def _extension(of_events: bool, file_format: str | None) -> str:
    """Of a name made from the input's: aside from the events that it was made from."""
    extension = f".{file_format or FORMATS[0]}"
    return f".edited{extension}" if of_events and file_format != MIDI else extension


def _is_midi(output: str, file_format: str | None) -> bool:
    return file_format == MIDI or (file_format is None and output.lower().endswith(MIDI_EXTENSIONS))


def _check_steps(steps: Sequence[Step], undo: bool, converts: bool) -> None:
    """Raise SparseError for steps that nobody can mean; there may be none where the run converts."""
    if undo and steps:
        raise SparseError("--undo", f"--{steps[0].name} is something new to do", "run them apart")
    if steps and steps[-1].name == WHERE and not all(step.name == WHERE for step in steps):
        raise SparseError(f"--where {steps[-1].value}", "selects for nothing that follows", "put it before")
    if not undo and not (converts and not steps) and all(step.name == WHERE for step in steps):
        raise SparseError("", "there is nothing to do", "name an operation after --where, as sparse edit -h tells")
    for step in steps:
        _say_plainly(check_step, step)


def _say_plainly(check: Callable[[Any], None], value: Any) -> None:
    """Check a value; its ValueError, which names the option, becomes a SparseError."""
    try:
        check(value)
    except ValueError as error:
        raise SparseError("", str(error)) from None


def _check_qualifiers(steps: Sequence[Step], given: dict[str, Any], to_midi: bool) -> None:
    """Raise SparseError for a qualifier of operations that nobody asks for."""
    used = {key for step in steps for key in step.qualifiers} | ({"tempo"} if to_midi else set())
    for name in QUALIFIERS:
        if given[name] is not None and name not in used:
            users = ", ".join(f"--{one.name}" for one in OPERATIONS.values() if name in one.qualifiers)
            raise SparseError(f"--{name}", "qualifies nothing that is asked for", f"it goes with {users}")


def _with_operations(command: Any) -> Any:
    """The command with an option for each operation and qualifier of the tables."""
    signature = inspect.signature(command, eval_str=True)
    own = [entry for entry in signature.parameters.values() if entry.kind is not inspect.Parameter.VAR_KEYWORD]
    selection = typer.Option(
        f"--{WHERE}", metavar="EXPR", help="Select for what follows: pitch >= C4 and time < 2s.", rich_help_panel=PANEL
    )
    found: dict[str, Any] = {WHERE: Annotated[list[str] | None, selection]}
    for operation in OPERATIONS.values():
        kind = bool if operation.kind is bool else list[operation.kind] | None  # type: ignore[name-defined]
        option = typer.Option(
            f"--{operation.name}", metavar=operation.metavar or None, help=operation.meaning, rich_help_panel=PANEL
        )
        found[parameter_of(operation.name)] = Annotated[kind, option]
    for entry in QUALIFIERS.values():
        told = f"{entry.meaning} (default {entry.default})" if entry.default is not None else entry.meaning
        option = typer.Option(f"--{entry.name}", metavar=entry.metavar, help=told, rich_help_panel=QUALIFIED)
        found[entry.name.replace("-", "_")] = Annotated[entry.kind | None, option]
    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False if kind.__origin__ is bool else None, annotation=kind
        )
        for name, kind in found.items()
    ]
    command.__signature__ = signature.replace(parameters=[*own, *added])
    command.__annotations__ = {entry.name: entry.annotation for entry in [*own, *added]}
    return command


def _steps(context: typer.Context, given: dict[str, Any], whole_notes: bool) -> list[Step]:
    """What to do, in the order in which it was typed.

    Args:
        context: that knows what was typed.
        given: the values by parameter, a list for what may be repeated.
        whole_notes: whether selections are of whole notes.
    """
    qualifiers = {name: given[name] for name in QUALIFIERS if given[name] is not None}
    waiting = {name: iter(values) for name, values in given.items() if isinstance(values, list)}
    takes_value = {
        spelling: not getattr(parameter, "is_flag", False)
        for parameter in context.command.params
        if parameter.param_type_name == "option"
        for spelling in parameter.opts
    }
    steps, skip = [], False
    for token in context.meta[_ARGUMENTS]:
        if skip:
            skip = False
            continue
        if token == "--":
            break
        spelling, has_value, _ = token.partition("=")
        skip = takes_value.get(spelling, False) and not has_value
        name = spelling.removeprefix("--")
        if spelling.startswith("--") and (name == WHERE or name in OPERATIONS):
            parameter = parameter_of(name)
            value = next(waiting[parameter]) if parameter in waiting else None
            if name == WHERE:
                steps.append(Step(name, value, {NOTES: True} if whole_notes else {}))
                continue
            wanted = OPERATIONS[name].qualifiers
            steps.append(Step(name, value, {key: qualifiers[key] for key in wanted if key in qualifiers}))
    return steps


@dataclass(frozen=True)
class EditTask:
    """One set of events to edit, or a score that is played with a voice, and where to."""

    input: str
    output: str
    steps: tuple[Step, ...]
    undo: bool
    dry_run: bool
    file_format: Any
    overwrite: bool
    voice: str | None
    tempo: str
    bend: bool
    model: str | None


def edit_one(task: EditTask, console: Console, interrupts: Interrupts) -> Record:
    """Read, edit and write one set of events; returns what `--json` prints."""
    if not task.dry_run:
        check_writable(task.output, task.overwrite)
    from sparsecli.engine.diffs import diff_events
    from sparsecli.io.events_file import load_events_and_sha256, save_events

    if task.voice is None:
        before, sha256 = load_events_and_sha256(task.input)
    else:
        before, sha256 = _played(task.input, task.voice), ""
    try:
        after = _undone(before, task) if task.undo else _edited(before, task, sha256)
    except ValueError as error:
        raise SparseError(spoken(task.input, "input"), str(error)) from None
    diff = diff_events(before, after)
    if task.dry_run:
        pass
    elif _is_midi(task.output, task.file_format):
        _write_midi(after, task)
    else:
        save_events(task.output, after, overwrite=task.overwrite, file_format=task.file_format)
    changes = f"{diff.changed} of {plural(diff.before, 'event')} changed, {diff.removed} removed, {diff.added} added"
    where = "nothing is written" if task.dry_run else spoken(task.output, "output")
    console.say(task.input, f"{where}: {changes}")
    output = None if task.dry_run else task.output
    return {"input": task.input, "output": output, **asdict(diff), "operations": after.header.operations}


def _played(score: str, voice: str) -> Events:
    """A MIDI file as events."""
    from sparsecli.engine.scores import play
    from sparsecli.io.events_file import load_events
    from sparsecli.io.midi import read_midi

    return play(read_midi(score), load_events(voice))


def _write_midi(events: Events, task: EditTask) -> None:
    """The notes of events as a MIDI file."""
    from sparsecli.engine.scores import score_of
    from sparsecli.engine.tempi import find_tempo
    from sparsecli.io.atomic import open_output
    from sparsecli.io.midi import write_midi

    tempo_bpm = find_tempo(events) if task.tempo == AUTO else float(task.tempo)
    score = score_of(events)
    if not len(score):
        cure = "make atoms of it with --as atoms" if events.kind.has_vectors else "fit it with --notes"
        raise SparseError(task.input, "has no notes that a MIDI file could hold", cure)
    with open_output(task.output, overwrite=task.overwrite) as out:
        out.write(write_midi(score, tempo_bpm, task.bend))


def _edited(events: Events, task: EditTask, sha256: str) -> Events:
    """The events after the steps of the task."""
    from sparsecli.engine.history import edited
    from sparsecli.io.events_file import load_events

    name = os.path.basename(task.input) if sha256 and task.input != STANDARD else ""
    return edited(events, task.steps, load_events, name, sha256, partial(_decoded, task.model))


def _decoded(model: str | None, events: Events) -> Decoded:
    """Atoms of events that a model decodes."""
    from sparsecli.engine.vectors import decode
    from sparsecli.models.finding import model_of

    return decode(events, model_of(events.header, model).siam)


def _undone(events: Events, task: EditTask) -> Events:
    """The events as they were before their last operation."""
    from sparsecli.engine.history import with_past
    from sparsecli.engine.operations import do

    header, path = events.header, task.input
    if not header.operations:
        raise SparseError(path, "has not been edited", "there is nothing to undo")
    start = _load_near(path, header.edited_name or STANDARD, header.edited_sha256)
    steps = steps_of(header.operations)[:-1]
    while steps and steps[-1].name == WHERE:
        steps.pop()
    if not steps:
        return start
    after = do(start, steps, partial(_load_near, path), partial(_decoded, task.model))
    operations = [step.as_object() for step in steps]
    return with_past(after, operations, header.edited_name, header.edited_sha256)


def _load_near(path: str, name: str, sha256: str | None = None) -> Events:
    """Events of the file `name` beside `path`, or as it is named from here. Raises SparseError."""
    from sparsecli.io.events_file import load_events_and_sha256

    folder = "" if path == STANDARD else os.path.dirname(path)
    beside = os.path.join(folder, os.path.basename(name))
    place = beside if os.path.exists(beside) else name
    cure = "put it beside the edited file; what was done stands in `sparse info`"
    if name == STANDARD or not os.path.exists(place):
        named = "what came from standard input" if name == STANDARD else f"{name}, which was edited,"
        raise SparseError(path, f"cannot be undone: {named} is not at hand", cure)
    found, own = load_events_and_sha256(place)
    if sha256 is not None and own != sha256:
        raise SparseError(path, f"cannot be undone: {place} is not the file that was edited", cure)
    return found


def _print_changes(record: Record) -> None:
    rows = [("", "events", "least", "most")]
    rows += [(name, str(record[name]), "", "") for name in ("before", "after", "removed", "added", "changed")]
    rows += [
        (column["name"], str(column["changed"]), f"{column['least']:+.5g}", f"{column['most']:+.5g}")
        for column in record["columns"]
    ]
    rows += [("air", "changed", "", "")] if record["air_changed"] else []
    print_table(rows, title=record["input"])


_with_operations(edit_command)
