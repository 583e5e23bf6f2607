"""Descent: Adam on the scaled numbers of atoms, for any loss that has a gradient.

The second road of a fit, for what second-order steps on waveforms cannot express. Stretches of about 1.5 s stand side
by side in a batch: each is a row of the loss and counts alike. A long recording is worked batch by batch, and what
atoms of earlier ones still sound is heard with a batch's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..core.columns import NEPERS_PER_T60, STRETCH_S
from ..losses.names import SURROGATE
from ..losses.naming import Loss
from ..synth.modes import render_modes
from .relocation import found_atoms, missing, random_atoms
from .scaled import DECAY, FREQ, LOWEST_HZ, ONSET, UNIT_OF, Scaled, bounds_of, joined, modes_of, peaks_of, values_of

BATCH = 8  # stretches that are stepped at once: bounds memory, and makes up for what a step costs by itself
BETAS, EPSILON = (0.9, 0.99), 1e-10  # of Adam
CLIP = 1.0  # norm of an atom's gradient, in loss a scaled unit
MARGIN_S = 0.05  # by which onsets may leave their batch; those of the first may lie so far before the recording
DEAD_DB = -70.0  # under the recording's peak: an atom without a louder mode does nothing
FAINT_DB = -90.0  # a mode that is dropped at the end
RELOCATE_EVERY = 50  # steps
RELOCATE_UNTIL = 0.8  # of all steps: what is moved later has no time to settle
RELOCATED = 1 / 32  # of the atoms at a time, at least one: the weakest, where they add less than what is missing
WEAK = 0.25  # an atom goes if the mode that is missing is so many times stronger: 1 / this in energy
PATIENCE, LEAST_GAIN = 300, 1e-3  # steps in which the mean loss must fall by this share
BATCH_SEEDS = 1 << 17  # seeds of a draw for each seed of a fit: one a batch of some 12 s
TRUST_S = 0.005  # that a polish may move an onset
TRUST_LOBES = 0.25  # and a frequency, in 1 / the time that its mode rings
FADING = 0.995  # of the surrogate's damping at each step


@dataclass(frozen=True)
class Voice:
    """What scaled numbers mean: how they sound, and where they may lie.

    Attributes:
        sound: of atoms over so many samples of a rate from a first sample on, `[samples]`.
        peaks: of their amplitudes, `[E, M]`.
        bounds: least and largest numbers, from the onsets' and the highest frequency in Hz.
        random: so many atoms with onsets between two times, up to a frequency, of a seed.
        found: atoms for what is lacking, as `relocation.found_atoms`.
        decay: column of the decay.
        anchored: phases are those at `anchor_s`.
    """

    sound: Callable[[Scaled, int, int, int], Tensor]
    peaks: Callable[[Scaled], Tensor]
    bounds: Callable[[Scaled, float, float, float], tuple[Tensor, Tensor]]
    random: Callable[[int, float, float, float, int], Scaled]
    found: Callable[[Tensor, int, int, float, float], Scaled]
    decay: int
    anchored: bool


def _sound(atoms: Scaled, samples: int, rate: int, start: int) -> Tensor:
    return render_modes(modes_of(atoms), samples, rate, start=start)


MODES = Voice(_sound, peaks_of, bounds_of, random_atoms, found_atoms, DECAY, anchored=True)


@dataclass(frozen=True)
class Plan:
    """What a descent is to do.

    Attributes:
        loss: to descend.
        iterations: at most.
        lr: of the first step and of the last, geometrically between.
        sparsity: weight of the mean peak amplitude of the modes, in units of the recording's peak.
        relocates: dead atoms are moved to what is missing.
        trusted: onsets and frequencies stay near where they begin.
        voice: what the numbers mean.
    """

    loss: Loss
    iterations: int
    lr: tuple[float, float]
    sparsity: float = 0.0
    relocates: bool = True
    trusted: bool = False
    voice: Voice = MODES

    def rate_at(self, iteration: int) -> float:
        """The learning rate of a step."""
        first, last = self.lr
        return float(first * (last / first) ** (iteration / max(self.iterations - 1, 1)))


@dataclass(frozen=True)
class Seen:
    """How a descent goes.

    Attributes:
        done: steps done of all, 0 to 1.
        active: atoms that sound.
        loss: mean over the stretches, without the sparsity.
        snr_db: of the waveform.
    """

    done: float
    active: int
    loss: float
    snr_db: float


@dataclass
class Descent:
    """All that a step changes.

    Attributes:
        atoms: of the batch at work.
        start: as they were when it began.
        mean: Adam's mean of gradients, `[E, numbers]`.
        square: its mean of their squares.
        age: steps since an atom came to its place, `[E]`.
        iteration: steps done on the batch.
        skipped: steps left out because something in them was not finite, of all batches.
        history: losses of the batch, a number a step.
        settled: atoms of earlier batches.
        batch: number of the batch at work.
    """

    atoms: Scaled
    start: Scaled
    mean: Tensor
    square: Tensor
    age: Tensor
    iteration: int = 0
    skipped: int = 0
    history: list[float] = field(default_factory=list)
    settled: list[Scaled] = field(default_factory=list)
    batch: int = 0


Watch = Callable[[Seen], bool]


@dataclass(frozen=True)
class Batches:
    """A recording cut into batches of stretches of one length.

    Attributes:
        target: float32 `[T]`.
        rate: in Hz.
        stretch: samples of a stretch.
        stretches: of the whole.
        highest_hz: frequency of a mode.
    """

    target: Tensor
    rate: int
    stretch: int
    stretches: int
    highest_hz: float

    @property
    def count(self) -> int:
        """Batches."""
        return -(-self.stretches // BATCH)

    def span(self, batch: int) -> tuple[int, int]:
        """First sample of a batch, and the one after its last."""
        first, last = batch * BATCH, min((batch + 1) * BATCH, self.stretches)
        return first * self.stretch, last * self.stretch

    def rows(self, batch: int) -> Tensor:
        """The recording in a batch, `[stretches, T]`, with zeros after its end."""
        begin, end = self.span(batch)
        part = self.target[begin:end]
        return torch.nn.functional.pad(part, (0, end - begin - len(part))).view(-1, self.stretch)

    def ends_s(self, batch: int) -> tuple[float, float]:
        """Where onsets of a batch may lie."""
        begin, end = self.span(batch)
        return begin / self.rate - MARGIN_S, min(end, len(self.target)) / self.rate


@dataclass(frozen=True)
class Bounds:
    """Between what scaled numbers stay, and how fast they move.

    Attributes:
        low: `[E, 15]`.
        high: `[E, 15]`.
        pace: of a step in scaled units, `[E, 15]`: 1, or how far a trusted number may move.
    """

    low: Tensor
    high: Tensor
    pace: Tensor


def _bounds(batches: Batches, descent: Descent, plan: Plan) -> Bounds:
    """Of the atoms of a batch as they are when it begins; numbers beyond them stay where they are."""
    start = descent.start
    low, high = plan.voice.bounds(start, *batches.ends_s(descent.batch), batches.highest_hz)
    low, high = torch.minimum(low, start.numbers), torch.maximum(high, start.numbers)
    if not plan.trusted:
        return Bounds(low, high, torch.ones_like(low))
    reach = _reach(start)
    low, high = torch.maximum(low, start.numbers - reach), torch.minimum(high, start.numbers + reach)
    return Bounds(low, high, torch.where(torch.isfinite(reach), reach, 1.0))


def make_batches(target: Tensor, rate: int, highest_hz: float) -> Batches:
    """Cut a recording `[T]` into stretches of about 1.486 s, at least one."""
    count = max(1, round(len(target) / rate / STRETCH_S))
    return Batches(target.float(), rate, -(-len(target) // count), count, min(highest_hz, 0.49 * rate))


def descend(
    batches: Batches,
    start: Callable[[int], Scaled],
    plan: Plan,
    watch: Watch = lambda seen: True,
    keep: Callable[[Descent], None] = lambda descent: None,
    resumed: Descent | None = None,
) -> tuple[Scaled, int]:
    """Atoms that descend a loss, batch by batch.

    Args:
        batches: of the recording.
        start: the atoms with which a batch begins.
        plan: what to do.
        watch: told how it goes every few steps; returning False ends it with the atoms as they are.
        keep: given the state after every step, from which a later call goes on to the same result.
        resumed: such a state.

    Returns:
        All atoms, and the number of steps that were skipped.
    """
    descent = resumed or begun(start(0))
    while True:
        going = _descend_batch(batches, descent, plan, watch, keep)
        descent.settled.append(descent.atoms.copy())
        if not going or descent.batch + 1 >= batches.count:
            return joined(descent.settled), descent.skipped
        fresh = begun(start(descent.batch + 1))
        descent = replace(fresh, skipped=descent.skipped, settled=descent.settled, batch=descent.batch + 1)


def begun(atoms: Scaled) -> Descent:
    """A descent before its first step."""
    numbers = torch.cat([atoms.numbers, atoms.extra], dim=1)
    zero = torch.zeros_like(numbers)
    return Descent(
        atoms.copy(), atoms.copy(), zero, zero.clone(), torch.zeros(len(atoms), dtype=torch.float64, device=zero.device)
    )


def _descend_batch(
    batches: Batches, descent: Descent, plan: Plan, watch: Watch, keep: Callable[[Descent], None]
) -> bool:
    rows = batches.rows(descent.batch)
    values = plan.loss.against(rows, batches.rate)
    heard = _heard(batches, descent, plan.voice)
    bounds = _bounds(batches, descent, plan)
    surrogate = SURROGATE in plan.loss.names
    if surrogate and not descent.iteration:
        descent.atoms.extra.fill_(math.log(2))
    energy = float(rows.square().sum())
    while len(descent.atoms) and descent.iteration < plan.iterations:
        sound = step(descent, plan, heard, values, bounds, surrogate)
        descent.iteration += 1
        moving = plan.relocates and descent.iteration < RELOCATE_UNTIL * plan.iterations
        if moving and descent.iteration % RELOCATE_EVERY == 0:
            relocate(batches, descent, plan.voice, rows, sound, bounds)
        keep(descent)
        if descent.iteration % 10 == 0 and not watch(_seen(batches, descent, plan, rows, sound, energy)):
            return False
        if has_settled(descent.history):
            break
    return True


def _heard(batches: Batches, descent: Descent, voice: Voice) -> Callable[[Scaled], Tensor]:
    """What gives the sound `[stretches, T]` of a batch's atoms, with what earlier ones still sound."""
    begin, end = batches.span(descent.batch)
    carried = torch.zeros(end - begin, device=batches.target.device)
    if descent.settled:
        carried = voice.sound(joined(descent.settled), end - begin, batches.rate, begin)
    return lambda atoms: (voice.sound(atoms, end - begin, batches.rate, begin) + carried).view(-1, batches.stretch)


