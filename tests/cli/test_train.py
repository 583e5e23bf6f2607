from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from sparsecli.cli import training
from sparsecli.cli.app import app
from sparsecli.core.errors import SparseError
from sparsecli.engine import siam_lessons
from sparsecli.io import run_folder
from sparsecli.io.events_file import load_events
from sparsecli.io.run_folder import HEAD, HISTORY, LOGS, MODEL, RunFolder
from sparsecli.models.siam_file import load_siam

from .conftest import COMMAND, RATE

FEW = ["--smoke", "--steps", "2", "--batch-size", "1", "--set", "log_steps=1", "--set", "sample_rate=4000"]
MORE = [*FEW, "--steps", "4", "--set", "validate_steps=100"]


@pytest.fixture
def music(tmp_path: Path) -> Callable[..., str]:
    """A folder of noises, each of two seconds."""

    def write(count: int = 2, folder: str = "music") -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        for index in range(count):
            noise = 0.1 * np.random.default_rng(index).standard_normal(2 * RATE)
            soundfile.write(tmp_path / folder / f"{index}.wav", noise, RATE)
        return folder

    return write


def history(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / HISTORY).read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "seconds"} for line in lines]


def arrays(folder: Path) -> dict[str, Any]:
    run = RunFolder(str(folder))
    return run.load_arrays(run.load_head())


def weights(folder: Path) -> dict[str, Any]:
    return {name: value.numpy() for name, value in load_siam(folder / MODEL).state_dict().items()}


def check_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """To the last bit."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_a_trial_makes_a_model(invoke, names, tmp_path: Path):
    result = invoke("train", *FEW, "--json")
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    assert (record["kind"], record["output"], record["model"]) == ("siam", "siam", "siam/model.safetensors")
    assert (record["step"], record["steps"], record["complete"]) == (2, 2, True)
    assert load_siam(tmp_path / record["model"]).shape.width == 8
    lines = history(tmp_path / "siam")
    assert [line["step"] for line in lines] == [1, 2]
    for name in ("loss", "learning_rate", "skipped", "validation_loss", "validation_snr_db", "validation_events_per_s"):
        assert record[name] == lines[-1][name], name
    kept = [name for name in names() if not name.startswith("siam/tensorboard/")]
    (arrays_file,) = [name for name in kept if name.startswith("siam/checkpoint-2-")]
    assert kept == sorted(["siam", f"siam/{HEAD}", arrays_file, f"siam/{HISTORY}", f"siam/{MODEL}", "siam/tensorboard"])
    said = result.stderr.splitlines()
    assert said[0] == "sparse: siam: learns from scenes of its own alone"
    assert said[1].startswith("sparse: siam: step 2 of 2: loss ") and " events/s" in said[1]
    assert said[2].startswith("sparse: siam: siam/model.safetensors: 2 steps, loss ") and len(said) == 3

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = EventAccumulator(str(tmp_path / "siam" / LOGS))
    logs.Reload()
    assert [(point.step, point.value) for point in logs.Scalars("loss")] == [
        (line["step"], pytest.approx(line["loss"])) for line in lines
    ]

    again = invoke("train", "siam", *FEW, "--quiet")
    assert again.exit_code == 2
    assert again.stderr == "sparse: siam: holds a run already; --resume goes on with it, --overwrite begins anew\n"
    before = weights(tmp_path / "siam")
    assert invoke("train", "siam", *FEW, "--quiet", "--overwrite").stderr == ""
    check_same(weights(tmp_path / "siam"), before)  # of the same seed


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Send a signal after a step."""
    real = training.Listener.progress

    def at(step: int, number: int) -> None:
        def progress(self: Any, progress: Any) -> bool:
            if progress.step == step:
                os.kill(os.getpid(), number)
            return real(self, progress)

        monkeypatch.setattr(training.Listener, "progress", progress)

    return at


