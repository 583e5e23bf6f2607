"""What each loss buys: how often and how fast descent finds the truth of small scenes, and what a step costs.

python bench/losses.py

Writes docs/losses.md.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from page import HERE, make_parser, table, write_page
from torch import Tensor

from sparsecli.core.columns import KINDS, MODES_PER_ATOM
from sparsecli.engine.descent import Bounds, Plan, begun, step
from sparsecli.engine.relocation import random_atoms
from sparsecli.engine.scaled import (
    ATTACK,
    DECAY,
    FREQ,
    LEVEL,
    ONSET,
    UNIT_OF,
    Scaled,
    bounds_of,
    from_columns,
    modes_of,
)
from sparsecli.losses.names import LOSSES, SURROGATE
from sparsecli.losses.naming import parse_loss
from sparsecli.synth.modes import render_each, render_modes

PAGE = HERE.parent / "docs" / "losses.md"
RATE, SAMPLES = 8000, 2048  # of a scene: 0.256 s
STEPS, RATES = 120, (2.5e-2, 2e-3)
GRAINS = 8  # of a texture
WITHIN_CENTS, WITHIN_S, WITHIN_RATIO, WITHIN_GRAINS = 10.0, 0.003, 1.2, 1.3
SEEN_EVERY = 5  # steps
STUDIED = (
    "mrstft", "mrstft-linear", "mrstft-log", "logmel", "transport", "mrstft+transport", "scattering", "scrapl", "aim",
    "waveform", SURROGATE,
)  # fmt: skip
COST_ATOMS, COST_SAMPLES, COST_RATE, COST_STEPS = 64, 32768, 22050, 12


@dataclass(frozen=True)
class Case:
    """Scenes that begin wrong in one way.

    Attributes:
        name: of the column.
        wrong: from the truth to where descent begins.
        near: which scenes have found the truth, `[S]`.
        grains: atoms of a scene.
        free: scaled numbers that may move; None: all.
    """

    name: str
    wrong: Callable[[Scaled, Tensor], Scaled]
    near: Callable[[Scaled, Scaled], Tensor]
    grains: int = 1
    free: tuple[int, ...] | None = None


def notes(count: int, seed: int) -> Scaled:
    """Struck notes of four partials, nearly harmonic."""
    draw = torch.Generator().manual_seed(seed)

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=draw, dtype=torch.float64)

    columns = {"onset_s": between(0.105, 0.125), "attack_s": between(0.001, 0.004), "decay_s": between(0.2, 0.6)}
    pitch_hz = 150 * 2 ** between(0, 2)
    for number, (freq, level, phase) in enumerate(KINDS["atoms"].slots, 1):
        columns[freq] = number * pitch_hz * (1 + between(-0.003, 0.003))
        columns[level], columns[phase] = -12 - 6.0 * (number - 1) + between(-3, 3), between(-math.pi, math.pi)
    return from_columns(columns, torch.ones(count, MODES_PER_ATOM, dtype=torch.bool))


def grains(count: int, seed: int) -> Scaled:
    """Drops of rain: short, of one mode, anywhere in time and pitch."""
    draw = torch.Generator().manual_seed(seed)

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=draw, dtype=torch.float64)

    columns = {"onset_s": between(0.0, 0.22), "attack_s": between(5e-4, 1e-3), "decay_s": between(0.03, 0.03)}
    for freq, level, phase in KINDS["atoms"].slots:
        columns[freq], columns[level] = 500 * 2 ** between(0, 2.5), between(-14, -10)
        columns[phase] = between(-math.pi, math.pi)
    return from_columns(columns, torch.tensor([True, False, False, False]).expand(count, -1).clone())


def shifted(place: list[int] | int, by: Callable[[Tensor], Tensor]) -> Callable[[Scaled, Tensor], Scaled]:
    """The truth with some numbers moved, up in half of the scenes and down in the others."""

    def wrong(truth: Scaled, sign: Tensor) -> Scaled:
        numbers = truth.numbers.clone()
        move = by(sign)
        numbers[:, place] += move[:, None] if isinstance(place, list) else move
        return replace(truth, numbers=numbers)

    return wrong


def in_tune(found: Scaled, truth: Scaled) -> Tensor:
    """Loudest mode within 10 cents."""
    loudest = truth.numbers[:, LEVEL].argmax(1, keepdim=True)
    off = (found.numbers[:, FREQ] - truth.numbers[:, FREQ]).gather(1, loudest)[:, 0]
    return off.abs() < WITHIN_CENTS / 1200 * math.log(2)


def in_time(found: Scaled, truth: Scaled) -> Tensor:
    """Onset within 3 ms."""
    return (found.numbers[:, ONSET] - truth.numbers[:, ONSET]).abs() * UNIT_OF["s"] < WITHIN_S


def rings_alike(found: Scaled, truth: Scaled) -> Tensor:
    """Decay within a factor of 1.2."""
    return (found.numbers[:, DECAY] - truth.numbers[:, DECAY]).abs() < math.log(WITHIN_RATIO)


def alike_as_texture(found: Scaled, truth: Scaled) -> Tensor:
    """Mean decay of the grains within a factor of 1.3 and mean level within as much."""
    off = (found.numbers - truth.numbers).view(-1, GRAINS, found.numbers.shape[1]).mean(1)
    return (off[:, DECAY].abs() < math.log(WITHIN_GRAINS)) & (off[:, LEVEL[0]].abs() < math.log(WITHIN_GRAINS))


def other_grains(truth: Scaled, sign: Tensor) -> Scaled:
    """Other drops of the same rain, twice as long and 6 dB softer."""
    other = grains(len(truth), 1_000_003)
    other.numbers[:, DECAY] += math.log(2)
    other.numbers[:, LEVEL] -= math.log(2)
    return other


def cases() -> list[Case]:
    """All of them."""
    tuned = [
        Case(f"{semitones:g} st", shifted(FREQ, lambda sign, s=semitones: sign * s / 12 * math.log(2)), in_tune)
        for semitones in (0.5, 1, 2, 4)
    ]
    timed = [
        Case(f"{ms} ms", shifted(ONSET, lambda sign, ms=ms: sign * ms / 1000 / UNIT_OF["s"]), in_time)
        for ms in (5, 20, 100)
    ]
    decay = Case("decay x2", shifted(DECAY, lambda sign: sign * math.log(2)), rings_alike)
    rain = Case("rain", other_grains, alike_as_texture, GRAINS, (ATTACK, DECAY, *LEVEL))
    return [*tuned, *timed, decay, rain]


def study(loss: str, case: Case, scenes: int) -> tuple[float, float | None, float]:
    """Share of scenes in which the truth is found at the end, median steps until it stays so, CPU ms a step."""
    truth = notes(scenes, 1) if case.grains == 1 else grains(scenes * case.grains, 1)
    sign = torch.where(torch.arange(len(truth)) % 2 == 0, 1.0, -1.0).double()
    start = case.wrong(truth, sign)
    start.anchor_s = start.numbers[:, ONSET] * UNIT_OF["s"]  # phases are those at the onset, wherever it is

    def heard(atoms: Scaled) -> Tensor:
        return render_each(modes_of(atoms), SAMPLES, RATE).view(scenes, case.grains, SAMPLES).sum(1)

    plan = Plan(parse_loss(loss), STEPS, RATES)
    values = plan.loss.against(heard(truth), RATE)
    low, high = bounds_of(start, -0.05, SAMPLES / RATE, 0.49 * RATE)
    pace = torch.ones_like(low)
    if case.free is not None:
        pace[:, [place for place in range(pace.shape[1]) if place not in case.free]] = 0.0
    descent, surrogate = begun(start), loss == SURROGATE
    if surrogate:
        descent.atoms.extra.fill_(math.log(2))
    found = []
    begun_s = time.process_time()
    for iteration in range(STEPS):
        step(descent, plan, heard, values, Bounds(low, high, pace), surrogate)
        descent.iteration += 1
        if iteration % SEEN_EVERY == SEEN_EVERY - 1:
            found.append(case.near(descent.atoms, truth))
    cpu_ms = 1000 * (time.process_time() - begun_s) / STEPS
    history = torch.stack(found)  # [looks, S]
    last_miss = torch.where(history, 0, torch.arange(1, len(history) + 1)[:, None]).amax(0)
    steps = [SEEN_EVERY * (int(miss) + 1) for miss, there in zip(last_miss, history[-1], strict=True) if there]
    return float(history[-1].float().mean()), statistics.median(steps) if steps else None, cpu_ms


def table_of_losses() -> str:
    """As `make docs` writes it."""
    rows = [[f"`{name}`", told] for name, told in LOSSES.items()]
    return table(["name", "what, and its unit"], rows).replace("|---|---:|", "|---|---|")


def cost(loss: str) -> tuple[float, float]:
    """CPU ms of a step for 64 atoms on 1.486 s, and the peak of the process's memory in MB."""
    target = 0.1 * torch.randn(1, COST_SAMPLES, generator=torch.Generator().manual_seed(0))
    duration_s = COST_SAMPLES / COST_RATE
    atoms = random_atoms(COST_ATOMS, 0.0, duration_s, 11025.0, 0)
    low, high = bounds_of(atoms, 0.0, duration_s, 0.49 * COST_RATE)
    plan, descent = Plan(parse_loss(loss), COST_STEPS, (1e-3, 1e-3), 0.1), begun(atoms)
    values = plan.loss.against(target, COST_RATE)

    def heard(atoms: Scaled) -> Tensor:
        return render_modes(modes_of(atoms), COST_SAMPLES, COST_RATE)[None]

    cpu_ms = []
    for _ in range(COST_STEPS):
        began = time.process_time()
        step(descent, plan, heard, values, Bounds(low, high, torch.ones_like(low)), loss == SURROGATE)
        descent.iteration += 1
        cpu_ms.append(1000 * (time.process_time() - began))
    return statistics.median(cpu_ms), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(loss: str, scenes: int) -> dict[str, Any]:
    """All figures of a loss: its cost first, while the process is small."""
    torch.set_num_threads(1)
    cpu_ms, memory_mb = cost(loss)
    results = [study(loss, case, scenes) for case in cases()]
    shares, steps, own_ms = map(list, zip(*results, strict=True))
    return {
        "shares": shares,
        "steps": steps,
        "cpu_ms": cpu_ms,
        "memory_mb": memory_mb,
        "study_ms": statistics.mean(own_ms),
        "cpu_s": time.process_time(),
    }


