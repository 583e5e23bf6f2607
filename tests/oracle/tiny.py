"""A small model with chance weights, which sees much as a trained one does, and vectors of its own."""

from __future__ import annotations

import os

import numpy as np
import torch

from sparsecli.models.finding import Trained
from sparsecli.models.siam import Siam, SiamShape
from sparsecli.models.siam_file import save_siam

SHAPE = SiamShape(scales=(256, 1024), width=8, depth=1, voice_width=8, voice_depth=4)
FACTS = {"kind": "siam", "licence": "MIT", "sample_rate": str(SHAPE.sample_rate)}
RATE = 22050


def tiny_siam(seed: int = 0) -> Siam:
    """The model of a seed."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        siam = Siam(SHAPE)
        for weight in siam.voice.parameters():  # what vectors mean; the eye sees well enough as it is
            weight += 0.1 * torch.randn(weight.shape)
    return siam.eval().requires_grad_(False)


def tiny_trained(seed: int = 0) -> Trained:
    """The same, as a file would give it."""
    return Trained(tiny_siam(seed), "tiny", f"{seed:064x}")


def write_tiny(path: str | os.PathLike[str], seed: int = 0) -> None:
    """Its file."""
    save_siam(path, tiny_siam(seed), FACTS)


def struck(seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    """Three struck tones and a whisper of noise, float32 `[samples]`."""
    t = np.arange(round(seconds * rate)) / rate
    sound = 1e-4 * np.random.default_rng(0).standard_normal(len(t))
    for onset_s, freq_hz in ((0.05, 440.0), (0.2, 660.0), (0.35, 300.0)):
        u = np.maximum(t - onset_s, 0)
        sound += (u > 0) * 0.3 * np.exp(-12 * u) * np.sin(2 * np.pi * freq_hz * u)
    return sound.astype(np.float32)
