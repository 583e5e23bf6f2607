"""Standard input and output, as shells join them."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import soundfile

FEW = ["--atoms", "2"]
SPARSE = f"{sys.executable} -m sparsecli"


def shell(folder: Path, script: str, **options: object) -> subprocess.CompletedProcess[str]:
    script = f'set -o pipefail\nsparse() {{ {SPARSE} "$@"; }}\n{script}'
    return subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=120, **options)


def test_from_recording_to_recording_through_pipes(tone, names, tmp_path: Path):
    tone("song.wav")
    done = shell(tmp_path, "sparse fit - --atoms 2 < song.wav | sparse render - | sparse compare --json song.wav -")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["notices"] == []
    assert names() == ["song.wav"]
    assert all(line.startswith("sparse: standard input: ") for line in done.stderr.splitlines())


def test_standard_output_holds_the_data_alone(program, tone, events, tmp_path: Path):
    fitted = program("fit", tone("song.wav", channels=3), *FEW, "-o", "-", "--progress")
    assert fitted.code == 0
    assert json.loads(fitted.out)["header"]["format"] == "sparse-events"
    assert "standard output: " in fitted.err and "folded to mono" in fitted.err and " s done (" in fitted.err
    rendered = program("render", events("a.npz"), "-o", "-", "--bit-depth", "24")
    assert soundfile.info(io.BytesIO(rendered.out)).subtype == "PCM_24"
    assert rendered.err.startswith("sparse: a.npz: standard output: 2 events")
    flac = program("render", "a.npz", "-o", "-", "--format", "flac", "-q")
    assert (flac.out[:4], flac.err) == (b"fLaC", "")


def test_standard_input_is_left_alone(tone, tmp_path: Path):
    """Otherwise the loop would end after its first file."""
    for name in ("a.wav", "b.wav"):
        tone(name)
    script = 'printf "a.wav\\nb.wav\\n" | while read -r name; do sparse fit "$name" --atoms 2 --json; done'
    done = shell(tmp_path, script)
    assert [json.loads(line)["output"] for line in done.stdout.splitlines()] == ["a.npz", "b.npz"], done.stderr


def test_loops_over_edits_keep_their_input(events, tmp_path: Path):
    for name in ("a.npz", "b.npz", "c.npz"):
        events(name)
    loop = 'while read -r f; do sparse edit "$f" -q --gain -6; sparse info "$f" --json; sparse info --columns; done'
    done = shell(tmp_path, f"ls a.npz b.npz c.npz | {{ {loop}; }}")
    inputs = [json.loads(line)["input"] for line in done.stdout.splitlines() if line.startswith("{")]
    assert inputs == ["a.npz", "b.npz", "c.npz"], done.stderr
    assert (tmp_path / "c.edited.npz").exists()


def test_the_pipe_of_the_guide(events, names, tmp_path: Path):
    """From events to edited events to sound, with nothing on disk; whoever plays it gets a whole file."""
    events("a.npz", count=6)
    pipe = "sparse edit a.npz -o - --where 'freq > 1kHz' --gain -6 | sparse edit - --where 'freq < 500' --mute"
    done = shell(tmp_path, f"{pipe} | sparse render - -o b.wav && {pipe} -q | sparse info - --json -q")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["events"] == 5 and record["ranges"]["level_db"] == [-18, -12]
    assert names() == ["a.npz", "b.wav"]
    assert soundfile.info(tmp_path / "b.wav").frames == 5512


def test_json_for_programs_and_npz_for_size(program, events, tmp_path: Path):
    events("a.npz", count=500)
    as_json = program("edit", "a.npz", "-o", "-", "--gain", "-1")
    as_npz = program("edit", "a.npz", "-o", "-", "--gain", "-1", "--format", "npz")
    assert json.loads(as_json.out)["rows"] and as_npz.out.startswith(b"PK") and len(as_npz.out) < len(as_json.out) / 3
    assert program("info", "-", "--json", "--where", "all", input=as_npz.out).out.count(b'"events": 500,') == 1


def test_many_edits_at_once(program, events, names, tmp_path: Path):
    for name in ("a.npz", "b.npz"):
        events(name)
    done = program("edit", "a.npz", "lost.npz", "b.npz", "-o", "out", "--gain", "-6", "--jobs", "2", "--json")
    assert done.code == 1 and [json.loads(line)["output"] for line in done.out.splitlines()] == [
        "out/a.edited.npz",
        "out/b.edited.npz",
    ]
    assert "sparse: lost.npz: no such file\n" in done.err


def test_standard_input_among_several_inputs_and_processes(program, events, tmp_path: Path):
    piped = (tmp_path / events("piped.json")).read_bytes()
    done = program("render", events("a.npz"), "-", events("b.npz"), "-o", "out", "--jobs", "2", "--json", input=piped)
    assert done.code == 0, done.err
    records = [json.loads(line) for line in done.out.splitlines()]
    assert [record["output"] for record in records] == ["out/a.wav", "out/stdin.wav", "out/b.wav"]
    assert [line.split(": ")[1] for line in done.err.splitlines()] == ["a.npz", "standard input", "b.npz"]


def test_a_bad_pipe_is_named(program):
    done = program("render", "-", "-o", "a.wav", input=b"no events")
    assert (done.code, done.out) == (1, b"")
    assert done.err == "sparse: standard input: is not an events file (.npz or .json)\n"


def test_a_reader_that_goes_is_no_disaster(events, tmp_path: Path):
    events("a.npz", count=3000)
    for command in (
        "sparse info a.npz --json",
        "sparse render a.npz -o - -q --sample-rate 384000",
        "sparse info --help",
    ):
        done = shell(tmp_path, f"{command} | true")
        assert done.stderr == ""


def test_a_full_disk_is_said(events, tmp_path: Path):
    events("a.npz")
    for command in ("sparse info a.npz", "sparse info --json --columns", "sparse render -q a.npz -o -"):
        done = shell(tmp_path, f"{command} > /dev/full")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert done.stderr.startswith("sparse: standard output: cannot be written (no space left on device); ")


def test_closed_outputs(events, tmp_path: Path):
    events("a.npz")
    done = shell(tmp_path, "sparse info a.npz >&-")
    assert (done.returncode, done.stderr) == (1, "sparse: standard output: takes no bytes; name a file\n")
    assert shell(tmp_path, "sparse info missing.npz 2>&-").returncode == 1


def test_sound_is_not_written_to_a_terminal(start, events):
    terminal, its_end = pty.openpty()
    process = start("render", events("a.npz"), "-o", "-", stdout=its_end)
    assert process.wait(timeout=60) == 2
    assert process.stderr.read().startswith("sparse: standard output: is a terminal, which plays no sound; ")
    os.close(its_end)
    os.close(terminal)


def test_a_bar_on_a_terminal_and_names_that_are_no_markup(start, tone):
    """The bar is drawn, then taken away; the name is neither markup nor commands for the terminal."""
    name = tone("[red]x[bold] \x1b[2J.wav")
    terminal, its_end = pty.openpty()
    process = start(
        "fit", name, *FEW, "-o", "a.npz", stderr=its_end, env={**os.environ, "TERM": "xterm", "COLUMNS": "160"}
    )
    os.close(its_end)
    shown = b""
    try:
        while piece := os.read(terminal, 65536):
            shown += piece
    except OSError:
        pass  # how Linux says that the other end is closed
    assert process.wait(timeout=60) == 0
    assert b"x real time" in shown and b"\xe2\x94\x81" in shown  # the bar's line
    assert b"[red]x[bold] \\x1b[2J.wav" in shown and b"\x1b[2J" not in shown
