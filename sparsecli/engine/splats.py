"""Source and excitation by descent: their scaled numbers, where they begin, and the atoms that sound alike."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..core.audio import Audio
from ..core.columns import ATOM_COLUMNS, MIN_ATTACK_S, MODES_PER_ATOM, SILENT_DB
from ..core.events import Events, Header, events_from_columns, make_noise_seeds, with_optional
from ..synth.excitation import (
    HARMONICS,
    LONGEST_BURST_S,
    MEAN_RISE,
    SPREAD_RISE,
    Excitations,
    burst_amplitude,
    render_excitations,
    resonances,
)
from ..synth.modes import envelope_peak
from ..synth.rooms import room_response
from .descent import BATCH_SEEDS, MODES, Voice
from .devices import choose_device
from .relocation import found_atoms
from .scaled import LOWEST_HZ, QUIETEST_DB, SHORTEST_DECAY_S, UNIT_OF, Scaled
from .settings import FitSettings

# Columns: linear in tenths of a second, in ratios, or, of a share s, ln(s / (1 - s)).
NAMES = (
    "onset_s", "attack_s", "burst_decay_s", "decay_s", "fade_s", "freq_hz", "first_hz", "second_hz", "noise_hz",
    "width", "amplitude", "mix", "wet",
)  # fmt: skip
PLACE = {name: index for index, name in enumerate(NAMES)}
SHARES = ("mix", "wet")
RANGES = {
    "attack_s": (MIN_ATTACK_S, 0.3),
    "burst_decay_s": (SHORTEST_DECAY_S, LONGEST_BURST_S),
    "decay_s": (0.01, 20.0),
    "fade_s": (0.01, 20.0),
    "first_hz": (50.0, 20000.0),
    "second_hz": (50.0, 20000.0),
    "noise_hz": (50.0, 20000.0),
    "width": (0.05, 5.0),
    "amplitude": (10 ** (QUIETEST_DB / 20), 10.0),
}
MOST_SHARE = 6.0  # of ln(s / (1 - s)): 0.25 % to 99.75 %
FAINT_DB = -90.0  # a mode, or a burst, that is dropped


def excitations_of(splats: Scaled, envelope: str, seed: int) -> Excitations:
    """What the scaled numbers mean; gradients flow through it.

    Args:
        splats: E of them.
        envelope: `gamma`; or `gaussian`, whose onset is the middle of the burst and whose attack is its width.
        seed: of the noise; each splat has its own by its number, which stands in `anchor_s`.
    """
    values = {name: splats.numbers[:, place] for name, place in PLACE.items()}
    physical = {
        name: torch.sigmoid(value) if name in SHARES else value * UNIT_OF["s"] if name == "onset_s" else value.exp()
        for name, value in values.items()
    }
    if envelope == "gaussian":
        physical["attack_s"] = (physical["attack_s"] / SPREAD_RISE).clamp(min=MIN_ATTACK_S)
        physical["onset_s"] = physical["onset_s"] - MEAN_RISE * physical["attack_s"]
    seeds = make_noise_seeds(seed, splats.anchor_s.cpu().numpy().astype(np.int64)).view(np.int64)
    return Excitations(**physical, seeds=torch.from_numpy(seeds).to(splats.numbers.device))


def splats_of(columns: dict[str, Tensor]) -> Scaled:
    """Scaled numbers from physical columns `[E]`."""
    numbers = [
        torch.logit(columns[name]) if name in SHARES else columns[name] / UNIT_OF["s"] if name == "onset_s"
        else columns[name].log()
        for name in NAMES
    ]  # fmt: skip
    count = len(numbers[0])
    return Scaled(
        torch.stack(numbers, dim=1).double(),
        torch.ones(count, 1, dtype=torch.bool),
        torch.arange(count, dtype=torch.float64),
        torch.zeros(count, 1, dtype=torch.float64),
    )


def amplitudes_of(splats: Scaled) -> Tensor:
    """About the peaks, `[E, 1]`."""
    return splats.numbers[:, PLACE["amplitude"], None].exp()


def splat_bounds(splats: Scaled, first_s: float, last_s: float, highest_hz: float) -> tuple[Tensor, Tensor]:
    """Least and largest scaled numbers, `[E, 13]`."""
    low, high = torch.full((len(NAMES),), -MOST_SHARE).double(), torch.full((len(NAMES),), MOST_SHARE).double()
    for name, ends in {**RANGES, "freq_hz": (LOWEST_HZ, highest_hz)}.items():
        low[PLACE[name]], high[PLACE[name]] = (math.log(end) for end in ends)
    low[PLACE["onset_s"]], high[PLACE["onset_s"]] = first_s / UNIT_OF["s"], last_s / UNIT_OF["s"]
    device = splats.numbers.device
    return low.to(device).expand(len(splats), -1).clone(), high.to(device).expand(len(splats), -1).clone()


def random_splats(count: int, first_s: float, last_s: float, highest_hz: float, seed: int, wet: bool) -> Scaled:
    """Splats drawn evenly: onsets in time, the rest in ratios; half burst and half resonance; a tenth wet, or dry.

    Args:
        count: how many.
        first_s: earliest onset.
        last_s: latest one.
        highest_hz: frequency.
        seed: of the draw.
        wet: there is a room.
    """
    draw = torch.Generator().manual_seed(seed)

    def ratios(low: float, high: float) -> Tensor:
        return torch.exp(torch.rand(count, generator=draw).double() * math.log(high / low) + math.log(low))

    top_hz = min(highest_hz, 8000.0)
    columns = {
        "onset_s": first_s + (last_s - first_s) * torch.rand(count, generator=draw).double(),
        "attack_s": ratios(1e-3, 0.03),
        "burst_decay_s": ratios(0.01, 0.15),
        "decay_s": ratios(0.1, 2.0),
        "fade_s": ratios(0.1, 2.0),
        "freq_hz": ratios(50.0, min(2000.0, top_hz)),
        "first_hz": ratios(1000.0, top_hz),
        "second_hz": ratios(300.0, 3000.0),
        "noise_hz": ratios(100.0, top_hz),
        "width": ratios(0.3, 2.0),
        "amplitude": ratios(3e-3, 3e-2),
        "mix": torch.full((count,), 0.7).double(),
        "wet": torch.full((count,), 0.1 if wet else 1e-9).double(),
    }
    return splats_of(columns)


def splats_at(found: Scaled, wet: bool) -> Scaled:
    """Splats in place of atoms that were found by search (`relocation.found_atoms`): their tone is the fundamental."""
    numbers = found.numbers
    onset, attack_s, decay_s = numbers[:, 0] * UNIT_OF["s"], numbers[:, 1].exp(), numbers[:, 2].exp()
    freq_hz, amplitude = numbers[:, 3].exp(), numbers[:, 4].exp()
    columns = {
        "onset_s": onset,
        "attack_s": attack_s.clamp(*RANGES["attack_s"]),
        "burst_decay_s": (0.3 * decay_s).clamp(*RANGES["burst_decay_s"]),
        "decay_s": decay_s.clamp(*RANGES["decay_s"]),
        "fade_s": decay_s.clamp(*RANGES["fade_s"]),
        "freq_hz": freq_hz,
        "first_hz": (4 * freq_hz).clamp(*RANGES["first_hz"]),
        "second_hz": (2 * freq_hz).clamp(*RANGES["second_hz"]),
        "noise_hz": freq_hz.clamp(*RANGES["noise_hz"]),
        "width": torch.full_like(freq_hz, 0.7),
        "amplitude": amplitude,
        "mix": torch.full_like(freq_hz, 0.9),
        "wet": torch.full_like(freq_hz, 0.1 if wet else 1e-9),
    }
    return splats_of(columns)


def to_events(splats: Scaled, envelope: str, header: Header, gain: float, wet: bool) -> Events:
    """The atoms that sound as splats do: their harmonics four by four, slow and fading ones apart, and their bursts.

    The atoms of a splat share a label `note`, and the burst has the seed of its splat.

    Args:
        splats: E of them.
        envelope: of their bursts.
        header: of the events.
        gain: factor on all amplitudes.
        wet: keep how much of each goes into the room.
    """
    with torch.no_grad():
        x = excitations_of(splats, envelope, header.seed)
        modes = resonances(x)
        peak = modes.amplitude.abs() * envelope_peak(modes.attack_s[:, None], modes.decay_s) * gain
        noise_db = 20 * torch.log10((burst_amplitude(x) * gain).clamp(min=1e-12))
    level_db = 20 * torch.log10(peak.clamp(min=1e-12))
    kept = (level_db > FAINT_DB) & (modes.freq_hz < header.sample_rate / 2)
    turned = modes.phase_rad + torch.where(modes.amplitude < 0, math.pi, 0.0)
    phase = torch.remainder(turned + math.pi, 2 * math.pi) - math.pi
    rows: list[tuple[float, ...]] = []
    labels: list[int] = []
    for e in range(len(splats)):
        shared = (float(x.onset_s[e]), float(x.attack_s[e]))
        for begin in range(0, 2 * HARMONICS, MODES_PER_ATOM):
            sounding = [m for m in range(begin, begin + MODES_PER_ATOM) if bool(kept[e, m])]
            if sounding:
                slots = [(float(modes.freq_hz[e, m]), float(level_db[e, m]), float(phase[e, m])) for m in sounding]
                slots += [(0.0, SILENT_DB, 0.0)] * (MODES_PER_ATOM - len(slots))
                rows.append((*shared, float(modes.decay_s[e, begin]), *sum(slots, ()), SILENT_DB))
                labels.append(e)
        if float(noise_db[e]) > FAINT_DB:
            slots = [(0.0, SILENT_DB, 0.0)] * (MODES_PER_ATOM - 1) + [(float(x.noise_hz[e]), SILENT_DB, 0.0)]
            rows.append((*shared, float(x.burst_decay_s[e]), *sum(slots, ()), float(noise_db[e])))
            labels.append(e)
    table = np.array(rows, np.float64).reshape(len(rows), len(ATOM_COLUMNS))
    order = np.argsort(table[:, 0], kind="stable")
    table, splat = table[order], np.array(labels, np.int64)[order]
    columns = {column.name: table[:, place] for place, column in enumerate(ATOM_COLUMNS)}
    columns["pan"] = np.zeros(len(table))
    events = events_from_columns(header, columns, np.zeros((header.channels, 0, 24)))
    events = replace(events, note=splat.astype(np.int32), noise_seed=make_noise_seeds(header.seed, splat))
    if not wet:
        return events
    events = with_optional(events, ["wet"])
    params = events.params.copy()
    params[:, events.columns.index("wet") - 1] = x.wet.detach().cpu().numpy()[splat]
    return replace(events, params=params)


def splat_voice(envelope: str, seed: int, source_rate: int, response: Tensor | None = None) -> Voice:
    """What the scaled numbers of splats mean to a descent.

    Args:
        envelope: of their bursts.
        seed: of their noise.
        source_rate: of the recording, in Hz.
        response: of the room, at the rate of the descent, `[N]`; None: there is none.
    """
    wet = response is not None

    def sound(splats: Scaled, samples: int, rate: int, start: int) -> Tensor:
        lead = min(start, 0 if response is None else len(response))  # what was sent before still sounds
        x = excitations_of(splats, envelope, seed)
        dry, send = render_excitations(x, samples + lead, rate, source_rate, start - lead)
        heard: Tensor = dry if response is None else dry + convolved(send, response)
        return heard[lead:]

    def random(count: int, first_s: float, last_s: float, highest_hz: float, of_seed: int) -> Scaled:
        splats = random_splats(count, first_s, last_s, highest_hz, of_seed, wet)
        return replace(splats, anchor_s=splats.anchor_s + count * (of_seed % BATCH_SEEDS))

    def found(lacking: Tensor, count: int, rate: int, lowest_hz: float, highest_hz: float) -> Scaled:
        return splats_at(found_atoms(lacking, count, rate, lowest_hz, highest_hz), wet)

    return Voice(sound, amplitudes_of, splat_bounds, random, found, PLACE["decay_s"], anchored=False)


def convolved(send: Tensor, response: Tensor) -> Tensor:
    """The first samples of a convolution, `[T]` with `[N]`, as many as are sent."""
    size = 1 << (len(send) + len(response) - 1).bit_length()
    spectrum = torch.fft.rfft(send, n=size) * torch.fft.rfft(response.to(send), n=size)
    sound: Tensor = torch.fft.irfft(spectrum, n=size)
    return sound[: len(send)]


def voice_of(settings: FitSettings, source_rate: int, rate: int, room: Audio | None) -> Voice:
    """What a descent's numbers mean: atoms, or splats where the settings name an envelope.

    Args:
        settings: of the fit.
        source_rate: of the recording, in Hz.
        rate: of the descent, in Hz.
        room: of one channel, in which splats sound; None: dry.
    """
    if settings.envelope is None:
        return MODES
    response = None
    if room is not None:
        found = room_response(room, rate)
        response = torch.from_numpy(found.samples[0, found.lead :]).to(choose_device(settings.device))
    return splat_voice(settings.envelope, settings.seed, source_rate, response)
