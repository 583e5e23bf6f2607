from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from sparsecli.dsp.quality import snr_db
from sparsecli.synth import modes as modes_module
from sparsecli.synth.modes import BLOCK, SUPPORT_DB, Modes, audible_samples, envelope_peak, render_each, render_modes

from ..oracle.draw import Draw, draw_modes
from ..oracle.twin import render_slowly

RATE = 22050
SAMPLES = RATE // 2
STRIKES = 16
QUANTITIES = tuple(field.name for field in fields(Modes))


def strike(
    freq_hz: float = 1000.0,
    decay_s: float = 1.0,
    level_db: float = 0.0,
    phase_rad: float = 0.0,
    onset_s: float = 0.0,
    attack_s: float = 0.001,
) -> Modes:
    """One strike of one mode."""

    def column(value: float) -> Tensor:
        return torch.tensor([value], dtype=torch.float64)

    attack, decay = column(attack_s), column(decay_s)[:, None]
    amplitude = 10 ** (level_db / 20) / envelope_peak(attack[:, None], decay)
    return Modes(column(onset_s), attack, column(freq_hz)[:, None], decay, amplitude, column(phase_rad)[:, None])


def envelope_of(modes: Modes, samples: int, rate: int = RATE) -> Tensor:
    """Of one mode: it and itself a quarter turn on are its cosine and sine parts."""
    turned = replace(modes, phase_rad=modes.phase_rad - math.pi / 2)
    return torch.hypot(render_modes(modes, samples, rate), render_modes(turned, samples, rate))


def loudest(modes: Modes) -> float:
    """No more than this can sound: the sum of all modes' peaks."""
    return float((modes.amplitude * envelope_peak(modes.attack_s[:, None], modes.decay_s)).sum())


def largest_difference(a: Tensor, b: Tensor, modes: Modes) -> float:
    """In dB of the loudest that can sound."""
    return 20 * math.log10(max(float((a - b).abs().max()), 1e-30) / loudest(modes))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rate", [8000, RATE, 48000])