def test_a_run_in_parts_is_that_in_one(invoke, music, interrupt, tmp_path: Path):
    """Ended by Ctrl-C, then by SIGTERM, as machines are that are wanted back."""
    args = ["train", "siam", "--data", music(), *MORE, "--set", "scene_share=0.5"]
    assert invoke(*args, "--out", "whole").exit_code == 0
    again = ["train", "siam", "--out", "parts", "--resume"]  # with the settings of the run
    for part, step, number, name in ((args, 1, signal.SIGINT, "Ctrl-C"), (again, 3, signal.SIGTERM, "SIGTERM")):
        interrupt(step, number)
        result = invoke(*part, "--out", "parts", "--json")
        assert result.exit_code == 130
        said = result.stderr.splitlines()
        assert f"sparse: {name}: ends the training after this step, with a checkpoint; a second one kills it" in said
        assert said[-1] == f"sparse: interrupted: parts holds a checkpoint at step {step}; go on with --resume"
        assert json.loads(result.stdout)["complete"] is False
        assert load_siam(tmp_path / "parts" / MODEL)
    interrupt(10**9, signal.SIGINT)
    last = invoke(*again)
    assert last.exit_code == 0, last.stderr
    assert "sparse: --resume: goes on after step 3\n" in last.stderr
    check_same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    check_same(arrays(tmp_path / "parts"), arrays(tmp_path / "whole"))
    assert history(tmp_path / "parts") == history(tmp_path / "whole")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps that is done."""
    folder = tmp_path_factory.mktemp("made") / "run"
    assert CliRunner().invoke(app, ["train", *FEW, "--out", str(folder)]).exit_code == 0
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> str:
    """A copy of that run."""
    shutil.copytree(made, tmp_path / "run")
    return "run"


def test_what_differs_is_said(invoke, run: str, tmp_path: Path):
    result = invoke("train", "--out", run, "--resume", "--steps", "3", "--lr", "0.001")
    assert result.exit_code == 0
    assert (
        "--resume: goes on after step 2; steps is 3, before it was 2; learning_rate is 0.001, before it was 0.0005\n"
        in result.stderr
    )
    assert [line["step"] for line in history(tmp_path / run)] == [1, 2, 3]
    assert invoke("train", "--out", run, "--resume", "--quiet").stderr == ""  # there is nothing left to do


def test_resume_begins_where_there_is_nothing(invoke, tmp_path: Path):
    result = invoke("train", *FEW, "--resume")
    assert result.exit_code == 0 and (tmp_path / "siam" / MODEL).exists()


def test_files_that_are_damaged_are_named_once(invoke, music, tmp_path: Path):
    folder = tmp_path / music(3)
    (folder / "bad.wav").write_bytes(b"RIFF" + bytes(100))
    good = tmp_path / "whole.flac"
    soundfile.write(good, 0.1 * np.random.default_rng(0).standard_normal(20 * RATE), RATE)
    (folder / "broken.flac").write_bytes(good.read_bytes()[:2000])  # it shows only where it is read
    args = [*FEW, "--data", "music", "--set", "scene_share=0", "--batch-size", "4"]
    result = invoke("train", *args)
    assert result.exit_code == 0, result.stderr
    told = [line for line in result.stderr.splitlines() if "left out" in line]
    assert [line.split(": ")[1] for line in told] == ["music/bad.wav", "music/broken.flac"]
    assert "sparse: music: learns from 3 recordings, 1 held out\n" in result.stderr


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ([], 2, "no folder of recordings is named; give --data DIR, set AUDIO_PATH, or try --smoke"),
        (["--data", "none"], 1, "none: no such folder; name a folder of recordings with --data, or with AUDIO_PATH"),
        (["--data", "empty"], 1, "empty: holds no recordings that can be read; name another folder with --data"),
        (["--smoke", "--steps", "0"], 2, "--steps 0 is out of range; give at least 1"),
        (
            ["--smoke", "--loss", "surrogate"],
            2,
            "--loss surrogate: the surrogate is of a descent; give another, e.g. mrstft-linear",
        ),
        (["--smoke", "--set", "witdh=3"], 2, "witdh: unknown setting; the nearest known one is width"),
        (["--smoke", "--set", "width=0"], 1, "--set: width is 0; an integer from 1 to 1024 is needed"),
        (["--smoke", "--device", "cuda"], 1, "--device cuda: this machine has no such device; use --device cpu"),
        (["--smoke", "--out", "taken"], 2, "taken: is a file; name a folder with --out"),
    ],
)
def test_what_cannot_be_is_one_line(
    invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], code: int, said: str
):
    monkeypatch.delenv("AUDIO_PATH", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken").write_text("x")
    result = invoke("train", "--out", "run", *args)
    assert (result.exit_code, result.stderr, result.stdout) == (code, f"sparse: {said}\n", "")
    assert not list((tmp_path / "run").glob("*"))


def test_the_folder_of_the_environment(invoke, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AUDIO_PATH", "nowhere")
    assert "nowhere: no such folder" in invoke("train").stderr


def replace(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("harm", "code", "said"),
    [
        (lambda folder: os.truncate(next(folder.glob("*-2-*.safetensors")), 999), 1, "is cut short or damaged"),
        (lambda folder: torch.save({}, next(folder.glob("*-2-*.safetensors"))), 1, "is pickled"),
        (lambda folder: os.truncate(folder / HEAD, 50), 2, f"{HEAD}: is cut short or damaged"),
        (
            lambda folder: replace(folder / HEAD, '"version": 1', '"version": 9'),
            2,
            "is of version 9, and this program knows 1; update sparse",
        ),
        (
            lambda folder: replace(folder / HEAD, '"siam"', '"dictionary"'),
            2,
            "holds a training of kind dictionary; go on with sparse train dictionary",
        ),
    ],
)  # fmt: skip
def test_a_checkpoint_that_cannot_be_used(
    invoke, run: str, tmp_path: Path, harm: Callable[[Path], Any], code: int, said: str
):
    harm(tmp_path / run)
    before = {path.name: path.read_bytes() for path in (tmp_path / run).glob("*.*")}
    result = invoke("train", "--out", run, "--resume", "--quiet")
    assert result.exit_code == code
    assert said in result.stderr and result.stderr.count("\n") == 1
    assert before == {path.name: path.read_bytes() for path in (tmp_path / run).glob("*.*")}


def test_a_checkpoint_of_other_shapes(invoke, run: str):
    result = invoke("train", "--out", run, "--resume", "--quiet", "--set", "width=4")
    assert result.exit_code == 1
    assert "model.eye.extra.bias is of shape [16], and the network's is of shape [8]" in result.stderr
    assert "resume with the settings of the run" in result.stderr and result.stderr.count("\n") == 1


def test_on_a_full_disk_the_run_goes_on(invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The disk is full from the second checkpoint on, and there is room again for the fourth."""
    real, calls = run_folder.open_output, []

    def full(path: Path, **options: Any) -> Any:
        if path.name.startswith("checkpoint-"):
            calls.append(path)
            if len(calls) in (2, 3):
                raise SparseError(str(path), "cannot be written (no space left on device)", "free some space")
        return real(path, **options)

    monkeypatch.setattr(run_folder, "open_output", full)
    args = ["train", *MORE, "--checkpoint-minutes", "0"]
    result = invoke(*args)
    assert result.exit_code == 0
    told = [line for line in result.stderr.splitlines() if "no space left" in line]
    assert len(told) == 2 and "; the training goes on, and the last checkpoint stays; free some space" in told[0]
    assert RunFolder(str(tmp_path / "siam")).load_head().step == 4


