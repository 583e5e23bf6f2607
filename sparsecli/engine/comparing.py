"""Comparing two recordings: bring the second to the form of the first, say how, and measure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sparsecli.core.audio import Audio
from sparsecli.dsp.quality import Quality, measure_quality
from sparsecli.dsp.resample import resample


@dataclass(frozen=True)
class Comparison:
    """How alike two recordings are.

    Attributes:
        quality: the figures.
        duration_s: length of the part compared, which is what both have.
        sample_rate: at which they were compared, in Hz: the reference's.
        channels: compared together; 1 where the numbers of channels differ.
        notices: what had to be done to compare them, one sentence each.
    """

    quality: Quality
    duration_s: float
    sample_rate: int
    channels: int
    notices: tuple[str, ...]


def compare(reference: Audio, estimate: Audio) -> Comparison:
    """Measure `estimate` against `reference` over the part that both have.

    Different numbers of channels are folded to mono, and a different rate is resampled to the reference's.

    Raises:
        ValueError: nothing in common: one of them has no samples.
    """
    reference, estimate, folded = _same_channels(reference, estimate)
    estimate, resampled = _same_rate(reference, estimate)
    reference, estimate, shortened = _same_length(reference, estimate, slack_samples=1 if resampled else 0)
    quality = measure_quality(reference.samples, estimate.samples, reference.sample_rate)
    silent = ("the reference is silent: nothing to measure against",) if quality.snr_db is None else ()
    return Comparison(
        quality=quality,
        duration_s=reference.duration_s,
        sample_rate=reference.sample_rate,
        channels=reference.channels,
        notices=folded + resampled + shortened + silent,
    )


def _same_channels(reference: Audio, estimate: Audio) -> tuple[Audio, Audio, tuple[str, ...]]:
    if reference.channels == estimate.channels:
        return reference, estimate, ()
    notice = f"{reference.channels} and {estimate.channels} channels: both folded to mono"
    reference, estimate = (replace(audio, samples=audio.mono()[None]) for audio in (reference, estimate))
    return reference, estimate, (notice,)


def _same_rate(reference: Audio, estimate: Audio) -> tuple[Audio, tuple[str, ...]]:
    if reference.sample_rate == estimate.sample_rate:
        return estimate, ()
    rate = reference.sample_rate
    samples = np.stack([resample(channel, estimate.sample_rate, rate) for channel in estimate.samples])
    notice = f"the estimate is resampled from {estimate.sample_rate} to {rate} Hz"
    return replace(estimate, samples=samples, sample_rate=rate), (notice,)


def _same_length(reference: Audio, estimate: Audio, slack_samples: int) -> tuple[Audio, Audio, tuple[str, ...]]:
    """The common part. A difference of `slack_samples`, which resampling makes, is not worth a word."""
    lengths = [audio.samples.shape[1] for audio in (reference, estimate)]
    shorter = min(lengths)
    cut = [replace(audio, samples=audio.samples[:, :shorter]) for audio in (reference, estimate)]
    if max(lengths) - shorter <= slack_samples:
        return cut[0], cut[1], ()
    notice = (
        f"the reference is {reference.duration_s:.3f} s long and the estimate {estimate.duration_s:.3f} s: "
        f"the first {cut[0].duration_s:.3f} s are compared"
    )
    return cut[0], cut[1], (notice,)
