from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from sparsecli.core.errors import SparseError
from sparsecli.core.settings import build_settings, parse_assignments, read_config, read_environment


@dataclass(frozen=True)
class Demo:
    atoms: int = 64
    snr_db: float | None = None
    noise: bool = True
    device: Literal["auto", "cpu"] = "auto"
    audio_path: str = ""
    port: int = 9999

    def __post_init__(self) -> None:
        if self.atoms < 1:
            raise ValueError("--atoms must be positive")


def test_stronger_layers_win_and_none_is_not_given():
    settings = build_settings(Demo, [{"atoms": 1, "snr_db": 3}, {"atoms": "2"}, {"atoms": None, "snr_db": None}])
    assert settings == Demo(atoms=2, snr_db=3.0)


def test_keys_may_be_written_with_dashes():
    assert build_settings(Demo, [{"snr-db": "12.5"}]).snr_db == 12.5


@pytest.mark.parametrize(("text", "value"), [("7", 7), ("7.0", 7), ("7e2", 700), ("9007199254740993", 2**53 + 1)])
def test_whole_numbers(text: str, value: int):
    assert build_settings(Demo, [{"atoms": text}]).atoms == value


@pytest.mark.parametrize(("text", "value"), [("true", True), ("No", False), ("0", False), ("yes", True)])
def test_truth_values(text: str, value: bool):
    assert build_settings(Demo, [{"noise": text}]).noise is value


def test_none_takes_a_goal_away():
    assert build_settings(Demo, [{"snr_db": 20}, {"snr_db": "none"}]).snr_db is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("atoms", "many"),
        ("atoms", "1.5"),
        ("atoms", True),
        ("atoms", "inf"),
        ("atoms", "nan"),
        ("snr_db", "loud"),
        ("noise", "maybe"),
        ("device", "tpu"),
        ("port", [1]),
    ],
)
def test_a_value_of_another_type_names_the_setting(key: str, value: object):
    with pytest.raises(SparseError) as caught:
        build_settings(Demo, [{key: value}])
    assert caught.value.subject == key


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(SparseError, match="atmos: unknown setting; the nearest known one is atoms"):
        build_settings(Demo, [{"atmos": 1}])


def test_out_of_range_names_the_option():
    with pytest.raises(SparseError, match="--atoms must be positive"):
        build_settings(Demo, [{"atoms": 0}])


def test_assignments():
    assert parse_assignments(["a=1", " b = x=y "]) == {"a": "1", "b": "x=y"}
    with pytest.raises(SparseError, match="write --set key=value"):
        parse_assignments(["atoms"])


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dotenv = tmp_path / ".env"
    dotenv.write_text("AUDIO_PATH=from-file\nPORT=1234\nS3_BUCKET=unused\n")
    monkeypatch.delenv("PORT", raising=False)
    monkeypatch.setenv("AUDIO_PATH", "from-environment")
    assert read_environment(Demo, str(dotenv)) == {"audio_path": "from-environment", "port": "1234"}


def test_empty_variables_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AUDIO_PATH", "")
    monkeypatch.delenv("PORT", raising=False)
    assert read_environment(Demo, str(tmp_path / "none")) == {}


def test_a_configuration_by_path_and_by_name(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text("[fit]\natoms = 3\n[render]\nnoise = false\n")
    assert read_config(str(path), "fit") == {"atoms": 3}
    assert read_config(str(path), "train") == {}
    assert isinstance(read_config("fast", "fit"), dict)


@pytest.mark.parametrize(
    ("content", "cause"),
    [(b"[fit", "not a readable TOML file"), (b"fit = 3", "is not a table"), (b"\xff\xfe", "not a readable TOML file")],
)
def test_a_configuration_that_is_none(tmp_path: Path, content: bytes, cause: str):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(SparseError, match=cause):
        read_config(str(path), "fit")


def test_an_unknown_configuration_names_the_known_ones(tmp_path: Path):
    with pytest.raises(SparseError, match=r"no such configuration; named ones are .*fast"):
        read_config(str(tmp_path / "slow"), "fit")
    with pytest.raises(SparseError, match="not a readable TOML file"):
        read_config(str(tmp_path), "fit")
