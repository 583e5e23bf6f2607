from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from sparsecli.dsp.quality import snr_db
from sparsecli.synth import noise as noise_module
from sparsecli.synth.noise import (
    BURST_BAND,
    Bursts,
    burst_envelope,
    noise_rate,
    philox,
    render_bursts,
    white_noise,
)

from ..oracle.draw import Draw
from ..oracle.twin import render_bursts_slowly

RATE = 44_100
SEED = 0x0123_4567_89AB_CDEF


def seeds(*values: int) -> Tensor:
    return torch.tensor(values)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_known_answers(counter: list[int], key: list[int], words: list[int]):
    """The vectors of philox4x32-10 that its authors publish with Random123 (kat_vectors)."""
    assert philox(torch.tensor(counter), torch.tensor(key)).tolist() == words


def test_philox_broadcasts_keys_over_counters():
    counters, keys = torch.arange(20).view(5, 4), torch.tensor([[3, 4], [5, 6]])
    table = philox(counters[None], keys[:, None])
    assert table.shape == (2, 5, 4)
    assert torch.equal(table[1, 3], philox(counters[3], keys[1]))


def test_white_noise_has_mean_0_and_variance_1_and_is_flat():
    count = 1 << 18
    noise = white_noise(seeds(SEED), 0, count)[0].double()
    # Four standard deviations: 1 / sqrt(n) of the mean, sqrt(E x^4 - 1) = sqrt(9 / 5 - 1) of the mean square.
    assert abs(float(noise.mean())) < 4 / math.sqrt(count)
    assert abs(float(noise.square().mean()) - 1) < 4 * math.sqrt(0.8 / count)
    assert float(noise.abs().max()) <= math.sqrt(3) < float(noise.abs().max()) + 1e-3
    for lag in (1, 2, 3, 4, 5, 8, 1024):
        assert abs(float((noise[lag:] * noise[:-lag]).mean())) < 4 / math.sqrt(count - lag)
    # The power of a bin is exponentially distributed: of a band of B bins, 1 +- 1 / sqrt(B).
    power = torch.fft.rfft(noise).abs().square()[1:] / count
    bands = power.view(32, -1)
    assert float((bands.mean(1) - 1).abs().max()) < 4 / math.sqrt(bands.shape[1])


def test_seeds_give_noises_of_their_own():
    """Also where they differ in one bit of either half, or have the highest bit of an unsigned number."""
    count = 1 << 14
    noises = white_noise(seeds(0, 1, 1 << 31, 1 << 32, 1 << 62, -(1 << 63), -1), 0, count).double()
    products = noises @ noises.T / count
    assert float((products - torch.diag(products.diag())).abs().max()) < 4.5 / math.sqrt(count)
    assert torch.equal(noises[3:4].float(), white_noise(seeds(1 << 32), 0, count))


@pytest.mark.parametrize("start", [0, 1, 2, 3, 4, 1001, (1 << 34) - 6])
@pytest.mark.parametrize("samples", [0, 1, 4, 50])
def test_a_sample_depends_on_its_index_alone(start: int, samples: int):
    around = white_noise(seeds(SEED), start - start % 4, 64)[0]
    assert torch.equal(white_noise(seeds(SEED), start, samples)[0], around[start % 4 :][:samples])


def test_a_very_long_noise_does_not_repeat():
    """The index has more than 32 bits."""
    assert not torch.equal(white_noise(seeds(SEED), 1 << 34, 64), white_noise(seeds(SEED), 0, 64))


@pytest.mark.parametrize(
    ("source", "grid"), [(1000, 44100), (44100, 44100), (44101, 88200), (96000, 176400), (384000, 705600)]
)
def test_the_noise_grid_covers_the_source(source: int, grid: int):
    assert noise_rate(source) == grid


def bursts(
    count: int,
    onset_s: float = 0.0,
    attack_s: float = 0.01,
    decay_s: float = 0.1,
    level_db: float = 0.0,
    noise_hz: float = 2000.0,
    first_seed: int = 0,
) -> Bursts:
    """Bursts that differ in their seeds alone."""

    def column(value: float) -> Tensor:
        return torch.full((count,), value, dtype=torch.float64)

    numbers = (column(value) for value in (onset_s, attack_s, decay_s, level_db, noise_hz))
    return Bursts(*numbers, seeds=torch.arange(count) + first_seed)


def take(several: Bursts, rows: slice) -> Bursts:
    return Bursts(*(getattr(several, field.name)[rows] for field in fields(Bursts)))


