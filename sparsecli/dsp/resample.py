"""Change of sample rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def resample(samples: NDArray[np.float32], rate_in: int, rate_out: int) -> NDArray[np.float32]:
    """Band-limited resampling (soxr, high quality, linear phase).

    Args:
        samples: float32 `[samples]`.
        rate_in: in Hz.
        rate_out: in Hz.

    Returns:
        float32 `[round(samples * rate_out / rate_in)]`.
    """
    if rate_in == rate_out or len(samples) == 0:
        return samples
    import soxr

    wanted = max(1, round(len(samples) * rate_out / rate_in))
    out = soxr.resample(samples, rate_in, rate_out, quality="HQ").astype(np.float32)
    return np.pad(out, (0, max(0, wanted - len(out))))[:wanted]
