from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sparsecli.core.columns import SILENT_DB
from sparsecli.core.errors import SparseError
from sparsecli.core.events import Events
from sparsecli.dsp.quality import snr_db
from sparsecli.dsp.resample import resample
from sparsecli.engine.rendering import modes_of, render
from sparsecli.engine.settings import RenderSettings
from sparsecli.synth.modes import Modes
from sparsecli.synth.noise import Bursts

from ..oracle.draw import draw_events
from ..oracle.twin import render_bursts_slowly, render_slowly

RATE = 22050
DRY = RenderSettings(noise=False)


def sound_of(events: Events, **settings: object) -> np.ndarray:
    """Float64 `[samples]`."""
    return render(events, RenderSettings(**settings)).samples[0].astype(np.float64)  # type: ignore[arg-type]


def without_air(events: Events) -> Events:
    return replace(events, air=events.air[:, :0])


def one_mode(**numbers: float) -> Events:
    """An event of one mode and no noise; 1 kHz, 1 s, 0 dB, unless `numbers` say otherwise."""
    events = draw_events(0, 1, 2.0, RATE)
    params = np.zeros_like(events.params)
    values = {"attack_s": 0.001, "freq1_hz": 1000.0, "decay_s": 1.0, **numbers}
    for name in ("level2_db", "level3_db", "level4_db", "noise_level_db"):
        values.setdefault(name, SILENT_DB)
    onset_s = values.pop("onset_s", 0.0)
    for name, value in values.items():
        params[0, events.columns.index(name) - 1] = value
    return replace(events, params=params, onset_s=np.array([onset_s]))


def test_sounds_like_the_table_says():
    """The slow twin, with A from the levels by hand: a mode's peak is A times the maximum of E(u) e^{-d u}."""
    events = draw_events(1, 12, 1.0, RATE)
    attack_s, decay_s = events.column("attack_s")[:, None], events.column("decay_s")[:, None]
    used = events.modes("level_db") > SILENT_DB
    x = attack_s * math.log(1000) / decay_s
    peak = (2 / (2 + x)) ** 2 * (x / (2 + x)) ** x
    amplitude = np.where(used, 10 ** (events.modes("level_db") / 20) / peak, 0.0)
    decays_s = np.repeat(decay_s, 4, axis=1)  # of modes: the atom's
    columns = (events.onset_s, attack_s[:, 0], events.modes("freq_hz"), decays_s, amplitude, events.modes("phase_rad"))
    slow = render_slowly(Modes(*(torch.from_numpy(column) for column in columns)), RATE, RATE)
    assert snr_db(slow.numpy(), sound_of(events, noise=False)) > 80  # where strikes end; worst of 12 draws 87.4
    unused = modes_of(events, torch.device("cpu")).amplitude.numpy()[~used]
    assert len(unused) and not unused.any()


@pytest.mark.parametrize(("attack_s", "decay_s"), [(0.0002, 0.05), (0.01, 0.5), (0.3, 0.1)])
def test_level_and_decay(attack_s: float, decay_s: float):
    """The envelope, from a mode and the same a quarter turn on, peaks at the level and falls by 60 dB in a T60."""
    numbers = {"attack_s": attack_s, "decay_s": decay_s, "level1_db": -6.0}
    cosine, sine = (sound_of(one_mode(phase1_rad=phase, **numbers), noise=False) for phase in (0, -math.pi / 2))
    envelope_db = 20 * np.log10(np.hypot(cosine, sine) + 1e-12)
    assert envelope_db.max() == pytest.approx(-6, abs=0.01)
    late = round((8 * attack_s + decay_s / 10) * RATE)  # the attack is over to 0.07 %
    part = min(round(decay_s * RATE / 2), round(decay_s / 8 * RATE))
    if attack_s < decay_s:
        slope = (envelope_db[late] - envelope_db[late + part]) * decay_s * RATE / part
        assert slope == pytest.approx(60, abs=0.1)


def test_a_gain_of_6_02_db_doubles():
    events = draw_events(2, 8, 1.0, RATE, noise=True)
    loud = sound_of(events, gain_db=20 * math.log10(2))
    assert snr_db(2 * sound_of(events), loud) > 120  # worst of 12 draws 139: levels are float32


