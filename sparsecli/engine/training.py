"""The loop of every training: steps, validation now and then, checkpoints, and an end."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from .processes import Processes
from .training_settings import TrainSettings

Arrays = dict[str, NDArray[Any]]
Figures = Mapping[str, float]

COUNT = "steps"  # in sums of figures, how many steps they are over
VALIDATED = "validation_"  # before the names of figures of held-out recordings


class Learner(Protocol):
    """Something that learns by steps. What step n does depends on its number and on what was learned before, alone."""

    def step(self, index: int) -> Figures:
        """Do step `index`, from 0; figures of it, `loss` among them."""

    def gauges(self) -> Figures:
        """Figures of this moment, of which no mean is taken."""

    def validate(self) -> Figures:
        """Figures of what was held out. The first process alone does it."""

    def arrays(self) -> Arrays:
        """All that is needed to go on."""

    def restore(self, arrays: Arrays) -> None:
        """Go on from arrays. Raises SparseError where they are not those of such a learner."""


@dataclass(frozen=True)
class Progress:
    """How a training goes.

    Attributes:
        step: steps done.
        steps: of the whole training.
        seconds: of training so far, those before a resume included.
        left_s: what is expected to remain; None at the first step.
        figures: means over the steps since the last line of the history, and those of this moment.
        validated: figures of this step's validation; None where there was none.
    """

    step: int
    steps: int
    seconds: float
    left_s: float | None
    figures: dict[str, float]
    validated: dict[str, float] | None


@dataclass(frozen=True)
class Reached:
    """How far a training came: what a checkpoint holds beside the learner's arrays.

    Attributes:
        step: steps done.
        seconds: of training so far.
        running: sums of figures over the steps since the last line of the history.
    """

    step: int = 0
    seconds: float = 0.0
    running: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """What became of a training.

    Attributes:
        reached: how far it came.
        complete: whether all steps are done.
        validated: figures of the last validation, if there was one.
    """

    reached: Reached
    complete: bool
    validated: dict[str, float]


class Listener(Protocol):
    """Who is told how a training goes."""

    def progress(self, progress: Progress) -> bool:
        """Take notice of a step; False ends the training, with a checkpoint."""

    def line(self, entry: dict[str, Any]) -> None:
        """Take a line of the history. The first process alone has one."""

    def checkpoint(self, reached: Reached) -> None:
        """Keep what was learned so far. The first process alone does it."""


def train(
    learner: Learner, settings: TrainSettings, listener: Listener, processes: Processes, begun: Reached | None = None
) -> Trained:
    """Train until all steps are done, the time is over or the listener has enough; a checkpoint stands at the end.

    Args:
        learner: what learns; restored already where the training goes on.
        settings: how long, and how often what happens.
        listener: who is told.
        processes: that train together.
        begun: where an earlier part of the training ended.
    """
    begun = begun or Reached()
    clock = _Clock(settings, begun)
    running, validated = dict(begun.running), dict[str, float]()
    reached, kept_s = begun, time.monotonic()
    while reached.step < settings.steps:
        _add(running, processes.mean(learner.step(reached.step)))
        step = reached.step + 1
        found = None
        if _is_turn(step, settings.validate_steps, settings) and processes.is_first:
            found = validated = {VALIDATED + name: value for name, value in learner.validate().items()}
        means = {**_means(running), **learner.gauges()}
        seconds = clock.seconds()
        progress = Progress(step, settings.steps, seconds, clock.left_s(step), means, found)
        if found is not None or _is_turn(step, settings.log_steps, settings):
            if processes.is_first:
                listener.line({"step": step, "seconds": round(seconds, 3), **means, **(found or {})})
            running = {}
        reached = Reached(step, seconds, dict(running))
        due = time.monotonic() - kept_s >= 60 * settings.checkpoint_minutes
        ended, due = processes.any(not listener.progress(progress) or clock.is_over(), due)
        if processes.is_first and (due or ended) and step < settings.steps:
            listener.checkpoint(reached)
        if due:
            kept_s = time.monotonic()
        if ended:
            break
    if processes.is_first and reached.step == settings.steps:
        listener.checkpoint(reached)
    return Trained(reached, reached.step >= settings.steps, validated)


class _Clock:
    def __init__(self, settings: TrainSettings, begun: Reached) -> None:
        self._settings, self._begun, self._started = settings, begun, time.monotonic()

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def seconds(self) -> float:
        return self._begun.seconds + self._elapsed_s()

    def is_over(self) -> bool:
        return self._settings.minutes is not None and self._elapsed_s() >= 60 * self._settings.minutes

    def left_s(self, step: int) -> float | None:
        """By the mean time of a step since this process began, or what is left of the minutes."""
        done = step - self._begun.step
        if done < 1:
            return None
        left = (self._settings.steps - step) * self._elapsed_s() / done
        if self._settings.minutes is not None:
            left = min(left, max(0.0, 60 * self._settings.minutes - self._elapsed_s()))
        return left


def _is_turn(step: int, every: int, settings: TrainSettings) -> bool:
    return step % every == 0 or step == settings.steps


def _add(running: dict[str, float], figures: Figures) -> None:
    """Add figures to sums; a step whose loss is not finite tells nothing but of counts."""
    finite = {name: value for name, value in figures.items() if math.isfinite(value)}
    for name, value in finite.items():
        running[name] = running.get(name, 0.0) + value
        running[f"{COUNT}.{name}"] = running.get(f"{COUNT}.{name}", 0.0) + 1


def _means(running: Mapping[str, float]) -> dict[str, float]:
    """
    >>> _means({"loss": 3.0, "steps.loss": 2.0})
    {'loss': 1.5}
    """
    counts = f"{COUNT}."
    return {name: value / running[counts + name] for name, value in running.items() if not name.startswith(counts)}