def measure_apart(loss: str, scenes: int) -> dict[str, Any]:
    """`measure` in a process of its own."""
    wanted = [sys.executable, __file__, "--measure", loss, "--scenes", str(scenes)]
    done = subprocess.run(wanted, check=True, capture_output=True, text=True)
    print(loss, done.stdout.strip(), flush=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def arguments_of() -> argparse.Namespace:
    """The options of the script."""
    parser = make_parser(__doc__)
    parser.set_defaults(page=PAGE)
    parser.add_argument("--measure", help="print the figures of this loss, and nothing else")
    parser.add_argument("--only", nargs="*", default=STUDIED, help="losses to study")
    parser.add_argument("--scenes", type=int, default=50, help="of each case")
    parser.add_argument("--jobs", type=int, default=2, help="losses studied at once")
    return parser.parse_args()


def main() -> None:
    """Measure all losses and write the page."""
    arguments = arguments_of()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.scenes)))
        return
    with ThreadPoolExecutor(arguments.jobs) as pool:
        measured = pool.map(partial(measure_apart, scenes=arguments.scenes), arguments.only)
        write(arguments, dict(zip(arguments.only, measured, strict=True)))


def write(arguments: argparse.Namespace, figures: dict[str, dict[str, Any]]) -> None:
    """The page of the figures of each loss."""
    head = ["loss", *(case.name for case in cases())]
    found = [
        [f"`{loss}`", *(f"{100 * share:.0f}" for share in own["shares"]), f"{100 * statistics.mean(own['shares']):.0f}"]
        for loss, own in figures.items()
    ]
    speeds = [
        [f"`{loss}`", *("-" if steps is None else f"{steps:.0f}" for steps in own["steps"])]
        for loss, own in figures.items()
    ]
    costs = [
        [f"`{loss}`", *(f"{own[key]:.0f}" for key in ("cpu_ms", "memory_mb", "study_ms"))]
        for loss, own in figures.items()
    ]
    write_page(
        __file__,
        arguments,
        "Losses, and what they buy",
        PROSE,
        "<!-- table: losses -->",
        table_of_losses(),
        "<!-- end of table -->",
        SPLATS,
        STUDY.format(scenes=arguments.scenes, cpu_min=sum(own["cpu_s"] for own in figures.values()) / 60),
        "Scenes in which the truth is found, in per cent:",
        table([*head, "mean"], found),
        "Steps until it is found for good, the median of the scenes in which it is:",
        table(head, speeds),
        CHOICE,
        COSTS,
        table(["loss", "CPU ms a step", "peak MB", "CPU ms a step of the study"], costs),
        SOURCES,
    )


