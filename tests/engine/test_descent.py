from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sparsecli.core.audio import Audio
from sparsecli.core.columns import STRETCH_S
from sparsecli.core.errors import SparseError
from sparsecli.engine import descent as descent_module
from sparsecli.engine.checkpoints import Checkpoint
from sparsecli.engine.descending import from_checkpoint, is_of_descent, to_checkpoint
from sparsecli.engine.descent import (
    MARGIN_S,
    Descent,
    Plan,
    begun,
    descend,
    has_settled,
    make_batches,
    random_start,
    sorted_start,
    without_faint,
)
from sparsecli.engine.fitting import fit
from sparsecli.engine.modal import BLOCK, Basis
from sparsecli.engine.relocation import found_atoms, missing, random_atoms
from sparsecli.engine.scaled import (
    FREQ,
    LEVEL,
    ONSET,
    PHASE,
    UNIT_OF,
    Scaled,
    from_atoms,
    from_columns,
    modes_of,
    to_atoms,
    values_of,
)
from sparsecli.engine.settings import FitSettings
from sparsecli.losses.naming import parse_loss
from sparsecli.losses.spectra import powers
from sparsecli.synth.modes import render_modes

RATE = 8000


def atom(
    freq_hz: float = 500.0,
    onset_s: float = 0.05,
    decay_s: float = 0.4,
    level_db: float = -12.0,
    phase_rad: float = 0.3,
    attack_s: float = 0.003,
) -> Scaled:
    """One atom of one mode."""
    values = {"onset_s": onset_s, "attack_s": attack_s, "decay_s": decay_s}
    for slot in range(1, 5):
        values |= {f"freq{slot}_hz": freq_hz, f"level{slot}_db": level_db, f"phase{slot}_rad": phase_rad}
    used = torch.tensor([[True, False, False, False]])
    return from_columns({name: torch.tensor([value]).double() for name, value in values.items()}, used)


def sound(atoms: Scaled, samples: int = 4000) -> Tensor:
    return render_modes(modes_of(atoms), samples, RATE)


