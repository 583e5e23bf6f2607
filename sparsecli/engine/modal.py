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
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from ..core.columns import MODES_PER_ATOM

BLOCK = 256  # samples; about the square root of a stretch, which balances the two factors of the product
FADED = -60.0  # nepers, -520 dB: nothing sounds below, and nothing becomes a denormal number, which are slow
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

    @property
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
        return replace(self, onset=self.onset + samples)

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


class Basis:
    """The poles of `atoms` on the grid of B blocks of N samples, ready for renderings and correlations.

    Attributes:
        table: Re and Im of e^{z n}, float64 `[G, A, M, 3, 2, N]`.
        across: e^{z (b N - onset)} for the blocks wholly after the onset, else 0, complex128 `[G, B, A, M, 3]`.
        since: b N - onset, float64 `[G, B, A]`.
        first: block of the onset `[G, A]`, clamped to the grid.
        sounding: float64 `[G, A, N]`, 1 for samples of that block from the onset on; all 0 for an onset off the grid.
        elapsed: n minus the onset's place in that block `[G, A, N]`.
        entry: e^{-z offset}, complex128 `[G, A, M, 3]`, which turns the table into the sound of that block.
    """

    def __init__(self, atoms: Atoms, blocks: int) -> None:
        device = atoms.onset.device
        self.atoms, self.blocks = atoms, blocks
        self.n = n = torch.arange(BLOCK, device=device, dtype=torch.float64)
        rates, omega = atoms.rates, atoms.omega
        carrier = torch.view_as_real(_turns(omega, BLOCK)).transpose(-1, -2).contiguous()  # [G, A, M, 2, N]
        self.table = carrier[:, :, :, None] * torch.exp(-rates[..., None] * n)[:, :, None, :, None]
        starts = torch.arange(blocks, device=device, dtype=torch.float64)[:, None] * BLOCK
        self.since = starts - atoms.onset[:, None]  # [G, B, A]
        decay = -rates[:, None] * self.since[..., None]  # [G, B, A, 3]
        audible = (self.since >= 0)[..., None] & (decay > FADED)
        decay = torch.where(audible, torch.exp(torch.where(audible, decay, 0.0)), 0.0)
        turns = (
            _turns(omega * BLOCK, blocks)
            * torch.polar(torch.ones_like(omega), -omega * atoms.onset[..., None])[..., None]
        )
        self.across = turns.permute(0, 3, 1, 2).contiguous()[..., None] * decay[..., None, :]
        first = torch.floor(atoms.onset / BLOCK)
        on_grid = (atoms.onset > 0) & (first < blocks) & (first * BLOCK < atoms.onset)
        self.first = first.clamp(0, blocks - 1).long()
        offset = atoms.onset - self.first * BLOCK
        self.elapsed = n - offset[..., None]
        self.sounding = ((self.elapsed >= 0) & on_grid[..., None]).to(torch.float64)
        start = torch.where(on_grid, offset, 0.0)  # 0 where unused, so that nothing overflows
        turn = -omega * start[..., None]
        lift = torch.exp(rates * start[..., None])  # [G, A, 3]
        self.entry = torch.polar(torch.ones_like(turn), turn)[..., None] * lift[:, :, None]

    def render(self) -> Tensor:
        """The atoms' sound on the grid, float64 `[G, B, N]`."""
        windows, atoms = self.atoms.onset.shape
        if not atoms:
            return torch.zeros(windows, self.blocks, BLOCK, dtype=torch.float64, device=self.n.device)
        envelope = torch.tensor(ENVELOPE, device=self.n.device, dtype=torch.float64)
        weights = self.atoms.amp[..., None] * envelope  # [G, A, M, 3]
        spread = _real_pairs(self.across * weights[:, None]).view(windows, self.blocks, -1)
        sound = torch.bmm(spread, self.table.view(windows, -1, BLOCK))
        entry = _real_pairs(weights * self.entry).view(windows * atoms, 1, -1)
        entry = torch.bmm(entry, self.table.view(windows * atoms, -1, BLOCK)).view(windows, atoms, BLOCK)
        return sound.view(-1, BLOCK).index_add_(0, self._rows(), (entry * self.sounding).view(-1, BLOCK)).view_as(sound)

    def correlate(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over t of r g_j and of r u g_j, complex128 `[G, A, M, 3]` each, for a residual `[G, B, N]`."""
        windows, atoms, slots, _ = self.across.shape[0], *self.across.shape[2:]
        both = torch.cat([residual, residual * self.n], dim=1).float()  # [G, 2B, N]; a gradient needs no more digits
        within = torch.bmm(both, self.table.view(windows, -1, BLOCK).float().transpose(1, 2))
        within = torch.view_as_complex(within.view(windows, 2, self.blocks, atoms, slots, POLES, 2))
        plain = self.across * within[:, 0]
        ramp = plain * self.since[..., None, None] + self.across * within[:, 1]
        rows = residual.reshape(-1, BLOCK)[self._rows()].view(windows, atoms, BLOCK) * self.sounding
        rows = torch.stack([rows, rows * self.elapsed], dim=-1).view(-1, BLOCK, 2)
        head = torch.bmm(self.table.view(windows * atoms, -1, BLOCK), rows)  # [G A, M 3 2, 2]
        head = torch.view_as_complex(head.view(windows, atoms, slots, POLES, 2, 2).transpose(-1, -2).contiguous())
        head = head * self.entry[..., None]
        return plain.sum(1) + head[..., 0], ramp.sum(1) + head[..., 1]

    def _rows(self) -> Tensor:
        """Rows of the blocks of the onsets in a flat `[G B, N]`, `[G A]`."""
        windows = torch.arange(len(self.first), device=self.first.device)[:, None]
        return (windows * self.blocks + self.first).flatten()


def _turns(omega: Tensor, count: int) -> Tensor:
    """e^{i omega n} for n from 0 to `count` - 1 in a last dimension, as products of two short tables; complex128."""
    short = 1 << max(0, (count - 1).bit_length() // 2)
    n = torch.arange(max(short, -(-count // short)), device=omega.device, dtype=torch.float64)
    fine, coarse = omega[..., None] * n[:short], omega[..., None] * (short * n[: -(-count // short)])
    fine, coarse = torch.polar(torch.ones_like(fine), fine), torch.polar(torch.ones_like(coarse), coarse)
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


@dataclass(frozen=True)
class Pairs:
    """P pairs of modes of the same window that sound together and are near in frequency.

    Attributes:
        first: index of the one in a flat `[G A M]`, int64 `[P]`.
        second: of the other, not before the first.
        sign: +1, or -1 where it is the other's mirror image at -omega that is near, float64 `[P]`.
        places: of the 6 x 6 products of their parameters in the lower triangle of a flat `[G, Q, Q]`, int64 `[36 P]`.
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


def mode_pairs(atoms: Atoms, samples: Tensor) -> Pairs:
    """The pairs of modes that the Gauss-Newton matrix needs, in windows of `samples` `[G]`."""
    _, count, slots = atoms.omega.shape
    onset, reach = atoms.onset, _reach(atoms, atoms, samples, COUPLED)
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
    where, size = positions(atoms).reshape(-1, PARAMETERS), parameters_of(atoms)
    row, column = where[first][:, :, None], where[second][:, None]
    window = torch.div(first, count * slots, rounding_mode="floor")[:, None, None]
    places = (window * size + torch.maximum(row, column)) * size + torch.minimum(row, column)
    return Pairs(first, second, signs, places.flatten())


def gram(atoms: Atoms, samples: Tensor, pairs: Pairs) -> Tensor:
    """Inner products of f_0..f_3 between the modes of `pairs` over windows of `samples` `[G]`, complex64 `[P, 4, 4]`.

    The sum over samples is taken as an integral over [-1/2, samples - 1/2], which is the midpoint rule. With
    Z = -(z_j + conj(z_l)), and u, u' the times since the two onsets,

        integral of u^p u'^q e^{-Z t} dt =: I_pq,   Z I_pq = [-u^p u'^q e^{-Z t}] + p I_(p-1)q + q I_p(q-1).
    """
    slots = atoms.omega.shape[2]
    m, n = torch.div(pairs.first, slots, rounding_mode="floor"), torch.div(pairs.second, slots, rounding_mode="floor")
    onset, rates, weights = atoms.onset.flatten(), atoms.rates.flatten(0, 1), weights_of(atoms).flatten(0, 1)
    omega = atoms.omega.flatten()
    one, other = omega[pairs.first], pairs.sign * omega[pairs.second]
    start = torch.maximum(onset[m], onset[n]).clamp(min=-0.5)
    end = (samples.to(onset.dtype) - 0.5)[torch.div(m, atoms.onset.shape[1], rounding_mode="floor")]
    end = torch.maximum(end, start)
    rate_m, rate_n = rates[m], rates[n]
    z = torch.complex(rate_m[:, :, None] + rate_n[:, None], (other - one)[:, None, None].expand(-1, POLES, POLES))
    inverse = z.reciprocal()

    def boundary(at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """e^{...} of both modes at a time, `[P, 3, 3]`, and the times since their onsets."""
        u, v = at - onset[m], at - onset[n]
        fade = torch.exp(-rate_m * u[:, None])[:, :, None] * torch.exp(-rate_n * v[:, None])[:, None]
        turn = torch.polar(torch.ones_like(u), one * u - other * v)
        return fade * turn[:, None, None], u[:, None, None], v[:, None, None]

    low, u0, v0 = boundary(start)
    high, u1, v1 = boundary(end)
    i00 = (low - high) * inverse
    low_u, high_u = u0 * low, u1 * high
    i10 = (low_u - high_u + i00) * inverse
    i01 = (v0 * low - v1 * high + i00) * inverse
    i11 = (v0 * low_u - v1 * high_u + i10 + i01) * inverse
    return _weighted(i00, i10, i01, i11, weights[m], weights[n])


def _weighted(i00: Tensor, i10: Tensor, i01: Tensor, i11: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Sums over the poles of both modes under the weights of f_0..f_3, complex64 `[P, 4, 4]`.

    They are taken in double precision: under an attack much longer than the decay, the poles nearly cancel each other.
    """
    one, other = one.to(i00.dtype), other.to(i00.dtype).transpose(1, 2)
    out = torch.empty(len(one), 4, 4, dtype=torch.complex64, device=one.device)
    plain, ramped = slice(0, 4, 3), slice(1, 3)  # f_0 and f_3 take g_j, f_1 and f_2 take u g_j
    for left, right, moment in ((plain, plain, i00), (ramped, plain, i10), (plain, ramped, i01), (ramped, ramped, i11)):
        out[:, left, right] = torch.bmm(torch.bmm(one[:, left], moment), other[:, :, right])
    return out


def normal_matrix(atoms: Atoms, samples: Tensor, pairs: Pairs) -> Tensor:
    """The lower triangle of J^T J over all parameters of each window, float32 `[G, Q, Q]`, in the order of `positions`.

    Single precision is enough for steps that are tried before they are taken.
    """
    windows, size = len(atoms.onset), parameters_of(atoms)
    alpha = coefficients_of(atoms).view(-1, PARAMETERS).to(torch.complex64)
    one, other = alpha[pairs.first], alpha[pairs.second]
    other = torch.where(pairs.sign[:, None] > 0, other.conj(), other)
    one = one * torch.where(pairs.first == pairs.second, 0.25, 0.5)[:, None].to(one.dtype)  # twice in one triangle
    products = gram(atoms, samples, pairs)[:, FUNCTION_OF][:, :, FUNCTION_OF]
    block = (products * one[:, :, None] * other[:, None]).real
    matrix = torch.zeros(windows * size * size, dtype=torch.float32, device=block.device)
    matrix.scatter_add_(0, pairs.places, block.flatten())
    matrix = matrix.view(windows, size, size)
    matrix.diagonal(dim1=1, dim2=2).mul_(2.0)
    return matrix


def parameters_of(atoms: Atoms) -> int:
    """Parameters of a window, Q = 3 A + 3 A M."""
    _, count, slots = atoms.omega.shape
    return OF_STRIKE * count + OF_MODE * count * slots


def positions(atoms: Atoms) -> Tensor:
    """Where a mode's six parameters stand in the vector of all of its window, int64 `[G, A, M, 6]`."""
    windows, count, slots = atoms.omega.shape
    device = atoms.omega.device
    mode = torch.arange(count * slots, device=device).view(count, slots, 1)
    own = OF_STRIKE * count + OF_MODE * mode + torch.arange(OF_MODE, device=device)
    strike = OF_STRIKE * torch.arange(count, device=device)[:, None, None] + torch.arange(OF_STRIKE, device=device)
    both = torch.cat([own, strike.expand(count, slots, OF_STRIKE)], dim=-1)
    return both.expand(windows, count, slots, PARAMETERS)


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
