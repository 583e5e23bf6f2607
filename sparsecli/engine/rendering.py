"""Events to audio: the modes, the bursts and the air, summed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..core.audio import Audio
from ..core.columns import NOISE_FREQ, SILENT_DB
from ..core.events import Events
from ..dsp.resample import resample
from ..synth.air import render_air
from ..synth.modes import Modes, envelope_peak, render_modes
from ..synth.noise import Bursts, noise_rate, render_bursts
from .devices import choose_device
from .settings import RenderSettings
from .transforms import change_gain, shift_pitch, stretch_time
from .windows import render_windows

AIR_SEED = 0xA1  # in the upper half of the key of the air's noise, apart from every event's; the channel in the lower


def render(events: Events, settings: RenderSettings | None = None) -> Audio:
    """The sound of a set of events; it may exceed full scale.

    Args:
        events: of any kind.
        settings: rate, pitch, time, gain; the source's where not given.

    Returns:
        Audio as long as the recording the events describe (times `time_stretch`); two channels for events of two, else
        one.
    """
    settings = settings or RenderSettings()
    events = stretch_time(events, settings.time_stretch)
    events = shift_pitch(events, settings.pitch_shift_semitones)
    events = change_gain(events, settings.gain_db)
    rate = settings.sample_rate or events.header.sample_rate
    samples = max(1, round(events.header.duration_s * rate)) if events.header.duration_s else 0
    sound = _RENDERERS[events.header.kind](events, samples, rate, settings)
    return Audio(samples=sound.astype(np.float32), sample_rate=rate, name=events.header.source_name)


def _render_atoms(events: Events, samples: int, rate: int, settings: RenderSettings) -> np.ndarray:
    """Modes, and the noise where it is wanted, `[channels, samples]`."""
    device = choose_device(settings.device)
    sound = render_modes(modes_of(events, device), samples, rate, gains=gains_of(events, device)).cpu().numpy()
    if settings.noise:
        return np.asarray(sound + render_noise(events, samples, rate, device))
    return np.asarray(sound)


_RENDERERS: dict[str, Callable[[Events, int, int, RenderSettings], np.ndarray]] = {
    "atoms": _render_atoms,
    "gabor": lambda events, samples, rate, settings: render_windows(events, samples, rate),
}


def gains_of(events: Events, device: torch.device) -> Tensor:
    """What of each event goes to each channel, `[channels, E]`: 1 - pan left and 1 + pan right, or all into one.

    The mean of the two channels does not depend on the places: it is the sound of the same events in one.
    """
    if "pan" not in events.columns:
        return torch.ones(1, len(events), device=device)
    pan = tensor(events.column("pan"), device)
    return torch.stack([1 - pan, 1 + pan])


def modes_of(events: Events, device: torch.device) -> Modes:
    """The events' modes as tensors on `device`, with the decay that they share; an unused slot has amplitude 0."""
    level_db = tensor(events.modes("level_db"), device)  # [E, 4]
    attack_s = tensor(events.column("attack_s"), device)
    decay_s = tensor(events.column("decay_s"), device)[:, None].expand_as(level_db)
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
    """Bursts and air at `rate`, float32 `[channels, samples]`: drawn on the noise grid, then resampled.

    The air is drawn anew for each channel, so that it is as wide as a room's.
    """
    header, nyquist_hz = events.header, events.header.sample_rate / 2
    grid = noise_rate(header.sample_rate)
    length = max(1, round(samples * grid / rate))
    bursts = events.take(events.column("noise_level_db") > SILENT_DB)
    gains = gains_of(bursts, device)
    air = [
        render_air(tensor(levels, device), header.seed << 40 | AIR_SEED << 32 | channel, length, grid, nyquist_hz)
        for channel, levels in enumerate(events.air[: len(gains)])
    ]
    noise = torch.stack(air)
    if len(bursts):
        noise = noise + render_bursts(bursts_of(bursts, device), length, grid, gains)
    out = np.stack([resample(channel, grid, rate) for channel in noise.float().cpu().numpy()])
    return np.pad(out, ((0, 0), (0, max(0, samples - out.shape[1]))))[:, :samples]


def bursts_of(events: Events, device: torch.device) -> Bursts:
    """The events' noise bursts as tensors on `device`."""
    return Bursts(
        onset_s=tensor(events.onset_s, device),
        attack_s=tensor(events.column("attack_s"), device),
        decay_s=tensor(events.column("decay_s"), device),
        level_db=tensor(events.column("noise_level_db"), device),
        noise_hz=tensor(events.column(NOISE_FREQ), device),
        seeds=torch.from_numpy(events.noise_seed.view(np.int64)).to(device),
    )


def tensor(values: np.ndarray, device: torch.device) -> Tensor:
    """A numpy column as float64 on `device` (float32 where the device has no doubles)."""
    kind = torch.float32 if device.type == "mps" else torch.float64
    return torch.from_numpy(np.ascontiguousarray(values)).to(device=device, dtype=kind)
