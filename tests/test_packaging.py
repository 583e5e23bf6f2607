"""What is installed: every package of ours, and pinned versions of all others."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sparsecli

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^([\w.-]+)==([\w.]+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
}
EXTRAS = PROJECT["project"]["optional-dependencies"]
WANTED = [
    *PROJECT["project"]["dependencies"],
    *PROJECT["build-system"]["requires"],
    *(text for text in EXTRAS["dev"] if not text.startswith("sparsecli[")),  # extras of our own
    *EXTRAS["plot"],
    *EXTRAS["web"],
    *EXTRAS["train"],
]


@pytest.mark.parametrize("text", WANTED)
def test_what_is_wanted_is_pinned_within_its_range(text: str):
    wanted = Requirement(text)
    assert wanted.specifier.contains(PINS[canonicalize_name(wanted.name)])


def test_every_line_of_the_constraints_is_a_pin():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == len(PINS) and PINS["torch"] == "2.13.0"


def test_every_package_is_installed():
    found = {"sparsecli", "sparsecli.configs"}
    found |= {f"sparsecli.{path.parent.name}" for path in (ROOT / "sparsecli").glob("*/__init__.py")}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found


def test_the_page_is_installed():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["sparsecli.web"]
    folder = ROOT / "sparsecli" / "web"
    carried = {path for pattern in patterns for path in folder.glob(pattern)}
    assert carried == set((folder / "page").iterdir()) and folder / "page" / "index.html" in carried


def test_one_version():
    assert PROJECT["project"]["version"] == sparsecli.__version__


def test_the_checks_can_be_started():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
