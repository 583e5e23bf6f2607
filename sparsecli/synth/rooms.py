"""Rooms: an impulse response, and what is sent into it.

A response is brought to the energy 1 (in the mean of its channels): white noise of its whole band is as loud in the
room as it was dry. As they are, responses differ by tens of dB: files have their peak at full scale, and a church then
holds 200 times the energy of its first sample. So a share of 0.3 sounds alike in every room, and renderings stay near
the level of the dry ones. The balance of two channels stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.audio import Audio
from ..core.columns import STEREO
from ..core.errors import SparseError
from ..dsp.convolution import convolve
from ..dsp.resample import resample

Sound = NDArray[np.float32]

LEAD_SAMPLES = 256  # more than soxr's filter rings before what it filters


@dataclass(frozen=True)
class Response:
    """An impulse response at the rate of a rendering.

    Attributes:
        samples: `[1 or 2, N]`.
        lead: how many of them lie before the impulse: resampling by a linear phase rings on both sides.
    """

    samples: Sound
    lead: int = 0


def room_response(room: Audio, sample_rate: int, normalize: bool = True) -> Response:
    """The impulse response of a room at a sample rate.

    Args:
        room: its response, of one channel or two.
        sample_rate: in Hz.
        normalize: bring it to the energy 1; else it is taken as it is.

    Raises:
        SparseError: there are more channels, or all of it is silent.
    """
    if room.channels > STEREO:
        raise SparseError(room.name or "room", f"is a room of {room.channels} channels", "take one of 1 or 2")
    energy = float(np.square(room.samples, dtype=np.float64).sum()) / room.channels
    if not energy:
        raise SparseError(room.name or "room", "is a room without a sound", "take an impulse response")
    # The gain at each frequency, the sum of h e^{-iwn}, is to be the same at any rate: there are more samples to sum at
    # a higher one. The energy is that at the room's own rate, so that it does not depend on the rendering's either.
    gain = room.sample_rate / sample_rate / (np.sqrt(energy) if normalize else 1.0)
    lead, lead_out = _lead(room.sample_rate, sample_rate)
    count = lead_out + math.ceil(room.samples.shape[1] * sample_rate / room.sample_rate)
    tail = math.ceil(room.sample_rate / sample_rate)  # one sample at the other rate: the last is not rounded away
    padded = np.pad(room.samples, ((0, 0), (lead, tail)))
    heard = np.stack([resample(channel, room.sample_rate, sample_rate) for channel in padded])[:, :count]
    return Response(np.asarray(heard * gain, np.float32), lead_out)


def _lead(rate_in: int, rate_out: int) -> tuple[int, int]:
    """Samples of one rate and of the other that take the same time, long enough for what rings before an impulse."""
    if rate_in == rate_out:
        return 0, 0
    step_in, step_out = (rate // math.gcd(rate_in, rate_out) for rate in (rate_in, rate_out))
    times = math.ceil(LEAD_SAMPLES / min(step_in, step_out))
    return times * step_in, times * step_out


def in_room(dry: Sound, send: Sound, response: Response) -> Sound:
    """What is heard: the dry sound, and the convolution of the sent one with the room's response.

    Args:
        dry: `[1 or 2, T]`.
        send: likewise.
        response: of N samples after the impulse.

    Returns:
        float32 `[1 or 2, T + N - 1]`; two channels where the sound or the room has two.
    """
    out = convolve(send, response.samples)[:, response.lead :]
    out[:, : dry.shape[1]] += dry
    return out
