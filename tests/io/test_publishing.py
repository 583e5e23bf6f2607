from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from sparsecli.core.errors import SparseError
from sparsecli.core.fetch_settings import FetchSettings
from sparsecli.core.manifest import MANIFEST, manifest_bytes, parse_manifest
from sparsecli.io.buckets import Bucket
from sparsecli.io.publishing import describe_file, files_to_publish, publish

from ..servers import S3, FaultyProxy, refuse

FACTS = {"kind": "siam", "licence": "MIT", "sample_rate": "22050"}


@pytest.fixture
def write(tmp_path: Path):
    def put(name: str, value: float = 0.0, metadata: dict[str, str] | None = None) -> Path:
        path = tmp_path / name
        safetensors.numpy.save_file({"w": np.full(9, value)}, path, FACTS if metadata is None else metadata)
        return path

    return put


@pytest.fixture
def bucket(s3: S3, signing: None) -> Bucket:
    return bucket_of(s3, s3.new_bucket())


def bucket_of(s3: S3, name: str, kind: type[Bucket] = Bucket) -> Bucket:
    return kind(FetchSettings(s3_bucket=name, endpoint_url=s3.url, prefix="shared", signed=True))


def listed(s3: S3, bucket: Bucket) -> set[str]:
    return {model.name for model in parse_manifest(s3.read(bucket.name, f"shared/{MANIFEST}"), "")}


def test_what_a_file_says_of_itself(write):
    model = describe_file(write("small.safetensors"))
    assert (model.name, model.key, model.kind, model.version) == ("small", "small.safetensors", "siam", "1")
    assert (model.sample_rate, model.licence) == (22050, "MIT")


def test_the_manifest_beside_it_comes_first(write, tmp_path: Path):
    path = write("small.safetensors")
    told = replace(describe_file(path), version="2.1", licence="CC0-1.0", sha256="00" * 32)
    (tmp_path / MANIFEST).write_bytes(manifest_bytes([told]))
    assert describe_file(path) == replace(told, sha256=describe_file(path).sha256) != told


@pytest.mark.parametrize(
    ("metadata", "cause"),
    [
        ({"kind": "siam"}, "does not say its licence; write it into its metadata, or into models.json beside it"),
        ({"licence": "MIT"}, "does not say its kind"),
        ({**FACTS, "sample_rate": "fast"}, "cannot be listed in a manifest"),
        ({**FACTS, "kind": "a\nb"}, "cannot be listed in a manifest"),
    ],
)
def test_files_that_do_not_say_enough(write, metadata: dict[str, str], cause: str):
    with pytest.raises(SparseError, match=cause):
        describe_file(write("small.safetensors", metadata=metadata))


def test_names_that_are_none_and_links(write, tmp_path: Path):
    with pytest.raises(SparseError, match="is not of letters"):
        describe_file(write("a b.safetensors"))
    link = tmp_path / "link.safetensors"
    link.symlink_to(write("small.safetensors"))
    with pytest.raises(SparseError, match="is a link, which is not published"):
        describe_file(link)


