"""Fit the example recording, play the events back unedited, and print how close that comes. `make demo` runs this.

Everything is done by `sparse` commands, which are printed, so that each can be tried by hand. What they write lies in
the folder `demo`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sparsecli.cli.compare import FIGURES

ROOT = Path(__file__).resolve().parent.parent
RECORDING = "examples/morning.flac"
EVENTS, FULL, COHERENT = "demo/morning.npz", "demo/morning.wav", "demo/morning.modes.wav"


def sparse(*arguments: str) -> str:
    """Run a `sparse` command in the root of the repository; returns its standard output. Ends the demo if it fails."""
    print("$ sparse", *arguments, file=sys.stderr)
    command = [sys.executable, "-m", "sparsecli", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def figures_table(full: dict[str, float], coherent: dict[str, float]) -> Table:
    """The figures of two renderings, as `sparse compare --json` gives them."""
    table = Table("", "all events", "modes alone", "", title=f"the renderings against {RECORDING}")
    for name, (label, form, better) in FIGURES.items():
        table.add_row(label, form.format(full[name]), form.format(coherent[name]), better)
    return table


def files_table() -> Table:
    """Where everything lies, and how large it is."""
    meanings = {
        RECORDING: "the recording",
        EVENTS: "the events found in it",
        FULL: "all of them played: modes, bursts and air",
        COHERENT: "the modes alone, without noise",
    }
    table = Table("file", "bytes", "what it is")
    for name, meaning in meanings.items():
        table.add_row(name, f"{os.path.getsize(ROOT / name):,}", meaning)
    return table


def main() -> None:
    """Run the demo."""
    started = time.monotonic()
    (ROOT / "demo").mkdir(exist_ok=True)
    print("Fitting 7.9 s of flute, harp and bass: a minute or a few.", file=sys.stderr)
    sparse("fit", RECORDING, "-o", EVENTS, "--overwrite")
    sparse("render", EVENTS, "-o", FULL, "--overwrite")
    sparse("render", EVENTS, "-o", COHERENT, "--no-noise", "--overwrite")
    compared = [json.loads(sparse("compare", RECORDING, name, "--json", "--quiet")) for name in (FULL, COHERENT)]
    print(sparse("info", EVENTS), end="")
    console = Console()
    console.print(figures_table(*compared))
    console.print(files_table())
    console.print(f"Done in {time.monotonic() - started:.0f} s.")


if __name__ == "__main__":
    main()
