"""The front end as scripts: ES modules joined in the order of their imports, with no tool but this.

The modules in `page/` are plain ES modules, as browsers and node run them. An import is written

    import { name, other } from "./module.js";

and nothing is renamed, imported as a whole, exported by default or exported to be changed. Joined, each becomes

    const { name, other } = (() => { ... return { name, other }; })();

so what a module exports has a name of its own among all modules, and what it keeps to itself need not; a test holds
them to that.
"""

from __future__ import annotations

import re
from functools import cache
from graphlib import TopologicalSorter
from importlib import resources

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([a-z_]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function\*?|function\*?|const|class) (\w+))", re.MULTILINE)


@cache
def page_file(name: str) -> str:
    """The text of a file of the front end."""
    return (resources.files("sparsecli.web") / "page" / name).read_text(encoding="utf-8")


def imports_of(name: str) -> list[str]:
    """The modules that a module imports.

    >>> imports_of("fft.js")
    []
    """
    return _IMPORT.findall(page_file(name))


@cache
def bundle(*entries: str) -> str:
    """The script of modules and all that they import, each before those that import it."""
    graph: dict[str, list[str]] = {}
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        if name not in graph:
            graph[name] = imports_of(name)
            waiting += graph[name]
    order = TopologicalSorter({name: graph[name] for name in sorted(graph)}).static_order()
    return "\n".join(['"use strict";', *map(_enclosed, order)])


def exports_of(name: str) -> list[str]:
    """The names that a module exports.

    >>> exports_of("fft.js")
    ['transform', 'filterInPlace']
    """
    return _EXPORT.findall(page_file(name))


def _enclosed(name: str) -> str:
    """A module as an expression that gives what it exports."""
    body = _EXPORT.sub("", _IMPORT.sub("", page_file(name)))
    names = ", ".join(exports_of(name))
    return f"// {name}\nconst {{ {names} }} = (() => {{\n{body}return {{ {names} }};\n}})();"
