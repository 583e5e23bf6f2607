from __future__ import annotations

import itertools

import pytest
import torch

from sparsecli.dsp.bands import band_edges_hz, erb_rate, erb_rate_to_hz, interpolate


@pytest.mark.parametrize(("freq_hz", "bandwidth_hz"), [(100.0, 35.5), (1000.0, 132.6), (4000.0, 456.5)])
def test_erb_rate_grows_by_one_in_each_equivalent_rectangular_bandwidth(freq_hz: float, bandwidth_hz: float):
    """Glasberg and Moore 1990: 24.7 (4.37 f / kHz + 1) Hz; the rate is its integral, rounded in their paper."""
    assert bandwidth_hz == pytest.approx(24.7 * (4.37 * freq_hz / 1000 + 1), abs=0.1)
    grown = erb_rate(freq_hz + bandwidth_hz / 2) - erb_rate(freq_hz - bandwidth_hz / 2)
    assert grown == pytest.approx(1, abs=0.005)  # worst 0.0042


@pytest.mark.parametrize("freq_hz", [0.0, 50.0, 11025.0, 192_000.0])
def test_erb_rate_and_back(freq_hz: float):
    assert erb_rate_to_hz(erb_rate(freq_hz)) == pytest.approx(freq_hz, abs=1e-6)


@pytest.mark.parametrize("bands", [1, 24])
def test_edges_cover_the_whole_band_in_equal_steps(bands: int):
    edges = band_edges_hz(11025.0, bands)
    assert len(edges) == bands + 1
    assert (edges[0], edges[-1]) == (0, pytest.approx(11025))
    steps = [erb_rate(high) - erb_rate(low) for low, high in itertools.pairwise(edges)]
    assert steps == pytest.approx([erb_rate(11025.0) / bands] * bands)


def test_interpolation_follows_a_line_and_stays_beyond_its_ends():
    rows = torch.stack([torch.arange(5.0), 10 - 2 * torch.arange(5.0)], dim=1)  # [5, 2]
    place = torch.tensor([-3.0, 0.0, 0.25, 3.5, 4.0, 7.0])
    values = interpolate(place, rows)
    inside = place.clamp(0, 4)
    assert torch.allclose(values, torch.stack([inside, 10 - 2 * inside], dim=1))


def test_interpolation_in_one_row_is_that_row():
    assert interpolate(torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([[4.0, 5.0]])).tolist() == [[4.0, 5.0]] * 3


def test_gradients_of_interpolation():
    place = torch.tensor([-0.5, 0.3, 1.7, 5.0], dtype=torch.float64, requires_grad=True)
    values = torch.rand(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(interpolate, (place, values))
