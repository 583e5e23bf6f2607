"""The front end's modules, and how they are joined."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from sparsecli.core.columns import (
    ATOM_COLUMNS,
    MAX_ATTACK_S,
    MAX_DECAY_S,
    MAX_FREQ_HZ,
    MAX_LEVEL_DB,
    MIN_ATTACK_S,
    MIN_ONSET_S,
    PAN_COLUMN,
    SILENT_DB,
)
from sparsecli.web import bundle as bundling
from sparsecli.web.bundle import bundle, exports_of, imports_of, page_file
from sparsecli.web.document import APP, WORKER

MODULES = sorted(path.name for path in (Path(bundling.__file__).parent / "page").glob("*.js"))


def test_what_is_exported_has_a_name_of_its_own():
    counts = Counter(name for module in MODULES for name in exports_of(module))
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("module", MODULES)
def test_modules_keep_to_what_can_be_joined(module: str):
    text = page_file(module)
    lines = [line for line in text.splitlines() if re.match(r"(import|export)\b", line)]
    assert len([line for line in lines if line.startswith("export")]) == len(exports_of(module))
    assert len(re.findall(r"^import\b", text, re.MULTILINE)) == len(imports_of(module))
    for imported, names in re.findall(r'^import \{([^}]*)\} from "\./([a-z_]+\.js)";', text, re.MULTILINE):
        wanted = {name.strip() for name in imported.split(",") if name.strip()}
        assert wanted <= set(exports_of(names)), f"{module} wants {wanted - set(exports_of(names))} of {names}"
        body = text.replace(f"import {{{imported}}}", "")
        assert all(re.search(rf"\b{name}\b", body) for name in wanted), f"{module} does not use all of {wanted}"
    assert "</script" not in text and "<!--" not in text  # it stands in a page
    assert "innerHTML" not in text and "eval(" not in text and "document.write" not in text  # texts stay texts


def test_every_module_is_used():
    used = {module for module in MODULES for entry in (APP, WORKER) if f"// {module}\n" in bundle(entry)}
    assert used == set(MODULES)


def test_bundles_are_scripts(run_node):
    """node reads them; what belongs to a browser is not there, so they are only read."""
    for entry in (APP, WORKER):
        text = bundle(entry)
        assert not re.search(r"^(import|export)\b", text, re.MULTILINE)
        run_node([], f"new Function({json.dumps(text)});")


def test_the_columns_of_the_page_are_those_of_the_table(run_node):
    """Places and limits are written in the page too, which has to work without Python."""
    names = [column.name for column in (*ATOM_COLUMNS, PAN_COLUMN)]
    script = """
const modes = [0, 1, 2, 3].flatMap((slot) => [freqColumn(slot), levelColumn(slot), phaseColumn(slot)]);
const places = [ONSET, ATTACK, DECAY, NOISE_LEVEL, NOISE_FREQ, PAN, ...modes];
const limits = [MIN_ONSET_S, MIN_ATTACK_S, MAX_ATTACK_S, MAX_DECAY_S, MAX_FREQ_HZ, MAX_LEVEL_DB, SILENT_DB];
process.stdout.write(JSON.stringify([places, limits]));
"""
    places, limits = json.loads(run_node(["columns.js", "envelope.js"], script))
    wanted = ["onset_s", "attack_s", "decay_s", "noise_level_db", "freq4_hz", "pan"]
    wanted += [name.format(slot) for slot in (1, 2, 3, 4) for name in ("freq{}_hz", "level{}_db", "phase{}_rad")]
    assert [names[place] for place in places] == wanted
    assert limits == [MIN_ONSET_S, MIN_ATTACK_S, MAX_ATTACK_S, MAX_DECAY_S, MAX_FREQ_HZ, MAX_LEVEL_DB, SILENT_DB]
