"""Which atom says most with a given count of numbers: kinds of atom fitted by one procedure at 1000 numbers.

python bench/atoms.py --clips DIR [--only NAME,NAME,...]

The procedure is a measuring device, the same for every kind and apart from the package's own engine: matching pursuit
with damped modes (Goodwin and Vetterli 1999) whose newcomers are grown mode by mode, and Levenberg-Marquardt steps on
all numbers of all atoms at once. Times are in samples, frequencies in radians a sample. A mode sounds

    x(t) = Re[ (re + i im) E(u) D(u) e^{i theta(u)} ],   u = t - onset >= 0,   E(u) = (1 - e^{-u / attack})^2
    theta(u) = omega (u + glide u^2 / 2),   D(u) = (1 - after) e^{-d u} + after e^{-d u / 6}

and a kind of atom is a map from its numbers to the parameters of its modes, differentiated automatically.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from page import CLIP_RATE, CLIP_SAMPLES, HERE, loudest_clip, recordings, table, write_page
from torch import Tensor

from sparsecli.dsp.quality import measure_quality
from sparsecli.dsp.resample import resample
from sparsecli.engine.texture import fit_air
from sparsecli.synth.air import render_air

BUDGET = 1000
AIR_NUMBERS = 24
SNR_CAP_DB = 40.0  # so that one easy clip does not steer the mean

# ---------------------------------------------------------------------------------------------------------------------
# Kinds of atom

MODE = ("onset", "log_attack", "log_damping", "omega", "re", "im", "glide", "after")  # a mode's parameters
LOWEST, HIGHEST = 2 * math.pi * 20 / CLIP_RATE, 0.985 * math.pi  # frequencies: 20 Hz to just under Nyquist's
SHORTEST_ATTACK = 2e-4 * CLIP_RATE
AFTERSOUND = 6.0  # times slower than the first decay: the two stages of a piano string lie about so far apart
TIED_ATTACK = 0.1  # of the decay time, where the attack is no number of its own

# Largest change in one step, lowest and highest value.
LIMITS = {
    "onset": (600.0, -2.0 * CLIP_RATE, CLIP_SAMPLES - 16.0),
    "log_attack": (0.8, math.log(SHORTEST_ATTACK), math.log(0.7 * CLIP_RATE)),
    "log_damping": (0.8, math.log(1 / 60_000), math.log(1 / 8)),
    "omega": (0.01, LOWEST, HIGHEST),
    "re": (math.inf, -math.inf, math.inf),
    "im": (math.inf, -math.inf, math.inf),
    "glide": (1 / CLIP_RATE, -4 / CLIP_RATE, 4 / CLIP_RATE),  # four times the frequency within a second at most
    "after": (0.2, 0.0, 1.0),
    "tilt": (0.3, -3.0, 3.0),
    "inharmonicity": (0.001, -0.01, 0.01),
}


@dataclass(frozen=True)
class Kind:
    """A kind of atom: `modes` modes, the numbers they share (onset first), and those of each (re and im last)."""

    name: str
    modes: int
    shared: tuple[str, ...]
    own: tuple[str, ...] = ("omega", "re", "im")

    @property
    def names(self) -> tuple[str, ...]:
        """What its numbers are, in order."""
        return self.shared + self.own * self.modes

    @property
    def atoms(self) -> int:
        """How many of it the budget buys."""
        return (BUDGET - AIR_NUMBERS) // len(self.names)

    @property
    def plain(self) -> Kind:
        """The kind without its extra numbers."""
        return replace(self, shared=tuple(name for name in self.shared if name not in EXTRAS))

    @property
    def used(self) -> tuple[int, ...]:
        """Which parameters of a mode its numbers can change, as indices into `MODE`."""
        idle = {"glide", "after"} - set(self.shared)
        return tuple(index for index, name in enumerate(MODE) if name not in idle)


STRIKE = ("onset", "log_attack", "log_damping")
KINDS = (
    Kind("1 free mode", 1, ("onset", "log_attack"), ("omega", "log_damping", "re", "im")),
    Kind("3 modes, own decays", 3, ("onset", "log_attack"), ("omega", "log_damping", "re", "im")),
    Kind("4 modes, one decay", 4, STRIKE),
    Kind("4 modes, glide", 4, (*STRIKE, "glide")),
    Kind("4 modes, decay tilt", 4, (*STRIKE, "tilt")),
    Kind("4 modes, two-stage decay", 4, (*STRIKE, "after")),
    Kind("5 harmonics", 5, (*STRIKE, "omega", "inharmonicity", "tilt"), ("re", "im")),
    Kind("2 modes, one decay", 2, STRIKE),
    Kind("3 modes, one decay", 3, STRIKE),
    Kind("6 modes, one decay", 6, STRIKE),
    Kind("1 mode, attack tied to decay", 1, ("onset", "log_damping")),
    Kind("4 modes, attack tied to decay", 4, ("onset", "log_damping")),
)
EXTRAS = ("glide", "tilt", "after")  # last among the shared numbers; 0 while an atom grows, so that it starts plain


def expand(kind: Kind, numbers: Tensor) -> Tensor:
    """The parameters `[modes, 8]` (in the order of `MODE`) of the modes of one atom with the given numbers `[P]`."""
    shared = dict(zip(kind.shared, numbers[: len(kind.shared)].unbind(), strict=True))
    rows = numbers[len(kind.shared) :].view(kind.modes, len(kind.own))
    own = dict(zip(kind.own, rows.unbind(1), strict=True))
    zero = torch.zeros(kind.modes, dtype=numbers.dtype)
    values = {name: own[name] if name in own else zero + shared.get(name, 0.0) for name in MODE}
    if "omega" in shared:
        order = torch.arange(1, kind.modes + 1, dtype=numbers.dtype)
        values["omega"] = order * shared["omega"] * torch.sqrt(1 + shared["inharmonicity"] * order.square())
    if "tilt" in shared:
        ratio = values["omega"] / values["omega"][:1]
        values["log_damping"] = values["log_damping"] + shared["tilt"] * torch.log(ratio)
    if "log_attack" not in shared:
        tied = math.log(TIED_ATTACK) - values["log_damping"]
        values["log_attack"] = tied.clamp(min=math.log(SHORTEST_ATTACK))
    audible = values["omega"] <= HIGHEST
    values["re"], values["im"] = values["re"] * audible, values["im"] * audible
    return torch.stack([values[name] for name in MODE], dim=-1)


def modes_of(kind: Kind, atoms: Tensor) -> Tensor:
    """The modes `[A, modes, 8]` of atoms `[A, P]`."""
    found: Tensor = torch.func.vmap(partial(expand, kind))(atoms)
    return found


def jacobian_of(kind: Kind, atoms: Tensor) -> Tensor:
    """How the modes' used parameters hang on the atoms' numbers, `[A, P, modes * used]`."""
    slopes: Tensor = torch.func.vmap(torch.func.jacfwd(partial(expand, kind)))(atoms)  # [A, modes, 8, P]
    return slopes[:, :, list(kind.used)].flatten(1, 2).transpose(1, 2)


# ---------------------------------------------------------------------------------------------------------------------
# Sound and its derivatives, in chunks: float32 within a chunk, phases at its start in float64

CHUNK = 2048
FADED = 11.5  # nepers: what lies 100 dB under its start is over


@dataclass(frozen=True)
class Piece:
    """What modes do within a chunk, each `[A, modes, n]`; waves are `rise * decay * carrier`.

    Attributes:
        elapsed: u, 0 before the onset.
        rise: E(u), and `fade` its e^{-u / attack}; `rise` is 0 before the onset.
        early: e^{-d u}, and `late` e^{-d u / 6}.
        cosine: of theta, and `sine`.
    """

    elapsed: Tensor
    rise: Tensor
    fade: Tensor
    early: Tensor
    late: Tensor
    cosine: Tensor
    sine: Tensor


def sounding(kind: Kind, modes: Tensor, start: int) -> Tensor:
    """Indices of the atoms `[A, modes, 8]` of which something sounds in the chunk that begins at `start`."""
    elapsed = start - modes[..., 0]
    slowest = AFTERSOUND if "after" in kind.shared else 1.0
    over = elapsed * modes[..., 2].exp() > FADED * slowest
    return ((elapsed > -CHUNK) & ~over).any(1).nonzero()[:, 0]


def piece_of(kind: Kind, modes: Tensor, start: int) -> Piece:
    """What modes `[A, modes, 8]` do in the chunk that begins at `start`."""
    onset, log_attack, log_damping, omega, _, _, glide, _ = modes[..., None].unbind(2)  # [A, modes, 1]
    since = start - onset
    phase = torch.remainder(omega * (since + glide * since.square() / 2), 2 * math.pi).float()
    n = torch.arange(CHUNK, dtype=torch.float32)
    theta = phase + (omega * (1 + glide * since)).float() * n
    if "glide" in kind.shared:
        theta += (omega * glide / 2).float() * n.square()
    elapsed = (since.float() + n).clamp(min=0)
    fade = torch.exp(-elapsed / log_attack.exp().float())
    nepers = elapsed * log_damping.exp().float()
    early = torch.exp(-nepers)
    late = torch.exp(-nepers / AFTERSOUND) if "after" in kind.shared else early
    return Piece(elapsed, (1 - fade).square(), fade, early, late, torch.cos(theta), torch.sin(theta))


def waves_of(modes: Tensor, piece: Piece) -> Tensor:
    """The sound of each mode in a chunk, `[A, modes, n]`."""
    _, _, _, _, re, im, _, after = modes[..., None].float().unbind(2)
    decay = piece.early + after * (piece.late - piece.early)
    return piece.rise * decay * (re * piece.cosine - im * piece.sine)


def slopes_of(kind: Kind, modes: Tensor, piece: Piece) -> Tensor:
    """Derivatives of each mode's sound by its used parameters, `[A, modes, used, n]`.

    The onset moves the envelope alone, under a carrier that stays where it is (`hold_carriers`): with the carrier
    moved along, a step would be good for a fraction of a period only.
    """
    _, log_attack, log_damping, omega, re, im, glide, after = modes[..., None].float().unbind(2)
    u, damping = piece.elapsed, log_damping.exp()
    decay = piece.early + after * (piece.late - piece.early)
    falling = damping * (piece.early + after * (piece.late / AFTERSOUND - piece.early))  # -D'(u)
    swelling = 2 * (1 - piece.fade) * piece.fade / log_attack.exp()  # E'(u)
    carrier = re * piece.cosine - im * piece.sine
    turned = -(re * piece.sine + im * piece.cosine)
    envelope = piece.rise * decay
    slopes = [
        (piece.rise * falling - swelling * decay) * carrier,
        -u * swelling * decay * carrier,
        -u * piece.rise * falling * carrier,
        (u + glide * u.square() / 2) * envelope * turned,
        envelope * piece.cosine,
        -envelope * piece.sine,
    ]
    if "glide" in kind.shared:
        slopes.append(omega * u.square() / 2 * envelope * turned)
    if "after" in kind.shared:
        slopes.append(piece.rise * (piece.late - piece.early) * carrier)
    return torch.stack(slopes, dim=2)


def render(kind: Kind, atoms: Tensor) -> tuple[Tensor, float]:
    """The sound of atoms `[A, P]`, float64 `[samples]`, and the sum of the energies of their modes, each by itself."""
    modes, energy = modes_of(kind, atoms), 0.0
    sound = torch.zeros(CLIP_SAMPLES, dtype=torch.float64)
    for start in range(0, CLIP_SAMPLES, CHUNK):
        heard = modes[sounding(kind, modes, start)]
        waves = waves_of(heard, piece_of(kind, heard, start))
        sound[start : start + CHUNK] = waves.sum((0, 1))
        energy += float(waves.square().sum())
    return sound, energy


# ---------------------------------------------------------------------------------------------------------------------
# Refinement: Levenberg-Marquardt steps on all numbers of all atoms

TRIES = 4
LESS_DAMPING, MORE_DAMPING = 0.25, 6.0
LEAST_DAMPING = 1e-5  # what the float32 products bear
RESTRAINT = 1e-4  # share of each mode's own energy in the cost, against pairs that grow huge and cancel each other


def judge(kind: Kind, atoms: Tensor, target: Tensor) -> tuple[Tensor, float]:
    """What atoms leave of a target `[samples]`, and its cost."""
    sound, energy = render(kind, atoms)
    residual = target - sound
    return residual, float(residual.square().sum()) + RESTRAINT * energy


def normal_equations(kind: Kind, atoms: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """J^T J `[A P, A P]` and J^T r `[A P]` over all numbers of atoms `[A, P]`."""
    modes, jacobian = modes_of(kind, atoms), jacobian_of(kind, atoms).float()
    count, size = atoms.shape
    matrix, vector = torch.zeros(count * size, count * size), torch.zeros(count * size)
    for start in range(0, CLIP_SAMPLES, CHUNK):
        index = sounding(kind, modes, start)
        slopes = slopes_of(kind, modes[index], piece_of(kind, modes[index], start)).flatten(1, 2)
        columns = (jacobian[index] @ slopes).flatten(0, 1)  # [heard P, n]
        place = (index[:, None] * size + torch.arange(size)).flatten()
        matrix[place[:, None], place] += columns @ columns.T
        vector[place] += columns @ residual[start : start + CHUNK].float()
    matrix, vector = matrix.double(), vector.double()
    linear = torch.tensor([name in ("re", "im") for name in kind.names]).repeat(count).nonzero()[:, 0]
    restraint = RESTRAINT * matrix.diagonal()[linear]
    vector[linear] -= restraint * atoms.flatten()[linear]
    matrix[linear, linear] += restraint
    return matrix, vector


def damped_step(matrix: Tensor, vector: Tensor, damping: float) -> Tensor:
    """The solution of (H + damping diag H) step = g; numbers that change nothing stay."""
    scale = matrix.diagonal().clamp(min=1e-12 * float(matrix.diagonal().max()) + 1e-30).rsqrt()
    scaled = matrix * scale[:, None] * scale
    while True:
        factor, failed = torch.linalg.cholesky_ex(scaled + (damping + 1e-9) * torch.eye(len(scale)).double())
        if not failed:
            return scale * torch.cholesky_solve((scale * vector)[:, None], factor)[:, 0]
        damping *= MORE_DAMPING


def hold_carriers(kind: Kind, atoms: Tensor, later: Tensor) -> Tensor:
    """Atoms `[A, P]` whose onsets have just come later by `later` samples `[A]`, with carriers put back in place."""
    atoms, modes, move = atoms.clone(), modes_of(kind, atoms), later[:, None]
    omega, glide = modes[..., 3], modes[..., 6]
    turn = omega * (move + glide * move.square() / 2)
    own = atoms[:, len(kind.shared) :].view(len(atoms), kind.modes, -1)
    re, im = own[..., -2].clone(), own[..., -1].clone()
    own[..., -2] = re * turn.cos() - im * turn.sin()
    own[..., -1] = re * turn.sin() + im * turn.cos()
    if "glide" in kind.shared:  # the frequency has gone on, and its slope is relative to it
        pace = (1 + glide * move).clamp(0.5, 2)
        own[..., 0] *= pace
        atoms[:, kind.shared.index("glide")] /= pace[:, 0]
    return atoms


def move(kind: Kind, atoms: Tensor, step: Tensor) -> Tensor:
    """Atoms `[A, P]` after a step `[A P]`, as far as `LIMITS` let them go."""
    largest, low, high = torch.tensor([LIMITS[name] for name in kind.names], dtype=torch.float64).unbind(1)
    step = step.view_as(atoms)
    moved = (atoms + step.clamp(-largest, largest)).clamp(low, high)
    return hold_carriers(kind, moved, moved[:, 0] - atoms[:, 0])


def hold_pinned(kind: Kind, atoms: Tensor, matrix: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
    """Normal equations in which numbers that stand at a limit and would go beyond it stay where they are."""
    _, low, high = torch.tensor([LIMITS[name] for name in kind.names], dtype=torch.float64).unbind(1)
    uphill = vector.view_as(atoms) > 0
    free = ~(((atoms <= low) & ~uphill) | ((atoms >= high) & uphill)).flatten()
    held = matrix * free[:, None] * free
    return held + torch.diag(matrix.diagonal() * ~free), vector * free


def refine(kind: Kind, atoms: Tensor, target: Tensor, steps: int, damping: float) -> tuple[Tensor, Tensor, float]:
    """Up to `steps` steps towards a target `[samples]`: the atoms, what they leave, and the damping to go on with."""
    residual, cost = judge(kind, atoms, target)
    for _ in range(steps):
        matrix, vector = hold_pinned(kind, atoms, *normal_equations(kind, atoms, residual))
        for _ in range(TRIES):
            moved = move(kind, atoms, damped_step(matrix, vector, damping))
            left, trial = judge(kind, moved, target)
            if trial < cost:
                break
            damping *= MORE_DAMPING
        else:
            break
        atoms, residual, cost = moved, left, trial
        damping = max(damping * LESS_DAMPING, LEAST_DAMPING)
    return atoms, residual, damping


# ---------------------------------------------------------------------------------------------------------------------
# Search: the residual is correlated with modes of every onset and frequency, by strided FFTs

DECAYS = (30.0, 90.0, 270.0, 800.0, 2400.0, 7200.0, 20000.0)  # 1 / d in samples, a factor of about 3 apart
ATTACKS = (0.04, 0.6)  # in decay times: struck, and swelling
PEAKS_PER_FRAME, PEAKS_PER_SHAPE = 24, 800
WEAKEST = 0.02  # of the best gain of a round; weaker ones wait, since they may be its side lobes


@dataclass(frozen=True)
class Candidate:
    """A mode worth trying: the energy it would explain, and where it lies."""

    gain: float
    onset: float
    omega: float
    attack: float
    damping: float

    @property
    def length(self) -> float:
        """Time over which it has most of its energy."""
        return 2 / self.damping + 2 * self.attack

    def near(self, other: Candidate) -> bool:
        """Whether the two overlap in time and frequency, so that their gains are not independent."""
        shorter = max(min(self.length, other.length), 64.0)
        bandwidth = 2 * (self.damping + other.damping) + 4 * math.pi / shorter
        end = min(self.onset + self.length, other.onset + other.length)
        return end > max(self.onset, other.onset) - 500 and abs(self.omega - other.omega) < bandwidth


@lru_cache
def window_of(attack: float, decay: float) -> Tensor:
    """The envelope of a mode with unit norm, float32."""
    u = torch.arange(int(min(CLIP_SAMPLES, 5 * decay + 3 * attack)), dtype=torch.float64)
    window = (1 - torch.exp(-u / attack)).square() * torch.exp(-u / decay)
    unit: Tensor = window / window.norm()
    return unit.float()


def bins_of(size: int) -> slice:
    """The bins of an FFT of `size` samples that modes may lie on."""
    return slice(max(2, int(LOWEST * size / (2 * math.pi))), int(HIGHEST * size / (2 * math.pi)) + 1)


def fft_size(length: int) -> int:
    """A power of two that holds a window."""
    return max(256, 1 << (length - 1).bit_length())


def search_shape(residual: Tensor, attack: float, decay: float) -> list[Candidate]:
    """Peaks of the gain 2 |sum r w e^{-i omega u}|^2 for one window w, over all onsets and frequencies."""
    window = window_of(attack, decay)
    hop, lead = int(min(max(16, 0.35 * decay), 2048)), min(int(0.5 * decay), 3000)
    frames = torch.nn.functional.pad(residual.float(), (lead, len(window) + hop)).unfold(0, len(window), hop)
    size = fft_size(len(window))
    bins = bins_of(size)
    spectrum = torch.fft.rfft(frames[: (CLIP_SAMPLES + lead - 16) // hop] * window, n=size)[:, bins]
    peaks, where = (2 * torch.view_as_real(spectrum).square().sum(-1)).topk(PEAKS_PER_FRAME, dim=1)
    best, place = peaks.flatten().topk(min(PEAKS_PER_SHAPE, peaks.numel()))
    omega = (where.flatten()[place] + bins.start) * (2 * math.pi / size)
    onset = place.div(PEAKS_PER_FRAME, rounding_mode="floor") * hop - lead
    rows = zip(best.tolist(), onset.tolist(), omega.tolist(), strict=True)
    return [Candidate(gain, t, w, attack, 1 / decay) for gain, t, w in rows]


def search(residual: Tensor, count: int) -> list[Candidate]:
    """The best candidates in a residual `[samples]`, at most `count`, of which no two are near each other."""
    shapes = [(max(SHORTEST_ATTACK, share * decay), decay) for decay in DECAYS for share in ATTACKS]
    found = [candidate for shape in shapes for candidate in search_shape(residual, *shape)]
    found.sort(key=lambda candidate: -candidate.gain)
    chosen: list[Candidate] = []
    for candidate in found:
        if len(chosen) == count or candidate.gain < WEAKEST * found[0].gain:
            break
        if not any(candidate.near(other) for other in chosen):
            chosen.append(candidate)
    return chosen


def scores_under(residual: Tensor, onset: float, attack: float, damping: float) -> Tensor:
    """Gain of a further mode under an atom's envelope at each bin of an FFT, `[bins]`."""
    first = max(0, math.ceil(onset))
    length = min(CLIP_SAMPLES - first, max(64, int(5 / damping + 3 * attack)))
    u = torch.arange(first, first + length, dtype=torch.float64) - onset
    window = (1 - torch.exp(-u / attack)).square() * torch.exp(-damping * u)
    spectrum = torch.fft.rfft((residual[first : first + length] * window).float(), n=fft_size(length))
    return 2 * torch.view_as_real(spectrum).square().sum(-1) / max(float(window @ window), 1e-30)


