"""The processes that train together: one, or those that torchrun started."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist

from ..core import ranks
from ..core.errors import SparseError
from .devices import choose_device
from .settings import Device


@dataclass(frozen=True)
class Processes:
    """Which of the processes this one is. What they agree on goes through here.

    Attributes:
        rank: of this one, from 0; the first alone writes and prints.
        count: how many there are.
        device: that this one works on.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """The part of `count` things, such as the excerpts of a batch, that falls to this process.

        >>> [list(Processes(rank, 2, torch.device("cpu")).share(4)) for rank in (0, 1)]
        [[0, 1], [2, 3]]
        """
        return range(self.rank * count // self.count, (self.rank + 1) * count // self.count)

    def mean(self, figures: Mapping[str, float]) -> dict[str, float]:
        """The mean of each figure over all processes."""
        if self.count == 1:
            return dict(figures)
        names = sorted(figures)
        total = self._reduced([figures[name] for name in names], dist.ReduceOp.SUM)
        return {name: value / self.count for name, value in zip(names, total, strict=True)}

    def any(self, *wishes: bool) -> list[bool]:
        """For each wish, whether some process has it."""
        if self.count == 1:
            return list(wishes)
        return [value > 0 for value in self._reduced([float(wish) for wish in wishes], dist.ReduceOp.MAX)]

    def _reduced(self, values: list[float], how: dist.ReduceOp.RedOpType) -> list[float]:
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, how)
        return tensor.tolist()


@contextlib.contextmanager
def processes(name: Device, batch_size: int) -> Iterator[Processes]:
    """All processes of a torchrun, connected within the block: by NCCL on CUDA, else by gloo. Without it, this one.

    Raises:
        SparseError: a device that is not there, or a batch that cannot be shared evenly.
    """
    count = ranks.count()
    device = choose_device(name)
    if batch_size % count:
        cause = f"{batch_size} excerpts cannot be shared evenly by {count} processes"
        raise SparseError("--batch-size", cause, f"give a multiple of {count}")
    if count == 1:
        yield Processes(0, 1, device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    yield Processes(ranks.rank(), count, device)
    dist.destroy_process_group()  # not after an error: the others do not answer, and torchrun ends them all
