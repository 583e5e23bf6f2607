"""`sparse fetch-models` against a server that speaks S3, and through a proxy that does harm."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from typer.testing import Result

from sparsecli.core.manifest import MANIFEST, Model, manifest_bytes
from sparsecli.io.model_store import find_model, local_models

from ..servers import S3, FaultyProxy, held, refuse, trickle, wrong_bytes

FACTS = {"kind": "siam", "licence": "MIT", "sample_rate": "22050"}
Fetch = Callable[..., Result]


def weights(value: float, numbers: int = 1000) -> bytes:
    return safetensors.numpy.save({"w": np.full(numbers, value, np.float32)}, FACTS)


def model_of(name: str, data: bytes, **changes: Any) -> Model:
    sha256 = hashlib.sha256(data).hexdigest()
    return replace(Model(name, f"{name}.safetensors", len(data), sha256, "siam", "1", 22050, "MIT"), **changes)


def bucket_with(s3: S3, **files: bytes) -> str:
    """A bucket of models by name, and its manifest."""
    models = [model_of(name, data) for name, data in files.items()]
    named = {model.key: data for model, data in zip(models, files.values(), strict=True)}
    return s3.new_bucket({MANIFEST: manifest_bytes(models), **named})


SMALL, LARGE = weights(1), weights(2, numbers=300_000)


@pytest.fixture
def bucket(s3: S3) -> str:
    return bucket_with(s3, small=SMALL, large=LARGE)


@pytest.fixture
def fetch(invoke, proxy: FaultyProxy, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Fetch:
    """Run the command on the bucket through the proxy, with `cache` as the user's cache."""
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setenv("SPARSE_CACHE", "cache")
    return lambda *args: invoke("fetch-models", "--endpoint-url", proxy.url, "--set", "attempts=2", *args)


def cached(tmp_path: Path, folder: str = "cache/models") -> list[str]:
    """What lies in the cache but for locks and the manifest."""
    found = (tmp_path / folder).iterdir() if (tmp_path / folder).exists() else []
    return sorted(path.name for path in found if path.suffix != ".lock" and path.name != MANIFEST)


def records(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def only_line(result: Result) -> str:
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


# From one's own folder into a bucket, and from there into another cache


def test_a_model_is_published_and_fetched_and_found(program, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "small.safetensors").write_bytes(SMALL)
    (tmp_path / ".env").write_text(f"S3_BUCKET={s3.new_bucket()}\n")
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "SPARSE_CACHE": "other"}
    place = ("--endpoint-url", s3.url, "--prefix", "shared")
    done = program("fetch-models", "--publish", "mine", *place, env=keys)
    assert done.code == 0
    assert done.err.endswith("shared/small.safetensors: 4.1 kB, siam, version 1, licence MIT, written\n")
    done = program("fetch-models", *place, env={"SPARSE_CACHE": "other"})  # without credentials
    assert (done.code, done.out) == (0, b"") and "small: other/models/small.safetensors: 4.1 kB, siam" in done.err
    monkeypatch.setenv("SPARSE_CACHE", str(tmp_path / "other"))
    found = find_model("small")  # as a command's --model does
    assert (found.path.read_bytes(), found.model) == (SMALL, model_of("small", SMALL))
    assert safetensors.numpy.load_file(found.path)["w"].tolist() == [1.0] * 1000