def render_each(several: Bursts, samples: int) -> Tensor:
    """Float64 `[E, samples]`."""
    rows = range(len(several.seeds))
    return torch.stack([render_bursts(take(several, slice(e, e + 1)), samples, RATE) for e in rows]).double()


def by_hand(samples: int, attack_s: float, decay_s: float) -> Tensor:
    """The squared envelope of an onset at 0 over its maximum, float64 `[samples]`."""
    u = torch.arange(samples, dtype=torch.float64) / RATE
    z = attack_s * math.log(1000) / decay_s
    peak = (2 / (2 + z)) ** 2 * (z / (2 + z)) ** z
    return ((1 - torch.exp(-u / attack_s)) ** 2 * torch.exp(-math.log(1000) / decay_s * u) / peak).square()


@pytest.mark.parametrize(("attack_s", "decay_s"), [(2e-4, 1.0), (0.01, 0.1), (0.3, 0.3), (10.0, 1e-3)])
def test_the_envelope_peaks_with_1_where_modes_do(attack_s: float, decay_s: float):
    attack, decay = torch.tensor(attack_s).double(), torch.tensor(decay_s).double()
    latest = attack_s * math.log1p(2 * decay_s / (attack_s * math.log(1000)))
    elapsed_s = torch.linspace(-1, 4, 5001, dtype=torch.float64) * latest  # 1/1000 apart
    envelope = burst_envelope(elapsed_s, attack, decay)
    assert float(envelope.max()) == pytest.approx(1, abs=1e-6)
    assert float(elapsed_s[envelope.argmax()] / latest) == pytest.approx(1, abs=2e-3)
    assert not envelope[elapsed_s <= 0].any()


def test_sounds_like_the_slow_twin():
    """Lengths of 16 samples to half a second, before and after the start, centres up to twice the Nyquist frequency."""
    draw, count = Draw(0), 30
    several = Bursts(
        onset_s=draw.between(-0.05, 0.25, count),
        attack_s=draw.ratios(2e-4, 0.1, count),
        decay_s=draw.ratios(1e-4, 0.3, count),
        level_db=draw.between(-30, 0, count),
        noise_hz=draw.ratios(50, RATE, count),
        seeds=torch.arange(count),
    )
    fast = render_bursts(several, RATE // 4, RATE)
    assert fast.dtype == torch.float32
    assert (
        snr_db(render_bursts_slowly(several, RATE // 4, RATE).numpy(), fast.numpy()) > 120
    )  # float32; worst of 4 draws 131


@pytest.mark.parametrize("noise_hz", [500.0, 4000.0, 12000.0])
@pytest.mark.parametrize(("attack_s", "decay_s"), [(0.001, 0.05), (0.01, 0.1), (0.02, 0.02)])
def test_level_is_the_rms_at_the_peak(attack_s: float, decay_s: float, noise_hz: float):
    """The mean power of 300 bursts follows the squared envelope at the level asked for, early, at the peak and late."""
    samples = round(max(4 * attack_s, decay_s) * RATE)
    sound = render_each(bursts(300, attack_s=attack_s, decay_s=decay_s, noise_hz=noise_hz, level_db=-20), samples)
    expected = by_hand(samples, attack_s, decay_s) / 100
    measured = sound.square().mean(0)
    loud = expected > expected.max() / 4
    first, last = int(loud.nonzero()[0, 0]), int(loud.nonzero()[-1, 0])
    for part in (slice(0, first), slice(first, last + 1), slice(last + 1, None)):
        error_db = 10 * math.log10(float(measured[part].sum() / expected[part].sum()))
        assert abs(error_db) < 1  # worst 0.35
    assert 10 * math.log10(float(measured.sum() / expected.sum())) == pytest.approx(0, abs=0.5)  # worst 0.18


@pytest.mark.parametrize("noise_hz", [300.0, 3000.0, 10000.0])
def test_the_spectrum_is_the_gaussian_band(noise_hz: float):
    """By its quartiles, since a steep rise gives the spectrum tails: of a Gaussian they lie 0.6745 deviations out."""
    sound = render_each(bursts(60, attack_s=0.02, decay_s=0.3, noise_hz=noise_hz), 16384)
    share = torch.fft.rfft(sound).abs().square().mean(0).cumsum(0)
    share /= share[-1].clone()
    freq_hz = torch.fft.rfftfreq(16384, 1 / RATE, dtype=torch.float64)
    low, middle, high = (float(freq_hz[torch.searchsorted(share, quartile)]) for quartile in (0.25, 0.5, 0.75))
    assert middle == pytest.approx(noise_hz, rel=0.02)  # worst 0.013
    deviation = noise_hz / BURST_BAND / math.sqrt(2)  # of the power: the square of the band is narrower by sqrt(2)
    assert high - low == pytest.approx(2 * 0.6745 * deviation, rel=0.06)  # worst 0.041


@pytest.mark.parametrize("noise_hz", [22050.0, 40000.0, 150000.0])
def test_a_band_beyond_the_grid_is_cut_not_folded(noise_hz: float):
    """The squared Gaussian e^{-(3 (f / f0 - 1))^2} has erf(3 (F / f0 - 1)) + erf(3) of 1 + erf(3) from 0 Hz to F."""
    heard = (math.erf(BURST_BAND * (RATE / 2 / noise_hz - 1)) + math.erf(BURST_BAND)) / (1 + math.erf(BURST_BAND))
    samples = 2000
    sound = render_each(bursts(100, noise_hz=noise_hz), samples)
    whole = by_hand(samples, 0.01, 0.1).sum()
    measured = float(sound.square().mean(0).sum() / whole)
    assert 10 * math.log10(measured / heard) == pytest.approx(0, abs=0.3)  # worst 0.01


@pytest.mark.parametrize("onset_s", [-0.003, 0.0, 0.0123])
def test_a_burst_depends_on_nothing_but_itself(onset_s: float):
    """Neither on its neighbours, their order, nor on how long the output is."""
    several = bursts(5, onset_s=onset_s, attack_s=0.005)
    several = replace(several, noise_hz=torch.tensor([200.0, 900.0, 3000.0, 7000.0, 15000.0], dtype=torch.float64))
    each = render_each(several, 6000)
    assert each.abs().amax(1).min() > 0.1
    together = render_bursts(several, 6000, RATE)
    assert float((together - each.sum(0)).abs().max()) < 1e-6 * float(each.abs().sum(0).max())
    for samples in (1, 700, 9000):
        shared = min(samples, 6000)
        alone = render_bursts(take(several, slice(2, 3)), samples, RATE)
        assert float((alone[:shared] - each[2, :shared]).abs().max()) < 1e-6 * float(each[2].abs().max())  # rounding


def test_gains_send_bursts_to_channels():
    """The same noise to all of them."""
    several, gains = bursts(3), torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 0.5]])
    each = render_each(several, 3000)
    sound = render_bursts(several, 3000, RATE, gains)
    torch.testing.assert_close(sound.double(), gains.double() @ each, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("attack_s", "decay_s"), [(2e-4, 0.06), (0.01, 0.06), (0.1, 0.02)])
