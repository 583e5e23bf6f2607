"""What the tests of the page share: events by a seed, node for its modules, and a browser for the whole."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsecli.core.columns import AIR_BANDS, SILENT_DB, columns_of
from sparsecli.core.events import Events, Header, events_from_columns
from sparsecli.web.bundle import bundle

os.environ.setdefault("OMP_NUM_THREADS", "1")

NODE = shutil.which("node")


def random_events(seed: int, count: int = 12, **about: Any) -> Events:
    """Events of all sorts: one to four modes, bursts with and without a slot of their own, some before the start."""
    chance = np.random.default_rng(seed)
    header = Header(**{"duration_s": 1.2, "sample_rate": 44100, "channels": 1, "seed": seed, **about})
    columns: dict[str, Any] = {column.name: np.zeros(count) for column in columns_of("atoms", header.channels)}
    columns["onset_s"] = chance.uniform(-0.2, header.duration_s, count)
    columns["attack_s"] = np.exp(chance.uniform(np.log(2e-4), np.log(0.2), count))
    columns["decay_s"] = np.exp(chance.uniform(np.log(0.01), np.log(3), count))
    modes = chance.integers(0, 5, count)  # how many
    bursts = (chance.random(count) < 0.4) | (modes == 0)
    columns["noise_level_db"] = np.where(bursts, chance.uniform(-50, -20, count), SILENT_DB)
    for slot in (1, 2, 3, 4):
        used = modes >= slot
        columns[f"level{slot}_db"] = np.where(used, chance.uniform(-50, -10, count), SILENT_DB)
        columns[f"freq{slot}_hz"] = np.where(used, np.exp(chance.uniform(np.log(40), np.log(12000), count)), 0)
        columns[f"phase{slot}_rad"] = np.where(used, chance.uniform(-3, 3, count), 0)
    alone = bursts & (modes < 4)
    centres = np.exp(chance.uniform(np.log(100), np.log(15000), count))
    columns["freq4_hz"] = np.where(alone, centres, columns["freq4_hz"])
    columns["pan"] = chance.uniform(-1, 1, count)
    air = chance.uniform(-80, -50, (header.channels, 2, AIR_BANDS))
    return events_from_columns(header, columns, air)


@pytest.fixture(name="random_events")
def random_events_of() -> Callable[..., Events]:
    """Makes events by a seed."""
    return random_events


@pytest.fixture
def run_node(tmp_path: Path) -> Callable[..., bytes]:
    """Run lines of JavaScript after some modules and all that they import, in an empty folder; what they print."""
    if NODE is None:
        pytest.skip("no node; apt install nodejs")

    def run(modules: list[str], script: str, *args: str) -> bytes:
        assert NODE is not None
        head = 'import fs from "node:fs";\n'
        (tmp_path / "script.mjs").write_text(head + bundle(*modules) + script)
        command = [NODE, "script.mjs", *args]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run
