"""How a network learns a step: gradients in mixed precision, AdamW on a schedule, and a running mean of the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..core.errors import SparseError
from .batches import Batches, default_workers
from .processes import Processes
from .training import Arrays, Figures
from .training_settings import NetworkSettings

MOST_SKIPPED = 50  # steps in a row that were not finite, after which there is no hope
FIRST_AVERAGE = 10  # steps: the mean of the weights begins as one over about a tenth of all so far

Batch = TypeVar("Batch")


class Lessons(Protocol[Batch]):
    """What a network is to learn."""

    def batch(self, step: int, items: range, skipped: list[SparseError]) -> Batch:
        """Those items of the batch of a step that this process works on; called ahead of time (see `batches.py`).

        Item i of step n depends on the seed, n and i alone, so that any number of processes sees the same. What had to
        be left out goes to `skipped`.
        """

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The mean loss over the batch, and figures of it."""

    def validate(self, model: nn.Module) -> Figures:
        """Figures of what was held out."""


class NetworkLearner(Generic[Batch]):
    """A network that learns from lessons. A `Learner` of `train`.

    Args:
        model: the network; moved to the device.
        lessons: what it is to learn.
        settings: how.
        processes: that learn together.
        begin: the step that comes first.
        skipped: told once of each recording that had to be left out.
    """

    def __init__(
        self,
        model: nn.Module,
        lessons: Lessons[Batch],
        settings: NetworkSettings,
        processes: Processes,
        begin: int = 0,
        skipped: Callable[[SparseError], None] = lambda error: None,
    ) -> None:
        self.model = model.to(processes.device)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self._lessons, self._settings, self._processes = lessons, settings, processes
        # Weights that scale or shift are not drawn towards 0, as is usual.
        matrices = [weight for weight in self.model.parameters() if weight.ndim > 1]
        others = [weight for weight in self.model.parameters() if weight.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
        self._optimiser = torch.optim.AdamW(groups, settings.learning_rate, weight_decay=settings.weight_decay)
        self._loss: nn.Module = _Loss(self.model, lessons)
        if processes.count > 1:
            self._loss = DistributedDataParallel(self._loss)
        items = processes.share(settings.batch_size)
        workers = settings.workers if settings.workers is not None else default_workers(processes.device.type)
        self._batches = Batches(lessons.batch, items, range(begin, settings.steps), workers, skipped)
        self._skipped, self._skipped_in_row = 0, 0

    def close(self) -> None:
        """End what makes batches."""
        self._batches.close()

    def step(self, index: int) -> Figures:
        """Learn from one batch. A step whose gradient is not finite changes nothing."""
        settings = self._settings
        torch.manual_seed(_mixed(settings.seed, index, self._processes.rank))  # of what the network itself draws
        batch = _moved(self._batches.take(index), self._processes.device)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(index, settings)
        self._optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self._processes.device.type, torch.bfloat16, enabled=self._is_half()):
            loss, figures = self._loss(batch)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm)
        if math.isfinite(float(norm)) and self._agree(math.isfinite(float(loss.detach()))):
            self._skipped_in_row = 0
            self._optimiser.step()
            self._take_average(index)
        else:
            self._skip()
        return {"loss": float(loss.detach()), "gradient": float(norm), **figures}

    def gauges(self) -> Figures:
        """Learning rate, steps that were skipped, and memory at its peak."""
        gauges = {"learning_rate": self._optimiser.param_groups[0]["lr"], "skipped": float(self._skipped)}
        if self._processes.device.type == "cuda":
            gauges["device_memory_mb"] = torch.cuda.max_memory_allocated(self._processes.device) / 1e6
        return gauges

    def validate(self) -> Figures:
        """Figures of the mean of the weights on what was held out."""
        self.average.eval()
        with torch.no_grad():
            return self._lessons.validate(self.average)

    def arrays(self) -> Arrays:
        """Weights, their mean, and what AdamW remembers of each."""
        found = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        found |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for name, weight in self.model.named_parameters():
            kept = self._optimiser.state.get(weight, {})
            found |= {f"optimiser.{key}.{name}": value for key, value in kept.items()}
        arrays: Arrays = {name: value.detach().to("cpu", copy=True).numpy() for name, value in found.items()}
        return arrays | {"skipped": np.array(self._skipped)}

    def restore(self, arrays: Arrays) -> None:
        """Go on from arrays. Raises SparseError where they are of another network."""
        for prefix, model in (("model.", self.model), ("average.", self.average)):
            _check_shapes(prefix, model, arrays)
            model.load_state_dict({name: torch.from_numpy(arrays[prefix + name]) for name in model.state_dict()})
        for name, weight in self.model.named_parameters():
            self._optimiser.state[weight] = {
                key: _of_optimiser(arrays[full], weight)
                for full in arrays
                if full.startswith("optimiser.") and full.split(".", 2)[2] == name
                for key in [full.split(".", 2)[1]]
            }
            if not self._optimiser.state[weight]:
                del self._optimiser.state[weight]
        self._skipped = int(arrays.get("skipped", np.array(0)))

    def _is_half(self) -> bool:
        wanted = self._settings.precision
        if wanted == "auto":
            return self._processes.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return wanted == "bfloat16"

    def _agree(self, fine: bool) -> bool:
        """Whether it is fine for all processes; each must then step, or none."""
        return not self._processes.any(not fine)[0]

    def _skip(self) -> None:
        self._skipped += 1
        self._skipped_in_row += 1
        if self._skipped_in_row >= MOST_SKIPPED:
            cause = f"{MOST_SKIPPED} steps in a row had gradients that are not finite: the training has come apart"
            raise SparseError("", cause, "go on from the last checkpoint by --resume with a lower --lr")

    def _take_average(self, index: int) -> None:
        decay = min(self._settings.average, (index + 1) / (index + FIRST_AVERAGE))
        with torch.no_grad():
            for mean, weight in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(weight, 1 - decay)
            for kept, buffer in zip(self.average.buffers(), self.model.buffers(), strict=True):
                kept.copy_(buffer)