def step(
    descent: Descent,
    plan: Plan,
    heard: Callable[[Scaled], Tensor],
    values: Callable[..., Tensor],
    bounds: Bounds,
    surrogate: bool = False,
) -> Tensor:
    """One step of Adam on all atoms of a batch; returns their sound before it, `[stretches, T]`.

    Args:
        descent: what it changes.
        plan: loss, learning rates, sparsity.
        heard: the sound of atoms, `[stretches, T]`.
        values: the losses `[stretches]` of a sound at a step.
        bounds: of the numbers.
        surrogate: the further dampings are descended too.

    A step in which the loss or a gradient is not finite changes nothing but the count of such steps.
    """
    atoms = descent.atoms
    leaf = torch.cat([atoms.numbers, atoms.extra], dim=1).requires_grad_()
    width = atoms.numbers.shape[1]
    moving = replace(atoms, numbers=leaf[:, :width], extra=leaf[:, width:])
    sound = heard(moving)
    losses = values(sound, descent.iteration)  # [stretches]
    price = plan.sparsity * plan.voice.peaks(moving).sum() / max(int(atoms.used.sum()), 1) * len(sound)
    (slope,) = torch.autograd.grad(losses.sum() + price, leaf)
    if not surrogate:
        slope[:, width:] = 0.0
    if not (bool(torch.isfinite(losses).all()) and bool(torch.isfinite(slope).all())):
        descent.skipped += 1
        return sound.detach()
    slope *= CLIP / slope.norm(dim=1, keepdim=True).clamp(min=CLIP)
    descent.age += 1
    descent.mean.lerp_(slope, 1 - BETAS[0])
    descent.square.lerp_(slope.square(), 1 - BETAS[1])
    mean, square = (
        moment / (1 - beta ** descent.age[:, None])
        for moment, beta in zip((descent.mean, descent.square), BETAS, strict=True)
    )
    move = plan.rate_at(descent.iteration) * mean / (square.sqrt() + EPSILON)
    moved = leaf.detach() - move
    numbers = leaf.detach()[:, :width] - move[:, :width] * bounds.pace
    atoms.numbers = torch.minimum(torch.maximum(numbers, bounds.low), bounds.high)
    atoms.extra = (moved[:, width:].clamp(min=0) * FADING) if surrogate else atoms.extra
    descent.history.append(float(losses.detach().mean()))
    return sound.detach()


