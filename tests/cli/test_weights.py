"""`sparse info` of files of weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

DATA = safetensors.numpy.save({"a.w": np.zeros((2, 3), np.float32), "b": np.zeros(4, np.int64)}, {"kind": "siam\n"})


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "small.bin").write_bytes(DATA)  # the name does not matter
    return "small.bin"


def test_a_table(invoke, model: str):
    result = invoke("info", model)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split(maxsplit=1) for line in result.stdout.splitlines()] == [
        ["small.bin"],
        ["format", "safetensors"],
        ["file", f"{len(DATA)} B"],
        ["sha256", hashlib.sha256(DATA).hexdigest()],
        ["kind", "siam\\n"],  # what a file says cannot take hold of the terminal
        ["tensors", "2, 10 numbers"],
        ["b", "I64 [4]"],
        ["a.w", "F32 [2, 3]"],
    ]


def test_json_and_standard_input(program):
    done = program("info", "-", "--json", input=DATA)
    record = json.loads(done.out)
    assert (record["input"], record["format"], record["bytes"]) == ("-", "safetensors", len(DATA))
    assert record["metadata"] == {"kind": "siam\n"} and record["numbers"] == 10
    assert {"name": "a.w", "dtype": "F32", "shape": [2, 3]} in record["tensors"]


@pytest.mark.parametrize("option", [["--columns"], ["--notes"], ["--where", "all"]])
def test_weights_have_no_events(invoke, model: str, option: list[str]):
    result = invoke("info", model, *option)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"small.bin: holds weights, and no events for {option[0]} to tell of" in result.stderr


def test_a_damaged_file_is_said_and_the_others_are_told_of(invoke, model: str, events, tmp_path: Path):
    (tmp_path / "half.safetensors").write_bytes(DATA[:-1])
    result = invoke("info", "half.safetensors", model, events("a.npz"), "--json")
    assert result.exit_code == 1 and len(result.stdout.splitlines()) == 2
    assert result.stderr.startswith("sparse: half.safetensors: is a damaged safetensors file (")


def test_legacy_means_pickled_weights_alone(invoke, events):
    result = invoke("info", events("a.npz"), "--legacy")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "a.npz: is not a zip file of torch.save (no data.pkl in it)" in result.stderr
