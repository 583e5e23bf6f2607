"""`sparse compare`: how alike two recordings are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from sparsecli.core.errors import SparseError

from . import options
from .console import Console, print_json, print_table
from .interrupts import Interrupts
from .options import usage_errors
from .runner import Record, run_each

# The figures by the name of their field: label, format, what is better.
FIGURES = {
    "spectral_convergence": ("spectral convergence", "{:.4f}", "0 is equal"),
    "log_distance_db": ("log-magnitude distance", "{:.2f} dB", "0 is equal"),
    "log_mel_db": ("log-mel distance", "{:.2f} dB", "0 is equal"),
    "snr_db": ("SNR", "{:.2f} dB", "higher is better; 200 is a copy"),
    "si_sdr_db": ("SI-SDR", "{:.2f} dB", "higher is better; level left free"),
}


def compare_command(
    reference: Annotated[str, typer.Argument(metavar="REF", help="The recording to measure against.")],
    estimate: Annotated[str, typer.Argument(metavar="EST", help="The recording to measure. One of them may be -.")],
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure how alike two recordings are, over the part that both have.

    Other numbers of channels are folded to mono, another sample rate is resampled; both are said.
    """
    console = Console(quiet)
    with usage_errors(console):
        if reference == estimate == "-":
            raise SparseError("-", "standard input can be read only once", "name one of the two")
    run_each(compare_one, [CompareTask(reference, estimate)], console, print_json if as_json else _print_figures)


@dataclass(frozen=True)
class CompareTask:
    """Two recordings to compare; failures that name no file are the second one's."""

    reference: str
    input: str


def compare_one(task: CompareTask, console: Console, interrupts: Interrupts) -> Record:
    """Read and compare two recordings; returns what `--json` prints."""
    from sparsecli.engine.comparing import compare
    from sparsecli.io.audio import read_audio

    comparison = compare(read_audio(task.reference), read_audio(task.input))
    for notice in comparison.notices:
        console.say(task.input, notice)
    return {
        "reference": task.reference,
        "estimate": task.input,
        **asdict(comparison.quality),
        "duration_s": comparison.duration_s,
        "sample_rate": comparison.sample_rate,
        "channels": comparison.channels,
        "notices": list(comparison.notices),
    }


def _print_figures(record: Record) -> None:
    rows = []
    for name, (label, form, better) in FIGURES.items():
        rows.append((label, "undefined" if record[name] is None else form.format(record[name]), better))
    print_table(rows)
