"""Each loss against a number worked out on paper, and what it is for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sparsecli.dsp.filterbanks import gammatone, morlet, wavelet_width_hz
from sparsecli.dsp.quality import log_mel_db
from sparsecli.losses.auditory import INTERVAL_S, auditory_image, neural_activity
from sparsecli.losses.scattering import LOWEST_HZ, PER_OCTAVE, count_paths, scattering
from sparsecli.losses.spectra import against_waveform, linear_stft, log_mel, log_stft, powers
from sparsecli.losses.surrogate import damped_surrogate, damped_waves
from sparsecli.losses.transport import quantiles, spectral_transport

RATE = 8000


def cosine(freq_hz: float, samples: int = 8192, level: float = 1.0, rate: int = RATE) -> Tensor:
    return level * torch.cos(2 * math.pi * freq_hz * torch.arange(samples, dtype=torch.float64) / rate)[None]


def test_magnitudes_of_a_cosine_on_a_bin():
    """A Hann window of N samples has the sum N / 2, and half of that goes to each sign of the frequency: N / 4."""
    heard = powers(cosine(1000.0), 256)[0, 10].sqrt()  # bin 32; a middle frame
    assert heard[32].item() == pytest.approx(64, rel=1e-12)
    assert heard[31].item() == pytest.approx(32, rel=1e-12)  # a half of it, as the window's transform has it
    assert heard[40].item() == pytest.approx(0, abs=1e-10)


def test_stft_distances_of_a_gain():
    """Half the level: the error of each magnitude is half of it, and ln 2 nepers where it is far above the floor."""
    reference = torch.randn(1, 8192, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert linear_stft(0.5 * reference, reference, 512).mean().item() == pytest.approx(0.5, rel=1e-6)
    assert linear_stft(0 * reference, reference, 512).mean().item() == pytest.approx(1.0, rel=1e-5)  # TINY
    # Floored at 1e-4 of the largest: what of noise lies at 1 % of the largest loses half a per cent.
    assert log_stft(0.5 * reference, reference, 512).median().item() == pytest.approx(math.log(2), rel=1e-3)


def test_log_mel_of_a_gain_and_of_compare():
    reference = torch.randn(1, 8192, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert log_mel(0.5 * reference, reference, RATE).median().item() == pytest.approx(20 * math.log10(2), rel=1e-4)
    other = cosine(900.0, level=0.3) + 0.3 * reference
    # `sparse compare` floors by a maximum, this by a sum: they part where cells are near the floor, here nowhere.
    compared = log_mel_db(reference[0].numpy(), other[0].numpy(), RATE)
    assert log_mel(other, reference, RATE).mean().item() == pytest.approx(compared, rel=1e-4)


def test_waveform_error_is_the_snr():
    reference = cosine(500.0)
    error = against_waveform(reference)(0.9 * reference, 0)[0]
    assert error.mean().item() == pytest.approx(0.01, rel=1e-9)  # -20 dB


def test_quantiles_by_hand():
    """Masses 1/4, 0, 3/4: the first quarter lies in bin 0, the rest in bin 2, each evenly over its width."""
    found = quantiles(torch.tensor([1.0, 0.0, 3.0]).double(), 4)
    assert found.tolist() == pytest.approx([0.5, 2 + 1 / 6, 2.5, 2 + 5 / 6])


@pytest.mark.parametrize("apart_hz", [125.0, 500.0, 1500.0])
def test_transport_is_the_square_of_the_distance(apart_hz: float):
    """All energy moved by D costs D^2, however far: in kHz^2. A difference bin by bin would say the same of each."""
    moved = spectral_transport(cosine(1000.0 + apart_hz), cosine(1000.0), RATE)
    assert moved.mean().item() == pytest.approx((apart_hz / 1000) ** 2, rel=0.02)  # both ends of a cut cosine click


def test_damped_waves_by_hand():
    """z = i / 2, a = 2: 2, 0, -1/2, 0, 1/8."""
    poles, amplitudes = torch.tensor([0.5j], dtype=torch.complex128), torch.tensor([2.0 + 0j], dtype=torch.complex128)
    assert damped_waves(poles, amplitudes, 5).tolist() == pytest.approx([2, 0, -0.5, 0, 0.125], abs=1e-12)
    zero = torch.zeros(5, dtype=torch.float64)
    assert damped_surrogate(poles, amplitudes, zero).tolist() == pytest.approx([4, 0, 0.25, 0, 1 / 64], abs=1e-12)


def test_gradcheck_of_the_surrogate():
    generator = torch.Generator().manual_seed(2)
    poles = (0.9 * torch.exp(1j * torch.rand(2, 3, generator=generator, dtype=torch.float64))).requires_grad_()
    amplitudes = torch.randn(2, 3, generator=generator, dtype=torch.complex128).requires_grad_()
    reference = torch.randn(2, 20, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z, a: damped_surrogate(z, a, reference), (poles, amplitudes))


def test_a_damped_pole_sees_a_frequency_that_an_undamped_one_does_not():
    """Paper, section 3: at ten main lobes' distance the undamped wave's slope is chance, the damped one's leads."""
    samples, wanted = 400, 0.5
    reference = torch.cos(wanted * torch.arange(samples, dtype=torch.float64))

    def slope(radius: float, omega: float) -> float:
        turn = torch.tensor([omega], dtype=torch.float64, requires_grad=True)
        poles = torch.polar(torch.tensor([radius], dtype=torch.float64), turn)
        error = damped_surrogate(poles, torch.ones(1, dtype=torch.complex128), reference).sum()
        return float(torch.autograd.grad(error, turn)[0])

    offsets = [0.1 + 0.004 * k for k in range(20)]
    assert all(slope(0.9, wanted + offset) > 0 for offset in offsets)  # downwards, to it
    assert any(slope(1.0, wanted + offset) < 0 for offset in offsets)