def hiss(samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def plan(loss: str = "mrstft", iterations: int = 150, **rest: Any) -> Plan:
    return Plan(parse_loss(loss), iterations, (2e-2, 1e-3), **rest)


def test_fitted_atoms_keep_their_sound():
    """Into scaled numbers and back: exact but for rounding, and rendered by both renderers alike."""
    atoms = random_atoms(20, 0.0, 0.4, 3500.0, seed=1)
    fitted = to_atoms(atoms, RATE)
    again = from_atoms(fitted, RATE)
    torch.testing.assert_close(again.numbers[:, LEVEL], atoms.numbers[:, LEVEL])
    torch.testing.assert_close(to_atoms(again, RATE).amp, fitted.amp)
    heard, expected = sound(again, 4096).double(), Basis(fitted, 4096 // BLOCK).render().flatten()
    assert float((heard - expected).abs().max()) < 2e-4 * float(expected.abs().max())  # ends 80 dB under the peaks


def test_an_onset_moves_the_envelope_under_the_carrier():
    early = atom(decay_s=50.0, attack_s=2e-4)
    late = replace(early, numbers=early.numbers.clone())
    late.numbers[:, ONSET] += 0.013 / UNIT_OF["s"]
    begin = round(0.08 * RATE)
    np.testing.assert_allclose(sound(late)[begin:], sound(early)[begin:], rtol=0, atol=1e-3)  # of 0.25: the decay
    assert not sound(late)[: round(0.06 * RATE)].any() and sound(early)[: round(0.06 * RATE)].any()


def test_the_gradient_in_scaled_numbers_is_exact():
    """Of the waveform's error, against differences: the chain from the numbers to the sound."""
    atoms, target = random_atoms(3, 0.01, 0.1, 3000.0, seed=2), hiss(2000)

    def error(numbers: Tensor) -> Tensor:
        return (render_modes(modes_of(replace(atoms, numbers=numbers)), 2000, RATE) - target).double().square().sum()

    leaf = atoms.numbers.clone().requires_grad_()
    (slope,) = torch.autograd.grad(error(leaf), leaf)
    step = 1e-3
    for row, place in ((0, ONSET), (1, 1), (2, 2), (0, FREQ[1]), (1, LEVEL[2]), (2, PHASE[0])):
        moved = [atoms.numbers.clone() for _ in range(2)]
        moved[0][row, place] += step * 0.1
        moved[1][row, place] -= step * 0.1
        rise = (error(moved[0]) - error(moved[1])) / (2 * step * 0.1)
        assert float(slope[row, place]) == pytest.approx(float(rise), rel=0.02, abs=2e-4 * float(slope.abs().max()))


def test_descent_finds_level_decay_and_attack():
    truth, start = atom(), atom(level_db=-20.0, decay_s=0.2, attack_s=0.006)
    batches = make_batches(sound(truth), RATE, 4000.0)
    found, skipped = descend(batches, lambda batch: start, plan(iterations=250, relocates=False))
    assert skipped == 0
    for name, tolerance in (("decay_s", 0.1), ("attack_s", 0.15)):
        assert float(values_of(found, name) / values_of(truth, name)) == pytest.approx(1, rel=tolerance)
    assert float(found.numbers[0, LEVEL[0]]) == pytest.approx(float(truth.numbers[0, LEVEL[0]]), abs=0.1)  # 0.9 dB


def test_the_surrogate_finds_a_frequency_that_its_plain_error_does_not():
    """Two semitones off, some twenty main lobes: the damped wave turns to it, the undamped one stays in its valley."""
    truth = atom(decay_s=3.0)
    batches = make_batches(sound(truth), RATE, 4000.0)
    freq_hz = {}
    for loss in ("surrogate", "waveform"):
        start = atom(500.0 * 2 ** (1 / 6), decay_s=3.0)
        wanted = Plan(parse_loss(loss), 400, (5e-3, 5e-4), relocates=False)
        found, _ = descend(batches, lambda batch, start=start: start, wanted)
        freq_hz[loss] = float(values_of(found, "freq1_hz"))
    assert freq_hz["surrogate"] == pytest.approx(500, rel=0.003) and abs(freq_hz["waveform"] - 500) > 10


def test_steps_that_are_not_finite_are_skipped_and_counted():
    start, batches = atom(level_db=-20.0), make_batches(sound(atom()), RATE, 4000.0)
    seen: list[tuple[int, Tensor]] = []

    class Broken:
        names: frozenset[str] = frozenset()

        def against(self, reference: Tensor, rate: int):
            good = parse_loss("mrstft").against(reference, rate)
            return lambda estimate, step: good(estimate, step) * (math.nan if step in (3, 4) else 1.0)

    def keep(descent: Descent) -> None:
        seen.append((descent.iteration, descent.atoms.numbers.clone()))

    broken: Any = Broken()
    _, skipped = descend(batches, lambda batch: start, Plan(broken, 7, (1e-2, 1e-2)), keep=keep)
    numbers = dict(seen)
    assert skipped == 2 and len(seen) == 7
    assert torch.equal(numbers[3], numbers[4]) and torch.equal(numbers[4], numbers[5])
    assert not torch.equal(numbers[5], numbers[6]) and bool(torch.isfinite(numbers[7]).all())


def test_what_is_missing_is_found_whatever_the_phases():
    """Of two tones one is there, with another phase: what is missing is the other, and an atom for it."""
    here, away = atom(500.0), atom(1500.0, onset_s=0.2, level_db=-20.0)
    turned = atom(500.0, phase_rad=2.0)
    lacking = missing(sound(turned)[None], (sound(here) + sound(away))[None])[0]
    assert float(lacking[:1200].square().sum()) < 0.05 * float(sound(here)[:1200].square().sum())
    found = found_atoms(lacking, 1, RATE, 20.0, 3900.0)
    assert float(values_of(found, "freq1_hz")) == pytest.approx(1500, abs=10)
    assert float(values_of(found, "onset_s")) == pytest.approx(0.2, abs=0.03)
    assert float(found.numbers[0, LEVEL[0]]) * UNIT_OF["dBFS"] == pytest.approx(-20, abs=3)


def test_dead_atoms_move_to_what_is_missing(monkeypatch: pytest.MonkeyPatch):
    """Sixteen atoms that no one hears; the recording has three tones. Afterwards it is explained."""
    monkeypatch.setattr(descent_module, "RELOCATE_EVERY", 20)
    tones = [atom(freq, onset_s=0.05 * k) for k, freq in enumerate((400.0, 900.0, 1700.0))]
    target = sum(sound(one) for one in tones)
    assert isinstance(target, Tensor)
    start = random_atoms(16, 0.0, 0.4, 3900.0, seed=3)
    start.numbers[:, LEVEL] = -100.0 / UNIT_OF["dBFS"]
    left = {}
    for relocates in (True, False):
        wanted = plan(iterations=120, relocates=relocates)
        found, _ = descend(make_batches(target, RATE, 4000.0), lambda batch: start.copy(), wanted)
        magnitudes = [powers(x[None], 512).sqrt() for x in (sound(found), target)]
        left[relocates] = float((magnitudes[0] - magnitudes[1]).norm() / magnitudes[1].norm())
    assert left[True] < 0.3 and left[False] > 0.9


def test_a_polish_stays_near():
    start = random_atoms(12, 0.0, 0.4, 3900.0, seed=4)
    batches = make_batches(hiss(4000, 1), RATE, 4000.0)
    found, _ = descend(batches, lambda batch: start, plan(iterations=60, relocates=False, trusted=True))
    moved = (found.numbers - start.numbers).abs()
    assert float(moved[:, ONSET].max()) * UNIT_OF["s"] <= descent_module.TRUST_S + 1e-9
    ringing_s = (values_of(start, "decay_s") * 2 / math.log(1000)).clamp(max=STRETCH_S)[:, None]
    lobes = moved[:, FREQ] * start.numbers[:, FREQ].exp() * ringing_s
    assert 0 < float(lobes.max()) <= descent_module.TRUST_LOBES + 1e-9
    assert float(moved[:, LEVEL].max()) > 0.1  # levels are free


def test_sparsity_makes_quiet():
    """Noise that no mode explains: the price of amplitudes takes the rest away."""
    start, batches = random_atoms(8, 0.0, 0.4, 3900.0, seed=5), make_batches(hiss(4000, 2), RATE, 4000.0)
    peaks = []
    for sparsity in (0.0, 100.0):
        wanted = plan(iterations=80, sparsity=sparsity, relocates=False)
        found, _ = descend(batches, lambda batch: start, wanted)
        peaks.append(float(found.numbers[:, LEVEL].exp().mean()))
    assert peaks[1] < 0.6 * peaks[0]


def test_batches_hear_the_tails_of_earlier_ones(monkeypatch: pytest.MonkeyPatch):
    """A tone that rings from the first stretch into the second is not explained twice."""
    monkeypatch.setattr(descent_module, "BATCH", 1)
    truth = atom(decay_s=20.0)
    samples = round(2 * STRETCH_S * RATE)
    batches = make_batches(sound(truth, samples), RATE, 4000.0)
    assert batches.count == batches.stretches == 2
    late = atom(900.0, onset_s=STRETCH_S + 0.3, level_db=-40.0)
    starts = [truth, late]
    losses: list[float] = []
    found, _ = descend(
        batches,
        lambda batch: starts[batch],
        plan(iterations=20, relocates=False),
        lambda seen: not losses.append(seen.loss),
    )
    assert len(found) == 2 and losses[0] < 1e-2
    assert losses[2] < 0.3  # 2.9 where the tail is not heard
    onsets = values_of(sorted_start(batches, found)(1), "onset_s")
    assert onsets.tolist() == pytest.approx([STRETCH_S + 0.3], abs=0.05)


def test_random_atoms_lie_in_their_batch_and_are_those_of_their_seed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(descent_module, "BATCH", 2)
    batches = make_batches(torch.zeros(round(5.2 * STRETCH_S * RATE)), RATE, 9999.0)
    assert (batches.stretches, batches.count, batches.highest_hz) == (5, 3, 0.49 * RATE)
    for batch in range(3):
        atoms = random_start(batches, 4, 7)(batch)
        assert len(atoms) == 4 * (2 if batch < 2 else 1)
        first_s, last_s = batches.ends_s(batch)
        onset_s = values_of(atoms, "onset_s")
        assert first_s + MARGIN_S <= float(onset_s.min()) and float(onset_s.max()) <= last_s
        assert torch.equal(random_start(batches, 4, 7)(batch).numbers, atoms.numbers)
    assert not torch.equal(random_start(batches, 4, 8)(0).numbers, random_start(batches, 4, 7)(0).numbers)


def test_it_ends_where_nothing_is_gained():
    assert not has_settled([1.0] * 599) and has_settled([1.0] * 600)
    assert not has_settled([1.0 - 1e-5 * k for k in range(600)])


def test_faint_modes_go():
    atoms = random_atoms(3, 0.0, 0.4, 3900.0, seed=6)
    atoms.numbers[0, LEVEL] = -100.0 / UNIT_OF["dBFS"]
    atoms.numbers[1, LEVEL[1:]] = -100.0 / UNIT_OF["dBFS"]
    kept = without_faint(atoms)
    assert kept.used.tolist() == [[True, False, False, False], [True] * 4]


NOTE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(3000) / RATE) * np.exp(-np.arange(3000) / 1500)).astype(np.float32)
AUDIO = Audio(NOTE[None], RATE, "a.wav")
DESCENT = FitSettings(method="descent", atoms=24, iterations=70, seed=3)