def learning_rate(index: int, settings: NetworkSettings) -> float:
    """The learning rate of a step, from 0: a straight rise, then half a cosine down to a share of the peak.

    >>> settings = NetworkSettings(steps=110, warmup_steps=10, learning_rate=1.0, last_rate=0.0)
    >>> [round(learning_rate(index, settings), 3) for index in (0, 9, 60, 110)]
    [0.1, 1.0, 0.5, 0.0]
    """
    if index < settings.warmup_steps:
        return settings.learning_rate * (index + 1) / settings.warmup_steps
    done = min(1.0, (index - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps))
    share = settings.last_rate + (1 - settings.last_rate) * (1 + math.cos(math.pi * done)) / 2
    return settings.learning_rate * share


class _Loss(nn.Module):
    """The loss as a module, since gradients are shared among processes through a module's call."""

    def __init__(self, model: nn.Module, lessons: Lessons[Any]) -> None:
        super().__init__()
        self.model, self._lessons = model, lessons

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, float]]:
        loss, figures = self._lessons.loss(self.model, batch)
        # Every weight has a gradient, be it 0: processes wait for the same ones of each other.
        return loss + 0.0 * torch.stack([weight.sum() for weight in self.model.parameters()]).sum(), figures


def _mixed(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _moved(batch: Any, device: torch.device) -> Any:
    """A batch with all its tensors on a device: a tensor, a tuple, list, dictionary or what has a method `to`."""
    if isinstance(batch, tuple | list):
        return type(batch)(_moved(part, device) for part in batch)
    if isinstance(batch, dict):
        return {name: _moved(part, device) for name, part in batch.items()}
    return batch.to(device, non_blocking=True) if isinstance(batch, Tensor) else batch.to(device)


def _of_optimiser(array: Any, weight: Tensor) -> Tensor:
    """What AdamW keeps: its count of steps stays on the CPU, the rest lies where the weight does."""
    value = torch.from_numpy(array)
    return value if value.ndim == 0 else value.to(weight.device)


def _check_shapes(prefix: str, model: nn.Module, arrays: Arrays) -> None:
    own = {prefix + name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = {name: value.shape for name, value in arrays.items() if name.startswith(prefix)}
    for name in sorted(own.keys() | given.keys()):
        if own.get(name) != given.get(name):
            cause = f"its {name} is {_told(given.get(name))}, and the network's is {_told(own.get(name))}"
            cure = "resume with the settings of the run, or train anew with --overwrite"
            raise SparseError("checkpoint", cause, cure)


def _told(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else f"of shape {list(shape)}"
