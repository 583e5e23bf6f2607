from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from sparsecli.dsp.quality import snr_db
from sparsecli.synth.excitation import (
    HARMONICS,
    MEAN_RISE,
    SPREAD_RISE,
    Excitations,
    burst_amplitude,
    low_pass,
    render_excitations,
    resonances,
)
from sparsecli.synth.noise import Bursts, render_bursts

from ..oracle.twin import render_slowly

RATE = 22050


def excitation(**given: float) -> Excitations:
    values = {
        "onset_s": 0.05, "attack_s": 0.004, "burst_decay_s": 0.1, "decay_s": 0.5, "fade_s": 0.2, "freq_hz": 220.0,
        "first_hz": 3000.0, "second_hz": 600.0, "noise_hz": 900.0, "width": 0.8, "amplitude": 0.5, "mix": 0.5,
        "wet": 0.0,
    } | given  # fmt: skip
    columns = {name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()}
    return Excitations(**columns, seeds=torch.tensor([(3 << 32) | 7]))


def test_the_cross_fade_of_filters_is_two_modes_for_each_harmonic():
    """Against the formula, sample by sample: gains that go over from the first filter to the second."""
    x = excitation(attack_s=2e-4)
    modes = resonances(x)
    sound = render_slowly(modes, 6000, RATE)
    u = torch.arange(6000, dtype=torch.float64) / RATE - 0.05
    d, c = math.log(1000) / 0.5, math.log(1000) / 0.2
    expected = torch.zeros_like(u)
    number = torch.arange(1, HARMONICS + 1, dtype=torch.float64)
    first, second = low_pass(number * 220.0, torch.tensor(3000.0)), low_pass(number * 220.0, torch.tensor(600.0))
    struck = torch.exp(-0.5 * ((number * 220.0 / 900.0 - 1) / 0.8) ** 2)
    struck /= struck.norm()
    for k in range(HARMONICS):
        gain = first[k] * torch.exp(-c * u) + second[k] * (1 - torch.exp(-c * u))
        wave = torch.cos(2 * math.pi * 220.0 * number[k] * u + modes.phase_rad[0, k])
        expected += struck[k] * gain * torch.exp(-d * u) * wave
    rise = torch.where(u > 0, (1 - torch.exp(-u / 2e-4)) ** 2, 0.0)
    level = float(modes.amplitude[0, 0] / (struck[0] * second[0]))
    assert snr_db((level * rise * expected).numpy(), sound.numpy()) > 120
    assert level == pytest.approx(0.25, rel=0.05)  # amplitude times mix, over a peak near 1


def test_what_rings_after_a_burst_is_its_transform_at_the_poles():
    """The model's premise: noise through a resonator, once the noise has ended, is one mode of that amplitude."""
    burst = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pole = torch.polar(torch.tensor(0.995).double(), torch.tensor(0.3).double())
    n = torch.arange(300)
    ringing = pole**n
    out = sum(value * torch.nn.functional.pad(ringing, (k, 0))[:300] for k, value in enumerate(burst))
    transform = (burst * pole ** (-torch.arange(50))).sum()
    torch.testing.assert_close(out[50:], transform * ringing[50:])


def test_the_noise_is_that_of_the_common_bursts():
    """Drawn on the grid of the source and brought to another rate: alike but for the first milliseconds."""
    x = excitation(mix=0.0, attack_s=0.01)
    bursts = Bursts(x.onset_s, x.attack_s, x.burst_decay_s, 20 * torch.log10(burst_amplitude(x)), x.noise_hz, x.seeds)
    fine = render_bursts(bursts, 20000, 44100)
    sound = render_excitations(x, 10000, RATE, RATE)[0]
    # Every other sample of the finer one, which holds nothing above the coarser Nyquist frequency.
    assert snr_db(fine[::2].numpy(), sound.numpy()) > 30
    assert float(sound.abs().max()) > 0.3


def test_a_gaussian_burst_has_the_mean_and_spread_of_its_envelope():
    """Of E' = 2 e^{-v} - 2 e^{-2 v}, in attacks."""
    v = torch.linspace(0, 60, 600_001, dtype=torch.float64)
    density = 2 * torch.exp(-v) - 2 * torch.exp(-2 * v)
    mean = float(torch.trapezoid(v * density, v))
    spread = math.sqrt(float(torch.trapezoid((v - mean) ** 2 * density, v)))
    assert (mean, spread) == pytest.approx((MEAN_RISE, SPREAD_RISE), rel=1e-6)


def test_wet_and_dry_add_up_and_blocks_equal_the_whole():
    x = excitation(wet=0.3)
    dry, send = render_excitations(x, 8000, RATE, RATE)
    torch.testing.assert_close(0.3 * dry, 0.7 * send, rtol=1e-4, atol=1e-6)
    part = render_excitations(x, 3000, RATE, RATE, start=2500)
    torch.testing.assert_close(part, torch.stack([dry, send])[:, 2500:5500], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mix", [0.02, 0.98, 0.5])
def test_gradients_are_those_of_differences(mix: float):
    """Of all numbers, the onset's too: it moves envelopes, under noise that stays on its grid."""
    start = excitation(mix=mix, wet=0.2, onset_s=2205.5 / 44100)  # between two samples of the noise's grid
    cotangent = torch.randn(2, 4000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    names = [entry.name for entry in fields(Excitations) if entry.name != "seeds"]

    def value(x: Excitations) -> Tensor:
        return (render_excitations(x, 4000, RATE, RATE).double() * cotangent).sum()

    leaves = {name: getattr(start, name).clone().requires_grad_() for name in names}
    wanted = list(leaves.values())
    slopes = torch.autograd.grad(value(replace(start, **leaves)), wanted, allow_unused=True, materialize_grads=True)
    for name, slope in zip(names, slopes, strict=True):
        step = {"onset_s": 5e-6, "freq_hz": 0.02}.get(name, 5e-3 * max(float(getattr(start, name)), 0.1))
        ends = [value(replace(start, **{name: getattr(start, name) + sign * step})) for sign in (1, -1)]
        rise = float(ends[0] - ends[1]) / (2 * step)
        size = 100.0 if name == "onset_s" else 1.0  # slopes are per second, and float32 sums part by 1e-4
        assert float(slope) == pytest.approx(rise, rel=0.03, abs=2e-3 * size), name