def test_publishing_replaces_nothing_by_itself(fetch: Fetch, signing: None, s3: S3, bucket: str, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    newer = weights(3)
    for name in ("small", "new"):
        (tmp_path / "mine" / f"{name}.safetensors").write_bytes(newer)
    result = fetch("--publish", "mine", "--json")
    assert result.exit_code == 1  # but what is new is published
    assert [(record["name"], record["written"]) for record in records(result)] == [("new", True)]
    assert f"s3://{bucket}/small.safetensors: exists already, with other bytes" in result.stderr
    assert s3.read(bucket, "small.safetensors") == SMALL
    assert fetch("--publish", "mine", "--overwrite").exit_code == 0
    assert s3.read(bucket, "small.safetensors") == newer
    assert [record["name"] for record in records(fetch("--list", "--json"))] == ["large", "new", "small"]


def test_publishing_needs_credentials(fetch: Fetch, s3: S3, tmp_path: Path):
    (tmp_path / "mine.safetensors").write_bytes(SMALL)
    result = fetch("--publish", ".")
    assert result.exit_code == 1
    assert "no credentials are found to sign with; set AWS_ACCESS_KEY_ID" in only_line(result)


# Fetching


def test_all_that_the_manifest_lists(fetch: Fetch, tmp_path: Path, proxy: FaultyProxy):
    result = fetch("--json")
    assert result.exit_code == 0
    assert [(record["input"], record["fetched"]) for record in records(result)] == [("large", True), ("small", True)]
    assert cached(tmp_path) == ["large.safetensors", "small.safetensors"]
    assert (tmp_path / records(result)[0]["output"]).read_bytes() == LARGE
    again = fetch("--json")
    assert [record["fetched"] for record in records(again)] == [False, False]
    assert proxy.count("large.safetensors") == 1
    assert "large.safetensors: 1.2 MB, siam, version 1, licence MIT, is here already" in again.stderr
    assert [record["fetched"] for record in records(fetch("small", "--force", "--json"))] == [True]


def test_by_name_and_by_key_into_another_folder(fetch: Fetch, tmp_path: Path):
    result = fetch("small", "large.safetensors", "--dest", "here", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert cached(tmp_path, "here") == ["large.safetensors", "small.safetensors"] and cached(tmp_path) == []


def test_what_fails_is_said_and_the_others_are_done(fetch: Fetch, proxy: FaultyProxy, tmp_path: Path):
    proxy.harm("large.safetensors", wrong_bytes, times=9)
    result = fetch("smal", "large", "small", "../etc.safetensors")
    assert result.exit_code == 1 and len(result.stderr.splitlines()) == 4
    assert "sparse: smal: no such model in s3://" in result.stderr and "; the nearest is small\n" in result.stderr
    assert "large.safetensors: came with the wrong bytes" in result.stderr
    assert "'../etc.safetensors' leads out of its folder" in result.stderr
    assert cached(tmp_path) == ["small.safetensors"]


def test_the_bucket_that_is_nowhere_named(invoke, fetch: Fetch, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("S3_BUCKET")
    result = invoke("fetch-models")
    assert (result.exit_code, result.stdout) == (2, "")
    line = "no bucket is named; give --bucket NAME, or set S3_BUCKET in the environment or in .env"
    assert only_line(result) == f"sparse: {line}\n"


def test_a_bucket_that_does_not_exist(fetch: Fetch):
    result = fetch("--bucket", "no-such-bucket")
    assert result.exit_code == 1 and "there is no such bucket (HTTP 404, NoSuchBucket)" in only_line(result)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--list", "--verify"], "--verify: cannot be done together with --list"),
        (["--publish", "a", "--offline"], "--offline: means nothing here"),
        (["--publish", "a", "small"], "NAME: means nothing here"),
        (["--list", "small"], "NAME: means nothing here"),
        (["--overwrite"], "--overwrite: means nothing here"),
        (["--offline", "--force"], "--force: means nothing here"),
        (["--max-bytes", "0"], "--max-bytes must be at least 1"),
        (["--timeout", "0"], "--timeout must be over 0"),
        (["--set", "atempts=3"], "atempts: unknown setting; the nearest known one is attempts"),
    ],
)
def test_command_lines_that_make_no_sense(fetch: Fetch, proxy: FaultyProxy, args: list[str], message: str):
    result = fetch(*args)
    assert (result.exit_code, result.stdout) == (2, "") and message in only_line(result)
    assert proxy.asked == []


def test_addresses_and_prefixes_that_make_no_sense(fetch: Fetch):
    assert "Invalid endpoint: nowhere" in only_line(fetch("--endpoint-url", "nowhere"))
    assert "--prefix a/../b: the key 'a/../b' leads out" in only_line(fetch("--prefix", "a/../b"))
    assert "The config profile (nobody) could not be found" in only_line(fetch("--profile", "nobody"))


def test_a_private_bucket(fetch: Fetch, s3: S3, bucket: str, signing: None, tmp_path: Path):
    """Without --signed, credentials that are there are not used."""
    s3.client.delete_bucket_policy(Bucket=bucket)
    result = fetch("small.safetensors")
    assert result.exit_code == 1
    assert "may not be done (HTTP 403); credentials are used with --signed or --profile" in only_line(result)
    assert fetch("small", "--signed").exit_code == 0
    assert cached(tmp_path) == ["small.safetensors"]


def test_a_proxy_named_by_the_usual_variable(invoke, proxy: FaultyProxy, bucket: str, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    result = invoke(
        "fetch-models", "small", "--bucket", bucket, "--endpoint-url", "http://models.invalid", "--dest", "d"
    )
    assert result.exit_code == 0, result.stderr
    assert proxy.count("small.safetensors") == 1 and cached(tmp_path, "d") == ["small.safetensors"]


def test_progress_in_lines(fetch: Fetch, proxy: FaultyProxy):
    proxy.harm("large.safetensors", trickle(100_000, 0.11))
    lines = [line for line in fetch("--progress").stderr.splitlines() if " MB done (" in line]
    assert lines and all(
        re.fullmatch(r"sparse: s3://\S+: \d\.\d of 1\.2 MB done \(\S+ MB/s\), [01] of 2 files", line) for line in lines
    )


def test_settings_from_a_file(fetch: Fetch, proxy: FaultyProxy, tmp_path: Path):
    (tmp_path / "mine.toml").write_text("[fetch-models]\nmax_bytes = 5000\n")
    result = fetch("--config", "mine.toml")
    assert result.exit_code == 1 and "is 1200" in result.stderr and "allow more with --max-bytes" in result.stderr
    assert cached(tmp_path) == ["small.safetensors"]


# What there is


def test_the_list(fetch: Fetch, s3: S3, bucket: str):
    s3.client.put_object(Bucket=bucket, Key="more/other.safetensors", Body=b"x" * 10)
    fetch("small")
    lines = fetch("--list").stdout.splitlines()
    assert [re.split("  +", line) for line in lines] == [
        ["name", "kind", "version", "size", "rate", "licence"],
        ["large", "siam", "1", "1.2 MB", "22050 Hz", "MIT", "not here"],
        ["small", "siam", "1", "4.1 kB", "22050 Hz", "MIT", "here"],
        ["more/other.safetensors", "not in the manifest", "10 B", "not here"],
    ]
    large, small, other = records(fetch("--list", "--json"))
    assert small == {**model_of("small", SMALL).__dict__, "here": True} and not large["here"]
    assert (other["key"], other["bytes"], other["name"]) == ("more/other.safetensors", 10, None)
    assert set(other) == set(small)


def test_what_is_here(fetch: Fetch, proxy: FaultyProxy):
    fetch("small")
    proxy.asked.clear()
    assert fetch("--list", "--offline").stdout.splitlines()[1].startswith("small ")
    assert fetch("small", "--offline", "--json").exit_code == 0
    result = fetch("large", "--offline")
    assert result.exit_code == 1 and "large: is not in cache/models; fetch it without --offline" in only_line(result)
    assert proxy.asked == []


def test_what_is_here_is_verified(fetch: Fetch, tmp_path: Path, proxy: FaultyProxy):
    fetch()
    proxy.asked.clear()
    assert [record["name"] for record in records(fetch("--verify", "--json"))] == ["large", "small"]
    path = tmp_path / "cache" / "models" / "large.safetensors"
    path.write_bytes(LARGE[:-1] + b"\x01")
    result = fetch("--verify")
    assert result.exit_code == 1
    assert "large.safetensors: has other bytes than it had" in result.stderr
    assert f"small.safetensors: has the {len(SMALL)} bytes that it should have" in result.stderr
    assert proxy.asked == []
    assert fetch("large").exit_code == 0 and path.read_bytes() == LARGE  # it is not taken for the right one


def test_nothing_here(fetch: Fetch):
    result = fetch("--verify")
    assert (result.exit_code, result.stdout) == (0, "")
    assert only_line(result) == "sparse: cache/models: no models are here; fetch them with: sparse fetch-models\n"
    assert fetch("--list", "--offline").stdout.splitlines() == ["name  kind  version  size  rate  licence"]


def test_a_listing_of_3000_keys(fetch: Fetch, s3: S3, bucket: str):
    """Three pages. The files are put straight into the server's memory."""
    from moto.s3.models import s3_backends

    backend = next(iter(s3_backends["123456789012"].values()))
    keys = [f"many/{index:04}.safetensors" for index in range(3000)]
    for key in keys:
        backend.put_object(bucket, key, b"x")
    found = records(fetch("--list", "--json"))
    assert [record["key"] for record in found] == ["large.safetensors", "small.safetensors", *keys]


def test_a_bucket_that_may_not_be_listed(fetch: Fetch, proxy: FaultyProxy):
    """The manifest tells what there is."""
    proxy.harm("list-type=2", refuse(403, "AccessDenied"), times=9)
    result = fetch("--list", "--json")
    assert [record["name"] for record in records(result)] == ["large", "small"]
    assert "may not be listed; this is what its models.json tells" in only_line(result)


@pytest.mark.parametrize("status", [403, 404])
def test_a_bucket_without_a_manifest(fetch: Fetch, proxy: FaultyProxy, tmp_path: Path, status: int):
    """Keys tell what there is, and are fetched by name."""
    proxy.harm(MANIFEST, refuse(status, {403: "AccessDenied", 404: "NoSuchKey"}[status]), times=9)
    result = fetch("--list", "--json")
    assert {"large.safetensors", "small.safetensors"} <= {record["key"] for record in records(result)}
    assert "has no models.json; nothing tells what these are" in only_line(result)
    result = fetch()
    assert result.exit_code == 1 and "models.json: is not there or may not be read; name the keys" in only_line(result)
    result = fetch("small.safetensors", "large")
    assert result.exit_code == 1
    assert "small.safetensors: is in no manifest: its size and form were checked, not that it is" in result.stderr
    assert "large: names no safetensors file, and s3://" in result.stderr
    assert cached(tmp_path) == ["small.safetensors"]


def test_a_bucket_that_tells_nothing(fetch: Fetch, proxy: FaultyProxy, tmp_path: Path):
    for path in (MANIFEST, "list-type=2"):
        proxy.harm(path, refuse(403, "AccessDenied"), times=99)
    result = fetch("--list")
    assert result.exit_code == 1 and "has no models.json that may be read, and may not be listed" in only_line(result)
    assert fetch("small.safetensors").exit_code == 0 and cached(tmp_path) == ["small.safetensors"]


@pytest.mark.parametrize(
    ("manifest", "cause"),
    [
        (b"<html>", "models.json: is not JSON"),
        (manifest_bytes([model_of("small", SMALL)]).replace(b'"small.s', b'"../../small.s'), "leads out of its folder"),
        (b" " * (1 << 22) + b"{}", "is larger than 4194304 bytes"),
    ],
    ids=["html", "path", "long"],
)
def test_a_manifest_that_breaks_a_rule(fetch: Fetch, s3: S3, bucket: str, tmp_path: Path, manifest: bytes, cause: str):
    s3.client.put_object(Bucket=bucket, Key=MANIFEST, Body=manifest)
    result = fetch()
    assert result.exit_code == 1 and cause in only_line(result)
    assert cached(tmp_path) == []


# Broken off, and at the same time


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opened at the end in any case."""
    made = threading.Event()
    yield made
    made.set()


@pytest.fixture
def begin(start, proxy: FaultyProxy, bucket: str, gate: threading.Event):
    """Start a process of its own that fetches; of the large file 200 000 bytes come until the gate is opened."""
    proxy.harm("large.safetensors", held(200_000, gate))

    def run(*args: str) -> subprocess.Popen[str]:
        own = {**os.environ, "SPARSE_CACHE": "cache", "S3_BUCKET": bucket}
        return start("fetch-models", "--endpoint-url", proxy.url, *args, env=own)

    return run


def wait_for_part(tmp_path: Path, process: subprocess.Popen[str]) -> Path:
    """The part, as soon as it has all that comes."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for part in (tmp_path / "cache" / "models").glob(".large*.part"):
            if part.stat().st_size == 200_000:
                return part
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    raise AssertionError("nothing came")


def test_killed_in_the_middle_and_gone_on_with(begin, fetch: Fetch, proxy: FaultyProxy, tmp_path: Path):
    process = begin("large")
    part = wait_for_part(tmp_path, process)
    process.kill()
    process.wait()
    assert cached(tmp_path) == [part.name] and part.read_bytes() == LARGE[:200_000]
    assert fetch("large").exit_code == 0
    assert proxy.asked[-1].endswith("large.safetensors bytes=200000-")
    assert cached(tmp_path) == ["large.safetensors"]
    assert find_model("large").path.read_bytes() == LARGE


@pytest.mark.parametrize("names", [["large"], ["large", "small"]], ids=["alone", "with another"])
def test_ctrl_c_keeps_what_came(begin, tmp_path: Path, names: list[str]):
    process = begin(*names)
    part = wait_for_part(tmp_path, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "sparse: interrupted: what was not finished is not written"
    assert "Traceback" not in said and "internal error" not in said
    assert part.exists() and "large.safetensors" not in cached(tmp_path)


def test_two_processes_at_once(begin, gate: threading.Event, proxy: FaultyProxy, tmp_path: Path):
    """The second one waits for the first, and finds the file there."""
    first = begin("large", "--json")
    wait_for_part(tmp_path, first)
    second = begin("large", "small", "--json")
    assert "sparse: large: another process is fetching it; waiting\n" in iter(second.stderr.readline, "")
    gate.set()
    outs = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert [json.loads(out.splitlines()[0])["fetched"] for out in outs] == [True, False]
    assert proxy.count("large.safetensors") == 1
    assert cached(tmp_path) == ["large.safetensors", "small.safetensors"]
    assert {model.name for model in local_models(tmp_path / "cache" / "models")} == {"large", "small"}


def test_several_files_come_at_once(begin, gate: threading.Event, tmp_path: Path):
    """The small one does not wait for the large one, which comes first."""
    process = begin("large", "small")
    assert any(line.startswith("sparse: small: ") for line in iter(process.stderr.readline, ""))
    assert "small.safetensors" in cached(tmp_path) and "large.safetensors" not in cached(tmp_path)
    gate.set()
    process.communicate(timeout=60)
    assert process.returncode == 0 and "large.safetensors" in cached(tmp_path)


# Weights of the original project


def pickled() -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save({"resonance": torch.zeros(4096, 128), "scale": torch.ones(3)}, stream)
    return stream.getvalue()


def test_weights_of_the_original(fetch: Fetch, invoke, s3: S3, tmp_path: Path):
    key = "e_2024_3_21_weights.dat"
    bucket = s3.new_bucket({key: pickled()})
    result = fetch(key, "--bucket", bucket)
    assert result.exit_code == 1 and cached(tmp_path) == []
    result = fetch(key, "--bucket", bucket, "--legacy")
    assert result.exit_code == 0 and cached(tmp_path) == [key]
    assert f"{key}: holds weights of the original project, which no model of sparse can decode" in result.stderr
    path = f"cache/models/{key}"
    assert "is pickled by torch.save" in only_line(invoke("info", path))
    result = invoke("info", path, "--legacy", "--json")
    assert "which no model of sparse can decode" in only_line(result)
    (record,) = records(result)
    assert record["tensors"] == [
        {"name": "resonance", "dtype": "float32", "shape": [4096, 128]},
        {"name": "scale", "dtype": "float32", "shape": [3]},
    ]
    assert record["numbers"] == 4096 * 128 + 3
    assert invoke("fetch-models", "--verify").exit_code == 0


def test_hostile_weights_never_get_a_name(fetch: Fetch, s3: S3, tmp_path: Path):
    import torch

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "it-ran"),)

    stream = io.BytesIO()
    torch.save({"w": Hostile()}, stream)
    bucket = s3.new_bucket({"evil_weights.dat": stream.getvalue(), "text_weights.dat": b"no zip file"})
    assert "models.json is the name of the manifest itself" in only_line(
        fetch("x/models.json", "--bucket", bucket, "--legacy")
    )
    result = fetch("evil_weights.dat", "text_weights.dat", "--bucket", bucket, "--legacy")
    assert result.exit_code == 1 and "asks for posix.mkdir, which weights do not need" in result.stderr
    assert "is not a zip file of torch.save" in result.stderr
    assert cached(tmp_path) == [] and not (tmp_path / "it-ran").exists()


# The others have nothing to do with it


@pytest.mark.parametrize("args", [["--help"], ["fetch-models", "--help"], ["info", "a.npz"], ["info", "--columns"]])
def test_no_other_command_imports_boto3(events, tmp_path: Path, args: list[str]):
    events("a.npz")
    code = (
        "import sys\nfrom sparsecli.cli.app import app\n"
        f"try: app({args!r})\nexcept SystemExit: pass\n"
        "print([m for m in ('boto3', 'botocore', 'urllib3', 'filelock') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr == "[]\n"
