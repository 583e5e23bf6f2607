"""The documentation: its tables are the program's, its options exist, its links lead somewhere, its examples run."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import sparsecli
from sparsecli.cli.options import USAGE
from sparsecli.cli.runner import INTERRUPTED
from sparsecli.core.columns import SILENT_DB, columns_of
from sparsecli.core.events import events_from_columns
from sparsecli.core.manifest import parse_manifest
from sparsecli.dsp.quality import snr_db
from sparsecli.dsp.resample import resample
from sparsecli.io.model_store import local_models

from .servers import S3

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
WITH_EXAMPLES = [page for page in PAGES if re.search(r"^```(sh|python)$", page.read_text(), re.MULTILINE)]
SONG_S = 0.6  # of the example, from its first note on: two notes, which take a second or two to fit
SONG_RATE = 22050
EVERYWHERE = {"--help", "--version", "--install-completion", "--show-completion"}
# Options of the benches, of torchrun and of TensorBoard.
OF_OTHERS = {"--clips", "--learned", "--midi", "--soundfont", "--fits", "--nproc-per-node", "--logdir"}


def load_script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLES = load_script(ROOT / "docs" / "make_tables.py")
OPTIONS = {
    name: {
        option
        for parameter in command.params
        if parameter.param_type_name == "option"
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for name, command in TABLES.COMMANDS.items()
}


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    """Fenced blocks that are to be run: language and text."""
    opening = r"^(?:<!-- (not run|needs (?P<program>\w+)) -->\n)?```(?P<language>\w+)\n"
    found = re.finditer(rf"{opening}(?P<text>.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [
        (block["language"], block["text"])
        for block in found
        if block["language"] in languages and (not block[1] or (block["program"] and shutil.which(block["program"])))
    ]


def name_of(page: Path) -> str:
    return page.name


@pytest.fixture(scope="module")
def song() -> sparsecli.Audio:
    audio = sparsecli.read_audio(ROOT / "examples" / "morning.flac", 0.05, SONG_S)
    samples = resample(audio.mono(), audio.sample_rate, SONG_RATE)
    return sparsecli.Audio(samples[None], SONG_RATE)


@pytest.fixture
def folder(tmp_path: Path, song: sparsecli.Audio, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that holds a short recording; `sparse` is on the path."""
    sparsecli.write_audio(tmp_path / "song.flac", song)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    return tmp_path


# The pages


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tables_are_up_to_date(page: Path):
    assert TABLES.fill(page.read_text()) == page.read_text(), "out of date: make docs"


def test_every_table_is_used_and_every_option_is_documented():
    text = "".join(page.read_text() for page in PAGES)
    used = set(re.findall(r"<!-- table: ([a-z -]+) -->", text))
    assert used == set(TABLES.TABLES)
    names = {name.split()[0] for name in OPTIONS}
    assert names == {"fit", "decompose", "render", "edit", "train", "fetch-models", "info", "view", "compare"}
    assert names <= set(re.findall(r"^### ([\w-]+)$", text, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_exist(page: Path):
    text = page.read_text()
    commands = "|".join(sorted({name.split()[0] for name in OPTIONS}))
    for line in re.findall(rf"(?:sparse|-m sparsecli) ((?:{commands}) [^\n`|#]*)", text):
        words = shlex.split(line.replace("\\", " ").split(";")[0])
        named = [" ".join(words[:2]), words[0], f"{words[0]} siam"]  # `train` alone is `train siam`
        options = next(OPTIONS[name] for name in named if name in OPTIONS)
        unknown = {word for word in words if word.startswith("--")} - options - EVERYWHERE
        assert not unknown, line
    known = set().union(EVERYWHERE, OF_OTHERS, *OPTIONS.values())
    assert set(re.findall(r"(?<![-\w])--[a-z][a-z-]+", text)) <= known


@pytest.mark.parametrize("command", TABLES.COMMANDS)
def test_the_help_names_every_option(command: str):
    wide = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    shown = subprocess.run(
        [sys.executable, "-m", "sparsecli", *command.split(), "--help"],
        check=True,
        capture_output=True,
        text=True,
        env=wide,
    ).stdout
    assert all(option in shown for option in OPTIONS[command])


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md", ROOT / "examples" / "README.md"], ids=name_of)
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", other.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, target


def test_exit_codes():
    codes = re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert codes == ["0", "1", str(USAGE), str(INTERRUPTED)]


def test_the_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"(?:^|`)make (?!PYTHON)([a-z]+)", page.read_text(), re.MULTILINE)) <= targets


