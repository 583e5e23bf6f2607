"""A fit by descent: where it begins, how far it may go, and what a broken one needs to go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import SparseError
from ..losses.naming import parse_loss
from .checkpoints import Checkpoint
from .descent import (
    MODES,
    Descent,
    Plan,
    Seen,
    Voice,
    descend,
    make_batches,
    random_start,
    sorted_start,
    without_faint,
)
from .modal import Atoms
from .pursuit import most_atoms
from .scaled import WIDTH, Scaled, from_atoms, joined
from .settings import FitSettings

PHASE = 1 << 20  # of a checkpoint: beyond any of the search's
STATE, BEGUN, SETTLED, START = "descent_", "begun_", "settled_", "start_"  # before the names of arrays

Report = Callable[[Seen], bool]
Keep = Callable[[Callable[[], Checkpoint], Callable[[], Scaled]], None]


def plan_of(settings: FitSettings, voice: Voice = MODES) -> Plan:
    """What the settings ask of a descent."""
    polishing = settings.method == "search+descent"
    return Plan(
        loss=parse_loss(settings.loss),
        iterations=settings.iterations,
        lr=settings.learning_rates,
        sparsity=settings.sparsity,
        relocates=not polishing,
        trusted=polishing,
        voice=voice,
    )


def descended(
    target: Tensor,
    rate: int,
    settings: FitSettings,
    spend: int,
    found: Atoms | None,
    belongs_to: str,
    watch: Report,
    keep: Keep,
    resume: Checkpoint | None = None,
    voice: Voice = MODES,
) -> tuple[Scaled, int]:
    """Atoms for a recording, by descent.

    Args:
        target: `[samples]`, with a peak of 1.
        rate: in Hz.
        settings: of the fit.
        spend: how many numbers may be used at most.
        found: atoms `[1, A]` to begin at, in samples; None: random ones, or those of the checkpoint.
        belongs_to: digest of the recording and the settings.
        watch: told how it goes; what it returns says whether to go on.
        keep: given, after every step, what makes a checkpoint and what makes the atoms so far.
        resume: a checkpoint of an earlier descent.
        voice: what the numbers mean.

    Returns:
        Atoms, and how many steps were skipped because they were not finite.

    Raises:
        SparseError: the checkpoint is damaged.
    """
    batches = make_batches(target, rate, settings.bandwidth_hz)
    resumed, begin = (None, None if found is None else from_atoms(found, rate))
    if resume:
        resumed, begin = from_checkpoint(resume, target.device)
    wanted = min(most_atoms(settings, len(target) / rate), spend // WIDTH)  # a splat is counted as an atom
    per_stretch = max(1, round(wanted / batches.stretches))
    start = random_start(batches, per_stretch, settings.seed, voice) if begin is None else sorted_start(batches, begin)

    def kept(descent: Descent) -> None:
        keep(
            lambda: to_checkpoint(belongs_to, descent, begin),
            lambda: without_faint(joined([*descent.settled, descent.atoms]), voice),
        )

    if not len(target) or not float(target.abs().max()):
        return voice.random(0, 0.0, 1.0, batches.highest_hz, 0), 0
    atoms, skipped = descend(batches, start, plan_of(settings, voice), watch, kept, resumed)
    return without_faint(atoms, voice), skipped


def to_checkpoint(belongs_to: str, descent: Descent, start: Scaled | None) -> Checkpoint:
    """A descent as arrays."""
    arrays: dict[str, NDArray[np.generic]] = _arrays(STATE, descent.atoms)
    arrays |= _arrays(BEGUN, descent.start)
    arrays |= {STATE + name: getattr(descent, name).cpu().numpy().copy() for name in ("mean", "square", "age")}
    arrays[STATE + "counts"] = np.array([descent.iteration, descent.skipped, descent.batch])
    arrays[STATE + "history"] = np.array(descent.history, np.float64)
    if descent.settled:
        arrays |= _arrays(SETTLED, joined(descent.settled))
    return Checkpoint(belongs_to, PHASE, arrays if start is None else arrays | _arrays(START, start))


def from_checkpoint(checkpoint: Checkpoint, device: torch.device) -> tuple[Descent, Scaled | None]:
    """A descent from its arrays, and the atoms at which it began, if those were found.

    Raises:
        SparseError: the arrays do not fit together.
    """
    arrays = checkpoint.arrays
    try:
        atoms, begun = (_scaled(prefix, arrays, device) for prefix in (STATE, BEGUN))
        rows = len(begun)
        mean, square, age = (torch.from_numpy(arrays[STATE + name]).to(device) for name in ("mean", "square", "age"))
        wide = (rows, atoms.numbers.shape[1] + atoms.extra.shape[1])
        if [tuple(moment.shape) for moment in (mean, square, age)] != [wide, wide, (rows,)] or len(atoms) != rows:
            raise ValueError("arrays of unlike shapes")
        iteration, skipped, batch = (int(number) for number in arrays[STATE + "counts"].tolist())
        settled = [_scaled(SETTLED, arrays, device)] if SETTLED + "numbers" in arrays else []
        start = _scaled(START, arrays, device) if START + "numbers" in arrays else None
        history = [float(loss) for loss in arrays[STATE + "history"].tolist()]
    except (KeyError, ValueError, TypeError) as error:
        raise SparseError("checkpoint", f"is damaged ({error})", "leave out --resume") from error
    return Descent(atoms, begun, mean, square, age, iteration, skipped, history, settled, batch), start


def is_of_descent(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint is of the descent, not of a search before it."""
    return checkpoint.phase >= PHASE


def _arrays(prefix: str, atoms: Scaled) -> dict[str, NDArray[np.generic]]:
    return {prefix + entry.name: getattr(atoms, entry.name).detach().cpu().numpy().copy() for entry in fields(Scaled)}


def _scaled(prefix: str, arrays: Mapping[str, NDArray[np.generic]], device: torch.device) -> Scaled:
    atoms = Scaled(*(torch.from_numpy(arrays[prefix + entry.name]).to(device) for entry in fields(Scaled)))
    count = len(atoms.numbers)
    shapes = [tuple(getattr(atoms, entry.name).shape) for entry in fields(Scaled)]
    width, slots = atoms.numbers.shape[1], atoms.used.shape[1]
    if shapes != [(count, width), (count, slots), (count,), (count, slots)] or atoms.used.dtype != torch.bool:
        raise ValueError("arrays of unlike shapes")
    return atoms