def test_a_burst_ends_80_db_under_its_peak(attack_s: float, decay_s: float):
    """And not much later: its length is that of e^{-d u}, which the envelope nears as the attack ends."""
    sound = render_bursts(bursts(1, attack_s=attack_s, decay_s=decay_s, noise_hz=9000), RATE, RATE)
    end = int(sound.nonzero()[-1, 0]) + 1
    left_db = 10 * math.log10(float(by_hand(end + 1, attack_s, decay_s)[end]))
    assert left_db <= -80
    if decay_s > attack_s:  # by no more than one sample of the grid, and e^-8 of the attack: 0.01 dB
        assert left_db > -80 - 60 / (decay_s * RATE) - 0.01


def test_a_very_long_burst_ends_all_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(noise_module, "MAX_BURST_SAMPLES", 1000)
    sound = render_bursts(bursts(1, decay_s=600), 2000, RATE)
    assert sound[900:1000].any() and not sound[1000:].any()


def test_a_burst_a_second_later_is_the_same():
    now, later = bursts(1, onset_s=0.25), bursts(1, onset_s=1.25)
    sound = render_bursts(later, 2 * RATE, RATE)
    assert not sound[: RATE // 4 + RATE].any()
    early = render_bursts(now, RATE, RATE)
    assert float((sound[RATE:] - early).abs().max()) < 1e-5 * float(early.abs().max())  # the onset's rounding: 1e-6


def test_bursts_that_are_not_heard():
    for silent in (bursts(1, onset_s=1.0), bursts(1, onset_s=-1.0), bursts(1, decay_s=0.0), bursts(0)):
        assert not render_bursts(silent, 4410, RATE).any()
    assert render_bursts(bursts(3), 0, RATE).shape == (0,)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_draws_the_same_noise():
    assert torch.equal(white_noise(seeds(SEED).cuda(), 5, 1000).cpu(), white_noise(seeds(SEED), 5, 1000))
