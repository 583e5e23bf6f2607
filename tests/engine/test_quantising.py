"""Quantised events: how far each number is moved, and what that costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sparsecli.core import grids
from sparsecli.core.columns import AIR_STEP, ATOM_COLUMNS, NOISE_STEP, SILENT_DB
from sparsecli.core.events import Events, Header, events_from_columns
from sparsecli.dsp.quality import snr_db
from sparsecli.engine.quantising import encode, find_fineness, quantise, solve, thin
from sparsecli.engine.rendering import render
from sparsecli.engine.settings import RenderSettings
from sparsecli.io.events_packed import entropy_bits

RATE, SECONDS = 22050, 3.0
ARRAYS = ["onset_s", "params", "note", "id", "noise_seed", "air"]


def make_events(count: int = 80, draw: int = 0) -> Events:
    """Events as fits give them: sorted, some slots unused, some with noise, some with nothing but noise."""
    numbers = np.random.default_rng(draw)
    columns = {
        "onset_s": np.sort(numbers.uniform(-0.1, SECONDS - 0.1, count)),
        "attack_s": np.exp(numbers.uniform(np.log(3e-4), np.log(0.05), count)),
        "decay_s": np.exp(numbers.uniform(np.log(0.05), np.log(4.0), count)),
        "noise_level_db": np.where(numbers.random(count) < 0.3, numbers.uniform(-70, -40, count), SILENT_DB),
    }
    for slot in "1234":
        used = (numbers.random(count) < 0.85) if slot != "1" else np.arange(count) > 1
        columns[f"freq{slot}_hz"] = np.where(used, np.exp(numbers.uniform(np.log(60), np.log(9000), count)), 0.0)
        columns[f"level{slot}_db"] = np.where(used, numbers.uniform(-60, -15, count), SILENT_DB)
        columns[f"phase{slot}_rad"] = np.where(used, numbers.uniform(-np.pi, np.pi, count), 0.0)
    columns["freq4_hz"] = np.where(columns["noise_level_db"] > SILENT_DB, 2000.0, columns["freq4_hz"])
    air = numbers.uniform(-120, -60, (1, 3, 24))
    air[0, 0, :3] = SILENT_DB
    return events_from_columns(Header(SECONDS, RATE, seed=3), columns, air)


def sound(events: Events) -> np.ndarray:
    return render(events, RenderSettings(noise=False)).samples[0]


def decoded(events: Events, fineness: float) -> tuple[grids.Codes, grids.Shapes, Events]:
    codes = encode(events, fineness)
    return codes, grids.shapes_of(codes, SECONDS), grids.events_of(codes, events.header)


@pytest.mark.parametrize("fineness", [-34.0, -29.5, -22.0])
def test_no_number_moves_by_more_than_half_its_step(fineness: float):
    events = make_events()
    codes, shapes, coded = decoded(events, fineness)
    strikes = grids.strikes_of(codes.grade, fineness)
    used = codes.grade > 0
    slack = 1e-6  # float32

    def moved(name: str) -> np.ndarray:
        return np.abs(coded.column(name) - events.column(name))

    assert (moved("onset_s") <= 0.5 * 2.0**-shapes.onset + 1e-12).all()
    octaves = np.abs(np.log2(coded.column("decay_s") / events.column("decay_s")))
    assert (octaves <= 0.5 * 2.0 ** -grids.decay_depth(strikes) + slack).all()
    place = [grids.attack_place(one.column("attack_s"), shapes.decay_s) for one in (events, coded)]
    inside = (coded.column("attack_s") > 2.01e-4) & (place[0] < 0.99)  # else the shortest attack there is
    steps = 2.0 ** -grids.attack_depth(strikes)
    assert (np.abs(place[0] - place[1]) <= 0.5 * steps + slack)[inside].all()
    freq = np.abs(coded.modes("freq_hz") - events.modes("freq_hz"))
    low = events.modes("freq_hz") < 2.0**-shapes.freq  # rounded up to a step, as 0 Hz is no mode
    assert (freq <= 0.5 * 2.0**-shapes.freq + 1e-3)[used & ~low].all()
    level = np.abs(coded.modes("level_db") - events.modes("level_db"))
    assert (level <= 0.5 * 2.0**-shapes.level + 1e-4)[used].all()
    later_s = (coded.onset_s - events.onset_s)[:, None]  # the carrier stays where it was
    turns = (coded.modes("phase_rad") - events.modes("phase_rad")) / (2 * np.pi) - events.modes("freq_hz") * later_s
    assert (np.abs(turns - np.rint(turns)) <= 0.5 * 2.0**-shapes.phase + slack)[used].all()
    assert moved("noise_level_db").max() <= NOISE_STEP / 2
    assert np.abs(coded.air - events.air).max() <= AIR_STEP / 2 + 1e-4
    assert ((coded.air == SILENT_DB) == (events.air == SILENT_DB)).all()
    assert ((coded.modes("level_db") > SILENT_DB) == used).all()


def test_modes_that_cancel_each_other_still_do():
    """A slow swell whose two modes beat: its onset is rounded by many periods' worth of phase, its sound is not."""
    columns = {column.name: np.zeros(1) for column in ATOM_COLUMNS}
    columns |= {f"level{slot}_db": np.full(1, SILENT_DB) for slot in "34"} | {"noise_level_db": np.full(1, SILENT_DB)}
    given = {"onset_s": 0.501275, "attack_s": 0.4, "decay_s": 5.0, "freq1_hz": 2000.3, "freq2_hz": 2001.1}
    given |= {"level1_db": -12.0, "level2_db": -12.0, "phase1_rad": 1.0, "phase2_rad": 1.0 - 3.1}
    columns |= {name: np.full(1, value) for name, value in given.items()}
    events = events_from_columns(Header(SECONDS, RATE), columns, np.zeros((1, 0, 24)))
    step_s = 2.0 ** -float(grids.shapes_of(encode(events, -29.0), SECONDS).onset[0])
    events = replace(events, onset_s=np.round(events.onset_s / step_s) * step_s + 0.45 * step_s)
    codes = encode(events, -29.0)
    coded = grids.events_of(codes, events.header)
    assert abs(coded.onset_s[0] - events.onset_s[0]) * 2000 > 0.1  # of a period
    bits = grids.strikes_of(codes.grade, -29.0).mode_bits.min()
    assert snr_db(sound(events), sound(coded)) > 6.02 * bits - 20  # 16 under the bits is a phase's share