# ---------------------------------------------------------------------------------------------------------------------
# Growth: newcomers of one mode (or one note), then further modes under the same onset

ROUNDS = 16  # so that atoms are chosen with care
NEWCOMER_STEPS, FURTHER_STEPS, SWEEP_STEPS, POLISH_STEPS = 8, 4, 1, 12
NEWCOMER_DAMPING, SWEEP_DAMPING = 1e-2, 1e-3


def newcomers_of(kind: Kind, candidates: list[Candidate], residual: Tensor) -> Tensor:
    """Atoms `[A, P]` with the amplitudes still 0: of one mode, or all harmonics of the best fundamental."""
    rows = []
    for candidate in candidates:
        values = dict.fromkeys(kind.names, 0.0)
        values |= {"onset": candidate.onset, "log_attack": math.log(candidate.attack)}
        values |= {"log_damping": math.log(candidate.damping), "omega": candidate.omega}
        if "omega" in kind.shared:
            values["omega"] = fundamental_of(candidate, residual, kind.modes)
        rows.append([values[name] for name in kind.names])
    return torch.tensor(rows, dtype=torch.float64)


def fundamental_of(candidate: Candidate, residual: Tensor, harmonics: int) -> float:
    """The candidate's frequency, or a fraction of it: the one whose harmonics explain most together."""
    gains = scores_under(residual, candidate.onset, candidate.attack, candidate.damping)
    step = math.pi / (len(gains) - 1)

    def summed(divisor: int) -> float:
        places = [round(candidate.omega / divisor * order / step) for order in range(1, harmonics + 1)]
        return sum(float(gains[max(place - 1, 0) : place + 2].max()) for place in places if place < len(gains))

    return candidate.omega / max((n for n in range(1, harmonics + 1) if candidate.omega / n >= LOWEST), key=summed)