def test_a_last_checkpoint_that_cannot_be_written_is_a_failure(invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = run_folder.open_output

    def full(path: Path, **options: Any) -> Any:
        if path.name == HEAD and path.exists():
            raise SparseError(str(path), "cannot be written (no space left on device)", "free some space")
        return real(path, **options)

    monkeypatch.setattr(run_folder, "open_output", full)
    result = invoke("train", *FEW, "--checkpoint-minutes", "0", "--quiet")
    assert result.exit_code == 1
    assert result.stderr == f"sparse: siam/{HEAD}: cannot be written (no space left on device); free some space\n"
    folder = RunFolder(str(tmp_path / "siam"))
    assert folder.load_head().step == 1 and folder.load_arrays(folder.load_head())


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_out_of_memory(invoke, monkeypatch: pytest.MonkeyPatch, error: Exception):
    def fail(*about: Any) -> None:
        raise error

    monkeypatch.setattr(siam_lessons, "loss_of", fail)
    result = invoke("train", *FEW, "--quiet", "--device", "cpu")
    assert result.exit_code == 1
    assert result.stderr == "sparse: siam: not enough memory on cpu; give a smaller --batch-size than 1\n"


def test_fits_beside_recordings_make_scenes(invoke, music, events, tmp_path: Path):
    folder = music(2)
    for index in range(2):
        events(f"{folder}/{index}.npz", count=3)
    result = invoke("train", *FEW, "--data", folder, "--set", "scene_share=0.9")
    assert result.exit_code == 0
    assert "learns from 1 recording, 1 held out, 1 fit\n" in result.stderr  # not that of the one held out
    assert len(load_events(tmp_path / folder / "0.npz")) == 3


def test_progress_is_lines_where_there_is_no_terminal(invoke):
    result = invoke("train", *FEW, "--progress")
    assert "sparse: siam: 1 of 2 steps done (" in result.stderr


def test_a_server_that_fails_does_not_end_the_run(invoke, monkeypatch: pytest.MonkeyPatch):
    import contextlib

    from sparsecli.web.monitor import Place

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]  # nobody listens there any more
    monkeypatch.setattr(training, "monitoring", lambda *about: contextlib.nullcontext(Place(port, "secret")))
    result = invoke("train", *FEW, "--monitor")
    assert result.exit_code == 0
    assert "the page's server does not answer any more; the training goes on without it\n" in result.stderr


def test_two_processes_learn_what_one_learns(invoke, music, tmp_path: Path):
    """Started as torchrun starts them, with gloo between them; the batch is shared, and the first alone speaks."""
    args = ["train", "siam", "--data", music(3), *FEW, "--batch-size", "4", "--set", "scene_share=0.5"]
    assert invoke(*args, "--out", "one", "--device", "cpu").exit_code == 0
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(listening.getsockname()[1]), "WORLD_SIZE": "2"}
    command = [*COMMAND, *args, "--out", "two", "--device", "cpu"]
    processes = [
        subprocess.Popen(
            command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ, **place, "RANK": str(rank)}
        )
        for rank in (0, 1)
    ]
    (first, second) = [process.communicate(timeout=600)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], first + second
    assert first.count("\n") == 3 and second == ""
    assert len(history(tmp_path / "two")) == 2
    for one, two in zip(history(tmp_path / "one"), history(tmp_path / "two"), strict=True):
        # The order of sums differs, in single precision.
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert two["gradient"] == pytest.approx(one["gradient"], rel=1e-4)
    ones, twos = arrays(tmp_path / "one"), arrays(tmp_path / "two")
    for name in ones:
        if name.startswith("model."):
            # AdamW divides by gradients that may be as small as rounding: a step is at most the learning rate.
            np.testing.assert_allclose(twos[name], ones[name], atol=1e-4, err_msg=name)
