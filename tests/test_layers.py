"""Who may import whom, left to right only: cli, web, api, engine, models, synth | losses, dsp | io, core."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "sparsecli"
LAYERS = {
    "core": 0, "dsp": 1, "io": 1, "losses": 2, "synth": 2, "models": 3, "engine": 4, "api": 5, "web": 6, "cli": 7,
}  # fmt: skip
DOORS = {"sparsecli", "sparsecli.__main__"}  # the package itself and `python -m`, which stand above all layers
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imported(module: str, path: Path, tree: ast.AST) -> Iterator[str]:
    """The modules that a module imports anywhere in it, in functions too."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *filter(None, [node.module])])
            for alias in node.names:  # `from .. import api` names a module, `from ..api import fit` does not
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base


IMPORTS = {module: set(imported(module, path, ast.parse(path.read_text()))) for module, path in MODULES.items()}
EDGES = [(module, name) for module, names in IMPORTS.items() for name in sorted(names) if name in MODULES]


def layer(module: str) -> str:
    return module.split(".")[1]


def test_the_graph_is_seen():
    assert ("sparsecli.engine.fitting", "sparsecli.core.audio") in EDGES
    assert ("sparsecli.api", "sparsecli.engine.fitting") in EDGES  # in a function
    assert {layer(module) for module in MODULES.keys() - DOORS} == {*LAYERS}  # the configurations are no code


@pytest.mark.parametrize(("module", "name"), EDGES)
def test_imports_go_one_way(module: str, name: str):
    if module in DOORS:
        return
    if name == "sparsecli":  # `__version__` alone
        assert layer(module) == "cli"
    elif layer(module) != layer(name):
        assert LAYERS[layer(module)] > LAYERS[layer(name)], f"{module} imports {name}"


def test_no_import_cycles():
    graph = {module: {name for other, name in EDGES if other == module and name != "sparsecli"} for module in MODULES}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert order.index("sparsecli.core.events") < order.index("sparsecli.engine.fitting")


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith(("sparsecli.core", "sparsecli.io"))])
def test_the_words_and_the_files_need_no_torch(module: str):
    assert not {name for name in IMPORTS[module] if name.split(".")[0] == "torch"}


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import sparsecli", {"torch", "numpy"}),
        ("from sparsecli import Events, load, save, compare, read_audio", {"torch", "librosa"}),
        (
            "import sparsecli.cli.app",
            {"torch", "librosa", "numpy", "starlette", "uvicorn", "boto3", "safetensors"},
        ),
    ],
)
def test_what_an_import_brings(statement: str, unwanted: set[str]):
    shown = subprocess.run(
        [sys.executable, "-c", f"import sys; {statement}; print(*sys.modules)"], check=True, capture_output=True
    )
    assert not unwanted & set(shown.stdout.decode().split())