def relocate(batches: Batches, descent: Descent, voice: Voice, rows: Tensor, sound: Tensor, bounds: Bounds) -> int:
    """Move atoms that do nothing to what is missing, a few at a time; returns how many.

    The weakest go first; those that sound stay unless what is missing is much stronger than they are.
    """
    atoms = descent.atoms
    begin, _ = batches.span(descent.batch)
    most = max(1, round(RELOCATED * len(atoms)))
    found = voice.found(missing(sound, rows).flatten(), most, batches.rate, LOWEST_HZ, batches.highest_hz)
    found.numbers[:, ONSET] += begin / batches.rate / UNIT_OF["s"]
    strength = _energies(atoms, voice)
    weakest = torch.argsort(strength, stable=True)[: len(found)].tolist()
    offered = _energies(found, voice).tolist()
    taken = [(row, place) for place, row in enumerate(weakest) if float(strength[row]) <= WEAK * offered[place]]
    for row, place in taken:
        atoms.numbers[row] = torch.minimum(torch.maximum(found.numbers[place], bounds.low[row]), bounds.high[row])
        atoms.used[row], atoms.extra[row] = found.used[place], 0.0
        if voice.anchored:
            atoms.anchor_s[row] = found.anchor_s[place] + begin / batches.rate
        descent.mean[row], descent.square[row], descent.age[row] = 0.0, 0.0, 0.0
    return len(taken)


