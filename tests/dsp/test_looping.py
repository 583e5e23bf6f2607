from __future__ import annotations

import numpy as np
import pytest

from sparsecli.dsp.looping import crossfade, fold


@pytest.mark.parametrize("samples", [1, 6, 7, 8, 20])
def test_a_folded_sound_is_the_round_after_many(samples: int):
    sound = np.random.default_rng(samples).standard_normal((2, samples)).astype(np.float32)
    repeated = np.zeros((2, 7 * 10 + samples))
    for n in range(10):
        repeated[:, 7 * n : 7 * n + samples] += sound
    np.testing.assert_allclose(fold(sound, 7), repeated[:, 7 * 9 : 7 * 10], atol=1e-6)


def test_noise_goes_over_into_itself_at_its_own_power():
    noise = np.random.default_rng(0).standard_normal((200, 1100)).astype(np.float32)
    out = crossfade(noise, 1000)
    assert out.shape == (200, 1000)
    np.testing.assert_array_equal(out[:, 100:], noise[:, 100:1000])
    # After the last sample the first one is nearly what followed it, and a moment before the seam's end nearly its own.
    assert abs(out[:, 0] - noise[:, 1000]).max() < 0.05 and abs(out[:, 99] - noise[:, 99]).max() < 0.05
    power = (out[:, :100] ** 2).mean(0)
    assert power.mean() == pytest.approx(1, abs=0.05)  # 20 000 draws: a standard deviation of 0.01


def test_a_seam_of_no_samples_changes_nothing():
    noise = np.ones((1, 5), np.float32)
    np.testing.assert_array_equal(crossfade(noise, 5), noise)
