"""How the model learns: from peaks of sounds whose events are known, and of sounds of which only the wave is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from ..losses.naming import Loss
from ..models.siam import FAINTEST_DB, VECTOR, Siam, SiamShape, Strikes, coordinates_of
from .amplitudes import sound_of
from .modal import BLOCK, Atoms
from .siam import strikes_of_atoms
from .siam_bands import Peaks, bands_of, extra_of, find_peaks
from .siam_heard import heard_loss
from .siam_scenes import Excerpt, draw_scene
from .siam_waves import BLOCKS, shares_of, waves_of

PEAKS = 48  # of each scale and excerpt
OFFERED = 2  # times as many are found, of which chance chooses
NEAR_HZ = 2.0  # a tone within so many bins of a peak may have made it
DOMINANT = 0.5  # share of the amplitude at a peak from which a tone has made it
EARLIEST, LATEST = -1.75, 0.75  # lengths of the window from its middle, between which its onset must lie
WRONG = 0.15  # of the amplitude of an atom that was found, at most in mean: what it leaves behind is seen too
LEAST_SHARE = 1e-3  # what an answer explains at least, so that its logarithm is bounded


@dataclass(frozen=True)
class Batch:
    """K peaks to learn from, and S strikes.

    Attributes:
        bands: complex64 `[K, 256]`.
        extra: float32 `[K, 2]`.
        truth: float32 `[K, 4]`, what the eye should say; 0 where it is not known.
        known: float32 `[K]`, 1 where it is.
        event: float32 `[K]`, 1 where a tone made the peak and began near it, 0 where none did, -1 where nobody knows.
        strikes: plain coordinates of strikes, float32 `[S, 16]`.
        sounds: whole ones, of which a look is to be heard, float32 `[n, T]`.
        steps: of the training, in which each of them is heard, int64 `[n]`.
    """

    bands: Tensor
    extra: Tensor
    truth: Tensor
    known: Tensor
    event: Tensor
    strikes: Tensor
    sounds: Tensor
    steps: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


def join_batches(parts: list[Batch]) -> Batch:
    """All peaks and strikes of `parts`."""
    return Batch(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Batch)))


def with_sound(batch: Batch, excerpt: Excerpt, step: int) -> Batch:
    """The batch with an excerpt of which a look is to be heard."""
    sounds, steps = excerpt.samples[None], torch.tensor([step])
    return replace(batch, sounds=torch.cat([batch.sounds, sounds]), steps=torch.cat([batch.steps, steps]))


def scenes(shape: SiamShape, count: int, seed: int, step: int, rank: int = 0) -> list[Excerpt]:
    """Scenes that depend on seed, step and rank alone."""
    draw = generator_for(seed, step, rank)
    return [draw_scene(shape, draw) for _ in range(count)]


def generator_for(seed: int, step: int, rank: int = 0) -> torch.Generator:
    """Where the chance of a step comes from."""
    return torch.Generator().manual_seed(hash((seed, step, rank)) % (1 << 63))


def make_batch(shape: SiamShape, excerpts: list[Excerpt], draw: torch.Generator) -> Batch:
    """Peaks of excerpts, each in the midst of being explained: some of its atoms, where known, are subtracted."""
    return join_batches([_peaks_of(shape, excerpt, draw) for excerpt in excerpts])


def _peaks_of(shape: SiamShape, excerpt: Excerpt, draw: torch.Generator) -> Batch:
    samples, left = len(excerpt.samples), excerpt.atoms
    sound, strikes = excerpt.samples, torch.zeros(0, VECTOR)
    if left is not None and left.onset.shape[1]:
        strikes = spread_out(strikes_of_atoms(left, shape.sample_rate)[2], draw).float()
        gone, left = _divide(left, draw)
        sound = sound - sound_of(gone, -(-samples // BLOCK)).flatten()[:samples].float()
    parts = []
    for scale in shape.scales:
        peaks = find_peaks(sound, scale, 2 * math.pi * 20.0 / shape.sample_rate, 0.985 * math.pi, OFFERED * PEAKS)
        rows = torch.randperm(len(peaks.scale), generator=draw)[:PEAKS]
        peaks = peaks.at(rows)
        bands, centre = bands_of(sound, peaks)
        if left is None:
            truth, known = torch.zeros(len(rows), 4), torch.zeros(len(rows))
            event = -torch.ones(len(rows))
        else:
            truth, known = _truth_of(peaks, centre, left)
            event = known
        nothing, unheard, never = torch.zeros(0, VECTOR), torch.zeros(0, samples), torch.zeros(0, dtype=torch.int64)
        parts.append(Batch(bands, extra_of(peaks), truth, known, event, nothing, unheard, never))
    return replace(join_batches(parts), strikes=strikes)


def spread_out(strikes: Strikes, draw: torch.Generator) -> Tensor:
    """Plain coordinates `[E, 16]` of strikes, chance where a tone or the noise that they are of is not there.

    All others would stand on one point there, which no map makes normal random numbers of. The atoms that are learned
    from have no noise, so that its three numbers are learned as what they are by themselves.
    """
    plain = coordinates_of(strikes)
    chance = torch.randn(plain.shape, generator=draw, dtype=plain.dtype)
    absent = torch.zeros_like(plain, dtype=torch.bool)
    tones = strikes.level_db <= FAINTEST_DB  # [E, 4]
    absent[:, 3:6], absent[:, 9:13] = tones[:, 1:], tones
    absent[:, 13:] = (strikes.noise_level_db <= FAINTEST_DB)[:, None]
    blurred = torch.zeros_like(plain)
    blurred[:, 6:9] = 0.1 * tones[:, 1:]
    return torch.where(absent, chance, plain + blurred * chance)


def _divide(atoms: Atoms, draw: torch.Generator) -> tuple[Atoms, Atoms]:
    """Atoms that were found already, the loudest, and those that are left."""
    energy = (atoms.amp.abs().square() * atoms.used).sum(-1)[0] / atoms.log_damping[0].exp()
    order = torch.argsort(energy, descending=True, stable=True)
    count = int(float(torch.rand((), generator=draw)) * 0.9 * len(order))
    gone = atoms.columns(order[:count])
    wrong = torch.randn(*gone.amp.shape, 2, generator=draw, dtype=torch.float64)
    wrong = 1 + WRONG * float(torch.rand((), generator=draw)) * torch.view_as_complex(wrong)
    return replace(gone, amp=gone.amp * wrong), atoms.columns(order[count:])


def _truth_of(peaks: Peaks, centre: Tensor, atoms: Atoms) -> tuple[Tensor, Tensor]:
    """What the eye should say of K peaks of one scale `[K, 4]`, and where that is known `[K]`.

    The tone that made a peak is the one whose own amplitude under the Hann window there is largest.
    """
    if not len(peaks.scale) or not atoms.onset.shape[1]:
        return torch.zeros(len(peaks.scale), 4), torch.zeros(len(peaks.scale))
    scale = float(peaks.scale[0])
    used = atoms.used[0].flatten()
    slots = atoms.used.shape[-1]

    def by_mode(values: Tensor) -> Tensor:
        return values[0, :, None].expand(-1, slots).flatten()[used]

    onset = by_mode(atoms.onset)
    attack, ring = by_mode(atoms.log_attack.exp()), by_mode(torch.exp(-atoms.log_damping))
    omega, amp = atoms.omega[0].flatten()[used], atoms.amp[0].flatten()[used].abs()
    instants = (torch.arange(16, dtype=torch.float64) + 0.5) / 16 - 0.5  # of the window
    weight = torch.cos(math.pi * instants).square() / 8
    u = (peaks.middle[:, None, None] + instants * scale - onset[:, None]).clamp(min=0.0)  # [K, M, 16]
    heard = ((1 - torch.exp(-u / attack[:, None])).square() * torch.exp(-u / ring[:, None]) * weight).sum(-1)
    far = (omega - peaks.omega[:, None]).abs() * scale / (2 * math.pi)  # in bins of the window
    amplitude = heard * amp * (far < NEAR_HZ) * torch.cos(math.pi * far.clamp(max=2.0) / 4).square()
    best = amplitude.argmax(1)
    rows = torch.arange(len(best))
    relative = (onset[best] - peaks.middle) / scale
    # A real wave of amplitude A sums to A / 2 a sample when it is mixed down.
    at_peak = centre.abs() * 2 * BLOCKS / scale
    made = (amplitude[rows, best] > DOMINANT * at_peak) & (relative > EARLIEST) & (relative < LATEST)
    truth = torch.stack(
        [relative, (attack[best] / scale).log(), (ring[best] / scale).log(), (omega[best] - peaks.omega) * scale], dim=1
    )
    return torch.where(made[:, None], truth, 0.0).float(), made.float()


def loss_of(
    model: Siam,
    batch: Batch,
    mean: Callable[[Mapping[str, float]], Mapping[str, float]] = dict,
    heard_by: Loss | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """What is to be made small, and figures to watch.

    Three parts: how much of the sound around a peak the answer leaves when its amplitude is solved (where the truth
    is known, how much of the true tone), whether a peak is an event, and how far the vectors of strikes are from
    normal random numbers. And a fourth where it is asked for: the loss of what one look at a whole sound explains.

    Args:
        model: that answers.
        batch: what it is asked.
        mean: of counts over all processes that learn together; each is that of what a part of the loss is a mean over.
        heard_by: the loss of what is heard of `batch.sounds`; None: there is no such part.

    Returns:
        The loss, and `missed_db` (energy of true tones that answers leave), `explained` (of the energy at peaks),
        `event_accuracy`, `vector_nats` (negative log likelihood of a number of a vector) and, where it is a part,
        `heard` (the loss of what is heard).
    """
    said = model.eye(batch.bands, batch.extra).float()
    zero = said.sum() * 0.0
    shares = shares_of(batch.bands, said[:, :4]).clamp(min=LEAST_SHARE)
    explained = -shares.log().mean() if len(shares) else zero
    known = batch.known > 0
    missed, event, accuracy = zero, zero, 0.0
    if bool(known.any()):
        overlap = overlap_of(said[known, :4], batch.truth[known])
        missed = (1 - overlap + LEAST_SHARE).log().mean()
        missed = missed + 0.1 * _huber(said[known, :4] - batch.truth[known])
    judged = batch.event >= 0
    if bool(judged.any()):
        logit, wanted = said[judged, 4], batch.event[judged]
        event = torch.nn.functional.binary_cross_entropy_with_logits(logit, wanted)
        accuracy = float(((logit > 0) == (wanted > 0)).float().mean())
    nats = zero
    if len(batch.strikes):
        vectors, volume = model.voice(batch.strikes)
        nats = (0.5 * vectors.square().sum(1) - volume).mean() / VECTOR + 0.5 * math.log(2 * math.pi)
    heard = zero
    if heard_by is not None and len(batch.sounds):
        pairs = zip(batch.sounds, batch.steps.tolist(), strict=True)
        heard = torch.stack([heard_loss(model, sound, heard_by, step) for sound, step in pairs]).mean()
    # The mean over processes of means, each times its count over the mean count, is the mean over all that they hold.
    parts = {"explained": explained, "missed": missed, "event": event, "nats": nats, "heard": heard}
    counts = {"explained": len(shares), "missed": int(known.sum()), "event": int(judged.sum())}
    counts = {**counts, "nats": len(batch.strikes), "heard": len(batch.sounds)}
    means = mean(counts)
    loss = sum((parts[name] * (counts[name] / max(means[name], 1e-9)) for name in parts), zero)
    with torch.no_grad():
        left = float((1 - overlap_of(said[known, :4], batch.truth[known])).mean()) if bool(known.any()) else 1.0
    figures = {
        "missed_db": 10 * math.log10(max(left, 1e-9)),
        "explained": float(shares.detach().mean()) if len(shares) else 0.0,
        "event_accuracy": accuracy,
        "vector_nats": float(nats.detach()),
    }
    if heard_by is not None and len(batch.sounds):
        figures["heard"] = float(heard.detach())
    return loss, figures


def overlap_of(said: Tensor, truth: Tensor) -> Tensor:
    """Share of the energy of true tones that answers explain, `[K]`: the squared cosine between their waves."""
    one, other = waves_of(said), waves_of(truth)
    product = torch.view_as_real((one * other.conj()).sum(1)).square().sum(1)
    norms = [torch.view_as_real(wave).square().sum((1, 2)).clamp(min=1e-9) for wave in (one, other)]
    return product / (norms[0] * norms[1])


def _huber(error: Tensor) -> Tensor:
    return torch.nn.functional.huber_loss(error, torch.zeros_like(error))
