"""The linear algebra of fitting: atoms as sums of complex exponentials on a grid of blocks, G windows at a time.

Times are in samples, frequencies in radians a sample, all of it in float64. One mode of an atom is

    x(t) = Re[ c E(u) e^{s u} ],   u = t - onset >= 0,   E(u) = (1 - e^{-k u})^2,   s = -d + i omega,   k = 1 / attack

and because E has three terms, it is three poles z_j = s - j k with weights b = (1, -2, 1):

    E(u) e^{s u} = sum_j b_j g_j(u),   g_j(u) = e^{z_j u},   j = 0, 1, 2.

Every derivative of a mode is a combination of g_j and u g_j, so that gradients, renderings and the Gauss-Newton matrix
need only those. On a grid t = b N + n a pole is a rank-1 matrix over (block b, offset n),

    e^{z (b N + n - onset)} = e^{z (b N - onset)} e^{z n},

which makes a rendering one matrix product [blocks, poles] x [poles, N] and the correlation with a residual one
product the other way round. Only the block in which an atom starts is evaluated by itself.

G windows of a recording are worked side by side, each with its own atoms, padded to the same number of them.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor

from ..core.columns import MODES_PER_ATOM

BLOCK = 256  # samples; about the square root of a stretch, which balances the two factors of the product
FADED = 35.0  # nepers, -304 dB: nothing sounds below, and no product becomes a denormal number, which are slow
LONGEST_SWELL = math.log(10.0)  # attack over decay time: amplitudes are 47 dB over the peak that is heard
ENVELOPE = (1.0, -2.0, 1.0)  # b_j: (1 - q)^2 = 1 - 2 q + q^2
POLES = len(ENVELOPE)


@dataclass(frozen=True)
class Atoms:
    """Atoms of G windows, at most A in each, with M = 4 slots for modes.

    Attributes:
        onset: float64 `[G, A]`, samples, may be fractional or negative.
        log_attack: float64 `[G, A]`, natural logarithm of the attack in samples.
        log_damping: float64 `[G, A]`, natural logarithm of the damping d in nepers a sample.
        omega: float64 `[G, A, M]`, radians a sample.
        amp: complex128 `[G, A, M]`, A e^{i phi}; 0 where a slot is unused.
        used: bool `[G, A, M]`; an atom without any mode is padding.
    """

    onset: Tensor
    log_attack: Tensor
    log_damping: Tensor
    omega: Tensor
    amp: Tensor
    used: Tensor

    @property
    def present(self) -> Tensor:
        """Which atoms are no padding, bool `[G, A]`."""
        return self.used.any(-1)

    @cached_property
    def slots(self) -> Slots:
        """Where the used modes stand."""
        return slots_of(self)

    @cached_property
    def rates(self) -> Tensor:
        """d + j k, nepers a sample, float64 `[G, A, 3]`: how fast the three poles decay."""
        steps = torch.arange(POLES, device=self.onset.device, dtype=torch.float64)
        return self.log_damping.exp()[..., None] + torch.exp(-self.log_attack)[..., None] * steps

    def windows(self, rows: Tensor | slice) -> Atoms:
        """The atoms of the windows at `rows`."""
        return Atoms(*(getattr(self, field.name)[rows] for field in fields(self)))

    def columns(self, chosen: Tensor | slice) -> Atoms:
        """The atoms at `chosen` of every window."""
        return Atoms(*(getattr(self, field.name)[:, chosen] for field in fields(self)))

    def shift(self, samples: int) -> Atoms:
        """The same atoms `samples` later."""
        return self.moved(onset=self.onset + samples)

    def moved(self, **values: Tensor) -> Atoms:
        """Atoms of which the same slots are used, with other `values` of some fields."""
        new = replace(self, **values)
        new.__dict__["slots"] = self.slots  # worked out once for all steps
        return new

    def without(self, dropped: Tensor) -> Atoms:
        """The same atoms without the modes at `dropped` `[G, A, M]`."""
        used = self.used & ~dropped
        return replace(self, used=used, amp=torch.where(used, self.amp, 0.0))

    def packed(self) -> Atoms:
        """The same atoms, padding last and no more of it than the fullest window needs; the order stays."""
        present = self.present
        order = torch.argsort(~present, dim=1, stable=True)[:, : int(present.sum(1).max()) if present.numel() else 0]
        rows = torch.arange(len(order), device=order.device)[:, None]
        return Atoms(*(getattr(self, field.name)[rows, order] for field in fields(self)))


def no_atoms(windows: int = 1, atoms: int = 0, device: torch.device | None = None) -> Atoms:
    """Padding: `atoms` atoms without modes in each of `windows` windows."""
    flat = torch.zeros(windows, atoms, dtype=torch.float64, device=device)
    slots = flat[..., None].expand(windows, atoms, MODES_PER_ATOM).clone()
    return Atoms(flat, flat + 1.0, flat - 8.0, slots + 1.0, slots.to(torch.complex128), slots.bool())


def join(parts: list[Atoms]) -> Atoms:
    """All atoms of `parts`, which are of the same windows, in that order."""
    return Atoms(*(torch.cat([getattr(part, field.name) for part in parts], dim=1) for field in fields(Atoms)))


def stack(parts: list[Atoms]) -> Atoms:
    """The windows of `parts` side by side, padded to the most atoms."""
    most = max(part.onset.shape[1] for part in parts)
    even = [
        join([part, no_atoms(len(part.onset), most - part.onset.shape[1], part.onset.device)])
        if part.onset.shape[1] < most
        else part
        for part in parts
    ]
    return Atoms(*(torch.cat([getattr(part, field.name) for part in even]) for field in fields(Atoms)))


@dataclass(frozen=True)
class Slots:
    """Where the used modes of atoms stand: the K of each window in a row, as many as the fullest window has.

    Attributes:
        place: of each in a flat `[A M]`, int64 `[G, K]`.
        used: bool `[G, K]`; a window of fewer modes has unused slots at its end.
        atom: to which each belongs, int64 `[G, K]`.
        shape: A and M.
    """

    place: Tensor
    used: Tensor
    atom: Tensor
    shape: tuple[int, int]

    def gather(self, values: Tensor) -> Tensor:
        """Values of the modes `[G, K, ...]`, of those of all slots `[G, A, M, ...]`."""
        return _rows_of(values.flatten(1, 2), self.place)

    def of_atoms(self, values: Tensor) -> Tensor:
        """Values of each mode's atom `[G, K, ...]`, of those of all atoms `[G, A, ...]`."""
        return _rows_of(values, self.atom)

    def spread(self, values: Tensor) -> Tensor:
        """Values of all slots `[G, A, M, ...]`, of those of the modes `[G, K, ...]`; 0 where a slot is unused."""
        windows, rest = len(values), values.shape[2:]
        flat = values.new_zeros(windows * self.shape[0] * self.shape[1], *rest)
        start = torch.arange(windows, device=values.device)[:, None] * (self.shape[0] * self.shape[1])
        flat[(self.place + start)[self.used]] = values[self.used]
        return flat.view(windows, *self.shape, *rest)