def test_only_safetensors_files_are_published(write, tmp_path: Path):
    for name in ("weights.pt", "notes.txt", ".hidden.safetensors"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(SparseError, match=r"holds no .safetensors files, and nothing else is published"):
        files_to_publish(tmp_path)
    paths = [write("b.safetensors"), write("a.safetensors")]
    assert files_to_publish(tmp_path) == sorted(paths)
    with pytest.raises(SparseError, match="no such folder"):
        files_to_publish(tmp_path / "none")


def test_a_model_is_written_once(bucket: Bucket, s3: S3, write):
    path = write("small.safetensors")
    model = describe_file(path)
    assert publish(bucket, path, model, overwrite=False)
    assert s3.read(bucket.name, "shared/small.safetensors") == path.read_bytes()
    assert parse_manifest(s3.read(bucket.name, f"shared/{MANIFEST}"), "") == (model,)
    assert not publish(bucket, path, model, overwrite=False)


def test_another_model_of_that_name_is_left_alone(bucket: Bucket, s3: S3, write):
    path = write("small.safetensors")
    publish(bucket, path, describe_file(path), overwrite=False)
    before = path.read_bytes()
    newer = describe_file(write("small.safetensors", value=1.0))
    with pytest.raises(SparseError, match="exists already, with other bytes; give it another name, or --overwrite"):
        publish(bucket, path, newer, overwrite=False)
    assert s3.read(bucket.name, "shared/small.safetensors") == before
    assert publish(bucket, path, newer, overwrite=True)
    assert s3.read(bucket.name, "shared/small.safetensors") == path.read_bytes()
    assert parse_manifest(s3.read(bucket.name, f"shared/{MANIFEST}"), "") == (newer,)


def test_a_file_that_no_manifest_lists_is_left_alone(bucket: Bucket, s3: S3, write):
    s3.client.put_object(Bucket=bucket.name, Key="shared/small.safetensors", Body=b"of somebody else")
    path = write("small.safetensors")
    with pytest.raises(SparseError, match="exists already"):
        publish(bucket, path, describe_file(path), overwrite=False)
    assert s3.read(bucket.name, "shared/small.safetensors") == b"of somebody else"


def test_publishing_that_broke_off_is_gone_on_with(bucket: Bucket, s3: S3, write):
    """The file was written, the manifest was not."""
    path = write("small.safetensors")
    s3.client.put_object(Bucket=bucket.name, Key="shared/small.safetensors", Body=path.read_bytes())
    assert not publish(bucket, path, describe_file(path), overwrite=False)
    assert listed(s3, bucket) == {"small"}


class Meddled(Bucket):
    """While we look, somebody else does something."""

    def meddle(self) -> None:
        """What is done, once."""

    def look(self, key: str):
        try:
            return super().look(key)
        finally:
            self.meddle()

    def read(self, key: str, max_bytes: int):
        try:
            return super().read(key, max_bytes)
        finally:
            self.meddle()


def test_models_that_others_add_at_the_same_time_are_kept(bucket: Bucket, s3: S3, write):
    ours, theirs = write("ours.safetensors"), write("theirs.safetensors")
    meddled = bucket_of(s3, bucket.name, Meddled)
    times = iter(range(100))

    def add_theirs() -> None:
        if next(times) == 2:  # after the manifest is read for the second time, to add ours to it
            publish(bucket, theirs, describe_file(theirs), overwrite=False)

    meddled.meddle = add_theirs
    publish(meddled, ours, describe_file(ours), overwrite=False)
    assert listed(s3, bucket) == {"ours", "theirs"}


def test_a_manifest_that_another_writes_at_this_moment_is_tried_again(proxy: FaultyProxy, s3: S3, signing: None, write):
    """S3 answers with 409 then, and not with 412."""
    proxy.harm(f"PUT /{(name := s3.new_bucket())}/{MANIFEST}", refuse(409, "ConditionalRequestConflict"))
    bucket = Bucket(FetchSettings(s3_bucket=name, endpoint_url=proxy.url, signed=True))
    path = write("small.safetensors")
    assert publish(bucket, path, describe_file(path), overwrite=False)
    assert parse_manifest(s3.read(name, MANIFEST), "") == (describe_file(path),)


def test_a_file_that_comes_in_between_is_left_alone(bucket: Bucket, s3: S3, write):
    path = write("small.safetensors")
    meddled = bucket_of(s3, bucket.name, Meddled)
    meddled.meddle = lambda: s3.client.put_object(
        Bucket=bucket.name, Key="shared/small.safetensors", Body=b"of somebody else"
    )
    with pytest.raises(SparseError, match="exists already"):
        publish(meddled, path, describe_file(path), overwrite=False)
    assert s3.read(bucket.name, "shared/small.safetensors") == b"of somebody else"
