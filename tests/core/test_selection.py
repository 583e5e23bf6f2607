"""Selections: what expressions mean, and that no text does anything but mean something or say what is wrong."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsecli.core.columns import AIR_BANDS, SILENT_DB, columns_of
from sparsecli.core.events import Events, Header, events_from_columns
from sparsecli.core.expressions import KEYWORDS, MOST_CHARACTERS
from sparsecli.core.partials import partials_of
from sparsecli.core.quantities import QUANTITIES, UNITS, Measured
from sparsecli.core.selection import MOST_NESTED, SelectionError, check_expression, select, selects_air
from sparsecli.engine.notes import group_notes, note_table
from sparsecli.synth.modes import support_s

DEADLINE_MS = 1000  # a thousandth of it suffices; others may be at work
UNUSED = {name: SILENT_DB for name in ("level1_db", "level2_db", "level3_db", "level4_db", "noise_level_db")}
ROWS = [
    {"onset_s": 0.0, "freq1_hz": 261.63, "level1_db": -20.0, "decay_s": 0.6},  # C4
    {
        "onset_s": 0.5,
        "freq1_hz": 880.0,
        "level1_db": -26.0,
        "freq3_hz": 440.0,
        "level3_db": -20.0,
        "decay_s": 0.2,
    },  # A4
    {"onset_s": 1.5, "freq4_hz": 5000.0, "noise_level_db": -30.0, "decay_s": 0.1},
    {"onset_s": 2.0, "freq2_hz": 445.0, "level2_db": -60.0, "noise_level_db": -50.0, "decay_s": 2.4, "pan": 0.5},
    {"onset_s": -1.0, "freq1_hz": 329.63, "level1_db": -20.0, "decay_s": 0.6, "pan": -1.0},  # E4
]


def events_of(rows: list[dict[str, float]], channels: int = 2) -> Events:
    rows = [{"attack_s": 0.001, **UNUSED, **row} for row in rows]
    columns = {c.name: np.array([row.get(c.name, 0.0) for row in rows]) for c in columns_of("atoms", channels)}
    header = Header(duration_s=4.0, sample_rate=22050, channels=channels)
    return events_from_columns(header, columns, np.full((channels, 1, AIR_BANDS), -80.0))


EVENTS = replace(events_of(ROWS), note=np.array([-1, 3, 3, -1, 0], np.int32))
check_expression("all")  # the parser is made once, which takes longer than parsing


def rows_of(expression: str, events: Events = EVENTS) -> list[int]:
    mask = select(events, expression)
    assert mask.shape == (len(events),) and mask.dtype == bool
    return np.nonzero(mask)[0].tolist()


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("all", [0, 1, 2, 3, 4]),
        ("none", []),
        ("air", []),
        ("not air", [0, 1, 2, 3, 4]),
        # columns by their names, as precise as they are in the file
        ("onset_s > 1", [2, 3]),
        ("decay_s = 0.6", [0, 4]),
        ("decay_s <= 0.2", [1, 2]),
        ("level2_db != -200", [3]),
        ("FREQ4_HZ == 5000", [2]),
        ("pan < 0", [4]),
        # the loudest mode decides; of noise alone, the noise
        ("freq = 440", [1]),
        ("freq in 400..5000", [1, 2, 3]),
        ("freq not in 400..5000", [0, 4]),
        ("freq > 4kHz", [2]),
        ("level >= -20 dB", [0, 1, 4]),
        ("level = -30", [2]),
        ("noise > -60", [2, 3]),
        ("modes = 0", [2]),
        ("modes >= 2", [1]),
        # times
        ("time < 0", [4]),
        ("onset in 0.5..1.5 s", [1, 2]),
        ("onset in 500..1500 ms", [1, 2]),
        ("time in {-1, 500 ms, 1.9..2.1}", [1, 3, 4]),
        ("attack < 1 ms", []),
        ("attack = 1 ms", [0, 1, 2, 3, 4]),
        ("decay > 1s", [3]),
        ("duration in 0.5..1", [0, 4]),
        ("end < 0", [4]),
        ("0.5 <= end < 1", [0, 1]),
        # pitches; the note of events 1 and 2 is A4, and 445 Hz is 20 cents above
        ("pitch = C4", [0]),
        ("midi = 60", [0]),
        ("pitch = A4", [1, 2, 3]),
        ("pitch > A4", []),
        ("pitch >= 69", [1, 2, 3]),
        ("pitch in {C4, e4}", [0, 4]),
        ("pitch in C4..Eb4", [0]),
        ("pitch < D#4", [0]),
        ("C4 < midi <= A4", [1, 2, 3, 4]),
        ("pitch in Fb4..E4", [4]),
        # labels
        ("note = 3", [1, 2]),
        ("note = -1", [0, 3]),
        ("note != -1", [1, 2, 4]),
        ("id in 3..7", [3, 4]),
        # the order of the operators
        ("id = 0 or id = 1 and id = 2", [0]),
        ("(id = 0 or id = 1) and id = 1", [1]),
        ("not id = 0 and id < 2", [1]),
        ("NOT (id = 0 Or id < 2)", [2, 3, 4]),
        ("200 < freq < 300", [0]),
        ("300 > freq", [0]),
        ("2 != id", [0, 1, 3, 4]),
        ("0 != id != 1", [2, 3, 4]),
        # ranks; among equals the first in the table
        ("top 1 by level", [0]),
        ("top 3 by level", [0, 1, 4]),
        ("bottom 2 by freq", [0, 4]),
        ("top 40% by time", [2, 3]),
        ("top 41% by time", [1, 2, 3]),
        ("top 100 by id", [0, 1, 2, 3, 4]),
        ("top 0 by id", []),
        ("top 1 by time of (modes > 0)", [3]),
        ("top 1 by time and modes = 0", []),
        ("top 100 by pitch of (note = -1 or modes = 0)", [0, 2, 3]),
    ],
)
def test_truths(expression: str, rows: list[int]):
    assert rows_of(expression) == rows


def test_energy_and_share():
    """In equal envelopes energies are as the squares of the peaks: 0.8 and 0.2 for 6.02 dB, whatever else there is."""
    events = events_of([{"decay_s": 0.5, "freq1_hz": 200.0, "level1_db": level_db} for level_db in (-20.0, -26.0206)])
    assert rows_of("share > 79.9% and share < 0.801", events) == [0]
    assert rows_of("share in 19.9%..20.1%", events) == [1]
    energy_db = QUANTITIES["energy"].of(Measured(EVENTS))
    partials = partials_of(EVENTS)
    np.testing.assert_allclose(10 ** (energy_db / 10), np.bincount(partials.atom, partials.energy(), 5), rtol=1e-6)
    assert rows_of("energy < -100 dB") == [2]  # no mode, no energy
    assert rows_of("share >= 0", events_of([ROWS[2]])) == [0]  # of none
    # A full mode with a sharp attack is exp(-2 d u) / 2, whose integral is 1 / (4 d) = T60 / 27.63.
    sharp = events_of([{"attack_s": 2e-4, "decay_s": 276.3, "freq1_hz": 9.0, "level1_db": 0.0}])
    assert rows_of("energy in 9.99..10.01", sharp) == [0]


def test_ends_are_those_of_the_renderer():
    import torch

    attack_s, decay_s = (torch.tensor(EVENTS.column(name)) for name in ("attack_s", "decay_s"))
    expected = support_s(attack_s, decay_s, 60.0).numpy()
    np.testing.assert_allclose(QUANTITIES["duration"].of(Measured(EVENTS)), expected, rtol=1e-9)


def test_pitches_are_those_of_the_table_of_notes():
    events = group_notes(events_of([{**row, "onset_s": 0.5 * place} for place, row in enumerate(ROWS)]))
    table = note_table(events)
    assert len(table) >= 3
    for note in table:
        assert set(note.ids) <= set(rows_of(f"pitch = {note.name}", events))


def test_one_channel_is_in_the_middle():
    assert rows_of("pan = 0", events_of(ROWS, channels=1)) == [0, 1, 2, 3, 4]


def test_no_events():
    nothing = EVENTS.take(np.zeros(5, bool))
    for name in QUANTITIES:
        assert rows_of(f"{name} > 1 or top 10% by {name}", nothing) == []


@pytest.mark.parametrize(
    ("expression", "air"),
    [
        ("air", True),
        ("not air", False),
        ("all", True),
        ("none", False),
        ("freq > 1", False),
        ("freq != 1", False),
        ("freq not in 1..2", False),
        ("not freq > 1", True),
        ("freq > 1 or air", True),
        ("freq > 1 and air", False),
        ("top 10 by energy of (air)", False),
        ("all and not air", False),
        ("not (freq > 1 or air)", False),
    ],
)
def test_the_air(expression: str, air: bool):
    assert selects_air(expression) is air


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "column 1: the expression ends here; possible: a quantity, a number, the name of a note, not, all,"),
        ("freq >", "column 7: the expression ends here; possible: a number, the name of a note"),
        ("freq > 2 kHz adn time < 2", "column 14: found 'adn'; possible: and, or, the end; the nearest is and"),
        ("frq > 3", "column 1: found 'frq', which is no quantity; known are time, onset, "),
        ("time > 1 and levle > 3", "column 14: found 'levle', which is no quantity; "),
        ("aire", "column 1: found 'aire', which is no quantity; "),
        ("time > 2 kHz", "column 10: found 'kHz', which is no unit of time; possible: numbers in s or ms"),
        ("pan > 2 s", "column 9: found 's', which is no unit of pan; possible: numbers without a unit"),
        (
            "freq > 2kHZZ",
            "column 9: found 'kHZZ', which is no unit; possible: numbers in Hz or kHz; the nearest is kHz",
        ),
        ("freq = C4", "column 8: found the note C4, but freq is no pitch; possible: numbers in Hz or kHz"),
        ("pitch = H4", "column 9: found 'H4'; possible: a number, the name of a note"),
        ("time in 3..2", "column 9: found the range from '3' down to '2'; possible: ranges from low to high"),
        ("(all", "column 5: the expression ends here; possible: and, or, )"),
        ("freq\n> \x1b", "column 8: found '\\x1b'; possible: a number, the name of a note"),
        ("top 1.5 by id", "column 5: found '1.5'; possible: whole numbers from 0 up, or 0% to 100%"),
        ("top 101% by id", "column 5: found '101'; possible: 0% to 100%"),
        ("freq > 1e999", "column 8: found '1e999'; possible: numbers up to 1e308"),
        ("(" * 51 + "all" + ")" * 51, "column 52: nested more than 50 deep; "),
        ("a" * 2001, "column 2001: the expression is longer than 2000 characters"),
        ("a" * 2000, "column 1: found 'aaaaaaaaaaaaaaaaaaaa...', which is no quantity; "),
    ],
)
def test_errors_say_where_and_what(expression: str, message: str):
    with pytest.raises(SelectionError) as error:
        check_expression(expression)
    assert str(error.value).startswith(message)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("word", "near"), [("frq", "freq"), ("levle", "level"), ("air_", "air"), ("freq1_h", "freq1_hz")]
)
def test_errors_name_the_nearest(word: str, near: str):
    with pytest.raises(SelectionError, match=f"; the nearest is {near}$"):
        check_expression(f"not {word} > 3")


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 998 + "all" + ")" * 998,
        "(" * 998 + "all" + ")" * 999,
        "not " * 499 + "all",
        "not " * 490 + "all all",
        "(" * 2000,
        "(not " * 333 + "air" + ")" * 332,
        "top 1 by id of(" * 110 + "all" + ")" * 110,
        "all and (all or " * 110 + "all" + ")" * 110,
    ],
)
def test_deep_nesting_is_an_error(expression: str):
    with pytest.raises(SelectionError):
        check_expression(expression)


def test_what_is_within_the_limits_is_fine():
    assert rows_of("(" * MOST_NESTED + "id = 1" + ")" * MOST_NESTED) == [1]
    long = " or ".join(["id=1"] * 247)
    assert len(long) < MOST_CHARACTERS and rows_of(long) == [1]
    assert rows_of("id < 1e308 and id > -1e308 and decay < 1e300 and not decay < -1e300") == [0, 1, 2, 3, 4]
    assert rows_of("id > 1e-999999999999999999999") == [1, 2, 3, 4]
    assert rows_of("time > 1e-999999999999999999999 s") == [1, 2, 3]


# Expressions in general

NAMES = st.sampled_from(sorted(QUANTITIES))
SIGNS = st.sampled_from(["<", "<=", ">", ">=", "=", "==", "!="])
NUMBERS = st.one_of(
    st.integers(-100, 6000).map(str),
    st.sampled_from([-200.0, -20.0, 0.0, 0.5, 0.6, 69.0, 440.0]).map(str),
    st.floats(-1e6, 1e6).map(repr),
)
COMPARISONS = st.one_of(
    st.builds("{} {} {}".format, NAMES, SIGNS, NUMBERS),
    st.builds("{} in {{{}, {}}}".format, NAMES, NUMBERS, NUMBERS),
    st.builds("top {} by {}".format, st.integers(0, 6), NAMES),
    st.builds("bottom {}% by {}".format, st.integers(0, 100), NAMES),
    st.sampled_from(["all", "none", "air"]),
)
EXPRESSIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.builds("({}) and ({})".format, inner, inner),
        st.builds("({}) or {}".format, inner, inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=6,
)
VALUES = ["1", "-2.5", "1e9", "C4", "Bb3", "c-1", "\u0663", *UNITS, "kHz", "foo"]
TOKENS = st.sampled_from([*QUANTITIES, *KEYWORDS.values(), *VALUES, "<=", "..", "\u266f", *"<>=(){}%,.- \n\x00"])
quickly = settings(max_examples=200, deadline=DEADLINE_MS)


def behaves(expression: str) -> None:
    """It selects something, or one line says why not."""
    try:
        check_expression(expression)
    except SelectionError as error:
        assert str(error).startswith("column ") and str(error).isprintable()
        for function in (lambda: select(EVENTS, expression), lambda: selects_air(expression)):
            with pytest.raises(SelectionError):
                function()
    else:
        assert select(EVENTS, expression).shape == (5,)
        assert selects_air(expression) in (True, False)


@quickly
@given(st.text(max_size=2100))
def test_any_text_behaves(expression: str):
    behaves(expression)


@quickly
@given(st.lists(TOKENS, max_size=60), st.sampled_from(["", " "]))
def test_any_tokens_behave(tokens: list[str], between: str):
    behaves(between.join(tokens))


@quickly
@given(EXPRESSIONS, EXPRESSIONS)
def test_de_morgan(a: str, b: str):
    for one, other in [
        (f"not (({a}) and ({b}))", f"not ({a}) or not ({b})"),
        (f"not (({a}) or ({b}))", f"not ({a}) and not ({b})"),
        (f"not not ({a})", a),
    ]:
        assert rows_of(one) == rows_of(other) and selects_air(one) == selects_air(other)


@quickly
@given(NAMES, NUMBERS, NUMBERS)
def test_a_range_is_two_comparisons(name: str, a: str, b: str):
    low, high = sorted((a, b), key=float)
    assert rows_of(f"{name} in {low}..{high}") == rows_of(f"{name} >= {low} and {name} <= {high}")
    assert rows_of(f"{name} in {low}..{high}") == rows_of(f"{low} <= {name} <= {high}")
    assert rows_of(f"{name} not in {low}..{high}") == rows_of(f"not {name} in {low}..{high}")


@quickly
@given(NAMES, NUMBERS)
def test_signs_exclude_each_other(name: str, number: str):
    events = EVENTS.take(np.array([0, 1, 3, 4]))  # all of which have every quantity
    counts = sum(select(events, f"{name} {sign} {number}").astype(int) for sign in ("<", "=", ">"))
    assert (counts == 1).all()


@quickly
@given(st.integers(-2_000_000, 6_000_000), SIGNS)
def test_units(thousandths: int, sign: str):
    whole = f"{thousandths / 1000:.3f}"
    events = events_of([{"onset_s": thousandths / 1000, "freq1_hz": max(thousandths / 100, 1.0), "level1_db": 0.0}])
    assert rows_of(f"time {sign} {whole}s", events) == rows_of(f"time {sign} {thousandths} ms", events)
    assert rows_of(f"time {sign} {whole}", events) == rows_of(f"time {sign} {whole} S", events)
    assert rows_of(f"freq {sign} {whole} kHz") == rows_of(f"freq {sign} {thousandths}Hz")
    assert rows_of(f"time = {thousandths} ms", events) == [0]


@given(st.integers(0, 127), st.floats(-0.49, 0.49))
def test_names_of_notes(midi: int, off: float):
    name = ["C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B"][midi % 12] + str(midi // 12 - 1)
    events = events_of([{"freq1_hz": 440 * 2 ** ((midi + off - 69) / 12), "level1_db": -3.0}])
    for sign, rows in {"=": [0], ">=": [0], "<=": [0], "<": [], ">": [], "!=": []}.items():
        assert rows_of(f"pitch {sign} {name}", events) == rows_of(f"midi {sign} {midi}", events) == rows
        assert rows_of(f"midi {sign} {midi} st", events) == rows


def test_many_events_take_no_time():
    """100 000 of them: some 0.03 s alone on one core; the best of three, as others may be at work."""
    many = events_of(ROWS).take(np.arange(100_000) % 5)
    expression = "freq > 200 and energy > -40 and pitch > C3 and end < 4 and top 10% by share and modes < 3"
    taken_s = []
    for _ in range(3):
        started = time.perf_counter()
        select(many, expression)
        taken_s.append(time.perf_counter() - started)
    assert min(taken_s) < 0.2