def further_mode(kind: Kind, atom: Tensor, residual: Tensor) -> list[float]:
    """The own numbers of the best further mode of an atom `[P]`, its amplitude still 0."""
    onset, log_attack, log_damping = modes_of(kind, atom[None])[0, 0, :3].tolist()
    own_decay = "log_damping" in kind.own
    best = (-1.0, LOWEST, log_damping)
    for log_d in [-math.log(decay) for decay in DECAYS] if own_decay else [log_damping]:
        gains = scores_under(residual, onset, math.exp(log_attack), math.exp(log_d))
        size = 2 * (len(gains) - 1)
        gain, place = gains[bins_of(size)].max(0)
        best = max(best, (float(gain), (int(place) + bins_of(size).start) * 2 * math.pi / size, log_d))
    values = {"omega": best[1], "log_damping": best[2], "re": 0.0, "im": 0.0}
    return [values[name] for name in kind.own]


def grow(kind: Kind, candidates: list[Candidate], residual: Tensor) -> Tensor:
    """Finished newcomers `[A, P]`, refined by themselves in the residual that the older atoms leave."""
    so_far = kind.plain if "omega" in kind.shared else replace(kind.plain, modes=1)
    atoms = newcomers_of(so_far, candidates, residual)
    atoms, left, _ = refine(so_far, atoms, residual, NEWCOMER_STEPS, NEWCOMER_DAMPING)
    while so_far.modes < kind.modes:
        more = torch.tensor([further_mode(so_far, atom, left) for atom in atoms], dtype=torch.float64)
        so_far, atoms = replace(so_far, modes=so_far.modes + 1), torch.cat([atoms, more], dim=1)
        atoms, left, _ = refine(so_far, atoms, residual, FURTHER_STEPS, NEWCOMER_DAMPING)
    shared, own = atoms.tensor_split([len(so_far.shared)], dim=1)
    extras = torch.zeros(len(atoms), len(kind.shared) - len(so_far.shared), dtype=torch.float64)
    return torch.cat([shared, extras, own], dim=1)


