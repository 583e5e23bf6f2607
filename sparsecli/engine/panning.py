"""The place of each atom between two channels, by least squares.

With left = (1 - pan) x and right = (1 + pan) x for the sound x of an atom, the mean of the channels, which the atoms
were fitted to, does not depend on their places; half the difference, the side signal, is linear in them:

    side = (right - left) / 2 = sum over e of  pan_e x_e.

Atoms that sound together share the side signal, so all places are solved at once:

    minimise |side - sum_e pan_e x_e|^2 + RIDGE sum_e pan_e^2 |x_e|^2   over  -1 <= pan_e <= 1.

A long recording is worked on from its start to its end, a few seconds at once. Places are kept of the atoms that start
in these, and solved together with those of the atoms that start in the seconds after them; what the kept ones sound
like to their ends is taken off the side signal before the next step. Time grows with the length, and memory only for
the signals themselves.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.events import Events
from ..synth.modes import Modes, audible_samples, render_each, render_modes
from .devices import choose_device
from .rendering import modes_of
from .settings import Device

RIDGE = 1e-5  # of an atom's own energy: of two atoms that sound alike, neither is sent far to make up for the other
KEPT_S, AHEAD_S = 4.0, 4.0  # so recordings up to 8 s are solved whole
CHUNK_NUMBERS = 1 << 23  # of atoms' samples at once; bounds memory to some 100 MB
ROUNDS = 50  # of choosing the places that are held at an end; a few are enough as a rule


def solve_pans(
    events: Events,
    side: NDArray[np.float32],
    device: Device = "auto",
    kept_s: float = KEPT_S,
    ahead_s: float = AHEAD_S,
) -> NDArray[np.float64]:
    """Places of events between two channels.

    Args:
        events: of modes; their own places do not matter.
        side: `[samples]` at the rate of the events' recording, half of right minus left.
        device: where torch works.
        kept_s: seconds whose atoms' places are settled at once.
        ahead_s: seconds after them that are solved with them.

    Returns:
        `[E]` in -1 (left) to 1 (right); 0 where nothing is heard of an event.
    """
    rate, modes = events.header.sample_rate, modes_of(events, choose_device(device))
    left = torch.from_numpy(side).to(modes.onset_s.device, modes.onset_s.dtype, copy=True)
    onset = torch.from_numpy(events.onset_s * rate)
    pan = torch.zeros(len(events), dtype=torch.float64)
    settled = torch.zeros(len(events), dtype=torch.bool)
    kept, ahead = max(1, round(kept_s * rate)), round(ahead_s * rate)
    for begin in range(0, len(left), kept):
        end = begin + kept
        rows = torch.nonzero(~settled & (onset < end + ahead))[:, 0]
        gram, moment = normal_equations(modes.take(rows.to(left.device)), left[begin : end + ahead], begin, rate)
        pan[rows] = bounded_least_squares(gram, moment)
        done = rows[onset[rows] < end]
        settled[done] = True
        if end < len(left):
            _subtract(left, modes.take(done.to(left.device)), pan[done], begin, rate)
    return pan.numpy()


def normal_equations(modes: Modes, target: Tensor, start: int, rate: int) -> tuple[Tensor, Tensor]:
    """Inner products of the sounds of E strikes with each other and with a signal.

    Args:
        modes: the strikes.
        target: `[samples]`.
        start: its first sample.
        rate: in Hz.

    Returns:
        float64 on the CPU, `[E, E]` and `[E]`.
    """
    count, device = len(modes.onset_s), target.device
    gram = torch.zeros(count, count, dtype=torch.float64)
    moment = torch.zeros(count, dtype=torch.float64)
    begins = (modes.onset_s * rate).floor().long()
    ends = begins + audible_samples(modes, rate) + 1
    size = max(1024, CHUNK_NUMBERS // max(1, count))
    for first in range(0, len(target), size):
        part = target[first : first + size]
        sounding = (ends > start + first) & (begins < start + first + len(part))
        rows = torch.nonzero(sounding)[:, 0]
        sounds = render_each(modes.take(rows), len(part), rate, start + first)  # [e, n]
        rows = rows.cpu()
        gram[rows[:, None], rows] += (sounds @ sounds.T).cpu().double()
        moment[rows] += (sounds @ part.to(device, sounds.dtype)).cpu().double()
    return gram, moment


def bounded_least_squares(gram: Tensor, moment: Tensor, ridge: float = RIDGE) -> Tensor:
    """The p in [-1, 1] that minimise p^T G p - 2 b^T p + ridge sum_e G_ee p_e^2.

    Which of them are held at an end follows from the signs of their multipliers (the primal-dual active set method of
    Hintermueller, Ito and Kunisch 2002): those that lie beyond are held, those that are pulled back inside are let go.

    Args:
        gram: G `[E, E]`, symmetric and not negative.
        moment: b `[E]`.
        ridge: what is added to the diagonal, as a share of it.

    Returns:
        `[E]`; 0 where G_ee is 0.

    >>> bounded_least_squares(torch.eye(3).double(), torch.tensor([0.5, -3.0, 0.0]).double(), ridge=0.0).tolist()
    [0.5, -1.0, 0.0]
    """
    size = gram.diagonal().sqrt()  # in the units q = size p every sound has norm 1
    heard = size > 0
    scale = torch.where(heard, size, 1.0)
    matrix = gram / (scale[:, None] * scale) + torch.diag(torch.where(heard, ridge, 1.0))
    target = moment / scale
    held = torch.zeros_like(size)  # -1, 0 or 1
    for _ in range(ROUNDS):
        q, free = held * size, held == 0
        if bool(free.any()):
            asked = target[free] - matrix[free] @ q
            q[free] = torch.linalg.solve(matrix[free][:, free], asked)
        reach = q + target - matrix @ q  # the multiplier is 0 where free
        before, held = held, torch.where(reach > size, 1.0, torch.where(reach < -size, -1.0, 0.0))
        held = torch.where(heard, held, 0.0)
        if torch.equal(held, before):
            break
    return torch.where(heard, q / scale, 0.0).clamp(-1, 1)


def _subtract(left: Tensor, modes: Modes, pan: Tensor, begin: int, rate: int) -> None:
    """Take strikes at their places off the side signal `[samples]`, from sample `begin` to where they end."""
    if not len(pan):
        return
    ends = (modes.onset_s * rate).floor().long() + audible_samples(modes, rate) + 1
    count = min(int(ends.max()), len(left)) - begin
    if count > 0:
        sound = render_modes(modes, count, rate, begin, pan.to(left.device)[None])[0]
        left[begin : begin + count] -= sound.to(left.dtype)
