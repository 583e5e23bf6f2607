"""What SIAM learns from: scenes whose events are known, and excerpts of recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..core.columns import STRETCH_S
from ..core.errors import SparseError
from ..core.events import Events
from ..io.recordings import Recording, read_onsets_s
from ..losses.naming import parse_loss
from ..models.siam import Siam, SiamShape, Strikes
from .excerpts import SILENCE, Excerpts, excerpt
from .processes import Processes
from .siam import SiamLimits, pick_atoms
from .siam_scenes import SCENE_S, Excerpt, draw_scene, strikes_of_events
from .siam_training import Batch, generator_for, join_batches, loss_of, make_batch, with_sound
from .training import Figures
from .training_settings import SiamTrainSettings

HELD_OUT_SEED = 1 << 40  # apart from all that training draws, so that validation hears the same every time
HELD_OUT_SCENES = 4
HEARD_EVERY = 8  # items of a batch: a look at a whole sound costs more than all that is asked of its peaks
NEAR_S = 0.05  # an onset within this of a note's is right
_SIZES = ("width", "depth", "voice_width", "voice_depth", "sample_rate")


def shape_of(settings: SiamTrainSettings) -> SiamShape:
    """The sizes that settings ask for. Raises SparseError where they are none."""
    asked = {name: getattr(settings, name) for name in _SIZES}
    try:
        return SiamShape(**{name: value for name, value in asked.items() if value is not None})
    except ValueError as error:
        raise SparseError("--set", str(error)) from None


@dataclass(frozen=True)
class Material:
    """What there is to learn from.

    Attributes:
        recordings: to train on; none: scenes alone.
        held_out: to validate on.
        fits: events of recordings, whose strikes make further scenes.
    """

    recordings: Sequence[Recording] = ()
    held_out: Sequence[Recording] = ()
    fits: Sequence[Events] = ()


class SiamLessons:
    """Batches, loss and validation of SIAM; `Lessons` of a `NetworkLearner`.

    Args:
        shape: of the model.
        material: what there is to learn from.
        settings: how.
        processes: that learn together.
        skipped: takes what could not be read of what is held out.
    """

    def __init__(
        self,
        shape: SiamShape,
        material: Material,
        settings: SiamTrainSettings,
        processes: Processes,
        skipped: list[SparseError],
    ) -> None:
        self._shape, self._settings, self._processes = shape, settings, processes
        self._heard_by = parse_loss(settings.loss) if settings.loss else None
        self._bank = bank_of(material.fits)
        samples = round(SCENE_S * shape.sample_rate)
        self._excerpts = None
        if material.recordings:
            self._excerpts = Excerpts(material.recordings, samples, shape.sample_rate, settings.seed)
        draw = generator_for(HELD_OUT_SEED, 0)
        scenes = [draw_scene(shape, draw, self._bank) for _ in range(HELD_OUT_SCENES)]
        found = _listen(material.held_out, settings.validate_excerpts, samples, shape.sample_rate, skipped)
        self._heard = found or [_Heard(scene.samples.numpy()) for scene in scenes[: settings.validate_excerpts]]
        known = [Excerpt(torch.from_numpy(each.samples)) for each in found] + scenes
        self._examined = make_batch(shape, known, draw)

    def batch(self, step: int, items: range, skipped: list[SparseError]) -> Batch:
        """Peaks of those items of a step's batch."""
        return join_batches([self._item(step, item, skipped) for item in items])

    def _item(self, step: int, item: int, skipped: list[SparseError]) -> Batch:
        draw = generator_for(self._settings.seed, step, item)
        if self._excerpts is None or float(torch.rand((), generator=draw)) < self._settings.scene_share:
            found = self._scene(draw)
        else:
            found = Excerpt(torch.from_numpy(self._excerpts.draw(step, item, skipped)))
        batch = make_batch(self._shape, [found], draw)
        heard = self._heard_by is not None and item % HEARD_EVERY == 0
        return with_sound(batch, found, step) if heard else batch

    def _scene(self, draw: torch.Generator) -> Excerpt:
        """Half of the scenes are of strikes of fits, where there are some."""
        fitted = self._bank is not None and float(torch.rand((), generator=draw)) < 0.5
        return draw_scene(self._shape, draw, self._bank if fitted else None)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch, and figures of it."""
        assert isinstance(model, Siam)
        return loss_of(model, batch, self._processes.mean, self._heard_by)

    def validate(self, model: nn.Module) -> Figures:
        """On what was held out, or on scenes: the loss; SNR and events a second as events are found."""
        assert isinstance(model, Siam)
        device = next(model.parameters()).device
        loss, figures = loss_of(model, self._examined.to(device))
        found = [self._hear(model, heard, device) for heard in self._heard]
        means = {name: float(np.mean([each[name] for each in found if name in each])) for name in set().union(*found)}
        return {"loss": float(loss), **figures, **means}

    def _hear(self, model: Siam, heard: _Heard, device: torch.device) -> dict[str, float]:
        reached = [0.0]

        def tell(events: int, snr_db: float) -> bool:
            reached.append(snr_db)
            return True

        seconds = len(heard.samples) / self._shape.sample_rate
        density = self._settings.validate_density
        limits = SiamLimits(events=max(1, round(density * seconds / STRETCH_S)))
        atoms, _ = pick_atoms(model, torch.from_numpy(heard.samples).to(device), limits, tell)
        figures = {"snr_db": reached[-1], "events_per_s": atoms.onset.shape[1] / seconds}
        if heard.onsets_s is not None:
            found_s = np.sort(atoms.onset[0].cpu().numpy()) / self._shape.sample_rate
            figures["onset_f1"] = onset_f1(found_s, heard.onsets_s)
        return figures


@dataclass(frozen=True)
class _Heard:
    """A held-out sound, and when its notes begin, where a table tells."""

    samples: NDArray[np.float32]
    onsets_s: NDArray[np.float64] | None = None


def _listen(
    recordings: Sequence[Recording], count: int, samples: int, rate: int, skipped: list[SparseError]
) -> list[_Heard]:
    """Excerpts of recordings in turn, the same every time; with onsets of notes where there are tables."""
    heard = []
    for index in range(count if recordings else 0):
        recording = recordings[index % len(recordings)]
        try:
            spare_s = max(0.0, recording.duration_s - samples / rate)
            start_s = np.random.default_rng((HELD_OUT_SEED, index)).uniform(0, spare_s)
            found = excerpt(recording, start_s, samples, rate)
            onsets_s = None if recording.labels is None else read_onsets_s(recording) - start_s
        except SparseError as error:
            skipped.append(error)
            continue
        if onsets_s is not None:
            onsets_s = onsets_s[(onsets_s >= 0) & (onsets_s < samples / rate)]
        if np.abs(found).max() >= SILENCE:
            heard.append(_Heard(found, onsets_s))
    return heard


def bank_of(fits: Sequence[Events]) -> Strikes | None:
    """All strikes of sets of events; None where there are none."""
    found = [strikes_of_events(events)[0] for events in fits]
    if not any(len(strikes.attack_s) for strikes in found):
        return None
    return Strikes(*(torch.cat([getattr(each, field.name) for each in found]) for field in fields(Strikes)))


def onset_f1(found_s: NDArray[np.float64], wanted_s: NDArray[np.float64]) -> float:
    """How well onsets match those of notes: the harmonic mean of the shares of both that have a partner within 50 ms.

    >>> onset_f1(np.array([0.0, 0.5, 1.04]), np.array([1.0]))
    0.5
    """
    pairs, place = 0, 0
    for wanted in wanted_s:
        while place < len(found_s) and found_s[place] < wanted - NEAR_S:
            place += 1
        if place < len(found_s) and found_s[place] <= wanted + NEAR_S:
            pairs, place = pairs + 1, place + 1
    return 2 * pairs / max(1, len(found_s) + len(wanted_s))