def fit(kind: Kind, target: Tensor) -> Tensor:
    """As many atoms of a kind as the budget buys, fitted to a clip, float64 `[samples]`; returns `[atoms, P]`."""
    atoms, residual, damping = torch.zeros(0, len(kind.names), dtype=torch.float64), target, SWEEP_DAMPING
    batch = math.ceil(kind.atoms / ROUNDS)
    while len(atoms) < kind.atoms:
        candidates = search(residual, min(batch, kind.atoms - len(atoms)))
        atoms = torch.cat([atoms, grow(kind, candidates, residual)])
        atoms, residual, damping = refine(kind, atoms, target, SWEEP_STEPS, min(damping, 1.0))
    return refine(kind, atoms, target, POLISH_STEPS, damping)[0]


# ---------------------------------------------------------------------------------------------------------------------
# The page


@dataclass(frozen=True)
class Figures:
    """What was measured of one kind on one clip: of the modes alone, then with air, then the cost."""

    snr_db: float
    convergence: float
    log_mel_db: float
    log_mel_air_db: float
    cpu_s: float


def air_of(residual: Tensor) -> np.ndarray:
    """The air of a residual as sound, `[samples]`."""
    air = render_air(fit_air(residual, CLIP_RATE), 0, 2 * CLIP_SAMPLES, 2 * CLIP_RATE, CLIP_RATE / 2)
    return resample(air.numpy(), 2 * CLIP_RATE, CLIP_RATE)[:CLIP_SAMPLES]


