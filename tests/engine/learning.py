"""A tiny network and its lessons, for the tests of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparsecli.engine.network_learner import NetworkLearner
from sparsecli.engine.processes import Processes
from sparsecli.engine.training_settings import NetworkSettings

ALONE = Processes(0, 1, torch.device("cpu"))


def tiny_model(hidden: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Dropout(0.1), nn.Linear(hidden, 1))


class Lines:
    """To learn: the difference of two numbers. Step `broken` gives what is not finite."""

    def __init__(self, seed: int = 0, broken: int = -1) -> None:
        self.seed, self.broken = seed, broken

    def batch(self, step: int, items: range, skipped: Any = None) -> tuple[Tensor, Tensor]:
        drawn = [np.random.default_rng((self.seed, step, item)).standard_normal(2) for item in items]
        x = torch.tensor(np.array(drawn), dtype=torch.float32)  # [items, 2]
        return x, x[:, :1] - x[:, 1:] + (float("nan") if step == self.broken else 0.0)

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, float]]:
        x, wanted = batch
        error = (model(x) - wanted).square().mean()
        return error, {"error_db": float(10 * error.detach().log10())}

    def validate(self, model: nn.Module) -> dict[str, float]:
        assert not model.training
        return {"loss": float(self.loss(model, self.batch(-1 & 0xFFFF, range(16)))[0])}


def tiny_learner(settings: NetworkSettings, begin: int = 0, **lessons: int) -> NetworkLearner[tuple[Tensor, Tensor]]:
    return NetworkLearner(tiny_model(), Lines(**lessons), settings, ALONE, begin)
