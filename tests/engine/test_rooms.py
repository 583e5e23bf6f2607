"""Events in rooms and in loops: what is played dry, what is sent, what goes round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sparsecli.core.audio import Audio
from sparsecli.core.columns import SILENT_DB
from sparsecli.core.events import Events
from sparsecli.dsp.quality import snr_db
from sparsecli.engine.editing import every, set_wet
from sparsecli.engine.rendering import render, ring_samples
from sparsecli.engine.settings import RenderSettings

from ..oracle.draw import draw_events

RATE = 8000
EARS = np.random.default_rng(9).standard_normal((2, 900)) * np.exp(-np.arange(900) / 150)
ROOM = Audio((EARS / abs(EARS).max()).astype(np.float32), RATE, "room.wav")


def drawn(seed: int = 1, count: int = 8, duration_s: float = 0.5) -> Events:
    """With bursts and air, and onsets that none has before the recording."""
    events = draw_events(seed, count, duration_s, RATE, noise=True)
    return replace(events, onset_s=abs(events.onset_s))


def without_air(events: Events) -> Events:
    return replace(events, air=events.air[:, :0])


def sound(events: Events, room: Audio | None = None, **settings: object) -> np.ndarray:
    """Float64 `[channels, samples]`."""
    return render(events, RenderSettings(**settings), room).samples.astype(np.float64)  # type: ignore[arg-type]


def by_hand(dry: np.ndarray, send: np.ndarray) -> np.ndarray:
    """The dry sound and the sent one through the room of energy 1, by direct convolution."""
    response = ROOM.samples / np.sqrt(np.square(ROOM.samples, dtype=np.float64).sum() / 2)
    wet = np.stack([np.convolve(send[min(c, len(send) - 1)], response[c]) for c in range(2)])
    wet[:, : dry.shape[1]] += dry
    return wet


@pytest.mark.parametrize("wet", [0.0, 0.3, 1.0])
def test_a_share_of_all_goes_into_the_room(wet: float):
    events = drawn()
    dry = sound(events)
    heard = sound(events, ROOM, wet=wet)
    assert heard.shape == (2, dry.shape[1] + 900 - 1)  # two ears, and all of the tail
    assert snr_db(by_hand((1 - wet) * dry, wet * dry), heard) > 110  # float32 sums


def test_each_event_has_its_own_share():
    events = without_air(drawn())
    low, high = every(events), every(events)
    low[4:], high[:4] = False, False
    shared = set_wet(set_wet(events, low, 0.5), high, 0.0)
    sent = sound(events.take(low))
    heard = sound(shared, ROOM, wet=0.8)
    assert snr_db(by_hand(sound(events) - 0.4 * sent, 0.4 * sent), heard) > 110


def test_shares_of_one_change_nothing():
    events = drawn()
    np.testing.assert_array_equal(sound(set_wet(events, every(events), 1.0), ROOM), sound(events, ROOM))
    np.testing.assert_array_equal(sound(set_wet(events, every(events), 0.0)), sound(events))  # without a room


def test_a_loop_is_the_round_after_many():
    """Of events: repeated at the loop's length, the last of many rounds is the loop, tails and bursts and all."""
    events = without_air(drawn(2))
    length = round(0.5 * RATE)
    ring = ring_samples(events, length, RATE)
    rang = sound(replace(events, header=replace(events.header, duration_s=ring / RATE)))
    rounds = -(-ring // length)
    many = np.zeros((1, (rounds + 1) * length + ring))
    for n in range(rounds + 1):
        many[:, n * length : n * length + rang.shape[1]] += rang
    last = many[:, rounds * length : (rounds + 1) * length]
    assert ring > 2 * length
    loop = sound(events, loop_s=0.0)
    assert loop.shape == (1, length)
    # Bursts of another length are drawn over another transform: not so exact as modes, worst of 8 draws 45 dB.
    assert snr_db(last, loop) > 40
    assert snr_db(last - sound_of_noise(events, last, rounds), sound(events, loop_s=0.0, noise=False)) > 100


def sound_of_noise(events: Events, last: np.ndarray, rounds: int) -> np.ndarray:
    """What the bursts add to the last of many rounds."""
    length = last.shape[1]
    ring = ring_samples(events, length, RATE)
    longer = replace(events, header=replace(events.header, duration_s=ring / RATE))
    bursts = sound(longer) - sound(longer, noise=False)
    padded = np.zeros((1, (rounds + 1) * length))
    padded[:, : bursts.shape[1]] = bursts[:, : padded.shape[1]]
    return padded.reshape(1, rounds + 1, length).sum(1)


@pytest.mark.parametrize("in_room", [False, True])
def test_a_loop_has_no_seam(in_room: bool):
    """The step from its last sample to its first is no greater than the steps within it."""
    events = draw_events(3, 8, 0.5, RATE, noise=True)
    assert (events.onset_s < 0).any()  # some began before the recording
    loop = sound(events, ROOM if in_room else None, loop_s=0.4)
    assert loop.shape == (2 if in_room else 1, round(0.4 * RATE))
    steps = abs(np.diff(loop, axis=1))
    assert (abs(loop[:, 0] - loop[:, -1]) < 1.5 * np.quantile(steps, 0.999)).all()


def test_a_cut_has_one():
    """What the test above looks for is there without a loop."""
    tone = without_air(drawn(4, 1))
    tone = replace(tone, onset_s=np.array([0.0]), params=tone.params.copy())
    values = {"attack_s": 0.001, "decay_s": 4.0, "freq1_hz": 125.0, "level1_db": 0.0, "phase1_rad": 0.0}
    values |= {name: SILENT_DB for name in ("level2_db", "level3_db", "level4_db", "noise_level_db")}
    for name, value in values.items():
        tone.params[:, tone.columns.index(name) - 1] = value
    cut, loop = sound(replace(tone, header=replace(tone.header, duration_s=0.5))), sound(tone, loop_s=0.5)
    within = abs(np.diff(loop[0])).max()
    assert abs(cut[0, 0] - cut[0, -1]) > 2 * within > 2 * abs(loop[0, 0] - loop[0, -1])


def test_rounds_and_a_room_that_goes_round():
    events = drawn(5)
    once, thrice = sound(events, ROOM, loop_s=0.3), sound(events, ROOM, loop_s=0.3, rounds=3)
    np.testing.assert_array_equal(thrice, np.tile(once, 3))
    wet = sound(events, ROOM, loop_s=0.3, wet=1.0)
    dry = sound(events, loop_s=0.3)[0]
    round_by_round = by_hand(np.zeros((1, 1)), np.tile(dry, 4)[None])[:, 3 * len(dry) : 4 * len(dry)]
    assert snr_db(round_by_round, wet) > 100  # the room of all rounds before is in it


def test_what_begins_after_the_round_is_left_out():
    events = without_air(drawn(6))
    begins = events.onset_s < 0.2
    assert 0 < begins.sum() < len(events)
    np.testing.assert_array_equal(sound(events, loop_s=0.2), sound(events.take(begins), loop_s=0.2))
