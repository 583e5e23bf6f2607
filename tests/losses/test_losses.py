"""What holds of every loss: its value and slope, silence, levels and batches; numbers by hand stand beside this."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sparsecli.losses import scattering as scattering_module
from sparsecli.losses.names import LOSSES, parse_terms
from sparsecli.losses.naming import AGAINST, parse_loss

RATE = 8000
SAMPLES = 3000
NAMES = tuple(AGAINST)


def tone(freq_hz: float, level: float = 0.5, samples: int = SAMPLES, rate: int = RATE) -> Tensor:
    t = torch.arange(samples, dtype=torch.float64) / rate
    return level * torch.sin(2 * math.pi * freq_hz * t) * torch.exp(-3 * t)


def noise(seed: int, samples: int = SAMPLES) -> Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", NAMES)
def test_the_slope_is_that_of_the_value(name: str):
    """Along random directions, by a central difference in double precision: gradcheck on a signal of any length."""
    reference = (tone(440) + 0.02 * noise(0))[None]
    values = parse_loss(name).against(reference, RATE)
    estimate = (tone(460, 0.4) + 0.03 * noise(1))[None].requires_grad_()
    (slope,) = torch.autograd.grad(values(estimate, 3).sum(), estimate)
    for seed in (2, 3):
        direction = noise(seed)[None]
        step = 1e-7
        with torch.no_grad():
            rise = float(values(estimate + step * direction, 3) - values(estimate - step * direction, 3)) / (2 * step)
        # A central difference of 1e-7 is good to some 1e-8 of the value; kinks of |S - R| cost up to 1e-3 where hit.
        assert float((slope * direction).sum()) == pytest.approx(rise, rel=2e-4, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck(name: str):
    """Of every sample, on a short signal away from the kinks of absolute values."""
    reference = (0.3 * tone(700, samples=80) + 0.1 * noise(4, 80))[None]
    estimate = (2.0 * tone(900, samples=80) + 0.3 * noise(5, 80))[None].requires_grad_()
    values = parse_loss(name).against(reference, RATE)
    assert torch.autograd.gradcheck(lambda x: values(x, 1), estimate, eps=1e-7, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_equal_signals_differ_by_nothing_and_a_batch_is_its_rows(name: str):
    rows = torch.stack([tone(300), tone(500) + 0.1 * noise(6)])
    other = torch.stack([tone(310), tone(700)])
    loss = parse_loss(name)
    assert float(loss(rows, rows, RATE).abs().max()) < 1e-6  # TINY under the roots
    together = loss(other, rows, RATE, 5)
    apart = torch.cat([loss(other[g : g + 1], rows[g : g + 1], RATE, 5) for g in range(2)])
    assert together.shape == (2,) and bool((together > 0).all())
    torch.testing.assert_close(together, apart)


@pytest.mark.parametrize("name", NAMES)
def test_silence_and_zeros_have_finite_slopes(name: str):
    """A mode that ended, a stretch of digital silence: no not-a-number, whichever of the two it is in."""
    for reference in (torch.zeros(1, SAMPLES), tone(400).float()[None]):
        estimate = torch.zeros(1, SAMPLES, requires_grad=True)
        value = parse_loss(name)(estimate, reference, RATE)
        (slope,) = torch.autograd.grad(value.sum(), estimate)
        assert bool(torch.isfinite(value).all()) and bool(torch.isfinite(slope).all())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "transport"])
def test_levels_of_the_recording_do_not_matter(name: str):
    """A recording 60 dB softer, with its estimate, is as far away; transport is blind to levels altogether."""
    reference, estimate = tone(440)[None], (0.7 * tone(450) + 0.01 * noise(7))[None]
    loud, soft = (parse_loss(name)(g * estimate, g * reference, RATE) for g in (1.0, 1e-3))
    torch.testing.assert_close(loud, soft, rtol=1e-6, atol=0)


def test_sums_are_sums():
    reference, estimate = tone(440)[None], tone(470)[None]
    total = parse_loss("mrstft + 0.1*logmel+2e-1*aim")(estimate, reference, RATE)
    parts = [parse_loss(name)(estimate, reference, RATE) for name in ("mrstft", "logmel", "aim")]
    torch.testing.assert_close(total, parts[0] + 0.1 * parts[1] + 0.2 * parts[2])
    assert str(parse_terms("mrstft + 0.1*logmel")) == "mrstft+0.1*logmel"


@pytest.mark.parametrize("text", ["", "mrstft+", "stft", "-1*mrstft", "0.1scattering", "mrstft*2", "mrstft mrstft"])
def test_what_is_no_loss(text: str):
    with pytest.raises(ValueError, match=r"--loss .* is no loss; give a sum of mrstft, "):
        parse_loss(text)


def test_every_name_has_its_meaning():
    assert set(LOSSES) == set(AGAINST)


def test_random_paths_are_an_unbiased_estimate(monkeypatch: pytest.MonkeyPatch):
    """Over all draws of one path, each path counts alike: the mean over many steps is the loss on all paths."""
    reference, estimate = tone(440)[None], tone(600)[None]
    every = float(parse_loss("scattering")(estimate, reference, RATE))
    one = scattering_module.against_scattering(reference, RATE, random_paths=1)
    seen = torch.tensor([float(sum(cells.mean() for cells in one(estimate, step))) for step in range(400)])
    error = float(seen.std()) / math.sqrt(len(seen))
    assert float(seen.mean()) == pytest.approx(every, abs=4 * error)
    assert error < 0.1 * every
