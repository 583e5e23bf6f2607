"""Losses by their names: what a sum of them says of two signals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from .auditory import against_auditory_image
from .names import LOSSES, SURROGATE, Terms, parse_terms
from .scattering import RANDOM_PATHS, against_scattering
from .spectra import Compare, against_log_mel, against_stft, against_waveform
from .surrogate import against_surrogate
from .transport import against_transport

AGAINST: dict[str, Callable[[Tensor, int], Compare]] = {
    "mrstft": lambda reference, rate: against_stft(reference),
    "mrstft-linear": lambda reference, rate: against_stft(reference, log=False),
    "mrstft-log": lambda reference, rate: against_stft(reference, linear=False),
    "logmel": against_log_mel,
    "transport": against_transport,
    "scattering": against_scattering,
    "scrapl": lambda reference, rate: against_scattering(reference, rate, RANDOM_PATHS),
    "aim": against_auditory_image,
    "waveform": lambda reference, rate: against_waveform(reference),
    SURROGATE: lambda reference, rate: against_surrogate(reference),
}
assert AGAINST.keys() == LOSSES.keys()


@dataclass(frozen=True)
class Loss(Terms):
    """A weighted sum of losses that can be worked out."""

    def against(self, reference: Tensor, rate: int) -> Callable[..., Tensor]:
        """What gives the values `[G]` of estimates `[G, T]` against a reference `[G, T]`, which is looked at once.

        Args:
            reference: `[G, T]`.
            rate: in Hz.

        Returns:
            A function of an estimate and, for losses with chance in them, the number of the step.
        """
        measures = [(weight, AGAINST[name](reference.detach(), rate)) for weight, name in self.terms]

        def values(estimate: Tensor, step: int = 0) -> Tensor:
            total = estimate.new_zeros(len(estimate))
            for weight, measure in measures:
                for cells in measure(estimate, step):
                    total = total + weight * cells.flatten(1).mean(1)
            return total

        return values

    def __call__(self, estimate: Tensor, reference: Tensor, rate: int, step: int = 0) -> Tensor:
        """The values `[G]` of estimates `[G, T]` against references `[G, T]` at a rate in Hz."""
        return self.against(reference, rate)(estimate, step)


def parse_loss(text: str) -> Loss:
    """A loss from its name or a sum. Raises ValueError as `parse_terms`.

    >>> import torch
    >>> silence, tone = torch.zeros(1, 4096), torch.sin(torch.arange(4096) * 0.3)[None]
    >>> [round(value, 2) for value in parse_loss("0.5*waveform")(silence, tone, 22050).tolist()]
    [0.5]
    """
    return Loss(parse_terms(text).terms)
