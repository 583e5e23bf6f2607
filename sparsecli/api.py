"""The package from Python: arrays and settings in, results out. All of it is at hand as `sparsecli.<name>`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .core import selection
from .core.audio import Audio
from .core.columns import MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from .core.errors import SparseError
from .core.events import Events, Header
from .core.grids import Codes
from .dsp.quality import Quality
from .engine import comparing, history, steps
from .engine.comparing import Comparison
from .engine.settings import DecomposeSettings, FitSettings, RenderSettings
from .io.audio import read_audio, write_audio
from .io.events_file import load_events, save_events

if TYPE_CHECKING:  # they bring torch or numba, which whoever only reads events can do without
    from .engine import decomposing, vectors
    from .engine.fitting import FitResult, Progress

__all__ = [
    "Audio", "Comparison", "DecomposeSettings", "Events", "FitSettings", "Header", "Quality", "RenderSettings",
    "SparseError", "compare", "decompose", "edit", "fit", "load", "read_audio", "render", "save", "select",
    "write_audio",
]  # fmt: skip


def fit(
    recording: Audio | ArrayLike,
    sample_rate: int | None = None,
    settings: FitSettings | None = None,
    on_progress: Callable[[Progress], bool] | None = None,
    **changes: Any,
) -> FitResult:
    """Fit events to a recording. In two channels each atom has its place; more than two are folded to mono.

    Args:
        recording: an `Audio`, or samples `[samples]` or `[channels, samples]` with full scale at 1.
        sample_rate: of samples, in Hz; an `Audio` knows its own.
        settings: the defaults where not given.
        on_progress: told how far the fit has come; returning False ends it with what is found so far.
        **changes: settings by name, over those of `settings`: `fit(x, 44100, atoms=32, snr_db=20.0)`.

    Returns:
        The events, with the figures reached in `result.events.header.quality`.

    Raises:
        ValueError: no sample rate, samples of no such shape or not finite, or a setting out of range.
        TypeError: no such setting.
        SparseError: the device is not there.
    """
    from .engine import fitting

    return fitting.fit(as_audio(recording, sample_rate), replace(settings or FitSettings(), **changes), on_progress)


def decompose(
    recording: Audio | ArrayLike,
    sample_rate: int | None = None,
    settings: DecomposeSettings | None = None,
    on_progress: Callable[[decomposing.Progress], bool] | None = None,
    **changes: Any,
) -> decomposing.DecomposeResult:
    """Decompose a recording by a trained model or over a dictionary; more than two channels are folded to mono.

    Args:
        recording: an `Audio`, or samples `[samples]` or `[channels, samples]` with full scale at 1.
        sample_rate: of samples, in Hz; an `Audio` knows its own.
        settings: the defaults where not given.
        on_progress: told how far it has come; returning False ends it with what is found so far.
        **changes: settings by name, over those of `settings`: `decompose(x, 44100, atoms=20, form="atoms")`,
            `decompose(x, 44100, method="pursuit", dictionary="damped", snr_db=15.0)`.

    Returns:
        The events, with the figures reached in `result.events.header.quality`.

    Raises:
        ValueError: no sample rate, samples of no such shape or not finite, or a setting out of range.
        TypeError: no such setting.
        SparseError: there is no such model, or all windows are longer than the recording.
    """
    from .engine import decomposing
    from .engine.dictionaries import names_learned

    chosen, trained = replace(settings or DecomposeSettings(), **changes), None
    if chosen.method == "siam":
        from .models.finding import open_model

        trained = open_model(chosen.model)
    elif names_learned(chosen.dictionary):
        from .engine.learned_events import Learned
        from .io.dictionaries import find_dictionary

        learned = Learned(*find_dictionary(chosen.dictionary))
        return learned.decompose(as_audio(recording, sample_rate), chosen, on_progress)
    return decomposing.decompose(as_audio(recording, sample_rate), chosen, on_progress, trained)


def render(
    events: Events,
    settings: RenderSettings | None = None,
    room: Audio | None = None,
    model: str | None = None,
    **changes: Any,
) -> Audio:
    """The sound of a set of events; it may exceed full scale.

    Args:
        events: of any kind.
        settings: the defaults where not given: the source's sample rate, pitch and tempo.
        room: an impulse response, e.g. `read_audio("church.wav")`; None: dry.
        model: of events of kind `siam`, or the dictionary of those of kind `learned`: a name or a file; None: wherever
            it is, in the package or fetched.
        **changes: settings by name, over those of `settings`: `render(events, pitch_shift_semitones=2)`.

    Raises:
        ValueError: a setting out of range.
        TypeError: no such setting.
        SparseError: the room has more than two channels or no sound, or the model is nowhere.
    """
    from .engine import rendering

    wanted = replace(settings or RenderSettings(), **changes)
    if not events.kind.decoded:
        return rendering.render(events, wanted, room)
    if not events.kind.has_vectors:
        from .io.dictionaries import dictionary_of

        return rendering.render(events, wanted, room, dictionary_of(events.header, model))
    from .engine import vectors
    from .models import finding

    return rendering.sound_of(vectors.heard(events, finding.model_of(events.header, model).siam, wanted), wanted, room)


def select(events: Events, expression: str) -> NDArray[np.bool_]:
    """Which of E events an expression selects (docs/selection.md), a mask `[E]` for `events.take`.

    Raises:
        ValueError: the expression makes no sense; says where.
    """
    return selection.select(events, expression)


def edit(events: Events, notes: bool = False, model: str | None = None, **operations: Any) -> Events:
    """Events after operations, in the order of the keywords.

    Args:
        events: what to edit; they are not changed themselves.
        notes: a note of which one event is selected is selected whole.
        model: of `as_="atoms"`: a name or a file; None: wherever it is, in the package or fetched.
        **operations: those of `sparse edit` by name, with `_` for `-`, and their values; True for those without.
            `where` selects for the operations behind it, and `merge` and its like take events or the path of some:
            `edit(events, where="pitch = C4", pitch_shift=2, gain=-3)`. What qualifies them (`tempo`, `times`, ...)
            may stand anywhere. For one operation twice, edit twice.

    Returns:
        The events, with what was done at the end of `header.operations`.

    Raises:
        TypeError: no such operation.
        ValueError: a value that an operation cannot have, or that these events cannot take.
        SparseError: a file cannot be read.
    """
    given = {name.rstrip("_").replace("_", "-"): value for name, value in operations.items()}
    at_hand = _Loader()
    qualifiers = {name: given.pop(name) for name in list(given) if name in steps.QUALIFIERS}
    wanted = [_step(name, at_hand.named(value), qualifiers, notes) for name, value in given.items()]
    used = {key for step in wanted for key in step.qualifiers}
    if idle := qualifiers.keys() - used:
        raise TypeError(f"{', '.join(sorted(idle))} qualifies nothing that is asked for")
    done = [step for step in wanted if step.value is not False]
    for step in done:
        steps.check_step(step)
    plain = [replace(s, value=None) if s.value is True else s for s in done]
    return history.edited(events, plain, at_hand, decode=lambda asked: _decoded(asked, model))


def _decoded(events: Events, model: str | None) -> vectors.Decoded:
    from .engine import vectors
    from .models import finding

    return vectors.decode(events, finding.model_of(events.header, model).siam)


class _Loader:
    """Events by the name under which a header keeps them: those in memory, else files."""

    def __init__(self) -> None:
        self._events: dict[str, Events] = {}

    def named(self, value: Any) -> Any:
        """The name of events, and other values as they are."""
        if not isinstance(value, Events):
            return os.fspath(value) if isinstance(value, os.PathLike) else value
        name = f"{value.header.source_name or 'events'} in memory"
        while name in self._events:
            name += ", too"
        self._events[name] = value
        return name

    def __call__(self, name: str) -> Events:
        return self._events[name] if name in self._events else load_events(name)


def _step(name: str, value: Any, qualifiers: dict[str, Any], notes: bool) -> steps.Step:
    """A step of an edit. Raises TypeError where there is no such operation, ValueError for a value of another kind."""
    if name == steps.WHERE:
        return steps.Step(name, value, {steps.NOTES: True} if notes else {})
    if name not in steps.OPERATIONS:
        near = difflib.get_close_matches(name, [steps.WHERE, *steps.OPERATIONS], n=1, cutoff=0.0)[0]
        raise TypeError(f"{name.replace('-', '_')} is no operation; the nearest is {near.replace('-', '_')}")
    operation = steps.OPERATIONS[name]
    if operation.kind is float and not isinstance(value, bool | str):
        value = float(value)
    if not isinstance(value, operation.kind):
        raise ValueError(f"{name.replace('-', '_')}={value!r} is no {operation.kind.__name__}")
    return steps.Step(name, value, {key: qualifiers[key] for key in operation.qualifiers if key in qualifiers})


def compare(reference: Audio | ArrayLike, estimate: Audio | ArrayLike, sample_rate: int | None = None) -> Comparison:
    """How alike two recordings are, over the part that both have.

    Different numbers of channels are folded to mono, and a different rate is resampled to the reference's; the result
    says so in its `notices`.

    Args:
        reference: an `Audio`, or samples `[samples]` or `[channels, samples]`.
        estimate: likewise.
        sample_rate: of samples, in Hz; an `Audio` knows its own.

    Raises:
        ValueError: no sample rate, or samples of no such shape, not finite or none.

    >>> tone = np.sin(np.arange(22050) * 0.1)
    >>> round(compare(tone, 0.9 * tone, 22050).quality.snr_db, 3)
    20.0
    """
    return comparing.compare(as_audio(reference, sample_rate), as_audio(estimate, sample_rate))


def load(path: str | os.PathLike[str]) -> Events:
    """Read an events file, NPZ or JSON; everything in it is checked. Raises SparseError."""
    return load_events(path)


def save(path: str | os.PathLike[str], events: Events, overwrite: bool = False, codes: Codes | None = None) -> None:
    """Write an events file, `.npz`, `.json` or `.csv` by its name. Raises SparseError.

    Args:
        path: the file.
        events: what to write.
        overwrite: replace an existing file.
        codes: those of a quantised fit's `result.codes`, for a small `.npz`.
    """
    save_events(path, events, overwrite=overwrite, codes=codes)


def as_audio(recording: Audio | ArrayLike, sample_rate: int | None = None) -> Audio:
    """Samples `[samples]` or `[channels, samples]` as an `Audio`, which is returned as it is.

    Raises:
        ValueError: no sample rate or another than an `Audio` has, or samples of no such shape or type, not finite or
            none.

    >>> as_audio(np.zeros((2, 4800)), 48000).duration_s
    0.1
    """
    if isinstance(recording, Audio):
        if sample_rate not in (None, recording.sample_rate):
            raise ValueError(f"the recording has {recording.sample_rate} Hz, not {sample_rate}")
        return recording
    given = np.asarray(recording)
    if given.dtype.kind != "f":
        raise ValueError(f"samples are floats with full scale at 1, not {given.dtype}")
    samples = np.atleast_2d(given.astype(np.float32))
    if sample_rate is None or not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise ValueError(f"give the sample rate of the samples, {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz")
    if samples.ndim != 2 or not samples.size or len(samples) > MAX_CHANNELS:
        raise ValueError(f"samples are [samples] or [channels, samples], not {given.shape}")
    if not np.isfinite(samples).all():
        raise ValueError("samples that are not finite")
    return Audio(samples, sample_rate)