PROSE = """`sparse fit --method descent` lowers a loss by Adam (Kingma and Ba 2015) on the numbers of all atoms at once,
through the renderer of [atom.md](atom.md); `--method search+descent` polishes with it what the search has found. The
search lowers the energy of the difference of waveforms and nothing else. A loss may be anything that has a gradient,
and sums are written as `mrstft+0.1*scattering`. From Python, `parse_loss` of `sparsecli.losses.naming` makes a function
of two batches of signals from such a text.

Steps are taken in scaled numbers: 0.01, the default of the first learning rate, is 1 % of an attack, decay or
frequency, 0.09 dB, 0.01 rad or 1 ms. Where a polish keeps onsets and frequencies near where they are, it is 1 % of the
way that they may go. The gradient of each atom is clipped to a norm of 1. Every 50 steps, until four fifths of them are
done, the weakest atoms are moved to what is missing (the magnitudes that the rendering lacks, with the recording's
phases, in which the search of `fit` looks for modes), if that is stronger than they are; modes that ended 90 dB down
are dropped. `--sparsity` adds the mean peak amplitude of the modes. Descent ends early once the mean loss of 300 steps
is no better than that of the 300 before. Long recordings are worked on in batches of 8 stretches of some 1.5 s, each
stretch a row of the loss. A random mode that is far from every partial hardly moves by itself: moving atoms is what
finds those. The air and the bursts come afterwards, as after the search; but what has found its magnitudes and not its
phases is no residual, so after `--method descent` the air takes what the recording has more power of than the atoms."""