def test_neighbouring_wavelets_cross_at_half_their_power():
    centre = torch.tensor(1000.0).double()
    for per_octave in (1, 8):
        width = torch.tensor(wavelet_width_hz(1000.0, per_octave)).double()
        crossing = torch.tensor([1000.0 * 2 ** (-0.5 / per_octave)]).double()
        assert morlet(crossing, centre, width).item() == pytest.approx(math.sqrt(0.5), rel=0.02)  # the correction


def test_gammatone_by_hand():
    """One bandwidth b off its centre: |1 / (1 + i)^4| = 1 / 4, a turn of -180 degrees."""
    response = gammatone(torch.tensor([1000.0, 1000.0 + 1.019 * 132]), torch.tensor([1000.0]), torch.tensor([132.0]))
    assert response[0, 0].item() == pytest.approx(1)
    assert response[0, 1].item() == pytest.approx(-0.25, abs=1e-6)


def test_scattering_of_a_steady_cosine():
    """Order 1: half its amplitude in the wavelet on it, since a wavelet sees one sign of the frequency. Order 2: no
    band of it is modulated, so next to nothing."""
    centre = 0.4 * RATE / 2  # the ninth wavelet: first of the second octave
    orders = scattering(cosine(centre, 16384, level=0.6), RATE)
    first_octaves = [own for own in orders if own.shape[1] > 1]
    group = next(own for own in orders if own[0, 0, 8].item() == pytest.approx(0.3, rel=1e-3))
    assert group.shape[1] == PER_OCTAVE and len(first_octaves) >= 5
    modulated = orders[next(k for k, own in enumerate(orders) if own is group) + 2]
    assert modulated[0, 0, 4:16].abs().max().item() < 1e-3 * 0.3


def test_scattering_tells_how_fast_a_band_is_modulated():
    """(1 + cos 2 pi 16 t) cos 2 pi f t: the modulus of the band is (1 + cos 2 pi 16 t) / 2, that is a half at 0 and a
    quarter at +16 Hz, which the wavelet of modulation nearest to it takes."""
    t = torch.arange(32768, dtype=torch.float64) / RATE
    centre = 0.4 * RATE / 2
    struck = (1 + torch.cos(2 * math.pi * 16 * t)) * torch.cos(2 * math.pi * centre * t)
    steady = torch.cos(2 * math.pi * centre * t)
    orders, still = scattering(struck[None], RATE), scattering(steady[None], RATE)
    middle = [own[0, 0, own.shape[-1] // 4].item() for own in orders]
    quiet = [own[0, 0, own.shape[-1] // 4].item() for own in still]
    at = next(k for k, value in enumerate(quiet) if value == pytest.approx(0.5, rel=1e-3))
    paths = [value for value in middle[at + 1 : at + 9]]
    assert 0.15 < max(paths) < 0.26 and max(quiet[at + 1 : at + 9]) < 1e-3
    assert count_paths(32768, RATE) == len(orders)


def test_scattering_hardly_feels_a_small_shift():
    """Moduli are averaged over 0.2 s: 1 ms, eight periods' thousandth, changes them by little; the waveform by all."""
    t = torch.arange(8192, dtype=torch.float64) / RATE
    sound = torch.exp(-((t - 0.5) ** 2) / 0.01) * torch.cos(2 * math.pi * 500 * t)
    later = torch.roll(sound, 8)
    change = sum(
        (a - b).square().sum() for a, b in zip(*(scattering(x[None], RATE) for x in (sound, later)), strict=True)
    )
    size = sum(a.square().sum() for a in scattering(sound[None], RATE))
    assert float(change / size) < 1e-3 and float((sound - later).square().sum() / sound.square().sum()) > 3.9
    assert LOWEST_HZ < 500


def test_the_auditory_image_stands_still_at_the_period():
    """A pulse train of 125 Hz: after each strobe the next pulse lies 8 ms on, in every channel that hears several of
    its partials; the phase of the train does not matter."""
    pulses = torch.zeros(1, 8000, dtype=torch.float64)
    pulses[0, ::64] = 1.0
    one = torch.ones(1, 1, dtype=torch.float64)
    for shift in (0, 23):
        image = auditory_image(torch.roll(pulses, shift), RATE, one)[0]  # [C, frames, intervals]
        profile = image[20:, 20:40].mean((0, 1))
        per_ms = len(profile) / (1000 * INTERVAL_S)
        later = profile[round(5 * per_ms) : round(11 * per_ms)]
        place_ms = (int(later.argmax()) + round(5 * per_ms)) / per_ms
        assert place_ms == pytest.approx(8, abs=0.5)  # a sample of the activity is 0.36 ms
        assert float(profile[round(8 * per_ms)]) > 2 * float(profile[round(4 * per_ms)])


def test_compression_and_adaptation():
    """16 times the amplitude is 4 times the activity; a steady tone falls to 0.4 of what it would be without."""
    one = torch.ones(1, 1, dtype=torch.float64)
    soft, loud = (neural_activity(cosine(500.0, level=level), RATE, one)[0] for level in (1.0, 16.0))
    channel = int(loud[0].mean(-1).argmax())
    ratio = loud[0, channel, 600:1200].mean() / soft[0, channel, 600:1200].mean()
    assert float(ratio) == pytest.approx(4, rel=0.05)  # FAINT bends the softer one
    assert float(loud[0, channel, 30:60].mean()) > 1.2 * float(loud[0, channel, 600:1200].mean())
