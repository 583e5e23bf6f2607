"""Files of SIAM's weights: what is written is read, and what is none is refused with a line that says why."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sparsecli.core.errors import SparseError
from sparsecli.models.siam import Siam, SiamShape
from sparsecli.models.siam_file import FORMAT, VERSION, load_siam, packaged_siam, save_siam

SMALL = SiamShape(scales=(256,), width=4, voice_width=4, voice_depth=2)
SAID = {"format": FORMAT, "version": VERSION, "shape": json.dumps(SMALL.to_json())}


@pytest.fixture
def model() -> Siam:
    torch.manual_seed(3)
    model = Siam(SMALL)
    for weight in model.parameters():
        torch.nn.init.normal_(weight)
    return model


def test_weights_come_back(model: Siam, tmp_path: Path):
    save_siam(tmp_path / "m.safetensors", model, {"made": "here"})
    back = load_siam(tmp_path / "m.safetensors")
    assert back.shape == SMALL
    for name, value in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], value)
    assert not any(weight.requires_grad for weight in back.parameters())


def test_half_precision_takes_half_the_room(model: Siam, tmp_path: Path):
    save_siam(tmp_path / "whole.safetensors", model)
    save_siam(tmp_path / "half.safetensors", model, half=True)
    weights = sum(value.numel() for value in model.state_dict().values())
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[0] - sizes[1] == pytest.approx(2 * weights, abs=64)  # the header may be padded otherwise
    back = load_siam(tmp_path / "half.safetensors")
    for name, value in model.state_dict().items():
        torch.testing.assert_close(back.state_dict()[name], value, rtol=2**-11, atol=1e-7)


def test_an_existing_file_stays(model: Siam, tmp_path: Path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"mine")
    with pytest.raises(SparseError, match="exists"):
        save_siam(path, model)
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, "not those of a Sparse Interpretable Audio Model"),
        ({**SAID, "version": "2"}, "of version '2'"),
        ({**SAID, "shape": "{"}, "says its sizes wrongly"),
        ({**SAID, "shape": json.dumps({**SMALL.to_json(), "width": 10**6})}, "says its sizes wrongly"),
        ({**SAID, "shape": json.dumps({**SMALL.to_json(), "width": 5})}, "of other sizes than it says"),
    ],
)
def test_files_of_something_else_are_refused(model: Siam, tmp_path: Path, said: dict[str, str], why: str):
    save_file(model.state_dict(), tmp_path / "m.safetensors", said)
    with pytest.raises(SparseError, match=why):
        load_siam(tmp_path / "m.safetensors")


def test_damaged_files_are_refused(model: Siam, tmp_path: Path):
    path = tmp_path / "m.safetensors"
    save_siam(path, model)
    whole = path.read_bytes()
    weights = load_file(path)
    weights["eye.head.bias"][0] = float("nan")
    save_file(weights, tmp_path / "nan.safetensors", SAID)
    (tmp_path / "short.safetensors").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps({"format": FORMAT}))
    for name, why in (("nan", "not numbers"), ("short", "damaged"), ("pickle", "not a safetensors file")):
        with pytest.raises(SparseError, match=why):
            load_siam(tmp_path / f"{name}.safetensors")


def test_the_model_of_the_package_is_whole_and_small():
    model = load_siam(packaged_siam())
    assert model.shape == SiamShape()  # what the program trains unless told otherwise
    assert packaged_siam().stat().st_size <= 8 << 20