STUDY = f"""## What is found

{{scenes}} notes of four partials ({SAMPLES / RATE:.3f} s at 8 kHz; 150 to 600 Hz, decays of 0.2 to 0.6 s), drawn
from a seed, begin wrong in one way: transposed up or down by semitones (`st`), shifted later or earlier, or with a
decay twice too long or short. All numbers are free, and descent takes {STEPS} steps with learning rates of
{RATES[0]:g} to {RATES[1]:g}. The truth is found where the loudest mode is within {WITHIN_CENTS:g} cents, the onset
within {1000 * WITHIN_S:g} ms, the decay within a factor of {WITHIN_RATIO:g}. `rain` is {GRAINS} drops of 30 ms in
each scene, of which the estimate has others, at other times and pitches, twice as long and 6 dB softer; there attack,
decay and level are free, and the truth is found where their means over the drops are within a factor of
{WITHIN_GRAINS:g}: what counts there is whether a loss hears that two rains are alike. The script takes 50 scenes of
each unless told otherwise; these {{scenes}} took {{cpu_min:.0f}} minutes of a core."""

COSTS = """## What a step costs

Processor time of a step (rendering, loss, gradient, Adam) for 64 atoms of four modes on 1.486 s at 22 050 Hz on one
thread, the median of 12, and the peak memory of the process by then, interpreter and libraries included. The last
column is a step of the study, rendering included."""

