"""Events by SIAM: peaks and bands against slow twins, and known strikes found again."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sparsecli.core.events import Header, events_from_columns
from sparsecli.engine import siam_bands
from sparsecli.engine.amplitudes import sound_of
from sparsecli.engine.modal import BLOCK, Atoms
from sparsecli.engine.rendering import render
from sparsecli.engine.settings import RenderSettings
from sparsecli.engine.siam import SiamLimits, apart, atoms_of, find_events, pick_atoms
from sparsecli.engine.siam_bands import Peaks, bands_of, find_peaks
from sparsecli.engine.siam_noise import give_noise
from sparsecli.engine.siam_scenes import atoms_from
from sparsecli.engine.siam_tones import give_tones
from sparsecli.engine.siam_waves import shares_of, sharpen
from sparsecli.engine.texture import make_cells
from sparsecli.models.siam import Siam, SiamShape, Strikes

RATE = 22_050
LOW, HIGH = 2 * math.pi * 20 / RATE, 0.985 * math.pi


@pytest.fixture(scope="module")
def model() -> Siam:
    """Chance weights: an eye that always says the same. What can be solved is solved all the same."""
    return Siam(SiamShape(width=4)).eval().requires_grad_(False)


def strikes(freqs_hz: list[list[float]], attack_s: float = 0.005, decay_s: float = 0.8) -> Strikes:
    count = len(freqs_hz)
    freq_hz = torch.tensor(freqs_hz).double()
    level = torch.where(freq_hz > 0, -6.0 * torch.arange(4).double(), -200.0)
    return Strikes(
        attack_s=torch.full((count,), attack_s).double(),
        decay_s=torch.full((count,), decay_s).double(),
        freq_hz=freq_hz,
        level_db=level,
        phase_rad=torch.arange(4).double().expand(count, 4),
        noise_level_db=torch.full((count,), -200.0).double(),
        noise_hz=torch.full((count,), 1000.0).double(),
        noise_decay_s=torch.full((count,), 0.1).double(),
    )


def scene(onsets_s: list[float], freqs_hz: list[list[float]], seconds: float = 2.0) -> tuple[Atoms, torch.Tensor]:
    gain = torch.full((len(onsets_s),), -12.0).double()
    atoms = atoms_from(strikes(freqs_hz), torch.tensor(onsets_s).double(), gain, RATE)
    samples = int(seconds * RATE)
    return atoms, sound_of(atoms, -(-samples // BLOCK)).flatten()[:samples].float()


CHORD = [[330.0, 990.0, 1660.0, 2350.0], [523.0, 1050.0, 2100.0, 4100.0]]


def test_a_wave_has_its_peak_where_it_is():
    omega = 0.1234
    sound = torch.cos(omega * torch.arange(8192).double() + 1).float()
    peaks = find_peaks(sound, 1024, LOW, HIGH, 1000)
    inside = (peaks.middle > 512) & (peaks.middle < 7680) & ((peaks.omega - omega).abs() < 0.02)
    assert int(inside.sum()) >= 1
    # A parabola through three logarithms of a Hann window at twice the bins errs by under a hundredth of a bin.
    assert float((peaks.omega[inside] - omega).abs().max()) < 0.01 * 2 * math.pi / 2048
    # A wave of amplitude 1 under a Hann window h: 2 (sum h / 2)^2 / sum h^2 = L / 3.
    torch.testing.assert_close(peaks.gain[inside], torch.full_like(peaks.gain[inside], 1024 / 3), rtol=0.02, atol=0)


def test_peaks_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch):
    _, sound = scene([0.2, 0.9], CHORD)
    whole = find_peaks(sound, 1024, LOW, HIGH, 10_000)
    monkeypatch.setattr(siam_bands, "CHUNK", 1)  # eight frames at a time, the fewest
    parts = find_peaks(sound, 1024, LOW, HIGH, 10_000)
    for one, other in ((whole, parts), (parts, whole)):
        rows = one.gain > 1e-6
        places = set(zip(other.middle.tolist(), other.omega.tolist(), strict=True))
        assert {place for place in zip(one.middle[rows].tolist(), one.omega[rows].tolist(), strict=True)} <= places


def test_a_band_is_the_sum_it_says():
    sound = torch.randn(9000, generator=torch.Generator().manual_seed(1))
    peaks = Peaks(torch.tensor([256, 256]), torch.tensor([20, 4321]), torch.tensor([0.3, 1.7]).double(), torch.ones(2))
    bands, centre = bands_of(sound, peaks)
    for row, (middle, omega) in enumerate(zip(peaks.middle.tolist(), peaks.omega.tolist(), strict=True)):
        for block in (0, 100, 255):
            first = middle - 384 + 4 * block  # a block is L / 64, and a band begins 1.5 L before
            n = np.arange(first, first + 4)
            inside = np.where((n >= 0) & (n < 9000), sound.numpy()[np.clip(n, 0, 8999)], 0.0)
            wanted = (inside * np.exp(-1j * omega * (n - middle))).sum()
            assert complex(bands[row, block] * centre[row]) == pytest.approx(wanted, abs=1e-4)


def test_the_share_is_what_least_squares_takes():
    atoms, sound = scene([0.5], [[440.0, 0.0, 0.0, 0.0]])
    scale, middle = 4096, int(0.5 * RATE) + 2048
    peaks = Peaks(torch.tensor([scale]), torch.tensor([middle]), atoms.omega[0, :, 0], torch.ones(1))
    bands, centre = bands_of(sound, peaks)
    ring = 1 / float(atoms.log_damping.exp())
    said = torch.tensor([[(0.5 * RATE - middle) / scale, math.log(0.005 * RATE / scale), math.log(ring / scale), 0.0]])
    end = middle + int(2.5 * scale)
    energy = float(sound[:end].double().square().sum())
    # In units of the peak's gain 2 |sum h r|^2 / sum h^2; sums over blocks stand for sums over samples here.
    unit = 2 * abs(complex(centre[0])) ** 2 * (64 / 1.5) / (scale // 64)
    assert float(shares_of(bands, said)) * unit == pytest.approx(energy, rel=0.01)


def test_sharpening_finds_a_tone():
    _, sound = scene([0.5], [[440.0, 0.0, 0.0, 0.0]])
    peaks = find_peaks(sound, 4096, LOW, HIGH, 1)
    bands, _ = bands_of(sound, peaks)
    said, share = sharpen(bands, torch.tensor([[-0.5, math.log(0.05), math.log(0.5), 0.0]]), 30)
    onset_s = (float(peaks.middle) + float(said[0, 0]) * 4096) / RATE
    ring_s = math.exp(float(said[0, 2])) * 4096 / RATE
    assert onset_s == pytest.approx(0.5, abs=0.003)  # a block of the band is 2.9 ms
    assert ring_s == pytest.approx(0.8 / math.log(1000), rel=0.02)
    assert float(peaks.omega + said[0, 3] / 4096) * RATE / (2 * math.pi) == pytest.approx(440, abs=0.05)
    assert float(share) >= float(shares_of(bands, torch.tensor([[-0.5, math.log(0.05), math.log(0.5), 0.0]])))


def test_steps_never_explain_less():
    bands = torch.randn(50, 256, dtype=torch.complex64, generator=torch.Generator().manual_seed(4))
    said = torch.randn(50, 4, generator=torch.Generator().manual_seed(5)) - 1
    assert bool((sharpen(bands, said, 3)[1] >= shares_of(bands, said)).all())


def test_tones_are_found_under_the_envelope():
    atoms, sound = scene([0.3], CHORD[:1])
    first = atoms.without(torch.tensor([[[False, True, True, True]]]))
    found, gains = give_tones(sound, first, LOW, HIGH)
    freq_hz = found.omega[0, 0] * RATE / (2 * math.pi)
    assert freq_hz.sort().values.tolist() == pytest.approx(CHORD[0], abs=0.2)
    energies = [
        float(sound_of(atoms.without(keep), 173).square().sum()) for keep in ~torch.eye(4).bool()[:, None, None]
    ]
    assert gains[0].tolist() == pytest.approx(energies, rel=0.03)  # of which the window sees all but a thousandth


def test_events_do_not_take_each_others_tones():
    atoms, _ = scene([0.3, 0.3, 1.5], [[300.0, 600.0, 900.0, 1200.0]] * 3)
    gains = torch.tensor([[4.0, 1, 1, 1], [5.0, 1, 1, 1], [1.0, 1, 1, 1]])
    rows, free = apart(atoms, gains, 10, 0.0)
    assert rows.tolist() == [1, 2]  # the third rings later
    assert bool(free.all())
    other = atoms.omega.clone()
    other[0, 0, 3] = 1.0
    rows, free = apart(Atoms(**{**atoms.__dict__, "omega": other}), gains, 10, 0.0)
    assert rows.tolist() == [1, 2, 0]
    assert free[2].tolist() == [False, False, False, True]


def test_known_strikes_are_found_again(model: Siam):
    _, sound = scene([0.2, 0.9], CHORD)
    found = find_events(model, sound.numpy()[None], RATE, SiamLimits(12))
    rows = atoms_of(model, found.onset_s, found.gain_db, found.vectors)
    heard = rendered(rows.columns, 2.0)
    left = sound.numpy() - heard
    assert 10 * np.log10((sound.numpy() ** 2).sum() / (left**2).sum()) > 25  # two strikes, and ten that mend them
    loudest = found.onset_s[np.argsort(found.gain_db)[-2:]]
    assert sorted(loudest) == pytest.approx([0.2, 0.9], abs=0.01)


def rendered(columns: dict[str, np.ndarray], seconds: float, rate: int = RATE) -> np.ndarray:
    events = events_from_columns(Header(seconds, rate), columns, np.zeros((1, 0, 24)))
    return render(events, RenderSettings(noise=False)).samples[0]


def test_what_is_subtracted_is_what_the_vectors_render(model: Siam):
    _, sound = scene([0.1, 0.7], CHORD)
    told: list[float] = []
    atoms, complete = pick_atoms(model, sound, SiamLimits(6), lambda events, snr_db: told.append(snr_db) or True)
    found = find_events(model, sound.numpy()[None], RATE, SiamLimits(6))
    heard = rendered(atoms_of(model, found.onset_s, found.gain_db, found.vectors).columns, 2.0)
    wanted = sound_of(atoms, -(-len(sound) // BLOCK)).flatten()[: len(sound)].numpy()
    assert complete
    assert told == sorted(told)
    assert 10 * np.log10((wanted**2).sum() / ((wanted - heard) ** 2).sum()) > 60  # atoms end 80 dB down


def test_the_same_comes_out_every_time(model: Siam):
    _, sound = scene([0.1, 0.7], CHORD)
    one, other = (find_events(model, sound.numpy()[None], RATE, SiamLimits(5)) for _ in range(2))
    assert one.vectors.tobytes() == other.vectors.tobytes()
    assert one.onset_s.tobytes() == other.onset_s.tobytes()


def test_what_begins_at_the_end_is_heard(model: Siam):
    _, sound = scene([0.2, 1.9], CHORD)
    found = find_events(model, sound.numpy()[None], RATE, SiamLimits(8))
    assert float(np.abs(found.onset_s - 1.9).min()) < 0.02


def test_rules_to_stop(model: Siam):
    _, sound = scene([0.2, 0.9], CHORD)
    samples = sound.numpy()[None]
    assert len(find_events(model, samples, RATE, SiamLimits(3)).onset_s) == 3
    few = find_events(model, samples, RATE, SiamLimits(40, snr_db=10.0))
    assert 0 < len(few.onset_s) < 40
    stopped = find_events(model, samples, RATE, SiamLimits(40), lambda events, snr_db: False)
    assert not stopped.complete
    assert 0 < len(stopped.onset_s) < 40


@pytest.mark.parametrize("samples", [np.zeros((1, 5000)), np.full((2, 5000), 0.3), np.zeros((1, 0)), np.ones((1, 10))])
def test_silence_has_no_events(model: Siam, samples: np.ndarray):
    found = find_events(model, samples.astype(np.float32), RATE, SiamLimits(5))
    assert found.vectors.shape == (0, 16)
    assert found.complete


def test_noise_is_an_atom_of_its_own(model: Siam):
    vectors = np.zeros((2, 16))
    vectors[1, 13] = -4.0  # 100 dB under what is usual: none
    rows = atoms_of(model, np.array([0.5, 1.0]), np.array([-20.0, -30.0]), vectors)
    assert rows.event.tolist() == [0, 0, 1]
    assert rows.columns["onset_s"].tolist() == [0.5, 0.5, 1.0]
    assert rows.columns["noise_level_db"].tolist() == pytest.approx([-200, -60, -200])  # 40 dB under the gain
    assert rows.columns["level1_db"].tolist() == pytest.approx([-20, -200, -30])
    assert rows.columns["decay_s"].tolist() == pytest.approx([1.2, 0.4, 1.2])


def test_noise_that_nothing_explains_becomes_an_events(model: Siam):
    _, sound = scene([0.5], CHORD[:1])
    draw = np.random.default_rng(1)
    burst = np.zeros(len(sound), np.float32)
    elapsed_s = np.arange(int(0.2 * RATE)) / RATE
    struck = int(0.5 * RATE)
    burst[struck : struck + len(elapsed_s)] = 0.2 * np.exp(-elapsed_s / 0.03) * draw.standard_normal(len(elapsed_s))
    whole = (sound.numpy() + burst)[None]
    coherent = torch.from_numpy(whole - burst[None])
    cells = make_cells(torch.from_numpy(whole), coherent, torch.full((1, 2, 24), -120.0), RATE)
    before = cells.model.clone()
    bare = strikes(CHORD[:1])
    onset_s, gain_db, aside = torch.tensor([0.5]), torch.tensor([-12.0]), torch.ones(1)
    noisy = give_noise(bare, onset_s, gain_db, aside, cells)
    # White noise of 0.2, of which a burst's band has a fifth to a third: 5 to 7 dB less.
    assert float(noisy.noise_level_db + gain_db) == pytest.approx(20 * math.log10(0.2) - 6, abs=4)
    assert bool((cells.model >= before).all())
    assert float(cells.model.sum()) > float(before.sum())
    quiet = make_cells(coherent, coherent, torch.full((1, 2, 24), -120.0), RATE)
    assert float(give_noise(bare, onset_s, gain_db, aside, quiet).noise_level_db) == -200