def test_pictures_are_small():
    sizes = {path.name: path.stat().st_size for path in (ROOT / "docs" / "images").iterdir()}
    assert set(sizes) == {"events.png", "atom.png", "view.png", "view-dark.png", "monitor.png"} | {
        "siam-events.png",
        "siam-training.png",
    }
    assert max(sizes.values()) < 250_000


# The examples


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=name_of)
def test_examples_run(page: Path, folder: Path, request: pytest.FixtureRequest):
    """All blocks of a page in order, in one folder; those in Python share their names."""
    names: dict[str, Any] = {}
    if page.name == "models.md":
        request.getfixturevalue("bucket")
    if page.name == "format.md":
        write_known_events(folder)
    for language, text in blocks(page, "sh", "python"):
        if language == "sh":
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{text}\n{done.stderr}"
            assert "Traceback" not in done.stderr
        else:
            exec(compile(text, f"{page.name}", "exec"), names)
    CHECKS.get(page.name, lambda folder, names: None)(folder, names)


@pytest.fixture
def bucket(s3: S3, signing: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket on a server of this machine, which the environment names."""
    name = s3.new_bucket()
    for variable, value in {"S3_BUCKET": name, "AWS_ENDPOINT_URL": s3.url, "SPARSE_CACHE": "cache"}.items():
        monkeypatch.setenv(variable, value)
    return name


def check_models(folder: Path, names: dict[str, Any]) -> None:
    """The model came through the bucket, and the manifest is as the page shows it but for the SHA-256."""
    fetched = (folder / "other" / "models" / "tiny.safetensors").read_bytes()
    assert fetched == (folder / "mine" / "tiny.safetensors").read_bytes()
    ((_, shown),) = blocks(ROOT / "docs" / "models.md", "json")
    (model,) = parse_manifest(shown.encode(), "the page")
    (kept,) = local_models(folder / "other" / "models")
    assert replace(model, sha256=kept.sha256) == kept


def check_readme(folder: Path, names: dict[str, Any]) -> None:
    files = {path.name for path in folder.iterdir()}
    assert {
        "song.npz",
        "song.json",
        "start.npz",
        "rest.wav",
        "start.wav",
        "song.wav",
        "slow.flac",
        "tones.ogg",
        "again.wav",
        "song.html",
    } <= files
    assert {path.name for path in (folder / "events").iterdir()} == {"song.npz", "slow.npz"}
    slow = sparsecli.read_audio(folder / "slow.flac")
    assert slow.duration_s == pytest.approx(1.5 * SONG_S, abs=1e-3)
    assert sparsecli.read_audio(folder / "tones.ogg").sample_rate == 48000
    piped, direct = (sparsecli.read_audio(folder / name) for name in ("again.wav", "song.wav"))
    np.testing.assert_array_equal(piped.samples, direct.samples)  # the same through a pipe
    assert sparsecli.load("quick.npz").header.settings["quality"] == "fast"
    assert sparsecli.load("quick.npz").header.settings["price"] == 0.5
    assert len(names["events"]) == len(sparsecli.load("quick.npz")) == round(8 * SONG_S / 1.486)


def known_events(rows: int = 5) -> sparsecli.Events:
    """Some events with one to four modes, one that starts before the recording, and two with a burst.

    One burst has a slot of its own, the other shares that of a mode. They lie between two channels.
    """
    generator = np.random.default_rng(5)
    columns: dict[str, Any] = {column.name: np.zeros(rows) for column in columns_of("atoms", 2)}
    columns["onset_s"] = np.linspace(-0.1, 0.7, rows)
    columns["attack_s"] = np.geomspace(5e-4, 0.1, rows)
    columns["decay_s"] = generator.uniform(0.01, 3, rows)
    columns["noise_level_db"] = np.where(np.isin(np.arange(rows), (2, 4)), -30.0, SILENT_DB)
    for slot in (1, 2, 3, 4):
        used = np.arange(rows) >= slot - 1
        columns[f"level{slot}_db"] = np.where(used, generator.uniform(-40, -10, rows), SILENT_DB)
        columns[f"freq{slot}_hz"] = np.where(used, generator.uniform(50, 9000, rows), 0)
        columns[f"phase{slot}_rad"] = np.where(used, generator.uniform(-3, 3, rows), 0)
    columns["freq4_hz"][2] = 3000.0
    columns["pan"] = np.linspace(-1, 0.8, rows)
    header = sparsecli.Header(duration_s=1.0, sample_rate=SONG_RATE, channels=2, source_name="song.flac")
    return events_from_columns(header, columns, np.full((2, 1, 24), -60.0))


def write_known_events(folder: Path) -> None:
    sparsecli.save(folder / "song.npz", known_events())
    sparsecli.save(folder / "song.json", known_events())


def check_format(folder: Path, names: dict[str, Any]) -> None:
    """The reader and renderer of the page do what `sparse` does."""
    expected = sparsecli.render(known_events(), noise=False).samples
    # `sparse` works in float32, and ends modes that are 80 dB under their peaks: here the difference is 136 dB down.
    assert snr_db(names["sound"], expected) > 120
    for name, values in names["by_name"].items():
        column = known_events().column(name) if name in known_events().columns else getattr(known_events(), name)
        np.testing.assert_allclose(values, column, rtol=1e-6, err_msg=name)  # of float32


def check_python(folder: Path, names: dict[str, Any]) -> None:
    ratio = sparsecli.compare(names["again"], names["modes_alone"]).quality.snr_db
    assert ratio is not None and 0 < ratio < 200  # the noise is there, and little
    assert len(names["of_samples"]) > 0 and names["of_samples"].header.quality["snr_db"] > 30
    assert (names["dull"].modes("level_db")[names["dull"].modes("freq_hz") > 2000] == SILENT_DB).all()


def check_recipes(folder: Path, names: dict[str, Any]) -> None:
    """There are fifteen, and what they write is what they say."""
    assert re.findall(r"^### (\d+)\.", (ROOT / "docs" / "recipes.md").read_text(), re.MULTILINE) == [
        str(number) for number in range(1, 16)
    ]
    song, lower = (sparsecli.load(folder / f"{name}.npz") for name in ("song", "lower"))
    moved = (song.params != lower.params).any(axis=1)
    assert 0 < moved.sum() < len(song) and len(set(song.note[moved].tolist())) == 1
    loop = sparsecli.read_audio(folder / "loop.wav").samples
    assert loop.shape[1] == 2 * round(SONG_S * SONG_RATE)
    whole = sparsecli.read_audio(folder / "whole.wav").samples
    stems = [sparsecli.read_audio(path).samples for path in (folder / "stems").iterdir()]
    np.testing.assert_allclose(sum(stems), whole, rtol=0, atol=1e-6)
    assert len(sparsecli.load(folder / "cloud.npz")) == 41
    shared, more = (json.loads(line) for line in (folder / "counts.json").read_text().splitlines())
    assert shared["events"] == 3 and more["events"] == len(song) - 3 > 0
    assert (folder / "notes.csv").read_text().startswith("note,onset_s,end_s,pitch_hz,midi,name,level_db,ids\n")
    assert {path.name for path in folder.glob("thin-*")} == {"thin-lower.npz", "thin-minor.npz"}
    assert len((folder / "done.jsonl").read_text().splitlines()) == 2
    assert sparsecli.read_audio(folder / "softer.wav").duration_s == pytest.approx(SONG_S, abs=1e-3)


CHECKS = {
    "README.md": check_readme,
    "recipes.md": check_recipes,
    "format.md": check_format,
    "python.md": check_python,
    "models.md": check_models,
}


def keys(value: Any, prefix: str = "") -> Iterator[str]:
    for key, inner in value.items():
        yield prefix + key
        if key == "source":
            yield from keys(inner, "source.")


def test_the_json_of_the_page_is_that_of_the_files(tmp_path: Path):
    header, whole = (json.loads(text) for _, text in blocks(ROOT / "docs" / "format.md", "json"))
    write_known_events(tmp_path)
    with np.load(tmp_path / "song.npz", allow_pickle=False) as file:
        assert set(keys(json.loads(file["header"].tobytes()))) == set(keys(header))
        assert {name: file[name].dtype for name in file.files} == {
            name: np.dtype(kind) for name, kind in documented_arrays().items()
        }
    written = json.loads((tmp_path / "song.json").read_text())
    assert set(written) == set(whole)
    assert set(keys(written["header"])) == set(keys(header)) - {"columns", "counts"}


def documented_arrays() -> dict[str, str]:
    """Names and types in the table of arrays."""
    return dict(re.findall(r"^\| `(\w+)` \| (\w+) \| \[", (ROOT / "docs" / "format.md").read_text(), re.MULTILINE))


def test_the_demo_runs_what_it_says(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    demo = load_script(ROOT / "examples" / "demo.py")
    (folder / "examples").mkdir()
    shutil.move(folder / "song.flac", folder / demo.RECORDING)
    monkeypatch.setattr(demo, "ROOT", folder)
    demo.main()
    shown = capsys.readouterr().out
    assert all(name in shown for name in (demo.RECORDING, demo.EVENTS, demo.FULL, demo.COHERENT, "SNR", "log-mel"))
    assert sparsecli.load(folder / demo.EVENTS).header.source_name == "morning.flac"