SPLATS = """## Sources and excitations

`--config original` is the experiment from which this program grew, gamma and Gaussian splatting, at true level: 64
random splats for each 1.486 s, 3000 steps on the multi-resolution STFT, a price on amplitudes.
[bench/original.md](../bench/original.md) puts its figures beside those of the default fit.

<!-- not run -->
```sh
sparse fit song.flac --config original
sparse fit song.flac --config original --envelope gaussian --room church    # each splat with a wet share of its own
```

A splat is a burst of noise in a Gaussian band under a gamma or Gaussian envelope (`--envelope`), and what it sets
ringing: eight harmonics that decay, seen through one low-pass filter first and another later, both as loud as a mix of
the two says. Thirteen numbers: onset, rise and decay of the burst, decay of the resonance, how long the filters take to
change, fundamental, both filters' edges, centre and width of the band, level, mix, and what goes into the room. Onsets
are continuous, and noise is that of [atom.md](atom.md#noise-bursts), so that a file plays the same twice. The
cross-fade of filters is exact as two modes for each harmonic, and once the burst has ended, so is its convolution with
them: their amplitudes follow the burst's band, their phases are as random as its noise. While it lasts, they rise with
the envelope E of an atom; a Gaussian burst takes the E of the same mean and spread. So what is written is atoms, up to
five for each splat under one label `note`, and all commands know them. With `--room` each has its share `wet`, and
`sparse render --room church --wet 1` plays what was fitted. The original has a room for each splat; here there is one
for a recording."""

CHOICE = """The linear multi-resolution STFT finds most, at little cost, and is the default of `--loss`. Its
logarithmic term gives the many cells in which hardly anything sounds as much weight as the few that matter, and their
slopes hide the way to a detuned partial. Optimal transport and the auditory image see a partial however far away it is,
but not when it began. The damped surrogate goes a little further than the error of the waveform from which it is made:
modes are short here. Scattering averages over a fifth of a second of a scene that lasts a quarter. In so many steps an
onset moves by some 110 ms at most, so that 100 ms are at the edge of what could be reached at all, and no loss reaches
it; none tells one rain of eight drops from another reliably."""

SOURCES = """## Sources

- D. P. Kingma and J. Ba, Adam: a method for stochastic optimization, ICLR 2015.
- R. Yamamoto, E. Song and J.-M. Kim, Parallel WaveGAN, ICASSP 2020; J. Engel et al., DDSP, ICLR 2020, for the
  multi-resolution STFT.
- B. Torres, G. Peeters and G. Richard, Unsupervised harmonic parameter estimation using differentiable DSP and spectral
  optimal transport, arXiv 2312.14507.
- B. Hayes, C. Saitis and G. Fazekas, Sinusoidal frequency estimation by gradient descent, arXiv 2210.14476.
- S. Mallat, Group invariant scattering, Communications on Pure and Applied Mathematics 65 (2012); J. Andén and S.
  Mallat, Deep scattering spectrum, IEEE Transactions on Signal Processing 62 (2014).
- C. Mitcheltree, V. Lostanlen, E. Benetos and M. Lagrange, SCRAPL: scattering transform with random paths for machine
  learning, arXiv 2602.11145.
- R. D. Patterson, M. H. Allerhand and C. Giguère, Time-domain modeling of peripheral auditory processing, Journal of
  the Acoustical Society of America 98 (1995); R. F. Lyon, Cascades of two-pole-two-zero asymmetric resonators are good
  models of peripheral auditory function, the same 130 (2011)."""


if __name__ == "__main__":
    main()