def test_sounds_like_the_slow_twin(seed: int, rate: int):
    modes = draw_modes(seed, STRIKES, 0.5, rate)
    fast, slow = render_modes(modes, rate // 2, rate), render_slowly(modes, rate // 2, rate)
    assert fast.dtype == torch.float32
    # A strike ends 80 dB under its peak: worst 93.6 dB of SNR, and 102 dB under the loudest for the largest difference.
    assert snr_db(slow.numpy(), fast.numpy()) > 90
    assert largest_difference(fast, slow, modes) < -95


@pytest.mark.parametrize("rate", [8000, RATE, 48000])
def test_arithmetic_and_gradients_equal_the_slow_twin(rate: int, monkeypatch: pytest.MonkeyPatch):
    """With supports that do not end, what differs is the rounding of float32."""
    monkeypatch.setattr(modes_module, "SUPPORT_DB", 400.0)
    modes, samples = draw_modes(9, STRIKES, 0.5, rate), rate // 2
    cotangents = Draw(1).normal(4, samples)
    sounds, gradients = [], []
    for render in (render_modes, render_slowly):
        leaves = [getattr(modes, name).clone().requires_grad_() for name in QUANTITIES]
        sound = render(Modes(*leaves), samples, rate)
        sounds.append(sound.detach())
        losses = [(sound * cotangent).sum() for cotangent in cotangents]
        drawn = [torch.autograd.grad(loss, leaves, retain_graph=True) for loss in losses]
        gradients.append([torch.stack(column) for column in zip(*drawn, strict=True)])  # [4, E(, M)] by quantity
    assert snr_db(sounds[1].numpy(), sounds[0].numpy()) > 130  # worst 134.4
    for name, fast, slow in zip(QUANTITIES, *gradients, strict=True):
        if name == "attack_s":  # in ratios, or 0.2 ms and 10 s could not be compared
            fast, slow = fast * modes.attack_s, slow * modes.attack_s
        size = slow.square().mean(0).sqrt()
        error = (fast - slow).square().mean(0).sqrt()
        # Of each number by itself; those which nothing depends on any more against the largest.
        relative = error / (size + 1e-3 * size.max())
        assert float(relative.max()) < 1e-4, name  # worst 4e-5, of the attack; 2e-6 of the others


def test_the_twin_is_the_formula():
    """One sample of one mode, worked out by hand: u = 1 ms with an attack of 1 ms and a T60 of 10 ms."""
    modes = strike(freq_hz=250, decay_s=0.01, attack_s=0.001, onset_s=0.002, phase_rad=math.pi / 6)
    expected = float(modes.amplitude) * (1 - math.exp(-1)) ** 2 * 10 ** (-6 / 20) * math.cos(math.pi / 2 + math.pi / 6)
    for render in (render_modes, render_slowly):
        assert float(render(modes, 4, 1000)[3]) == pytest.approx(expected, rel=1e-6)


def test_what_does_not_sound_is_exactly_silent():
    unused = strike()
    unused = Modes(*(torch.zeros_like(getattr(unused, name)) for name in QUANTITIES))
    for modes in (
        strike(freq_hz=RATE / 2),
        strike(freq_hz=0.9 * RATE),
        strike(onset_s=1.0),
        strike(decay_s=0.01, onset_s=-0.05),
        replace(unused, attack_s=torch.full_like(unused.attack_s, 0.001)),
    ):
        assert not render_modes(modes, SAMPLES, RATE).any()
    assert render_modes(strike(freq_hz=0.49 * RATE), SAMPLES, RATE).abs().max() > 0.5


@pytest.mark.parametrize("samples", [0, 1, BLOCK, BLOCK + 1])
def test_lengths(samples: int):
    modes = draw_modes(2, STRIKES, 0.5, RATE)
    none = modes.take(torch.tensor([], dtype=torch.int64))
    assert render_modes(none, samples, RATE).tolist() == [0.0] * samples
    assert (
        largest_difference(
            torch.cat([render_modes(modes, samples, RATE, start=5000), torch.zeros(1)]),
            torch.cat([render_slowly(modes, samples, RATE, start=5000), torch.zeros(1)]),
            modes,
        )
        < -95
    )


@pytest.mark.parametrize("decay_s", [1e-3, 1e-4, 1e-6])
@pytest.mark.parametrize("attack_s", [2e-4, 0.01, 10.0])
def test_modes_shorter_than_a_block_keep_their_level(decay_s: float, attack_s: float):
    """However far they fall within a block, and however late their peak, they neither overflow nor grow."""
    for rate in (1000, 8000, RATE):
        modes = strike(freq_hz=0.2 * rate, decay_s=decay_s, attack_s=attack_s, level_db=60, onset_s=0.0123)
        fast, slow = render_modes(modes, 1000, rate), render_slowly(modes, 1000, rate)
        assert largest_difference(fast, slow, modes) < -120  # worst -135
        assert float(fast.abs().max()) <= 1001


@pytest.mark.parametrize("size", [1, 777, 5000])
def test_in_blocks_equals_whole(size: int):
    modes, samples = draw_modes(3, STRIKES, 0.5, RATE), 40 if size == 1 else SAMPLES
    begin = 3000
    whole = render_modes(modes, samples, RATE, start=begin)
    parts = [render_modes(modes, min(size, samples - k), RATE, start=begin + k) for k in range(0, samples, size)]
    assert largest_difference(torch.cat(parts), whole, modes) < -140  # float32; worst -147


def test_order_changes_nothing():
    modes = draw_modes(4, STRIKES, 0.5, RATE)
    order = torch.randperm(STRIKES, generator=torch.Generator().manual_seed(0))
    whole = render_modes(modes, SAMPLES, RATE)
    assert largest_difference(render_modes(modes.take(order), SAMPLES, RATE), whole, modes) < -140  # worst -147


def test_neighbours_change_nothing():
    """render(a + b) = render(a) + render(b)."""
    modes, rows = draw_modes(5, STRIKES, 0.5, RATE), torch.arange(STRIKES)
    whole = render_modes(modes, SAMPLES, RATE)
    parts = [render_modes(modes.take(part), SAMPLES, RATE) for part in rows.split([1, 4, 11])]
    assert largest_difference(torch.stack(parts).sum(0), whole, modes) < -140  # worst -148


def test_each_strike_by_itself():
    """What is summed, on any stretch; a silent strike is silence."""
    modes, begin, samples = draw_modes(3, 12, 0.5, RATE), 777, 5000
    modes = replace(modes, amplitude=modes.amplitude * (torch.arange(12) != 4)[:, None])
    each = render_each(modes, samples, RATE, start=begin)
    assert each.shape == (12, samples) and not each[4].any()
    alone = [render_modes(modes.take(torch.tensor([e])), samples, RATE, start=begin) for e in range(12)]
    assert largest_difference(each[7], alone[7], modes) < -140
    assert largest_difference(each.sum(0), render_modes(modes, samples, RATE, start=begin), modes) < -130
    assert render_each(modes.take(torch.tensor([], dtype=torch.long)), samples, RATE).shape == (0, samples)


def test_gains_send_strikes_to_channels():
    """A matrix product with each strike; a gradient flows through it."""
    modes, gains = draw_modes(4, 9, 0.5, RATE), Draw(4).between(-1, 1, 3, 9).requires_grad_()
    sound = render_modes(modes, SAMPLES, RATE, gains=gains)
    each = render_each(modes, SAMPLES, RATE)
    expected = gains.detach().float() @ each
    assert sound.shape == (3, SAMPLES) and largest_difference(sound.detach(), expected, modes) < -130
    cotangent = Draw(5).normal(3, SAMPLES).float()
    (slope,) = torch.autograd.grad((sound * cotangent).sum(), gains)
    torch.testing.assert_close(slope.float(), cotangent @ each.T, rtol=1e-4, atol=1e-3)  # sums of 11 025 floats
    assert torch.equal(
        render_modes(modes, SAMPLES, RATE, gains=torch.ones(1, 9))[0], render_modes(modes, SAMPLES, RATE)
    )


def test_a_strike_ends_alike_in_any_company():
    """Batches are as long as their longest strike; the others end where they would end alone."""
    short, long = (strike(decay_s=decay_s, onset_s=0.01) for decay_s in (0.065, 0.1))  # 9 and 13 blocks
    both = Modes(*(torch.cat([getattr(short, name), getattr(long, name)]) for name in QUANTITIES))
    apart = render_modes(short, SAMPLES, RATE) + render_modes(long, SAMPLES, RATE)
    assert largest_difference(render_modes(both, SAMPLES, RATE), apart, both) < -140
    assert torch.equal(render_modes(short, SAMPLES, RATE)[: 6 * BLOCK], render_modes(short, 6 * BLOCK, RATE))


@pytest.mark.parametrize(("k", "dB"), [(2 * BLOCK, -140), (1000, -95)])
def test_a_shift_of_k_samples_commutes(k: int, dB: float):
    """By whole blocks to rounding; by others to where strikes end, 80 dB under their peaks: worst -102 dB."""
    modes = draw_modes(6, STRIKES, 0.5, RATE)
    later = replace(modes, onset_s=modes.onset_s + k / RATE)
    whole = render_modes(modes, SAMPLES, RATE)
    assert largest_difference(render_modes(later, SAMPLES, RATE, start=k), whole, modes) < dB


@pytest.mark.parametrize("attack_s", [2e-4, 0.003, 0.3, 10.0])
@pytest.mark.parametrize("decay_s", [0.01, 0.3, 10.0])
def test_level_is_the_audible_peak(attack_s: float, decay_s: float):
    modes = strike(freq_hz=500, attack_s=attack_s, decay_s=decay_s, level_db=-12)
    peak = float(envelope_of(modes, 6 * RATE).max())
    assert 20 * math.log10(peak) == pytest.approx(-12, abs=0.01)  # worst 0.0005: it lies between two samples


@pytest.mark.parametrize(("attack_s", "decay_s"), [(2e-4, 0.001), (0.01, 0.5), (10.0, 0.1), (0.001, 100.0)])
def test_envelope_peak_is_the_maximum(attack_s: float, decay_s: float):
    u = torch.linspace(0, 20 * min(attack_s, decay_s), 100_001, dtype=torch.float64)
    envelope = (1 - torch.exp(-u / attack_s)).square() * torch.exp(-math.log(1000) / decay_s * u)
    peak = float(envelope_peak(torch.tensor(attack_s).double(), torch.tensor(decay_s).double()))
    assert peak == pytest.approx(float(envelope.max()), rel=1e-6)  # of a grid around a maximum: second order


@pytest.mark.parametrize("decay_s", [0.02, 0.2, 5.0])  # whole samples
def test_decay_is_the_time_to_fall_by_60_db(decay_s: float):
    samples = round(decay_s * RATE)
    envelope = envelope_of(strike(freq_hz=2000, decay_s=decay_s, attack_s=2e-4), 2 * samples)
    early = round(20 * 2e-4 * RATE)  # the attack is over: e^-20
    fall_db = 20 * math.log10(float(envelope[early] / envelope[early + samples]))
    assert fall_db == pytest.approx(60, abs=1e-4)  # worst 1e-6


@pytest.mark.parametrize("freq_hz", [55.0, 997.3, 9800.0])
def test_frequency(freq_hz: float):
    """The angle by which the spectrum of a long tone turns between two frames is its frequency."""
    size, hop = 4096, 64
    sound = render_modes(strike(freq_hz=freq_hz, decay_s=20), size + 5000 + hop, RATE)[5000:].double()
    frames = torch.fft.rfft(sound.unfold(0, size, hop) * torch.hann_window(size, dtype=torch.float64))
    peak = int(frames[0].abs().argmax())
    assert abs(peak * RATE / size - freq_hz) <= RATE / size / 2
    turned = float((frames[1, peak] / frames[0, peak]).angle()) / (2 * math.pi)
    whole = round(freq_hz * hop / RATE - turned)
    found_hz = (turned + whole) * RATE / hop
    assert found_hz == pytest.approx(freq_hz, abs=0.01)  # worst 0.001 Hz, at 55 Hz, where the mirror image is near


def test_a_strike_ends_80_db_under_its_peaks():
    modes = draw_modes(7, 40, 0.0, RATE, slots=1)
    level = 20 * torch.log10(modes.amplitude * envelope_peak(modes.attack_s[:, None], modes.decay_s))
    length = audible_samples(modes, RATE)
    sounding = (modes.amplitude > 0) & (modes.freq_hz < RATE / 2)
    assert torch.equal(length > 0, sounding[:, 0])
    u = (length / RATE)[:, None]
    damping = math.log(1000) / modes.decay_s
    envelope = (1 - torch.exp(-u / modes.attack_s[:, None])).square() * torch.exp(-damping * u)
    left = 20 * torch.log10(modes.amplitude * envelope) - level
    assert float(left[sounding].max()) <= -SUPPORT_DB
    assert float(left[sounding].min()) > -SUPPORT_DB - 100


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu():
    modes = draw_modes(8, STRIKES, 0.5, RATE)
    there = Modes(*(getattr(modes, name).cuda() for name in QUANTITIES))
    fast = render_modes(there, SAMPLES, RATE).cpu()
    assert largest_difference(fast, render_modes(modes, SAMPLES, RATE), modes) < -120
