"""The names of losses, and sums of them: `mrstft+0.1*scattering`. Imports no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass

SURROGATE = "surrogate"

LOSSES = {
    "mrstft": "multi-resolution STFT, linear plus logarithmic",
    "mrstft-linear": "its linear term, over the mean magnitude; silence gets 1",
    "mrstft-log": "its logarithmic term, in nepers",
    "logmel": "log-mel spectrograms, in dB",
    "transport": "spectral optimal transport along frequency, in kHz^2; blind to levels",
    "scattering": "wavelet scattering of orders 1 and 2, log coefficients, in nepers",
    "scrapl": "the same on ten random paths at a step, in nepers",
    "aim": "images of the Auditory Image Model, over the mean of the recording's",
    "waveform": "squared error of the waveform over its power: 10^(-SNR / 10)",
    SURROGATE: "the same, while each mode has a further damping of its own, which fades: the complex damped surrogate",
}
"""What each is, and its unit."""

_TERM = re.compile(r"\s*(?:(\d+(?:\.\d*)?(?:e-?\d+)?|\.\d+)\s*\*\s*)?([a-z][a-z-]*)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Terms:
    """A weighted sum of losses: `(weight, name)` pairs."""

    terms: tuple[tuple[float, str], ...]

    def __str__(self) -> str:
        return "+".join(name if weight == 1 else f"{weight:g}*{name}" for weight, name in self.terms)

    @property
    def names(self) -> set[str]:
        """Which losses are in it."""
        return {name for _, name in self.terms}


def parse_terms(text: str) -> Terms:
    """A sum from its text: names, each after its weight and a star.

    Raises:
        ValueError: no such name or form.

    >>> parse_terms("mrstft + 0.1*scattering").terms
    ((1.0, 'mrstft'), (0.1, 'scattering'))
    """
    terms = []
    for part in text.split("+"):
        found = _TERM.fullmatch(part)
        if found is None or found[2].lower() not in LOSSES:
            known = ", ".join(LOSSES)
            raise ValueError(f"--loss {text}: {part.strip()!r} is no loss; give a sum of {known}, e.g. mrstft+0.1*aim")
        terms.append((float(found[1] or 1), found[2].lower()))
    return Terms(tuple(terms))
