from __future__ import annotations

import io
import json

import pytest

from sparsecli.cli.console import BYTES, Console, print_json, print_table, printable
from sparsecli.core.errors import SparseError


def test_names_with_control_characters_stay_on_one_line():
    stream = io.StringIO()
    Console(stream=stream).say("a\n\x1b[31m\udcff.wav", "has a name")
    assert stream.getvalue() == "sparse: a\\n\\x1b[31m\\udcff.wav: has a name\n"


def test_quiet_says_failures_only():
    stream = io.StringIO()
    console = Console(quiet=True, progress=True, stream=stream)
    console.say("a.wav", "a notice")
    with console.progress("a.wav") as progress:
        progress.update(1, 2, "3 atoms")
    console.fail(SparseError("a.wav", "a failure", "a cure"))
    assert stream.getvalue() == "sparse: a.wav: a failure; a cure\n"


def test_no_progress_where_nobody_looks():
    stream = io.StringIO()
    with Console(stream=stream).progress("a.wav") as progress:
        progress.update(1, 2, "3 atoms")
    assert stream.getvalue() == ""


def test_progress_in_lines_where_asked_for():
    stream = io.StringIO()
    with Console(progress=True, stream=stream).progress("-") as progress:
        for done_s in (1.0, 1.5, 2.0):
            progress.update(done_s, 4.0, "3 atoms, SNR 1.0 dB")
    (line,) = stream.getvalue().splitlines()  # the first one; another follows after a second
    assert line.startswith("sparse: standard input: 1.0 of 4.0 s done (")
    assert line.endswith(" x real time), 3 atoms, SNR 1.0 dB")


def test_progress_in_bytes():
    stream = io.StringIO()
    with Console(progress=True, stream=stream).progress("s3://models", BYTES) as progress:
        progress.update(1_500_000, 12_000_000, "0 of 2 files")
        progress._next = 0.0  # a second later
        progress.update(12_000_000, 12_000_000, "2 of 2 files")
    last = stream.getvalue().splitlines()[-1]
    assert last.startswith("sparse: s3://models: 12.0 of 12.0 MB done (") and last.endswith(" MB/s), 2 of 2 files")


def test_json_holds_what_json_can_hold(capsys: pytest.CaptureFixture[str]):
    print_json({"a": float("inf"), "b": [float("nan"), 1.5], "c": {"d": -float("inf")}, "e": "\udcff\n"})
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert json.loads(text) == {"a": None, "b": [None, 1.5], "c": {"d": None}, "e": "\udcff\n"}


def test_tables_are_plain_where_piped(capsys: pytest.CaptureFixture[str]):
    print_table([("a", "1", "x"), ("long", "", "\x1b[2J")], title="[red]t[/red]")
    assert capsys.readouterr().out == "[red]t[/red]\na     1  x\nlong     \\x1b[2J\n"


def test_printable_keeps_letters_of_all_alphabets():
    assert printable("Grüße 音.wav") == "Grüße 音.wav"