def test_sets_of_events_add_up():
    """render(a + b) = render(a) + render(b), with bursts; the air is one set of its own."""
    events = draw_events(3, 9, 1.0, RATE, noise=True)
    dry = without_air(events)
    parts = [sound_of(dry.take(rows)) for rows in (slice(0, 2), slice(2, 9))]
    air = sound_of(events.take(np.array([], np.int64)))
    assert np.abs(air).max() > 1e-3
    assert snr_db(sound_of(events), sum(parts) + air) > 120  # worst of 12 draws 143


def test_order_changes_nothing():
    events = draw_events(4, 9, 1.0, RATE, noise=True)
    order = np.random.default_rng(0).permutation(9)
    assert np.abs(sound_of(events.take(order)) - sound_of(events)).max() < 1e-6 * np.abs(sound_of(events)).max()


@pytest.mark.parametrize("rate", [RATE, 44100])
def test_a_shift_of_k_samples_commutes(rate: int):
    """Of modes and bursts; the noise is drawn anew on the same samples after the onset."""
    events, k = without_air(draw_events(5, 8, 1.0, rate, noise=True)), 512
    later = sound_of(replace(events, onset_s=events.onset_s + k / rate))
    now = sound_of(events)
    # Away from the ends, where a resampler rings: worst of 12 draws 145.
    assert snr_db(now[200 : -k - 200], later[k:][200:-200]) > 120


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("source_rate", [RATE, 44100, 48000])
@pytest.mark.parametrize("seed", [1, 3])
def test_rendered_at_44_and_resampled_equals_22_khz(source_rate: int, noise: bool, seed: int):
    """Below 9 kHz, the noise included: it is drawn on a grid that does not depend on the rate of the output."""
    events = draw_events(seed, 12, 1.0, source_rate, shortest_attack_s=2e-4, noise=noise)
    high, low = sound_of(events, sample_rate=44100), sound_of(events, sample_rate=RATE)
    freq_hz = np.fft.rfftfreq(len(low), 1 / RATE)
    spectra = [np.fft.rfft(sound) * (freq_hz < 9000) for sound in (low, resample(high.astype(np.float32), 44100, RATE))]
    at_low, resampled = (np.fft.irfft(spectrum, len(low)) for spectrum in spectra)
    assert snr_db(at_low, resampled) > 50  # worst 55.7, of the ends, where a resampler rings
    assert snr_db(at_low[200:-200], resampled[200:-200]) > 80  # worst 86


def test_the_noise_is_drawn_on_the_source_s_grid():
    """At 96 kHz it is the same noise, not another draw."""
    events = draw_events(2, 6, 1.0, RATE, noise=True)
    high = resample(sound_of(events, sample_rate=96000).astype(np.float32), 96000, RATE)
    assert snr_db(sound_of(events)[200:-200], high[200:-200]) > 65  # worst of 12 draws 65.7, near Nyquist