def test_one_more_of_fineness_is_one_bit_of_phase():
    grade = encode(make_events(), 0.0).grade
    coarse, fine = (grids.phase_depth(grids.strikes_of(grade, fineness)) for fineness in (-30.0, -29.0))
    free = (coarse > grids.MIN_BITS) & (fine < grids.MAX_BITS)
    assert free.any() and (fine - coarse)[free].tolist() == [1] * int(free.sum())


def test_louder_modes_have_finer_phases():
    events = make_events(3).take(np.array([2]))
    _, soft, _ = decoded(events, -24.0)
    params = events.params.copy()
    params[:, [events.columns.index(f"level{slot}_db") - 1 for slot in "1234"]] += 12.05
    used = events.modes("level_db") > SILENT_DB
    _, loud, _ = decoded(replace(events, params=params), -24.0)
    assert ((loud.phase - soft.phase)[used] == 2).all()  # 12 dB: two grades


def test_errors_cost_alike():
    """The theory of the grid: half a step of any number of a strike costs about the energy of half a step of phase."""
    columns = {column.name: np.zeros(1) for column in ATOM_COLUMNS}
    columns |= {f"level{slot}_db": np.full(1, SILENT_DB) for slot in "234"} | {"noise_level_db": np.full(1, SILENT_DB)}
    given = {"onset_s": 0.1, "attack_s": 0.004, "decay_s": 0.5, "freq1_hz": 1000.0, "level1_db": -12.0}
    columns |= {name: np.full(1, value) for name, value in given.items()}
    events = events_from_columns(Header(SECONDS, RATE), columns, np.zeros((1, 0, 24)))
    codes = encode(events, -26.0)
    events = grids.events_of(codes, events.header)
    bits = grids.strikes_of(codes.grade, -26.0).bits
    target = sound(events)
    ends = {}
    for name in ("decay", "attack", "onset", "freq"):
        other = grids.events_of(
            replace(codes, **{name: getattr(codes, name) + (codes.grade > 0 if name == "freq" else 1)}), events.header
        )
        ends[name] = snr_db(target, sound(solve(other, target, RATE)))
    phase_db = -20 * np.log10(2 * np.pi * 2.0 ** -float(bits[0]))
    for name, reached_db in ends.items():
        assert abs(reached_db - phase_db) < 6.1, name  # steps are powers of two: 3 dB either way; the rest is theory


@pytest.mark.parametrize("bits", [6.0, 8.0, 12.0])
def test_bits_are_those_asked_for(bits: float):
    events = make_events()
    fineness = find_fineness(events, bits)
    codes = encode(thin(events, fineness), fineness)
    assert entropy_bits(codes, SECONDS) / events.numbers == pytest.approx(bits, abs=0.25)  # many steps change at once


def test_what_it_costs_on_a_known_recording():
    events = make_events()
    noise = 0.002 * np.random.default_rng(1).standard_normal(round(SECONDS * RATE))
    source = (sound(events) + noise).astype(np.float32)
    before = snr_db(source, sound(events))
    lost = [before - snr_db(source, sound(quantise(events, source, bits, RATE).events)) for bits in (8.0, 10.0, 13.0)]
    assert before > 20 and lost[0] > lost[1] > lost[2]
    assert lost[1] < 0.5 and lost[2] < 0.1


def test_solving_finds_the_amplitudes_that_made_a_recording():
    events = make_events(20)
    spoilt = events.params.copy()
    for slot in "1234":
        level, phase = (events.columns.index(name) - 1 for name in (f"level{slot}_db", f"phase{slot}_rad"))
        spoilt[:, level] = np.where(spoilt[:, level] > SILENT_DB, spoilt[:, level] - 6, SILENT_DB)
        spoilt[:, phase] = np.where(spoilt[:, level] > SILENT_DB, 0.3, 0.0)
    source = sound(events)
    source -= source.mean()
    assert snr_db(source, sound(solve(replace(events, params=spoilt), source, RATE))) > 30


def test_quantising_twice_changes_no_shape():
    events = make_events()
    codes, _, coded = decoded(events, -28.0)
    again = encode(coded, -28.0)
    same = (again.grade == codes.grade).all(1)  # a level next to the end of a grade may cross it
    assert same.mean() > 0.8
    for name in ("decay", "attack", "noise"):
        assert np.array_equal(getattr(again, name)[same], getattr(codes, name)[same]), name


def test_nothing_at_all():
    events = make_events().take(np.zeros(0, np.int64))
    result = quantise(events, np.zeros(round(SECONDS * RATE), np.float32), 8.0, RATE)
    assert len(result.events) == 0 and result.events.air.shape == events.air.shape
