"""What one look of the model sounds like, so that any loss of two sounds can teach it."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ..core.columns import NEPERS_PER_T60, STRETCH_S
from ..losses.naming import Loss
from ..models.siam import Siam
from ..synth.modes import Modes, render_modes
from .amplitudes import solve_all
from .modal import BLOCK, Atoms
from .refine import restraint_of
from .settings import DEFAULT_ATOMS
from .siam import LOOKS, STEPS, band_of, look, shapes_of
from .siam_bands import Peaks, bands_of, extra_of, join_peaks


def heard_loss(model: Siam, sound: Tensor, loss: Loss, step: int = 0) -> Tensor:
    """The loss of what one look at a sound explains; gradients reach what the model says of the peaks that were taken.

    Which peaks those are, their further tones and all amplitudes are taken as they are found.

    Args:
        model: that looks.
        sound: float32 `[T]` at the model's rate.
        loss: of the rendering against the sound.
        step: of the training, for losses with chance in them.

    Returns:
        A scalar; of a silent sound 0.
    """
    rate, samples = model.shape.sample_rate, len(sound)
    sound = sound - sound.mean()
    energy = float(sound.double().square().sum())
    with torch.no_grad():
        most = -(-round(DEFAULT_ATOMS * samples / rate / STRETCH_S) // LOOKS)
        events, peaks = look(model, sound, most, energy) if energy else (None, None)
    if events is None or peaks is None or not events.onset.shape[1]:
        return sound.sum() * 0.0
    atoms = _answers(model, sound, events, peaks)
    with torch.no_grad():
        blocks = -(-samples // BLOCK)
        residual = torch.nn.functional.pad(sound.double(), (0, blocks * BLOCK - samples)).view(blocks, BLOCK)
        still = Atoms(*(getattr(atoms, name).detach() for name in Atoms.__dataclass_fields__))
        solved, _ = solve_all(still, residual, samples, restraint_of(residual, energy), STEPS)
    heard = render_modes(_modes_of(replace(atoms, amp=solved.amp), rate), samples, rate)
    return loss(heard[None], sound[None], rate, step)[0]


def _answers(model: Siam, sound: Tensor, events: Atoms, peaks: Peaks) -> Atoms:
    """The events of a look as the model says them of their peaks, through which gradients flow."""
    rows = [torch.nonzero(peaks.scale == scale)[:, 0] for scale in model.shape.scales]
    parts = [peaks.at(own) for own in rows]
    said = torch.cat([model.eye(bands_of(sound, part)[0], extra_of(part)).float() for part in parts])
    events = events.columns(torch.cat(rows))
    shapes = shapes_of(join_peaks(parts), said, model.shape.sample_rate, len(sound), band_of(model)[1])
    return replace(
        events,
        onset=shapes.onset,
        log_attack=shapes.log_attack,
        log_damping=shapes.log_damping,
        omega=torch.cat([shapes.omega[..., :1], events.omega[..., 1:]], dim=-1),
    )


def _modes_of(atoms: Atoms, rate: int) -> Modes:
    """Atoms `[1, A]` as they are rendered."""
    decay_s = NEPERS_PER_T60 / (atoms.log_damping[0].exp() * rate)
    return Modes(
        onset_s=atoms.onset[0] / rate,
        attack_s=atoms.log_attack[0].exp() / rate,
        freq_hz=atoms.omega[0] * (rate / (2 * math.pi)),
        decay_s=decay_s[:, None].expand_as(atoms.omega[0]),
        amplitude=atoms.amp[0].abs() * atoms.used[0],
        phase_rad=atoms.amp[0].angle(),
    )
