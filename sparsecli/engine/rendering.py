"""Events to audio: the modes, the bursts and the air, summed, dry or in a room, once or round and round."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.audio import Audio
from ..core.columns import NOISE_FREQ, OPTIONAL_COLUMNS, SILENT_DB
from ..core.errors import SparseError
from ..core.events import Events
from ..core.learned import LearnedDictionary
from ..dsp.looping import crossfade, fold
from ..dsp.resample import resample
from ..synth.air import render_air
from ..synth.modes import Modes, envelope_peak, render_modes
from ..synth.noise import Bursts, noise_rate, render_bursts
from ..synth.rooms import in_room, room_response
from .devices import choose_device
from .editing import keep
from .extents import ends_s
from .learned_rendering import KIND as LEARNED
from .learned_rendering import render_learned
from .settings import RenderSettings
from .transforms import transformed
from .windows import render_mixes

AIR_SEED = 0xA1  # in the upper half of the key of the air's noise, apart from every event's; the channel in the lower
SEAM_S = 0.5  # in which the air of a loop goes over into itself: half a frame of it
SETTLE_S = 0.1  # after the last event's end, in which a resampler rings
RISE_S = 0.01  # in which a loop lets in what already rang before it: too short to soften, too long to click

Sound = NDArray[np.float32]


def render(
    events: Events,
    settings: RenderSettings | None = None,
    room: Audio | None = None,
    dictionary: LearnedDictionary | None = None,
) -> Audio:
    """The sound of a set of events; it may exceed full scale.

    Args:
        events: of any kind that needs no model.
        settings: rate, pitch, time, gain, chance, wetness, loop; the source's where not given.
        room: the impulse response of one, of 1 or 2 channels and any rate; None: dry.
        dictionary: of events of kind `learned`, which need theirs.

    Returns:
        Audio as long as the recording the events describe (times `time_stretch`), and as the room's tail; a loop as
        long as it was asked for. Two channels for events of two or a room of two, else one.

    Raises:
        SparseError: the device is not there, or the room has more channels or no sound.
    """
    settings = settings or RenderSettings()
    return sound_of(transformed(events, settings), settings, room, dictionary)


def sound_of(
    events: Events,
    settings: RenderSettings,
    room: Audio | None = None,
    dictionary: LearnedDictionary | None = None,
) -> Audio:
    """The sound of events that are as `settings` want them already (`transforms.transformed`); else like `render`.

    Raises:
        ValueError: only a model can decode the events (`vectors.heard`).
    """
    if events.kind.has_vectors:
        raise ValueError(f"events of kind {events.header.kind} are played as the atoms that their model makes of them")
    rate = settings.sample_rate or events.header.sample_rate
    length_s = settings.loop_s or events.header.duration_s
    samples = max(1, round(length_s * rate)) if length_s else 0
    loops = settings.loop_s is not None and samples > 0
    play = play_round if loops else play_once
    wet = None if room is None else settings.wet
    sound = play(events, samples, rate, settings, wet, dictionary)  # [1 or 2 mixes, channels, samples]
    if room is None:
        heard = sound[0]
    else:
        heard = in_room(sound[0], sound[1], room_response(room, rate, settings.normalize_room))
    if loops:
        heard = np.tile(fold(heard, samples), settings.rounds)
    return Audio(samples=heard, sample_rate=rate, name=events.header.source_name)


def play_once(
    events: Events,
    samples: int,
    rate: int,
    settings: RenderSettings,
    wet: float | None = None,
    dictionary: LearnedDictionary | None = None,
) -> Sound:
    """The sound of events from the recording's start on.

    Args:
        events: of any kind.
        samples: how long.
        rate: in Hz.
        settings: whether there is noise, and where to compute.
        wet: the share that goes into a room, of events times their column `wet`; None: there is no room.
        dictionary: of events of kind `learned`.

    Returns:
        float32 `[mixes, channels, samples]`: what stays dry and what is sent, or one mix of all without a room.
    """
    if events.header.kind == LEARNED:
        if dictionary is None:
            raise SparseError("", "events of a learned dictionary need it", "give it with --dictionary")
        return render_learned(events, dictionary, samples, rate, _shares(events, wet)).astype(np.float32)
    return _PLAYERS[events.header.kind](events, samples, rate, settings, wet)


def play_round(
    events: Events,
    samples: int,
    rate: int,
    settings: RenderSettings,
    wet: float | None = None,
    dictionary: LearnedDictionary | None = None,
) -> Sound:
    """What is heard of events in each round once they have been repeated every so many samples, as `play_once` has it.

    Events that begin after the round are left out; what rings on after it is heard at the beginning of the next. What
    began before the recording comes in within 10 ms, since a round has no place for what was before its start. The air
    goes over from the end of one round into the next.
    """
    events = events.take(events.onset_s < samples / rate)
    began = events.onset_s >= 0
    seam = min(round(SEAM_S * rate), samples // 2)
    rise = np.sin(np.minimum(np.arange(ring_samples(events, samples, rate)) / (RISE_S * rate), 1) * (math.pi / 2)) ** 2

    def part(of: Events, length: int) -> Sound:
        return play_once(of, length, rate, settings, wet, dictionary)

    struck, rang = (keep(events, rows) for rows in (began, ~began))
    return np.asarray(
        fold(part(struck, len(rise)), samples)
        + fold((part(rang, len(rise)) * rise).astype(np.float32), samples)
        + crossfade(part(keep(events, np.zeros_like(began), air=True), samples + seam), samples)
    )


def ring_samples(events: Events, samples: int, rate: int) -> int:
    """Samples until all events have died away, so many at least."""
    return max(samples, math.ceil((float(ends_s(events).max(initial=0.0)) + SETTLE_S) * rate))


def _play_atoms(events: Events, samples: int, rate: int, settings: RenderSettings, wet: float | None) -> Sound:
    """Modes, and the noise where it is wanted."""
    device = choose_device(settings.device)
    shares = tensor(_shares(events, wet), device)  # [mixes, E]
    gains = (shares[:, None] * gains_of(events, device)).flatten(0, 1)  # [mixes x channels, E]
    sound = render_modes(modes_of(events, device), samples, rate, gains=gains).cpu().numpy()
    if settings.noise:
        of_air = [1.0] if wet is None else [1 - wet, wet]
        sound = sound + render_noise(events, samples, rate, gains, of_air, device)
    return sound.astype(np.float32).reshape(len(shares), len(gains) // len(shares), samples)


def _play_windows(events: Events, samples: int, rate: int, settings: RenderSettings, wet: float | None) -> Sound:
    """Windowed waves, which have no noise."""
    return render_mixes(events, samples, rate, _shares(events, wet)).astype(np.float32)


_PLAYERS: dict[str, Callable[[Events, int, int, RenderSettings, float | None], Sound]] = {
    "atoms": _play_atoms,
    "gabor": _play_windows,
}


def gains_of(events: Events, device: torch.device) -> Tensor:
    """What of each event goes to each channel, `[channels, E]`: 1 - pan left and 1 + pan right, or all into one.

    The mean of the two channels does not depend on the places: it is the sound of the same events in one.
    """
    if "pan" not in events.columns:
        return torch.ones(1, len(events), device=device)
    pan = tensor(events.column("pan"), device)
    return torch.stack([1 - pan, 1 + pan])


def _shares(events: Events, wet: float | None) -> NDArray[np.float64]:
    """What of each event goes into each mix, `[mixes, E]`: all of it, or what stays dry and what is sent."""
    if wet is None:
        return np.ones((1, len(events)))
    has_own = "wet" in events.columns
    own = events.column("wet") if has_own else np.full(len(events), OPTIONAL_COLUMNS["wet"].default)
    return np.stack([1 - wet * own, wet * own])


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


def render_noise(
    events: Events, samples: int, rate: int, gains: Tensor, of_air: list[float], device: torch.device
) -> np.ndarray:
    """Bursts and air at `rate`: drawn on the noise grid, then resampled.

    The air is drawn anew for each channel, so that it is as wide as a room's.

    Args:
        events: of kind `atoms`.
        samples: how long.
        rate: in Hz.
        gains: `[mixes x channels, E]`, of the bursts.
        of_air: how much of the air each mix has.
        device: where to compute.

    Returns:
        float32 `[mixes x channels, samples]`.
    """
    header, nyquist_hz = events.header, events.header.sample_rate / 2
    grid = noise_rate(header.sample_rate)
    length = max(1, round(samples * grid / rate))
    sounding = np.flatnonzero(events.column("noise_level_db") > SILENT_DB)
    channels = len(gains) // len(of_air)
    air = torch.stack(
        [
            render_air(tensor(levels, device), header.seed << 40 | AIR_SEED << 32 | channel, length, grid, nyquist_hz)
            for channel, levels in enumerate(events.air[:channels])
        ]
    )
    noise = torch.cat([share * air for share in of_air])
    if len(sounding):
        of_bursts = gains[:, torch.from_numpy(sounding).to(device)]
        noise = noise + render_bursts(bursts_of(events.take(sounding), device), length, grid, of_bursts)
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
