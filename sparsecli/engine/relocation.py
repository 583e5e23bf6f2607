"""Where descent begins, and where it moves atoms that do nothing: by chance, or by the search of what is missing."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..core.columns import KINDS, MODES_PER_ATOM, NEPERS_PER_T60
from ..synth.modes import envelope_peak
from .scaled import COLUMNS, QUIETEST_DB, SHORTEST_DECAY_S, Scaled, from_columns
from .search import Candidate, pick, search

MISSING_FFT = 1024  # samples: between a click and a tone
CHANCE_ATTACK_S, CHANCE_DECAY_S = (1e-3, 0.03), (0.05, 2.0)
CHANCE_FREQ_HZ = 50.0  # and up to the highest; even on a log scale
CHANCE_LEVEL_DB = (-50.0, -30.0)  # of the recording's peak
PARTIAL_DB = -20.0  # under the mode that was found: what the other slots of a moved atom begin with


def random_atoms(count: int, first_s: float, last_s: float, highest_hz: float, seed: int) -> Scaled:
    """Atoms drawn evenly: onsets in time; attacks, decays and frequencies in ratios; levels in dB.

    Args:
        count: how many.
        first_s: earliest onset.
        last_s: latest one.
        highest_hz: frequency.
        seed: of the draw.
    """
    generator = torch.Generator().manual_seed(seed)

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)

    def ratios(low: float, high: float) -> Tensor:
        return torch.exp(between(math.log(low), math.log(high)))

    columns = {"onset_s": between(first_s, last_s)}
    columns |= {"attack_s": ratios(*CHANCE_ATTACK_S), "decay_s": ratios(*CHANCE_DECAY_S)}
    for freq, level, phase in KINDS["atoms"].slots:
        columns[freq] = ratios(CHANCE_FREQ_HZ, max(highest_hz, 2 * CHANCE_FREQ_HZ)).clamp(max=highest_hz)
        columns[level], columns[phase] = between(*CHANCE_LEVEL_DB), between(-math.pi, math.pi)
    return from_columns(columns, torch.ones(count, MODES_PER_ATOM, dtype=torch.bool))


def missing(estimate: Tensor, reference: Tensor) -> Tensor:
    """What an estimate lacks of a reference, whatever their phases: R max(0, 1 - |S| / |R|) in each cell of an STFT.

    A loss of magnitudes knows nothing of phases, so the difference of waveforms is full of what is there already.

    Shape:
        - Input: `[G, T]` both
        - Output: `[G, T]`
    """
    window = torch.hann_window(MISSING_FFT, dtype=reference.dtype, device=reference.device)

    def spectrum(signal: Tensor) -> Tensor:
        return torch.stft(signal, MISSING_FFT, window=window, pad_mode="constant", return_complex=True)

    wanted, heard = spectrum(reference), spectrum(estimate).abs()
    share = (1 - heard / wanted.abs().clamp(min=1e-30)).clamp(min=0)
    return torch.istft(wanted * share, MISSING_FFT, window=window, length=reference.shape[-1])


def found_atoms(lacking: Tensor, count: int, rate: int, lowest_hz: float, highest_hz: float) -> Scaled:
    """Atoms for the strongest modes that are lacking, of the search that `fit` does.

    Args:
        lacking: `[T]`.
        count: so many at most.
        rate: in Hz.
        lowest_hz: frequency.
        highest_hz: frequency.

    Returns:
        Atoms with onsets from the start of `lacking`; the first slot holds the mode, the others its overtones, soft.
    """
    low, high = (2 * math.pi * freq_hz / rate for freq_hz in (lowest_hz, highest_hz))
    everything = search(lacking.float(), 0, len(lacking) - 16, low, high)
    rows = [_row(lacking, one, rate, highest_hz) for one in pick(everything, count, 0.0)]
    columns = {column.name: torch.tensor([row[column.name] for row in rows], dtype=torch.float64) for column in COLUMNS}
    return from_columns(columns, torch.ones(len(rows), MODES_PER_ATOM, dtype=torch.bool))


def _row(lacking: Tensor, found: Candidate, rate: int, highest_hz: float) -> dict[str, float]:
    """The numbers of an atom for a mode that was found, its amplitude by projection."""
    attack_s, decay_s = found.shape.attack / rate, NEPERS_PER_T60 / (found.shape.damping * rate)
    begin = max(0, round(found.onset))
    heard = lacking[begin : begin + found.shape.window_length(len(lacking))].double()
    u = torch.arange(len(heard), device=lacking.device, dtype=torch.float64) + (begin - found.onset)
    wave = (1 - torch.exp(-u / found.shape.attack)).square() * torch.exp(-found.shape.damping * u)
    inner = torch.complex(
        (heard * wave * torch.cos(found.omega * u)).sum(), -(heard * wave * torch.sin(found.omega * u)).sum()
    )
    amplitude = 2 * inner / wave.square().sum().clamp(min=1e-30)
    shape = torch.tensor([attack_s, max(decay_s, SHORTEST_DECAY_S)], dtype=torch.float64)
    peak = float(amplitude.abs() * envelope_peak(shape[0], shape[1]))
    level_db = max(20 * math.log10(max(peak, 1e-30)), QUIETEST_DB)
    freq_hz = found.omega * rate / (2 * math.pi)
    row = {"onset_s": found.onset / rate, "attack_s": attack_s, "decay_s": max(decay_s, SHORTEST_DECAY_S)}
    for slot, (freq, level, phase) in enumerate(KINDS["atoms"].slots, 1):
        row[freq] = slot * freq_hz if slot * freq_hz < highest_hz else freq_hz / slot
        row[level] = level_db + (PARTIAL_DB if slot > 1 else 0.0)
        row[phase] = float(amplitude.angle())
    return row