def test_a_broken_descent_goes_on_to_the_same_result():
    """From every kind of checkpoint: in a search before it, and in the descent; relocations included."""
    for settings in (DESCENT, replace(DESCENT, method="search+descent", iterations=12, seed=0)):
        kept: list[Checkpoint] = []

        def keep(make: Callable[[], Checkpoint], kept: list[Checkpoint] = kept) -> None:
            made = make()
            kept.append(replace(made, arrays={name: array.copy() for name, array in made.arrays.items()}))

        whole = fit(AUDIO, settings, on_checkpoint=keep).events
        descents = [one for one in kept if is_of_descent(one)]
        chosen = [descents[len(descents) // 2], *[one for one in kept if not is_of_descent(one)][:1]]
        for checkpoint in chosen:
            again = fit(AUDIO, settings, resume=checkpoint).events
            np.testing.assert_array_equal(again.params, whole.params)
            np.testing.assert_array_equal(again.onset_s, whole.onset_s)
    with pytest.raises(SparseError, match="is of another recording or other settings"):
        fit(AUDIO, DESCENT, resume=kept[0])


def test_a_damaged_checkpoint_is_said():
    state = begun(random_atoms(3, 0.0, 0.1, 3000.0, seed=0))
    good = to_checkpoint("x", state, None)
    assert torch.equal(from_checkpoint(good, torch.device("cpu"))[0].atoms.numbers, state.atoms.numbers)
    damaged = {"mean": np.zeros((2, 2)), "used": np.zeros((3, 4)), "counts": np.zeros(1)}
    for name, value in damaged.items():
        with pytest.raises(SparseError, match="is damaged"):
            from_checkpoint(Checkpoint("x", good.phase, good.arrays | {f"descent_{name}": value}), torch.device("cpu"))
    with pytest.raises(SparseError, match="is damaged"):
        from_checkpoint(Checkpoint("x", good.phase, {}), torch.device("cpu"))


def test_a_fit_by_descent_is_events_like_any_other():
    result = fit(AUDIO, replace(DESCENT, budget=200))
    events = result.events
    assert result.complete and result.skipped == 0
    assert 0 < events.numbers <= 200 and events.header.settings["method"] == "descent"
    assert np.array_equal(fit(AUDIO, replace(DESCENT, budget=200)).events.params, events.params)
    assert len(fit(Audio(np.zeros((1, 3000), np.float32), RATE), DESCENT).events) == 0


def test_a_descent_can_be_stopped_and_tells_its_loss():
    seen = []
    result = fit(AUDIO, DESCENT, on_progress=lambda progress: seen.append(progress) or len(seen) < 3)
    assert not result.complete and len(seen) == 3 and len(result.events) > 0
    assert all(progress.loss is not None and progress.loss > 0 for progress in seen)
    assert [round(progress.done_s / progress.total_s * 70) for progress in seen] == [10, 20, 30]


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ({"loss": "aim"}, "--loss belongs to --method descent or search\\+descent"),
        ({"sparsity": 0.0}, "--sparsity belongs to"),
        ({"method": "search+descent", "init": "search"}, "--init belongs to --method descent"),
        ({"method": "descent", "snr_db": 10.0}, "--snr belongs to the search"),
        ({"method": "descent", "loss": "stft"}, "'stft' is no loss"),
        ({"method": "descent", "lr": "1e-2,1e-4"}, "--lr 1e-2,1e-4 is no range"),
        ({"method": "descent", "lr": "0..1"}, "--lr 0..1 is no range"),
        ({"method": "descent", "iterations": 0}, "--iterations 0 is out of range"),
    ],
)
def test_settings_that_make_no_sense(given: dict[str, Any], cause: str):
    with pytest.raises(ValueError, match=cause):
        FitSettings(**given)
