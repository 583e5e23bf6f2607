"""Events to audio: the modes, the bursts and the air, summed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..core.audio import Audio
from ..core.columns import SILENT_DB
from ..core.events import Events
from ..dsp.resample import resample
from ..synth.air import render_air
from ..synth.modes import Modes, envelope_peak, render_modes
from ..synth.noise import Bursts, noise_rate, render_bursts
from .devices import choose_device
from .settings import RenderSettings
from .transforms import change_gain, shift_pitch, stretch_time

AIR_SEED = 0xA1  # in the upper half of the key of the air's noise, apart from every event's number


def render(events: Events, settings: RenderSettings | None = None) -> Audio:
    """The sound of a set of events; it may exceed full scale.

    Args:
        events: of kind `atoms`.
        settings: rate, pitch, time, gain; the source's where not given.

    Returns:
        One channel of audio, as long as the recording the events describe (times `time_stretch`).
    """
    settings = settings or RenderSettings()
    events = stretch_time(events, settings.time_stretch)
    events = shift_pitch(events, settings.pitch_shift_semitones)
    events = change_gain(events, settings.gain_db)
    rate = settings.sample_rate or events.header.sample_rate
    device = choose_device(settings.device)
    samples = max(1, round(events.header.duration_s * rate)) if events.header.duration_s else 0
    sound = render_modes(modes_of(events, device), samples, rate).cpu().numpy()
    if settings.noise:
        sound = sound + render_noise(events, samples, rate, device)
    return Audio(samples=sound[None].astype(np.float32), sample_rate=rate, name=events.header.source_name)


def modes_of(events: Events, device: torch.device) -> Modes:
    """The events' modes as tensors on `device`; an unused slot has amplitude 0."""
    level_db = tensor(events.modes("level_db"), device)
    attack_s, decay_s = tensor(events.column("attack_s"), device), tensor(events.modes("decay_s"), device)
    peak = torch.pow(10.0, level_db / 20)
    used = (level_db > SILENT_DB) & (decay_s > 0)
    return Modes(
        onset_s=tensor(events.onset_s, device),
        attack_s=attack_s,
        freq_hz=tensor(events.modes("freq_hz"), device),
        decay_s=decay_s,
        amplitude=torch.where(used, peak / envelope_peak(attack_s[:, None], decay_s).clamp(min=1e-30), 0.0),
        phase_rad=tensor(events.modes("phase_rad"), device),
    )


def render_noise(events: Events, samples: int, rate: int, device: torch.device) -> np.ndarray:
    """Bursts and air at `rate`, float32 `[samples]`: drawn on the noise grid, then resampled."""
    header = events.header
    grid = noise_rate(header.sample_rate)
    length = max(1, round(samples * grid / rate))
    noise = render_air(
        tensor(events.air[0], device), header.seed << 40 | AIR_SEED << 32, length, grid, header.sample_rate / 2
    )
    bursts = events.take(events.column("noise_level_db") > SILENT_DB)
    if len(bursts):
        noise = noise + render_bursts(bursts_of(bursts, device), length, grid)
    out = resample(noise.float().cpu().numpy(), grid, rate)
    return np.pad(out, (0, max(0, samples - len(out))))[:samples]


def bursts_of(events: Events, device: torch.device) -> Bursts:
    """The events' noise bursts as tensors on `device`."""
    return Bursts(
        onset_s=tensor(events.onset_s, device),
        attack_s=tensor(events.column("attack_s"), device),
        level_db=tensor(events.column("noise_level_db"), device),
        noise_hz=tensor(events.column("noise_hz"), device),
        seeds=torch.from_numpy(events.noise_seed.view(np.int64)).to(device),
    )


def tensor(values: np.ndarray, device: torch.device) -> Tensor:
    """A numpy column as float64 on `device` (float32 where the device has no doubles)."""
    kind = torch.float32 if device.type == "mps" else torch.float64
    return torch.from_numpy(np.ascontiguousarray(values)).to(device=device, dtype=kind)