def _rows_of(values: Tensor, rows: Tensor) -> Tensor:
    """`values[g, rows[g]]` for each window g, `[G, K, ...]`."""
    if len(values) == 1:
        return values[0].index_select(0, rows[0])[None]
    return values[torch.arange(len(values), device=values.device)[:, None], rows]


def slots_of(atoms: Atoms) -> Slots:
    """Where the used modes of atoms stand."""
    used = atoms.used.flatten(1)
    most = int(used.sum(1).max()) if used.numel() else 0
    place = torch.argsort(~used, dim=1, stable=True)[:, :most]
    atom = torch.div(place, MODES_PER_ATOM, rounding_mode="floor")
    return Slots(place, used.gather(1, place), atom, (atoms.used.shape[1], atoms.used.shape[2]))


class Basis:
    """The poles of the K used modes of `atoms` on the grid of B blocks of N samples, for renderings and correlations.

    Args:
        atoms: of G windows.
        blocks: B.
        dtype: of the tables, float64 or float32 (see `fast_dtype`).

    Attributes:
        slots: where the modes stand.
        carrier: cos and sin of omega n, `[G, K, 2, N]`.
        table: Re and Im of e^{z n}, `[G, K, 3, 2, N]`.
        across: e^{z (b N - onset)} for the blocks wholly after the onset, else 0, complex `[G, B, K, 3]`.
        since: b N - onset, `[G, B, A]`.
        first: block of the onset `[G, A]`, clamped to the grid.
        elapsed: time since the onset at the samples of that block, `[G, A, N]`; 0 before it.
        strike: e^{-(d + j k) u} at those samples, `[G, A, 3, N]`; 0 before the onset, and for an onset off the grid.
        entry: e^{-i omega offset}, complex `[G, K]`, which turns the carrier to where it is in that block.
    """

    def __init__(self, atoms: Atoms, blocks: int, dtype: torch.dtype = torch.float64) -> None:
        device, wide = atoms.onset.device, torch.float64
        self.atoms, self.blocks, self.dtype, self.slots = atoms, blocks, dtype, atoms.slots
        slots, rates, onset = atoms.slots, atoms.rates, atoms.onset
        omega = slots.gather(atoms.omega)
        self.n = n = torch.arange(BLOCK, device=device, dtype=dtype)
        self.carrier = torch.view_as_real(_turns(omega, BLOCK, dtype)).transpose(-1, -2).contiguous()
        fade = _fading(rates.to(dtype)[..., None] * n)  # [G, A, 3, N]
        self.table = self.carrier[:, :, None] * slots.of_atoms(fade)[:, :, :, None]
        starts = torch.arange(blocks, device=device, dtype=wide)[:, None] * BLOCK
        since = starts - onset[:, None]  # [G, B, A]
        decay = torch.where((since >= 0)[..., None], _fading((rates[:, None] * since[..., None]).to(dtype)), 0.0)
        turns = _turns(omega * BLOCK, blocks, dtype) * _turned(-omega * slots.of_atoms(onset), dtype)[..., None]
        decay = slots.of_atoms(decay.transpose(1, 2))  # [G, K, B, 3]
        self.across = (turns[..., None] * decay).transpose(1, 2).contiguous()
        self.since = since.to(dtype)
        first = torch.floor(onset / BLOCK)
        on_grid = (onset > 0) & (first < blocks) & (first * BLOCK < onset)
        self.first = first.clamp(0, blocks - 1).long()
        offset = torch.where(on_grid, onset - self.first * BLOCK, 0.0)
        elapsed = n - offset.to(dtype)[..., None]
        self.elapsed = elapsed.clamp(min=0)
        sounding = (elapsed >= 0) & on_grid[..., None]
        self.strike = torch.where(
            sounding[:, :, None], _fading(rates.to(dtype)[..., None] * self.elapsed[:, :, None]), 0.0
        )
        self.entry = _turned(-omega * slots.of_atoms(offset), dtype)

    def with_amplitudes(self, amp: Tensor) -> Basis:
        """The basis of the same atoms with other amplitudes `[G, A, M]`; the tables are shared."""
        other = copy(self)
        other.atoms = self.atoms.moved(amp=amp)
        return other

    def render(self) -> Tensor:
        """The atoms' sound on the grid, float64 `[G, B, N]`."""
        windows, atoms = self.atoms.onset.shape
        if not self.slots.place.numel():
            return torch.zeros(windows, self.blocks, BLOCK, dtype=torch.float64, device=self.n.device)
        envelope = torch.tensor(ENVELOPE, device=self.n.device, dtype=self.dtype)
        amp = self.slots.gather(self.atoms.amp).to(self.entry.dtype)  # [G, K]
        weights = amp[..., None] * envelope  # [G, K, 3]
        spread = _real_pairs(self.across * weights[:, None]).view(windows, self.blocks, -1)
        sound = torch.bmm(spread, self.table.view(windows, -1, BLOCK)).view(-1, BLOCK)
        turned = _real_pairs(amp * self.entry)[..., None]  # [G, K, 2, 1]
        waves = (self.carrier * turned).sum(2).view(-1, BLOCK)  # [G K, N]
        start = torch.arange(windows, device=self.n.device)[:, None] * atoms
        struck = waves.new_zeros(windows * atoms, BLOCK).index_add_(0, (self.slots.atom + start).flatten(), waves)
        rise = (self.strike * envelope[:, None]).sum(2).view(-1, BLOCK)  # [G A, N]
        sound = sound.index_add_(0, self._rows(), struck * rise)
        return sound.view(windows, self.blocks, BLOCK).double()

    def correlate(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over t of r g_j and of r u g_j, complex128 `[G, A, M, 3]` each, for a residual `[G, B, N]`.

        In single precision: a gradient needs no more digits.
        """
        windows, modes = self.slots.place.shape
        part = residual.float()
        both = torch.cat([part, part * self.n.float()], dim=1)  # [G, 2B, N]
        within = torch.bmm(both, self.table.view(windows, -1, BLOCK).float().transpose(1, 2))
        within = torch.view_as_complex(within.view(windows, 2, self.blocks, modes, POLES, 2))
        across, since = self.across.to(torch.complex64), _columns_of(self.since.float(), self.slots)[..., None]
        plain = across * within[:, 0]
        ramp = plain * since + across * within[:, 1]
        rows = part.reshape(-1, BLOCK)[self._rows()].view(windows, -1, 1, BLOCK)
        rows = rows * self.strike.float()  # [G, A, 3, N]
        rows = torch.cat([rows, rows * self.elapsed.float()[:, :, None]], dim=2)  # [G, A, 6, N]
        carrier = self.carrier.float().view(windows * modes, 2, BLOCK)
        head = torch.bmm(self.slots.of_atoms(rows).view(windows * modes, -1, BLOCK), carrier.transpose(1, 2))
        head = (
            torch.view_as_complex(head).view(windows, modes, 2, POLES) * self.entry.to(torch.complex64)[..., None, None]
        )
        sums = torch.stack([plain.sum(1), ramp.sum(1)], dim=2) + head  # [G, K, 2, 3]
        found = self.slots.spread(sums.to(torch.complex128))
        return found[..., 0, :], found[..., 1, :]

    def _rows(self) -> Tensor:
        """Rows of the blocks of the onsets in a flat `[G B, N]`, `[G A]`."""
        windows = torch.arange(len(self.first), device=self.first.device)[:, None]
        return (windows * self.blocks + self.first).flatten()


def fast_dtype(atoms: Atoms) -> torch.dtype:
    """Of a `Basis` that is good enough to try steps: single precision is 100 dB true and takes half the time.

    Under an attack much longer than the decay the poles nearly cancel each other, which takes double precision.
    """
    swell = (atoms.log_attack + atoms.log_damping)[atoms.present]
    return torch.float64 if bool((swell > LONGEST_SWELL).any()) else torch.float32


def _fading(nepers: Tensor) -> Tensor:
    """e^{-x}, and 0 where it has faded."""
    return torch.where(nepers < FADED, torch.exp(-nepers.clamp(max=FADED)), 0.0)


def _turned(angle: Tensor, dtype: torch.dtype) -> Tensor:
    """e^{i angle} of float64 angles, with parts of `dtype`."""
    return torch.polar(torch.ones_like(angle), angle).to(_COMPLEX[dtype])


def _columns_of(values: Tensor, slots: Slots) -> Tensor:
    """Values of each mode's atom `[G, B, K]`, of those of all atoms `[G, B, A]`."""
    return slots.of_atoms(values.transpose(1, 2)).transpose(1, 2)


_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


def _turns(omega: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """e^{i omega n} for n from 0 to `count` - 1 in a last dimension, as products of two short tables of `dtype`."""
    short = 1 << max(0, (count - 1).bit_length() // 2)
    n = torch.arange(max(short, -(-count // short)), device=omega.device, dtype=torch.float64)
    fine, coarse = omega[..., None] * n[:short], omega[..., None] * (short * n[: -(-count // short)])
    fine, coarse = _turned(fine, dtype), _turned(coarse, dtype)
    return (coarse[..., None] * fine[..., None, :]).flatten(-2)[..., :count]


def _real_pairs(values: Tensor) -> Tensor:
    """(Re, -Im) of complex values, in a last dimension of 2: the factors of Re and Im in the real part of a product."""
    return torch.view_as_real(values.conj().resolve_conj())


# The derivatives of x with respect to (Re c, Im c, omega, ln d, ln attack, onset) are Re[alpha_p f_k(p)] with
#     f_0 = sum b_j g_j                 alpha = 1 (Re c), i (Im c)
#     f_1 = sum b_j u g_j               alpha = i c (omega), -d c (ln d)
#     f_2 = -2 k (u g_1 - u g_2)        alpha = c (ln attack)
#     f_3 = sum b_j (d + j k) g_j       alpha = c (onset)
# The onset moves the envelope alone, under a carrier that stays where it is: c turns by e^{i omega step} with it. With
# the carrier moved along, a step would be good for a fraction of a period only, and the valley between onset and
# attack would take thousands of them.
FUNCTION_OF = (0, 0, 1, 1, 2, 3)
RAMPED = (0, 1, 1, 0)  # whether f_k takes g_j or u g_j
PARAMETERS = len(FUNCTION_OF)
OF_MODE, OF_STRIKE = 3, 3  # the first three belong to the mode, the others to all modes of the atom


def weights_of(atoms: Atoms) -> Tensor:
    """Weights of the poles in f_0..f_3, float64 `[G, A, 4, 3]`; f_1 and f_2 take them on u g_j."""
    b = torch.tensor(ENVELOPE, device=atoms.onset.device, dtype=torch.float64)
    attack = torch.exp(-atoms.log_attack)[..., None] * torch.tensor([0.0, -2.0, 2.0], device=b.device, dtype=b.dtype)
    plain = b.expand_as(attack)
    return torch.stack([plain, plain, attack, b * atoms.rates], dim=-2)


def coefficients_of(atoms: Atoms) -> Tensor:
    """alpha_p, complex128 `[G, A, M, 6]`; 0 for an unused slot."""
    c = atoms.amp
    one = atoms.used.to(c.dtype)
    return torch.stack([one, 1j * one, 1j * c, -atoms.log_damping.exp()[..., None] * c, c, c], dim=-1)


def gradient(basis: Basis, residual: Tensor) -> Tensor:
    """J^T r by mode and parameter, float64 `[G, A, M, 6]`, for a residual `[G, B, N]`."""
    plain, ramp = basis.correlate(residual)  # [G, A, M, 3]
    sums = torch.stack([plain, ramp, ramp, plain], dim=-2)  # [G, A, M, 4, 3]
    functions = (weights_of(basis.atoms)[:, :, None] * sums).sum(-1)
    return (coefficients_of(basis.atoms) * functions[..., FUNCTION_OF]).real


COUPLED = 0.003  # of the estimate below; a dropped pair's true product reaches 0.03, and 0.1 for swells
PRECISE = 1e-5  # the same where a matrix is to be precise


@dataclass(frozen=True)
class Pairs:
    """P pairs of modes of the same window that sound together and are near in frequency.

    Attributes:
        first: index of the one in a flat `[G A M]`, int64 `[P]`.
        second: of the other, not before the first.
        sign: +1, or -1 where it is the other's mirror image at -omega that is near, float64 `[P]`.
        places: of the products of their parameters in the lower triangle of a flat `[G, Q, Q]`, int64 `[36 P]`, the
            pairs one after the other for each product; of those of their amplitudes alone in one `[G, 2 K, 2 K]`,
            `[4 P]`.
    """

    first: Tensor
    second: Tensor
    sign: Tensor
    places: Tensor


def _reach(atoms: Atoms, others: Atoms, samples: Tensor, least: float) -> Tensor:
    """Square of the largest distance in frequency at which modes of two atoms overlap by `least`, `[G, A, A']`.

    Two decaying exponentials overlap by 2 sqrt(d d') / |d + d' + i (w - w')|, times the decay of the one already
    sounding when the other starts; a mode cut by the end of the window is as wide as what is left of it. Negative
    where they do not overlap so much at any distance.
    """

    def onset_and_width(some: Atoms) -> tuple[Tensor, Tensor]:
        onset = some.onset.clamp(min=0.0)
        return onset, some.log_damping.exp() + 1.0 / (samples[:, None] - onset).clamp(min=16.0)

    (onset, width), (other_onset, other_width) = onset_and_width(atoms), onset_and_width(others)
    onset, width = onset[:, :, None], width[:, :, None]
    other_onset, other_width = other_onset[:, None], other_width[:, None]
    later = torch.maximum(onset, other_onset)
    lead = (later - onset) * width + (later - other_onset) * other_width
    return 4 * width * other_width * torch.exp(-2 * lead) / least**2 - (width + other_width).square()


def touching(atoms: Atoms, others: Atoms, samples: Tensor, least: float) -> Tensor:
    """Which of the atoms have modes that overlap by `least` with modes of which others, bool `[G, A, A']`."""
    return modes_touching(atoms, others, samples, least).flatten(3).any(-1)


def modes_touching(atoms: Atoms, others: Atoms, samples: Tensor, least: float) -> Tensor:
    """Which modes of atoms overlap by `least` with which modes of others, bool `[G, A, A', M, M]`."""
    reach = _reach(atoms, others, samples, least)[..., None, None]
    one, other = atoms.omega[:, :, None, :, None], others.omega[:, None, :, None]
    both = atoms.used[:, :, None, :, None] & others.used[:, None, :, None]
    return both & (((one - other).square() < reach) | ((one + other).square() < reach))


def mode_pairs(atoms: Atoms, samples: Tensor, amplitudes_alone: bool = False, least: float | None = None) -> Pairs:
    """The pairs of modes that overlap by `least`, or as much as the Gauss-Newton matrix needs, in `samples` `[G]`."""
    _, count, slots = atoms.omega.shape
    onset, reach = atoms.onset, _reach(atoms, atoms, samples, COUPLED if least is None else least)
    a, b = torch.arange(count, device=onset.device)[:, None], torch.arange(count, device=onset.device)
    g, a, b = torch.nonzero((reach > 0) & (a <= b) & atoms.present[:, :, None] & atoms.present[:, None], as_tuple=True)
    reach = reach[g, a, b][:, None, None]
    one, other = atoms.omega[g, a][:, :, None], atoms.omega[g, b][:, None]
    both = atoms.used[g, a][:, :, None] & atoms.used[g, b][:, None]
    slot = torch.arange(slots, device=onset.device)
    both &= (a < b)[:, None, None] | (slot[:, None] <= slot)
    found = []
    for sign in (1.0, -1.0):
        p, m, n = torch.nonzero(both & ((one - sign * other).square() < reach), as_tuple=True)
        base = g[p] * count
        found.append(
            ((base + a[p]) * slots + m, (base + b[p]) * slots + n, torch.full_like(onset[0, :1], sign).expand(len(p)))
        )
    first, second, signs = (torch.cat(part) for part in zip(*found, strict=True))
    where, size = positions(atoms), parameters_of(atoms)
    if amplitudes_alone:
        strikes = OF_STRIKE * count
        where, size = _amplitudes_of(where, strikes), (size - strikes) // OF_MODE * 2
    where = where.flatten(0, 2).T.contiguous()
    row, column = where[:, first][:, None], where[:, second]
    window = torch.div(first, count * slots, rounding_mode="floor")
    places = (window * size + torch.maximum(row, column)) * size + torch.minimum(row, column)
    return Pairs(first, second, signs, places.flatten())


def gram(
    atoms: Atoms, samples: Tensor, pairs: Pairs, ramped: bool = True, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Inner products of f_0..f_3 between the modes of `pairs` over windows of `samples` `[G]`, complex `[4, 4, P]`.

    Without the `ramped` those of f_0 alone, `[1, 1, P]`; worked out in `dtype` (see `fast_dtype`).

    The sum over samples is taken as an integral over [-1/2, samples - 1/2], which is the midpoint rule. With
    Z = -(z_j + conj(z_l)), and u, u' the times since the two onsets,

        integral of u^p u'^q e^{-Z t} dt =: I_pq,   Z I_pq = [-u^p u'^q e^{-Z t}] + p I_(p-1)q + q I_p(q-1).
    """
    slots = atoms.omega.shape[2]
    m, n = torch.div(pairs.first, slots, rounding_mode="floor"), torch.div(pairs.second, slots, rounding_mode="floor")
    onset, omega = atoms.onset.flatten(), atoms.omega.flatten()
    rates = atoms.rates.flatten(0, 1).T  # [3, G A]; the pairs stand in the last dimension, along which it is fast
    one, other = omega[pairs.first], pairs.sign * omega[pairs.second]
    onset_m, onset_n = onset[m], onset[n]
    start = torch.maximum(onset_m, onset_n).clamp(min=-0.5)
    end = (samples.to(onset.dtype) - 0.5)[torch.div(m, atoms.onset.shape[1], rounding_mode="floor")]
    end = torch.maximum(end, start)
    rate_m, rate_n = rates[:, m], rates[:, n]
    real = (rate_m[:, None] + rate_n).to(dtype)  # [3, 3, P]
    inverse = torch.complex(real, (other - one).to(dtype).expand_as(real)).reciprocal()

    def boundary(at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """e^{...} of both modes at a time, `[3, 3, P]`, and the times since their onsets."""
        u, v = at - onset_m, at - onset_n
        fade = _fading((rate_m * u).to(dtype))[:, None] * _fading((rate_n * v).to(dtype))
        return fade * _turned(one * u - other * v, dtype), u.to(dtype), v.to(dtype)

    low, u0, v0 = boundary(start)
    high, u1, v1 = boundary(end)
    i00 = (low - high) * inverse
    if not ramped:
        return _over_poles(i00, *(torch.tensor(ENVELOPE, device=onset.device, dtype=dtype).view(1, POLES, 1),) * 2)
    low_u, high_u = u0 * low, u1 * high
    i10 = (low_u - high_u + i00) * inverse
    i01 = (v0 * low - v1 * high + i00) * inverse
    i11 = (v0 * low_u - v1 * high_u + i10 + i01) * inverse
    weights = weights_of(atoms).flatten(0, 1).permute(1, 2, 0).to(dtype)  # [4, 3, G A]
    plain, ramp = weights[[0, 3]], weights[1:3]  # f_0 and f_3 take g_j, f_1 and f_2 take u g_j
    upper = torch.cat(
        [_over_poles(i00, plain[..., m], plain[..., n]), _over_poles(i01, plain[..., m], ramp[..., n])], 1
    )
    lower = torch.cat([_over_poles(i10, ramp[..., m], plain[..., n]), _over_poles(i11, ramp[..., m], ramp[..., n])], 1)
    order = torch.tensor((0, 2, 3, 1), device=onset.device)  # of f_0 to f_3 among f_0, f_3, f_1, f_2
    return torch.cat([upper, lower])[order][:, order]


def _over_poles(integrals: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Sums of integrals `[3, 3, P]` over the poles of both modes under weights `[n, 3, P]`, `[n, n', P]`."""
    half = (one[:, :, None] * integrals).sum(1)  # [n, 3, P]
    return (half[:, None] * other).sum(2)


def normal_matrix(atoms: Atoms, samples: Tensor, pairs: Pairs) -> Tensor:
    """The lower triangle of J^T J over all parameters of each window, float32 `[G, Q, Q]`, in the order of `positions`.

    Single precision is enough for steps that are tried before they are taken.
    """
    products = gram(atoms, samples, pairs, dtype=fast_dtype(atoms))
    places = torch.tensor(FUNCTION_OF, device=products.device)
    return _assembled(products[places][:, places], atoms, pairs, parameters_of(atoms))


def amplitude_matrix(atoms: Atoms, samples: Tensor, precise: bool = False) -> Tensor:
    """The lower triangle of J^T J over the amplitudes alone, Re and Im of each mode, `[G, 2 K, 2 K]`.

    A precise one is float64, otherwise it is float32, and has more pairs. Where modes nearly cancel each other, what
    they are worth is lost in the rounding of the other.
    """
    pairs = mode_pairs(atoms, samples, amplitudes_alone=True, least=PRECISE if precise else None)
    dtype = torch.float64 if precise else torch.float32
    products = gram(atoms, samples, pairs, ramped=False, dtype=torch.float64 if precise else fast_dtype(atoms))
    return _assembled(products.expand(2, 2, -1), atoms, pairs, 2 * atoms.slots.place.shape[1], dtype)


def _assembled(products: Tensor, atoms: Atoms, pairs: Pairs, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Products `[n, n, P]` of the functions of pairs of modes, weighted by their alpha, at their places."""
    alpha = coefficients_of(atoms).flatten(0, 2).T[: len(products)].to(_COMPLEX[dtype])
    one, other = alpha[:, pairs.first], alpha[:, pairs.second]
    other = torch.where(pairs.sign > 0, other.conj(), other)
    one = one * torch.where(pairs.first == pairs.second, 0.25, 0.5)  # twice in one triangle
    block = (products.to(one.dtype) * one[:, None] * other).real
    matrix = torch.zeros(len(atoms.onset) * size * size, dtype=dtype, device=block.device)
    matrix.scatter_add_(0, pairs.places, block.flatten())
    matrix = matrix.view(-1, size, size)
    matrix.diagonal(dim1=1, dim2=2).mul_(2.0)
    return matrix


def parameters_of(atoms: Atoms) -> int:
    """Parameters of a window, Q = 3 A + 3 K for at most K used modes."""
    return OF_STRIKE * atoms.onset.shape[1] + OF_MODE * atoms.slots.place.shape[1]


def positions(atoms: Atoms) -> Tensor:
    """Where a used mode's six parameters stand in the vector of all of its window, int64 `[G, A, M, 6]`."""
    windows, count, slots = atoms.omega.shape
    device = atoms.omega.device
    mode = (atoms.used.flatten(1).cumsum(1) - 1).clamp(min=0).view(windows, count, slots, 1)
    own = OF_STRIKE * count + OF_MODE * mode + torch.arange(OF_MODE, device=device)
    strike = OF_STRIKE * torch.arange(count, device=device)[:, None, None] + torch.arange(OF_STRIKE, device=device)
    return torch.cat([own, strike.expand(windows, count, slots, OF_STRIKE)], dim=-1)


def _amplitudes_of(where: Tensor, strikes: int) -> Tensor:
    """Where a mode's Re and Im stand among those of all, of where its parameters stand behind `strikes` others."""
    mode = torch.div(where[..., :1] - strikes, OF_MODE, rounding_mode="floor")
    return 2 * mode + torch.arange(2, device=where.device)


def mode_norms(atoms: Atoms, samples: Tensor) -> Tensor:
    """Energy of a mode of amplitude 1 of each atom in its window of `samples` `[G]`, float64 `[G, A]`.

    Half the integral of E(u)^2 e^{-2 d u} = sum over i of binomial(4, i) (-1)^i e^{-(2 d + i k) u}.
    """
    steps = torch.arange(5, device=atoms.onset.device, dtype=torch.float64)
    rates = 2 * atoms.log_damping.exp()[..., None] + torch.exp(-atoms.log_attack)[..., None] * steps
    begin = (-0.5 - atoms.onset).clamp(min=0.0)[..., None]
    end = torch.maximum((samples[:, None] - 0.5 - atoms.onset)[..., None], begin)
    terms = (torch.exp(-rates * begin) - torch.exp(-rates * end)) / rates
    signs = torch.tensor([math.comb(4, i) * (-1.0) ** i for i in range(5)], device=rates.device, dtype=rates.dtype)
    return 0.5 * (terms * signs).sum(-1).clamp(min=0)
