from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from sparsecli.core.errors import SparseError
from sparsecli.core.manifest import (
    MAX_KEY_BYTES,
    Model,
    check_key,
    manifest_bytes,
    name_of_key,
    parse_manifest,
    suffix_of,
    with_model,
)

MODEL = Model("small", "siam/small.safetensors", 1234, "0a" * 32, "siam", "1.2", 22050, "CC-BY-4.0")


def written(*entries: Any, **document: Any) -> bytes:
    return json.dumps({"format": "sparse-models", "version": 1, "models": entries, **document}).encode()


def test_what_was_written_is_read():
    others = [replace(MODEL, name=f"m{index}", sample_rate=None) for index in range(3)]
    models = parse_manifest(manifest_bytes([*others, MODEL]), "models.json")
    assert models == (*others, MODEL)  # by name
    assert manifest_bytes(reversed(models)) == manifest_bytes(models)


def test_it_is_text_that_people_can_read():
    text = manifest_bytes([replace(MODEL, licence="© Jürgen")]).decode()
    assert '"licence": "© Jürgen"' in text and text.endswith("}\n")


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"name": "../small"}, "the name '../small' is not of letters"),
        ({"name": ""}, "the name '' is not"),
        ({"name": "a" * 65}, "at most 64"),
        ({"name": ".hidden"}, "is not of letters"),
        ({"name": "a/b"}, "is not of letters"),
        ({"name": "a\n"}, "is not of letters"),
        ({"key": "/etc/passwd"}, "is an absolute path"),
        ({"key": "C:/a.safetensors"}, "is an absolute path"),
        ({"key": "a\\b.safetensors"}, "has backslashes"),
        ({"key": "../a.safetensors"}, "leads out of its folder"),
        ({"key": "a/../../b.safetensors"}, "leads out of its folder"),
        ({"key": "a//b.safetensors"}, "leads out of its folder"),
        ({"key": "./b.safetensors"}, "leads out of its folder"),
        ({"key": "a\x00b"}, "without control characters"),
        ({"key": "a\x1b[31m"}, "without control characters"),
        ({"key": ""}, "is not 1 to 1024 bytes"),
        ({"name": "Models", "key": "a.json"}, "models.json is the name of the manifest itself"),
        ({"bytes": 0}, "bytes is less than 1"),
        ({"bytes": -1}, "bytes is less than 1"),
        ({"bytes": "12"}, "bytes is not a whole number"),
        ({"bytes": 12.0}, "bytes is not a whole number"),
        ({"bytes": True}, "bytes is not a whole number"),
        ({"sha256": "0A" * 32}, "sha256 is not 64 hexadecimal digits"),
        ({"sha256": "0a" * 31}, "sha256 is not 64 hexadecimal digits"),
        ({"sha256": None}, "sha256 is not a text"),
        ({"kind": ""}, "kind is not one line"),
        ({"kind": "a\nb"}, "kind is not one line"),
        ({"version": 1}, "version is not a text"),
        ({"sample_rate": 0}, "sample_rate is less than 1"),
        ({"sample_rate": "22050"}, "sample_rate is not a whole number or null"),
        ({"licence": "x" * 257}, "licence is not one line"),
        ({"url": "http://elsewhere"}, "has a field 'url' that is not known"),
    ],
)
def test_a_model_that_breaks_a_rule_is_named(changed: dict[str, Any], cause: str):
    with pytest.raises(SparseError) as raised:
        parse_manifest(written(asdict(MODEL), {**asdict(MODEL), "name": "other", **changed}), "models.json")
    assert str(raised.value).startswith("models.json: model 2: ") and cause in str(raised.value)


@pytest.mark.parametrize("field", sorted(asdict(MODEL)))
def test_every_field_is_needed(field: str):
    entry = asdict(MODEL)
    del entry[field]
    with pytest.raises(SparseError, match=rf"model 1: has no {field}$"):
        parse_manifest(written(entry), "models.json")


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", 'is not a manifest of models ("format" is not "sparse-models")'),
        (b'{"format": "sparse-events"}', "is not a manifest of models"),
        (written(version=2), "is of version 2, not 1; update sparse"),
        (written(models={}), '"models" is not a list'),
        (written(["small"]), "model 1: is not an object"),
        (written(asdict(MODEL), {**asdict(MODEL), "name": "SMALL"}), "lists SMALL twice"),
        (
            written({**asdict(MODEL), "name": "a", "key": "b.dat"}, {**asdict(MODEL), "name": "A.dat", "key": "b"}),
            "lists A.dat twice",
        ),
    ],
)
def test_what_is_no_manifest(data: bytes, cause: str):
    with pytest.raises(SparseError) as raised:
        parse_manifest(data, "models.json")
    assert cause in str(raised.value) and len(str(raised.value)) < 300


def test_one_model_takes_the_place_of_another():
    renamed = replace(MODEL, name="Small", version="2")
    assert with_model((MODEL,), renamed) == (renamed,)  # their files would be one on some systems
    other = replace(MODEL, name="other")
    assert with_model((MODEL, other), replace(MODEL, version="2")) == (other, replace(MODEL, version="2"))


def test_keys_as_long_as_s3_allows():
    check_key("a" * MAX_KEY_BYTES)
    with pytest.raises(ValueError, match="1 to 1024 bytes"):
        check_key("é" * (MAX_KEY_BYTES // 2 + 1))


@pytest.mark.parametrize(
    ("key", "name", "suffix"),
    [
        ("e_2024_3_21_weights.dat", "e_2024_3_21_weights", ".dat"),
        ("a.b/siam.v2.safetensors", "siam.v2", ".safetensors"),
        ("weights", "weights", ""),
        ("a.SafeTensors", "a", ".safetensors"),
    ],
)
def test_names_of_keys(key: str, name: str, suffix: str):
    assert (name_of_key(key), suffix_of(key)) == (name, suffix)


@pytest.mark.parametrize("key", [".safetensors", "a b.dat", "-.dat"])
def test_keys_that_give_no_name(key: str):
    with pytest.raises(ValueError, match="is not of letters"):
        name_of_key(key)
