"""Settings of training: the only place where their defaults and ranges stand. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sparsecli.losses.names import SURROGATE, parse_terms

from .settings import DEFAULT_ATOMS, MAX_ATOMS, MAX_SEED, Device, check_range

Precision = Literal["auto", "float32", "bfloat16"]

MAX_BATCH = 65_536


@dataclass(frozen=True)
class TrainSettings:
    """What every training has.

    Attributes:
        audio_path: folder of recordings, searched through with all that is in it.
        steps: of the whole training, those before a `--resume` included.
        batch_size: excerpts in a step, shared among all processes.
        minutes: stop after this much time; None: no limit.
        seed: of everything that is drawn by chance.
        device: where torch works; `auto` takes the fastest there is.
        checkpoint_minutes: a checkpoint is written this often, at the end, and at Ctrl-C.
        validate_steps: the held-out recordings are heard every so many steps, and at the end.
        log_steps: one line of the history tells of so many steps.
    """

    audio_path: str = ""
    steps: int = 20_000
    batch_size: int = 16
    minutes: float | None = None
    seed: int = 0
    device: Device = "auto"
    checkpoint_minutes: float = 5.0
    validate_steps: int = 500
    log_steps: int = 10

    def __post_init__(self) -> None:
        check_range("--steps", self.steps, 1, None)
        check_range("--batch-size", self.batch_size, 1, MAX_BATCH)
        check_range("--minutes", self.minutes, 0, None, "minutes")
        check_range("--seed", self.seed, 0, MAX_SEED)
        check_range("--checkpoint-minutes", self.checkpoint_minutes, 0, None, "minutes")
        check_range("validate_steps", self.validate_steps, 1, None)
        check_range("log_steps", self.log_steps, 1, None)


@dataclass(frozen=True)
class NetworkSettings(TrainSettings):
    """What the training of a network has beside.

    Attributes:
        learning_rate: of AdamW, at its peak.
        warmup_steps: in which the learning rate rises to its peak.
        last_rate: share of the peak that is left at the last step, after half a cosine.
        weight_decay: of AdamW.
        clip_norm: gradients are scaled down to this norm.
        average: decay of the running mean of the weights, which is what is validated and kept as the model.
        precision: of the forward pass; `auto` is bfloat16 on CUDA where it has it, else float32.
        workers: processes that make batches while the network learns; 0: threads of this one; None: on CUDA as many as
            there are cores to spare, else 0.
    """

    learning_rate: float = 5e-4
    warmup_steps: int = 200
    last_rate: float = 0.02
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    average: float = 0.999
    precision: Precision = "auto"
    workers: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("--lr", self.learning_rate, 0, 10)
        check_range("warmup_steps", self.warmup_steps, 0, None)
        check_range("last_rate", self.last_rate, 0, 1)
        check_range("weight_decay", self.weight_decay, 0, 10)
        check_range("clip_norm", self.clip_norm, 0, None)
        check_range("average", self.average, 0, 1)
        check_range("workers", self.workers, 0, 64)


@dataclass(frozen=True)
class SiamTrainSettings(NetworkSettings):
    """What the training of SIAM has beside.

    Attributes:
        scene_share: of a batch, scenes whose events are known; the rest are excerpts of the recordings.
        width: channels of the eye; None: as `SiamShape` has it, and so for the following.
        depth: residual blocks of each of its stages.
        voice_width: units of each layer of the voice.
        voice_depth: its coupling layers.
        sample_rate: of the sound that is looked at, in Hz.
        loss: that what one look at a sound explains is to lower too, such as mrstft+0.1*scattering (docs/losses.md), on
            one sound in eight; None: the eye learns from bands around peaks alone.
        validate_excerpts: of held-out recordings, 4 s each, whose events are found to tell SNR and density.
        validate_density: events for each 1.486 s that are found there at most.
    """

    scene_share: float = 0.5
    width: int | None = None
    depth: int | None = None
    voice_width: int | None = None
    voice_depth: int | None = None
    sample_rate: int | None = None
    loss: str | None = None
    validate_excerpts: int = 4
    validate_density: int = DEFAULT_ATOMS

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("scene_share", self.scene_share, 0, 1)
        if self.loss is not None and SURROGATE in parse_terms(self.loss).names:
            raise ValueError(f"--loss {self.loss}: the surrogate is of a descent; give another, e.g. mrstft-linear")
        check_range("validate_excerpts", self.validate_excerpts, 1, 1000)
        check_range("validate_density", self.validate_density, 1, MAX_ATOMS)


SMOKE = {
    "steps": 40, "batch_size": 2, "validate_steps": 20, "log_steps": 5, "warmup_steps": 10, "scene_share": 1.0,
    "width": 8, "depth": 1, "voice_width": 8, "voice_depth": 2, "validate_excerpts": 1, "validate_density": 8,
}  # fmt: skip