def _energies(atoms: Scaled, voice: Voice) -> Tensor:
    """About the energy of each atom, `[E]`: power at its peak times its decay."""
    return voice.peaks(atoms).square().sum(1) * atoms.numbers[:, voice.decay].exp().clamp(max=STRETCH_S)


def has_settled(history: list[float]) -> bool:
    """Whether the mean loss of the last steps is no better than that of as many before."""
    if len(history) < 2 * PATIENCE:
        return False
    late, early = (sum(part) for part in (history[-PATIENCE:], history[-2 * PATIENCE : -PATIENCE]))
    return late > (1 - LEAST_GAIN) * early


def active(atoms: Scaled, voice: Voice = MODES) -> Tensor:
    """Which atoms sound, bool `[E]`."""
    return (voice.peaks(atoms) > 10 ** (DEAD_DB / 20)).any(1)


def without_faint(atoms: Scaled, voice: Voice = MODES) -> Scaled:
    """The atoms without modes that nobody hears, and without those of no other."""
    used = atoms.used & (voice.peaks(atoms) > 10 ** (FAINT_DB / 20))
    return replace(atoms, used=used, extra=torch.zeros_like(atoms.extra)).take(torch.nonzero(used.any(1))[:, 0])


def _reach(atoms: Scaled) -> Tensor:
    """How far trusted numbers may move, in scaled units `[E, 15]`; infinite where they are free.

    A frequency stays within a part of its mode's main lobe, outside of which it would be another's.
    """
    reach = torch.full_like(atoms.numbers, math.inf)
    reach[:, ONSET] = TRUST_S / UNIT_OF["s"]
    ringing_s = (2 / NEPERS_PER_T60 * values_of(atoms, "decay_s")).clamp(max=STRETCH_S)  # twice 1 / d
    reach[:, FREQ] = TRUST_LOBES / (ringing_s[:, None] * atoms.numbers[:, FREQ].exp())
    return reach


def _seen(batches: Batches, descent: Descent, plan: Plan, rows: Tensor, sound: Tensor, energy: float) -> Seen:
    left = float((rows - sound).square().sum())
    sounding = sum(int(active(own, plan.voice).sum()) for own in (*descent.settled, descent.atoms))
    done = (descent.batch + descent.iteration / plan.iterations) / batches.count
    snr_db = 10 * math.log10(max(energy, 1e-30) / max(left, 1e-20 * energy, 1e-30))
    return Seen(done, sounding, descent.history[-1] if descent.history else math.nan, snr_db)


def random_start(batches: Batches, per_stretch: int, seed: int, voice: Voice = MODES) -> Callable[[int], Scaled]:
    """Random atoms for each batch: so many for each stretch."""

    def start(batch: int) -> Scaled:
        first_s, last_s = batches.ends_s(batch)
        count = per_stretch * (len(batches.rows(batch)))
        return voice.random(count, first_s + MARGIN_S, last_s, batches.highest_hz, seed * BATCH_SEEDS + batch)

    return start


def sorted_start(batches: Batches, atoms: Scaled) -> Callable[[int], Scaled]:
    """Atoms that were found for the whole recording, each with the batch in which it starts."""
    onset = values_of(atoms, "onset_s") * batches.rate
    index = torch.div(onset, BATCH * batches.stretch, rounding_mode="floor").long().clamp(0, batches.count - 1)
    return lambda batch: atoms.take(torch.nonzero(index == batch)[:, 0])