def measure(kind: Kind, path: Path) -> Figures:
    """Fit one kind to one clip."""
    target = torch.from_numpy(loudest_clip(path).samples[0]).double()
    started = time.process_time()
    atoms = fit(kind, target)
    cpu_s = time.process_time() - started
    sound, _ = render(kind, atoms)
    modes = measure_quality(target.numpy(), sound.numpy(), CLIP_RATE)
    full = measure_quality(target.numpy(), sound.numpy() + air_of(target - sound), CLIP_RATE)
    found = (modes.snr_db, modes.spectral_convergence, modes.log_mel_db, full.log_mel_db, cpu_s)
    return Figures(*(value or 0.0 for value in found))


HEAD = (
    "atom", "numbers of one", "atoms", "SNR dB", "median", "over the first", "convergence", "log-mel dB",
    "log-mel dB, air", "CPU s",
)  # fmt: skip
ABOUT = f"""Each clip is the loudest 32 768 samples of a recording at 22 050 Hz mono, scaled to a peak of 0.9. Each kind
of atom gets as many atoms as {BUDGET - AIR_NUMBERS} numbers buy; {AIR_NUMBERS} more are the air's. A mode sounds
`A (1 - exp(-u / attack))^2 exp(-d u) cos(2 pi f u + phase)`, `u = t - onset`, and 'numbers of one' counts what the
modes of an atom share + modes x what each has for itself: frequency (but for harmonics), level, phase, and its own
decay where it says so. Shared are onset, attack, and decay unless each has its own; 'glide' adds one relative slope
of all frequencies, 'decay tilt' the exponent of a power of frequency that the damping follows, 'two-stage decay' the
share of a second decay {AFTERSOUND:.0f} times slower than the first, 'attack tied' leaves out the attack
({TIED_ATTACK:g} of the decay time). Harmonics share onset, attack, decay, fundamental, inharmonicity and decay tilt."""
HOW = f"""One procedure for all: {ROUNDS} rounds or more, each with the best new modes of the residual (FFTs with 7
decays x 2 attacks), grown mode by mode under the same onset and refined by themselves (harmonics at once, over the
fundamental whose harmonics explain most), then a Levenberg-Marquardt step on all numbers of all atoms; {POLISH_STEPS}
such steps at the end, by when a step gains some 0.01 dB. A glide, a tilt or a second decay is 0 until its atom has
grown, and free from then on; on piano and violin_solo that went 0.7 and 0.1 dB better with a glide than free from the
start, and made no difference beyond chance with a second decay; a tilt was not compared so. A single fit
is a matter of chance within some tenths of a dB, since it ends in one of many local optima: another length of the
chunks that sums are taken in moved four fits by 0.02 to 0.24 dB while the procedure was made. Noise bands in place of
modes were not tried."""
READ = f"""SNR, spectral convergence and log-mel distance are of the modes alone; the second log-mel distance is with
the air fitted to what they leave. SNR is capped at {SNR_CAP_DB:.0f} dB a clip. 'Over the first' is the mean gain in SNR
over the first line, with its standard error over the clips. Glide, decay tilt and second decay contain '4 modes, one
decay' with 61 atoms in place of 65: what they lose against it beyond those four atoms is the procedure's, which does
not find their best values, and not the atom's."""


