"""The linear algebra of fitting: atoms as sums of complex exponentials on a grid of blocks.

Times are in samples, frequencies in radians a sample, all of it in float64. One mode of an atom is

    x(t) = Re[ c E(u) e^{s u} ],   u = t - onset >= 0,   E(u) = (1 - e^{-k u})^2,   s = -d + i omega,   k = 1 / attack

and because E has three terms, it is three poles z_j = s - j k with weights b = (1, -2, 1):

    E(u) e^{s u} = sum_j b_j g_j(u),   g_j(u) = e^{z_j u},   j = 0, 1, 2.

Every derivative of a mode is a combination of g_j and u g_j, so that gradients, renderings and the Gauss-Newton matrix
need only those. On a grid t = b N + n a pole is a rank-1 matrix over (block b, offset n),

    e^{z (b N + n - onset)} = e^{z (b N - onset)} e^{z n},

which makes a rendering one matrix product [blocks, poles] x [poles, N] and the correlation with a residual one
product the other way round. Only the block in which an atom starts is evaluated by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

BLOCK = 256  # samples; about the square root of a stretch, which balances the two factors of the product
FADED = -60.0  # nepers, -520 dB: nothing sounds below, and nothing becomes a denormal number, which are slow
ENVELOPE = (1.0, -2.0, 1.0)  # b_j: (1 - q)^2 = 1 - 2 q + q^2


@dataclass(frozen=True)
class Atoms:
    """A atoms with K modes in all.

    Attributes:
        onset: float64 `[A]`, samples, may be fractional or negative.
        log_attack: float64 `[A]`, natural logarithm of the attack in samples.
        owner: int64 `[K]`, the atom of each mode.
        log_damping: float64 `[K]`, natural logarithm of the damping d in nepers a sample.
        omega: float64 `[K]`, radians a sample.
        amp: complex128 `[K]`, A e^{i phi}.
    """

    onset: Tensor
    log_attack: Tensor
    owner: Tensor
    log_damping: Tensor
    omega: Tensor
    amp: Tensor

    def __len__(self) -> int:
        return len(self.onset)

    @property
    def poles(self) -> Tensor:
        """z_j = -d - j k + i omega, complex128 `[K, 3]`."""
        damping = self.log_damping.exp()[:, None] + self.rate[self.owner][:, None] * torch.arange(
            len(ENVELOPE), device=self.onset.device
        )
        return torch.complex(-damping, self.omega[:, None].expand_as(damping))

    @property
    def rate(self) -> Tensor:
        """k = 1 / attack, float64 `[A]`."""
        return torch.exp(-self.log_attack)

    def take(self, rows: Tensor) -> Atoms:
        """The atoms at the indices `rows` `[R]`, with their modes."""
        place = torch.full((len(self),), -1, dtype=torch.int64, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        kept = place[self.owner] >= 0
        return replace(
            self.take_modes(kept),
            onset=self.onset[rows],
            log_attack=self.log_attack[rows],
            owner=place[self.owner[kept]],
        )

    def take_modes(self, modes: Tensor) -> Atoms:
        """The same atoms with only the modes at `modes` (mask or indices)."""
        return replace(
            self,
            owner=self.owner[modes],
            log_damping=self.log_damping[modes],
            omega=self.omega[modes],
            amp=self.amp[modes],
        )

    def shift(self, samples: int) -> Atoms:
        """The same atoms `samples` later."""
        return replace(self, onset=self.onset + samples)


def no_atoms(device: torch.device | None = None) -> Atoms:
    """Atoms of none."""
    real = torch.zeros(0, dtype=torch.float64, device=device)
    return Atoms(real, real, real.long(), real, real, real.to(torch.complex128))


def join(parts: list[Atoms]) -> Atoms:
    """All atoms of `parts`, in that order."""
    starts = torch.tensor([0, *[len(part) for part in parts]]).cumsum(0)[:-1].tolist()
    return Atoms(
        torch.cat([part.onset for part in parts]),
        torch.cat([part.log_attack for part in parts]),
        torch.cat([part.owner + start for part, start in zip(parts, starts, strict=True)]),
        torch.cat([part.log_damping for part in parts]),
        torch.cat([part.omega for part in parts]),
        torch.cat([part.amp for part in parts]),
    )


class Basis:
    """The poles of `atoms` on the grid of `blocks` blocks, ready for renderings and correlations.

    Attributes (B blocks, N = BLOCK):
        poles: `[K, 3]`.
        inside: e^{z n}, complex128 `[K, 3, N]`.
        across: e^{z (b N - onset)} for the blocks wholly after the onset, else 0, complex128 `[B, K, 3]`.
        since: b N - onset, float64 `[B, K]`.
        first: index of the block of the onset `[A]`, clamped to the grid.
        offset: onset within it, samples `[A]`.
        sounding: float64 `[A, N]`, 1 for samples of that block at or after the onset; all 0 for an onset off the grid.
    """

    def __init__(self, atoms: Atoms, blocks: int) -> None:
        device = atoms.onset.device
        self.atoms, self.blocks = atoms, blocks
        n = torch.arange(BLOCK, device=device, dtype=torch.float64)
        self.n = n
        self.poles = atoms.poles
        carrier = torch.exp(self.poles[:, :1] * n)  # [K, N]
        fade = torch.exp(-atoms.rate[:, None] * n)[atoms.owner]  # [K, N]
        self.inside = torch.stack([carrier, carrier * fade, carrier * fade.square()], dim=1)
        first = torch.floor(atoms.onset / BLOCK)
        starts = torch.arange(blocks, device=device, dtype=torch.float64)[:, None] * BLOCK
        self.since = (starts - atoms.onset)[:, atoms.owner]  # [B, K]
        exponent = self.poles * self.since[..., None]
        audible = (self.since >= 0)[..., None] & (exponent.real > FADED)
        self.across = torch.where(audible, torch.exp(torch.where(audible, exponent, 0.0)), 0.0)
        on_grid = (atoms.onset > 0) & (first < blocks) & (first * BLOCK < atoms.onset)
        self.first = first.clamp(0, blocks - 1).long()
        self.offset = atoms.onset - self.first * BLOCK
        self.sounding = ((n >= self.offset[:, None]) & on_grid[:, None]).to(torch.float64)
        start = torch.where(on_grid, self.offset, 0.0)[atoms.owner]  # 0 where unused, so that nothing overflows
        self.entry = torch.exp(-self.poles * start[:, None])  # e^{-z offset}  [K, 3]

    def render(self) -> Tensor:
        """The atoms' sound on the grid, float64 `[B, N]`."""
        weights = self.atoms.amp[:, None] * torch.tensor(ENVELOPE, device=self.n.device)  # [K, 3]
        spread = torch.view_as_real((self.across * weights).conj().resolve_conj()).flatten(1)  # [B, 6K]
        sound = spread @ torch.view_as_real(self.inside).transpose(2, 3).reshape(-1, BLOCK)
        entry = torch.einsum("kj,kjn->kn", weights * self.entry, self.inside).real
        entry = entry * self.sounding[self.atoms.owner]
        return sound.index_add_(0, self.first[self.atoms.owner], entry)

    def correlate(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over t of r g_j and r u g_j, complex128 `[K, 3]` each, for a residual `[B, N]`."""
        modes = len(self.atoms.owner)
        table = torch.view_as_real(self.inside)  # [K, 3, N, 2]
        both = torch.stack([table, table * self.n[:, None]])  # [2, K, 3, N, 2]
        flat = both.permute(3, 0, 1, 2, 4).reshape(BLOCK, -1)
        within = torch.view_as_complex((residual @ flat).view(self.blocks, 2, modes, 3, 2))
        plain, ramp = within[:, 0], within[:, 1]  # [B, K, 3]
        zeroth = (self.across * plain).sum(0)
        first = (self.across * (self.since[..., None] * plain + ramp)).sum(0)
        rows = (residual[self.first] * self.sounding)[self.atoms.owner]  # [K, N]
        head = torch.einsum("kjn,kn->kj", self.inside, rows.to(self.inside.dtype)) * self.entry
        since = self.n - self.offset[self.atoms.owner][:, None]
        ramped = torch.einsum("kjn,kn->kj", self.inside, (rows * since).to(self.inside.dtype)) * self.entry
        return zeroth + head, first + ramped


# The derivatives of x with respect to (Re c, Im c, ln d, omega, ln attack, onset) are Re[alpha_p f_k(p)] with
#     f_0 = sum b_j g_j                 alpha = 1 (Re c), i (Im c)
#     f_1 = sum b_j u g_j               alpha = -d c (ln d), i c (omega)
#     f_2 = -2 k (u g_1 - u g_2)        alpha = c (ln attack)
#     f_3 = -sum b_j Re(z_j) g_j        alpha = c (onset)
# The onset moves the envelope alone, under a carrier that stays where it is: c turns by e^{i omega step} with it. With
# the carrier moved along, a step would be good for a fraction of a period only, and the valley between onset and
# attack would take thousands of them.
FUNCTION_OF = (0, 0, 1, 1, 2, 3)
PARAMETERS = len(FUNCTION_OF)


def weights_of(atoms: Atoms) -> Tensor:
    """Weights of the poles in f_0..f_3, complex128 `[K, 4, 3]`; f_1 and f_2 take them on u g_j."""
    b = torch.tensor(ENVELOPE, device=atoms.onset.device, dtype=torch.complex128)
    k = atoms.rate[atoms.owner]
    poles = atoms.poles
    zero = torch.zeros_like(k)
    plain = b.expand(len(k), 3)
    attack = torch.stack([zero, -2 * k, 2 * k], dim=-1).to(torch.complex128)
    return torch.stack([plain, plain, attack, -b * poles.real], dim=1)


def coefficients_of(atoms: Atoms) -> Tensor:
    """alpha_p, complex128 `[K, 6]`."""
    c = atoms.amp
    one = torch.ones_like(c)
    return torch.stack([one, 1j * one, -atoms.log_damping.exp() * c, 1j * c, c, c], dim=-1)


def gradient(basis: Basis, residual: Tensor) -> Tensor:
    """J^T r by mode and parameter, float64 `[K, 6]`, for a residual `[B, N]`."""
    plain, ramp = basis.correlate(residual)  # [K, 3]
    weights = weights_of(basis.atoms)
    sums = torch.stack([plain, ramp, ramp, plain], dim=1)  # [K, 4, 3]
    functions = (weights * sums).sum(-1)[:, FUNCTION_OF]  # [K, 6]
    return (coefficients_of(basis.atoms) * functions).real


COUPLED = 0.003  # of the estimate below; a dropped pair's true product reaches 0.03, and 0.1 for swells


def mode_pairs(atoms: Atoms, samples: int, mirror: bool = False) -> tuple[Tensor, Tensor]:
    """Indices (m, n), m <= n, `[P]` each, of modes that sound together and are near in frequency.

    Two decaying exponentials overlap by 2 sqrt(d d') / |d + d' + i (w - w')|, times the decay of the one already
    sounding when the other starts; a mode cut by the end of the window is as wide as what is left of it.
    `mirror=True` takes the other one's mirror image at -w'.
    """
    onset = atoms.onset[atoms.owner].clamp(min=0.0)
    width = atoms.log_damping.exp().clamp(min=0) + 1.0 / (samples - onset).clamp(min=16.0)
    later = torch.maximum(onset[:, None], onset[None, :])
    lead = (later - onset[:, None]) * width[:, None] + (later - onset[None, :]) * width[None, :]
    omega = -atoms.omega if mirror else atoms.omega
    distance = (width[:, None] + width[None, :]).square() + (atoms.omega[:, None] - omega[None, :]).square()
    overlap = 4 * width[:, None] * width[None, :] * torch.exp(-2 * lead) / distance
    m, n = torch.nonzero((overlap > COUPLED**2).triu(), as_tuple=True)
    return m, n


def gram(atoms: Atoms, samples: int, m: Tensor, n: Tensor, conjugate: bool = True) -> Tensor:
    """Inner products of f_0..f_3 between modes m and n over `[0, samples]`, complex128 `[P, 4, 4]`.

    The sum over samples is taken as an integral. With t0 the later onset, v = t - t0, Z = -(z_j + conj(z_l)),

        int_0^V v^p e^{-Z v} dv =: I_p,   I_0 = (1 - e^{-Z V}) / Z,   I_p = (p I_{p-1} - V^p e^{-Z V}) / Z.

    `conjugate=False` gives the products without the conjugate (the mirror image), needed at low frequencies.
    """
    onset = atoms.onset[atoms.owner]
    poles, weights = atoms.poles, weights_of(atoms)
    zm, zn = poles[m], poles[n]
    wm, wn = weights[m], weights[n]
    if conjugate:
        zn, wn = zn.conj().resolve_conj(), wn.conj().resolve_conj()
    start = torch.maximum(onset[m], onset[n]).clamp(min=0.0)
    span = (samples - start).clamp(min=1.0)
    lead_m, lead_n = start - onset[m], start - onset[n]  # [P]
    z = -(zm[:, :, None] + zn[:, None, :])  # [P, 3, 3]
    v = span[:, None, None]
    end = torch.exp(-z * v)
    i0 = (1 - end) / z
    i1 = (i0 - v * end) / z
    i2 = (2 * i1 - v * v * end) / z
    scale = torch.exp(zm * lead_m[:, None])[:, :, None] * torch.exp(zn * lead_n[:, None])[:, None, :]
    i0, i1, i2 = i0 * scale, i1 * scale, i2 * scale
    a, b = lead_m[:, None, None], lead_n[:, None, None]
    moments = [i0, a * i0 + i1, b * i0 + i1, a * b * i0 + (a + b) * i1 + i2]  # of 1, u, u', u u'
    both = torch.stack(moments, dim=1)  # [P, 4, 3, 3]
    ramped = (0, 1, 1, 0)
    out = torch.empty(len(m), 4, 4, dtype=poles.dtype, device=poles.device)
    for p in range(4):
        left = torch.einsum("pj,pxjl->pxl", wm[:, p], both)
        for q in range(4):
            out[:, p, q] = (left[:, ramped[p] + 2 * ramped[q]] * wn[:, q]).sum(-1)
    return out


def normal_matrix(atoms: Atoms, samples: int) -> Tensor:
    """J^T J over all parameters, float64 `[2A + 4K, 2A + 4K]`, in the order of `positions`."""
    alpha, where = coefficients_of(atoms), positions(atoms)
    size = 2 * len(atoms) + 4 * len(atoms.owner)
    matrix = torch.zeros(size * size, dtype=torch.float64, device=where.device)
    for mirror in (False, True):
        m, n = mode_pairs(atoms, samples, mirror)
        other = alpha[n] if mirror else alpha[n].conj()
        products = gram(atoms, samples, m, n, conjugate=not mirror)[:, FUNCTION_OF][:, :, FUNCTION_OF]
        block = 0.5 * (alpha[m][:, :, None] * other[:, None, :] * products).real  # [P, 6, 6]
        block[m == n] *= 0.5  # counted once in each triangle
        rows, columns = where[m][:, :, None].expand_as(block), where[n][:, None, :].expand_as(block)
        matrix.index_add_(0, (rows * size + columns).flatten(), block.flatten())
    matrix = matrix.view(size, size)
    return matrix + matrix.T


def positions(atoms: Atoms) -> Tensor:
    """Where a mode's six parameters stand in the vector of all, int64 `[K, 6]`."""
    device = atoms.owner.device
    own = 2 * len(atoms) + 4 * torch.arange(len(atoms.owner), device=device)[:, None] + torch.arange(4, device=device)
    return torch.cat([own, 2 * atoms.owner[:, None], 2 * atoms.owner[:, None] + 1], dim=1)