def test_pitch_shift_multiplies_frequencies_and_keeps_onsets():
    events = draw_events(6, 6, 1.0, RATE)
    moved = events.params.copy()
    for slot in (1, 2, 3, 4):
        moved[:, events.columns.index(f"freq{slot}_hz") - 1] = events.column(f"freq{slot}_hz") * 2 ** (2 / 12)
    by_hand = sound_of(replace(events, params=moved))
    assert snr_db(by_hand, sound_of(events, pitch_shift_semitones=2)) > 150  # the same float32 numbers
    tone = sound_of(one_mode(onset_s=0.5, freq1_hz=1000.0, decay_s=10.0), pitch_shift_semitones=2)
    assert not tone[: RATE // 2].any() and tone[RATE // 2 + 1 :][:100].any()
    spectrum = np.abs(np.fft.rfft(tone[RATE:] * np.hanning(RATE)))  # a bin a Hz
    assert np.argmax(spectrum) == round(1000 * 2 ** (2 / 12))


def test_time_stretch_keeps_attacks_and_pitches():
    events = one_mode(onset_s=0.5, attack_s=0.01, decay_s=0.2)
    stretched = sound_of(events, time_stretch=2.0)
    assert len(stretched) == 4 * RATE
    assert not stretched[:RATE].any()
    by_hand = sound_of(replace(one_mode(onset_s=1.0, attack_s=0.01, decay_s=0.4), header=replace(events.header)))
    assert snr_db(by_hand, stretched[: 2 * RATE]) > 90


def test_the_noise_follows_its_seed_alone():
    events = draw_events(7, 6, 1.0, RATE, noise=True)
    first, again = sound_of(events), sound_of(events)
    assert np.array_equal(first, again)
    other = sound_of(
        replace(events, header=replace(events.header, seed=1), noise_seed=events.noise_seed + np.uint64(1))
    )
    dry = sound_of(events, noise=False)
    assert abs(np.corrcoef(first - dry, other - dry)[0, 1]) < 0.1  # of another draw
    assert np.sqrt(np.mean((first - dry) ** 2)) == pytest.approx(np.sqrt(np.mean((other - dry) ** 2)), rel=0.2)


def test_bursts_sound_like_the_table_says():
    """The slow twin on the noise grid, centred on the last slot's frequency, with a mode there or without."""
    events = without_air(draw_events(11, 8, 0.5, 44100, noise=True))
    bursts = events.take(events.column("noise_level_db") > SILENT_DB)
    shared = bursts.column("level4_db") > SILENT_DB
    assert shared.any() and not shared.all()
    columns = ("onset_s", "attack_s", "decay_s", "noise_level_db", "freq4_hz")
    slow = render_bursts_slowly(
        Bursts(
            *(torch.from_numpy(bursts.column(name)) for name in columns),
            seeds=torch.from_numpy(bursts.noise_seed.astype(np.int64)),
        ),
        22050,
        44100,
    )
    assert snr_db(slow.numpy(), sound_of(events) - sound_of(events, noise=False)) > 110  # worst of 12 draws 121


def test_an_atom_may_be_a_burst_alone():
    """An unused slot 4 has a frequency that is heard as noise only, and moves with the pitch."""
    burst = one_mode(level1_db=SILENT_DB, freq1_hz=0.0, freq4_hz=1500.0, noise_level_db=-20.0, attack_s=0.01)
    burst = without_air(burst)
    assert not sound_of(burst, noise=False).any()
    for semitones in (0, 12):
        power = np.abs(np.fft.rfft(sound_of(burst, pitch_shift_semitones=semitones))) ** 2
        middle = np.searchsorted(power.cumsum(), power.sum() / 2) / 2  # of 2 s: two bins a Hz
        assert middle == pytest.approx(1500 * 2 ** (semitones / 12), rel=0.05)


def test_without_noise_only_modes_sound():
    events = draw_events(8, 6, 1.0, RATE, noise=True)
    params = events.params.copy()
    params[:, events.columns.index("noise_level_db") - 1] = SILENT_DB
    silenced = without_air(replace(events, params=params))
    assert np.array_equal(sound_of(events, noise=False), sound_of(silenced))
    assert np.abs(sound_of(events) - sound_of(silenced)).max() > 1e-3


@pytest.mark.parametrize("rate", [8000, RATE, 48000, 96000])
@pytest.mark.parametrize("duration_s", [0.0, 0.00003, 0.1, 1.23456])
def test_length_and_form(rate: int, duration_s: float):
    events = draw_events(9, 3, 1.0, RATE, noise=True)
    events = replace(events, header=replace(events.header, duration_s=duration_s, source_name="a.wav"))
    audio = render(events, RenderSettings(sample_rate=rate))
    assert audio.samples.shape == (1, max(1, round(duration_s * rate)) if duration_s else 0)
    assert (audio.samples.dtype, audio.sample_rate, audio.name) == (np.float32, rate, "a.wav")


def test_a_level_of_200_db_down_is_silence():
    """An unused slot, whatever else stands in it."""
    assert sound_of(one_mode(level1_db=-199.0)).any()
    assert not sound_of(one_mode(level1_db=SILENT_DB)).any()


def test_no_events_are_silence_and_the_source_s_rate_is_the_default():
    events = without_air(draw_events(10, 0, 0.5, 48000))
    audio = render(events)
    assert audio.sample_rate == 48000
    assert audio.samples.shape == (1, 24000) and not audio.samples.any()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_missing_is_said():
    with pytest.raises(SparseError, match="--device cuda: this machine has no such device; use --device cpu"):
        render(draw_events(0, 1, 0.1, RATE), RenderSettings(device="cuda"))