def capped(figures: list[Figures]) -> np.ndarray:
    """SNR by clip, none above the cap."""
    return np.minimum([found.snr_db for found in figures], SNR_CAP_DB)


def row_of(kind: Kind, figures: list[Figures], first: list[Figures]) -> list[str]:
    """A row of the table of means."""
    snr_db, gain_db = capped(figures), capped(figures) - capped(first)
    error_db = float(np.std(gain_db)) / math.sqrt(max(len(gain_db) - 1, 1))
    means = [np.mean([getattr(f, name) for f in figures]) for name in ("convergence", "log_mel_db", "log_mel_air_db")]
    cells = [kind.name, f"{len(kind.shared)} + {kind.modes} x {len(kind.own)}", str(kind.atoms)]
    cells += [f"{snr_db.mean():.2f}", f"{np.median(snr_db):.2f}"]
    cells += [f"{gain_db.mean():+.2f} ± {error_db:.2f}" if figures is not first else ""]
    return [*cells, f"{means[0]:.3f}", *(f"{m:.2f}" for m in means[1:]), f"{np.mean([f.cpu_s for f in figures]):.0f}"]


def write(arguments: argparse.Namespace, found: dict[str, list[Figures]]) -> None:
    """Write the page on the clips so far, each with the figures of all kinds."""
    by_kind = [list(figures) for figures in zip(*found.values(), strict=True)]
    rows = [row_of(kind, figures, by_kind[0]) for kind, figures in zip(KINDS, by_kind, strict=True)]
    clips = [[name, *(f"{value:.2f}" for value in capped(figures))] for name, figures in sorted(found.items())]
    title = f"Which atom says most with {BUDGET} numbers for 1.486 s"
    texts = [" ".join(text.split()) for text in (ABOUT, HOW, f"Means over {len(found)} clips. {READ}")]
    by_clip = table(("SNR dB", *(kind.name for kind in KINDS)), clips)
    write_page(__file__, arguments, title, *texts, table(HEAD, rows), by_clip)


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=HERE.parent / "examples", help="folder of recordings")
    parser.add_argument("--only", help="names of recordings, comma between, in the order to take them")
    parser.add_argument("--page", type=Path, help="the page to write; default: beside the script")
    return parser.parse_args()


def main() -> None:
    """Measure clip by clip; the page is written anew after each."""
    arguments = parse()
    torch.set_num_threads(1)
    paths = {path.stem: path for path in recordings(arguments.clips)}
    names = arguments.only.split(",") if arguments.only else list(paths)
    if unknown := set(names) - set(paths):
        raise SystemExit(f"{', '.join(sorted(unknown))}: not in {arguments.clips}; --only takes names without suffix")
    found: dict[str, list[Figures]] = {}
    for name in names:
        figures = []
        for kind in KINDS:
            figures.append(measure(kind, paths[name]))
            print(name, kind.name, figures[-1], flush=True)
        found[name] = figures
        write(arguments, found)


if __name__ == "__main__":
    main()
