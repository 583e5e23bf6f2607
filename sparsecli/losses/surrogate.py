"""The complex damped surrogate, with which a frequency is found by descent.

Hayes, Saitis and Fazekas, Sinusoidal frequency estimation by gradient descent, arXiv 2210.14476 (ICASSP 2023). As a
function of its frequency the squared error of a sinusoid is all valleys; as a function of a complex pole z it is not:
Re(a z^n) with |z| < 1 is a damped wave, whose spectrum is wide, sees a partial that is far away, turns towards it and
loses its damping again as it comes near.

The modes of the renderer are such waves already. What the surrogate asks of them is a damping of its own for each mode
beside that of its atom, which `engine/descent.py` gives them where this loss is named; it fades as the frequency is
found.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .spectra import Compare, against_waveform


def damped_waves(poles: Tensor, amplitudes: Tensor, samples: int) -> Tensor:
    """Re of the sum of a z^n over the waves.

    Args:
        poles: complex `[..., M]`, z, not 0.
        amplitudes: complex `[..., M]`, a.
        samples: N.

    Returns:
        `[..., N]`.

    >>> damped_waves(torch.tensor([0.5 + 0j]), torch.tensor([1.0 + 0j]), 3).tolist()
    [1.0, 0.5, 0.25]
    """
    n = torch.arange(samples, device=poles.device)
    return (amplitudes[..., None] * torch.exp(torch.log(poles)[..., None] * n)).sum(-2).real


def damped_surrogate(poles: Tensor, amplitudes: Tensor, reference: Tensor) -> Tensor:
    """Squared error of damped waves against a reference `[..., N]`, sample by sample `[..., N]`."""
    return (damped_waves(poles, amplitudes, reference.shape[-1]) - reference).square()


def against_surrogate(reference: Tensor) -> Compare:
    """The error of rendered waves, over the reference's power: that of the waveform."""
    return against_waveform(reference)
