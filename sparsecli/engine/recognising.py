"""A recording to events of kind `siam`: what the model sees, their places between two channels, and the air.

And the fit from there, which takes the events as atoms to begin with.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.audio import Audio
from ..core.columns import (
    AIR_BANDS,
    MAX_LEVEL_DB,
    MAX_VECTOR,
    MODES_PER_ATOM,
    NUMBERS_OF_BAND,
    NUMBERS_OF_BURST,
    NUMBERS_OF_MODE,
    NUMBERS_OF_PAN,
    NUMBERS_OF_PLACE,
    NUMBERS_OF_STRIKE,
    SILENT_DB,
    STEREO,
    STRETCH_S,
    VECTOR,
)
from ..core.errors import SparseError
from ..core.events import Events, Header, events_from_columns
from ..models.finding import Trained
from ..models.siam import Siam
from . import fitting
from .devices import choose_device
from .panning import solve_pans
from .rendering import render
from .settings import DecomposeSettings, FitSettings, RenderSettings
from .siam import Found, SiamLimits, Tell, find_events
from .siam_noise import give_noise
from .texture import fit_air, make_cells
from .vectors import decode


def recognise(
    audio: Audio, source: NDArray[np.float32], settings: DecomposeSettings, trained: Trained, tell: Tell
) -> tuple[Events, Events, bool]:
    """Events of a recording by a trained model.

    Args:
        audio: the recording.
        source: the channels that events describe, `[channels, samples]`.
        settings: of the decomposition.
        trained: the model.
        tell: told the events so far and the SNR in dB; returning False ends the work with what is found so far.

    Returns:
        The events; the same as atoms, which need no model; and whether the work came to its end.

    Raises:
        SparseError: the budget leaves no event, or the device is not there.
    """
    siam = trained.siam.to(choose_device(settings.device))
    limits = SiamLimits(most_events(settings, audio.duration_s, len(source)), settings.snr_db)
    found = find_events(siam, source, audio.sample_rate, limits, tell)
    events = to_events(found, _header(audio, len(source), settings, trained))
    if len(source) == STEREO:
        there = decode(events, siam)
        events = with_pans(events, there.of, solve_pans(there.atoms, (source[1] - source[0]) / 2, settings.device))
    coherent = render(decode(events, siam).atoms, RenderSettings(noise=False)).samples
    events = with_noise(with_air(events, coherent, source), coherent, siam, source)
    atoms = decode(events, siam).atoms
    if not settings.gives_atoms:
        return events, atoms, found.complete
    if not (settings.refine and found.complete):
        return atoms, atoms, found.complete
    begin = fitting.Beginning(atoms, settings.refine)
    result = fitting.fit(audio, fit_settings(settings), lambda now: tell(now.atoms, now.snr_db), begin=begin)
    header = replace(result.events.header, settings=asdict(settings))
    return replace(result.events, header=header), result.events, result.complete


def most_events(settings: DecomposeSettings, duration_s: float, channels: int) -> int:
    """How many events there may be: those of the density, and no more than the budget pays for beside the air.

    Raises:
        SparseError: the budget does not pay for one.
    """
    stretches = duration_s / STRETCH_S
    most = math.inf if settings.density is None else max(1, round(settings.density * stretches))
    if settings.budget is not None:
        each = numbers_of_event(settings, channels)
        air = fitting.air_numbers(duration_s, channels)
        numbers = round(settings.budget * stretches)
        if numbers < air + each:
            least = math.ceil((air + each) / stretches)
            raise SparseError(
                f"--budget {settings.budget}", "pays for no event beside the air", f"give {least} or more"
            )
        most = min(most, (numbers - air) // each)
    return int(most)


def numbers_of_event(settings: DecomposeSettings, channels: int) -> int:
    """Numbers that an event takes at most: its vector, or an atom of four modes and one of noise.

    The fit keeps its budget by itself.
    """
    place = NUMBERS_OF_PAN * (channels == STEREO)
    if settings.gives_atoms and not settings.refine:
        modes = MODES_PER_ATOM * NUMBERS_OF_MODE
        return 2 * (NUMBERS_OF_STRIKE + place) + modes + NUMBERS_OF_BURST + NUMBERS_OF_BAND
    return NUMBERS_OF_PLACE + len(VECTOR) + place


def to_events(found: Found, header: Header) -> Events:
    """What the model found as a table, in the middle of two channels, without air."""
    columns = {
        "onset_s": found.onset_s,
        "gain_db": np.clip(found.gain_db, SILENT_DB, MAX_LEVEL_DB),
        "pan": np.zeros(len(found.onset_s)),
        **dict(zip(VECTOR, np.clip(found.vectors, -MAX_VECTOR, MAX_VECTOR).T, strict=True)),
    }
    return events_from_columns(header, columns, np.zeros((header.channels, 0, AIR_BANDS)))


def with_pans(events: Events, of: NDArray[np.int64], pans: NDArray[np.float64]) -> Events:
    """Events in the places of their first atoms.

    Args:
        events: E of them, in two channels.
        of: the row of the event of each atom, `[A]`.
        pans: places of the atoms, `[A]`.
    """
    _, first = np.unique(of, return_index=True)
    params = events.params.copy()
    params[:, events.columns.index("pan") - 1] = pans[first]
    return replace(events, params=params)


def with_air(events: Events, coherent: NDArray[np.float32], source: NDArray[np.float32]) -> Events:
    """Events with the air of what the sound of their tones leaves of the source, `[channels, samples]` both."""
    if not np.any(source):
        return events
    left = torch.from_numpy(source - coherent)
    air = torch.stack([fit_air(channel, events.header.sample_rate) for channel in left])
    return replace(events, air=air.numpy().astype(np.float32))


def with_noise(events: Events, coherent: NDArray[np.float32], siam: Siam, source: NDArray[np.float32]) -> Events:
    """Events with the bursts of noise that their tones and the air leave unexplained in the source."""
    if not len(events) or not np.any(source):
        return events
    rate = events.header.sample_rate
    cells = make_cells(torch.from_numpy(source), torch.from_numpy(coherent), torch.from_numpy(events.air), rate)
    pan = events.column("pan") if "pan" in events.columns else np.zeros(len(events))
    places = [events.columns.index(name) - 1 for name in VECTOR]
    with torch.no_grad():
        strikes = siam.decode(torch.from_numpy(events.params[:, places]).to(next(siam.parameters()).device))
        onset_s, gain_db = torch.from_numpy(events.onset_s), torch.from_numpy(events.column("gain_db"))
        noisy = give_noise(strikes, onset_s, gain_db, torch.from_numpy(1 + pan**2), cells)
        vectors = siam.encode(noisy).float().cpu().numpy()
    params = events.params.copy()
    params[:, places] = np.clip(vectors, -MAX_VECTOR, MAX_VECTOR)
    return replace(events, params=params)


def fit_settings(settings: DecomposeSettings) -> FitSettings:
    """Those of a fit with the same limits; its time is watched from outside."""
    return FitSettings(settings.atoms, settings.snr_db, settings.budget, device=settings.device)


def notices(audio: Audio, trained: Trained) -> list[str]:
    """What is done to a recording, one sentence each."""
    rate, own = trained.siam.shape.sample_rate, audio.sample_rate
    said = list(fitting.notices(audio))
    if own != rate:
        band = f": of what lies above {rate // 2} Hz it sees nothing" if own > rate else ""
        said.append(f"the model hears it at {rate} Hz instead of {own}{band}")
    return said


def _header(audio: Audio, channels: int, settings: DecomposeSettings, trained: Trained) -> Header:
    return Header(
        duration_s=audio.duration_s,
        sample_rate=audio.sample_rate,
        channels=channels,
        kind="siam",
        source_name=audio.name,
        source_sha256=audio.sha256,
        settings=asdict(settings),
        model_name=trained.name,
        model_sha256=trained.sha256,
    )
