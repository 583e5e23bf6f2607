from __future__ import annotations

import inspect
import re
import subprocess
import sys
from dataclasses import fields
from typing import get_args

import pytest

import sparsecli
from sparsecli.cli import fit, render
from sparsecli.engine.settings import FitSettings, RenderSettings
from sparsecli.io import audio, events_file, wav

COMMANDS = ["fit", "decompose", "render", "edit", "fetch-models", "info", "compare", "view", "train"]
HEAVY = ("torch", "numpy", "librosa", "scipy", "soundfile", "boto3", "safetensors")


def plain(text: str) -> str:
    """Help without boxes and line breaks."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def test_version(invoke):
    result = invoke("--version")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"sparse {sparsecli.__version__}\n", "")


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_goes_to_standard_output(invoke, command: list[str], flag: str):
    result = invoke(*command, flag)
    assert result.exit_code == 0 and "Usage: sparse" in result.stdout.replace("root", "sparse") and not result.stderr


def test_the_help_names_the_commands_that_there_are(invoke):
    listed = re.findall(r"^│ (\w[\w-]+) ", invoke("--help").stdout, re.MULTILINE)
    assert listed == COMMANDS


@pytest.mark.parametrize("args", [["--help"], ["fit", "--help"], ["render", "--help"]])
def test_help_imports_nothing_heavy(args: list[str]):
    code = (
        "import sys\nfrom sparsecli.cli.app import app\n"
        f"try: app({args!r})\nexcept SystemExit: print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "Usage"),
        (["fit"], "Usage"),
        (["fly"], "fly"),
        (["fit", "a.wav", "--atom", "3"], "--atoms"),
        (["fit", "a.wav", "--atoms", "many"], "--atoms"),
        (["compare", "a.wav"], "EST"),
        (["render", "a.npz", "--jobs", "0"], "--jobs"),
    ],
)
def test_usage_errors_exit_with_2_and_print_no_data(invoke, args: list[str], said: str):
    result = invoke(*args)
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize(
    ("command", "kind", "hidden"),
    [("fit", FitSettings, 7), ("render", RenderSettings, 10)],
)
def test_the_help_tells_the_defaults_of_the_settings(invoke, command: str, kind: type, hidden: int):
    """The first fields are options; later ones are set by --set alone. Flags that are not set say nothing."""
    text = plain(invoke(command, "--help").stdout)
    for entry in fields(kind)[:hidden]:
        if entry.default is not None and entry.default is not False:
            shown = f"{entry.default:g}" if isinstance(entry.default, float) else str(entry.default)
            assert f"(default {shown})" in text, entry.name


def test_choices_and_extensions_are_those_of_the_readers_and_writers():
    assert get_args(events_file.EventsFormat) == fit.FORMATS
    assert set(fit.EXTENSIONS) == set(events_file._FORMAT_OF_EXTENSION)
    assert get_args(audio.AudioFormat) == render.FORMATS
    assert set(render.EXTENSIONS) == set(audio._FORMAT_OF_EXTENSION)
    assert get_args(wav.BitDepth) == render.BIT_DEPTHS


def test_the_help_tells_the_default_bit_depth(invoke):
    default = inspect.signature(audio.write_audio).parameters["bit_depth"].default
    assert f"FLAC has 16 and 24. (default {default})" in plain(invoke("render", "--help").stdout)


def test_completion_is_on(invoke):
    assert "--install-completion" in invoke("--help").stdout
