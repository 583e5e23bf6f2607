from __future__ import annotations

import itertools
import math
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from sparsecli.core.columns import NEPERS_PER_T60
from sparsecli.engine import pursuit, sweeping
from sparsecli.engine import state as state_module
from sparsecli.engine.modal import BLOCK, Atoms, Basis, no_atoms
from sparsecli.engine.pursuit import pursue
from sparsecli.engine.settings import EFFORTS, FitSettings, Quality
from sparsecli.engine.state import MARGIN, Problem, State, accept, apart, begun, count_numbers, make_stretches, turns
from sparsecli.synth.modes import envelope_peak

RATE = 8000


def planted(onsets: list[float], freqs_hz: list[list[float]], decays: list[float]) -> Atoms:
    """Atoms struck alike, of so many modes each."""
    atoms = no_atoms(1, len(onsets))
    for row, freqs in enumerate(freqs_hz):
        atoms.used[0, row, : len(freqs)] = True
        atoms.omega[0, row, : len(freqs)] = torch.tensor([2 * math.pi * freq / RATE for freq in freqs])
    turn = torch.arange(atoms.omega.numel(), dtype=torch.float64).view_as(atoms.omega)
    return replace(
        atoms,
        onset=torch.tensor([onsets], dtype=torch.float64),
        log_attack=torch.full((1, len(onsets)), math.log(20.0), dtype=torch.float64),
        log_damping=-torch.tensor([decays], dtype=torch.float64).log(),
        amp=torch.polar(torch.full_like(turn, 0.3), turn) * atoms.used,
    )


def sound(atoms: Atoms, samples: int) -> Tensor:
    return Basis(atoms, -(-samples // BLOCK)).render().flatten()[:samples]


def snr_db(reference: Tensor, estimate: Tensor) -> float:
    return float(10 * torch.log10(reference.square().sum() / (reference - estimate).square().sum()))


def noise(samples: int, seed: int) -> Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def count(atoms: Atoms) -> int:
    return int(atoms.present.sum())


def settings(**changes: object) -> FitSettings:
    return replace(FitSettings(bandwidth_hz=RATE / 2), **changes)  # type: ignore[arg-type]


def go_on(share: float, atoms: int, snr: float) -> bool:
    return True


UNLIMITED = 1 << 62
EIGHT = planted(
    [100.0 + 900 * k for k in range(8)], [[300.0 + 250 * k] for k in range(8)], [800.0] * 8
)  # one after the other


@pytest.mark.parametrize(("number", "modes"), [(1, 1), (2, 1), (4, 1), (1, 4), (3, 3)])
def test_finds_planted_atoms(number: int, modes: int):
    freqs = [[440.0, 910.3, 1500.0, 3303.0], [700.0, 1711.0, 2502.0], [1234.0, 380.0, 2900.0], [2000.0]]
    onsets, decays = [500.0, 1800.3, 3000.7, 4200.0], [600.0, 300.0, 900.0, 400.0]
    target = sound(planted(onsets[:number], [f[:modes] for f in freqs[:number]], decays[:number]), 8000)
    found = pursue(target, RATE, settings(atoms=4 * number), UNLIMITED, go_on)
    assert snr_db(target, sound(found, 8000)) > 35
    peak = envelope_peak(found.log_attack.exp(), NEPERS_PER_T60 / found.log_damping.exp())
    heard = (found.amp.abs() * peak[..., None])[0]
    strongest = found.omega[0][heard == heard.max()] * RATE / (2 * math.pi)
    assert any(abs(float(strongest[0]) - freq) < 1 for part in freqs[:number] for freq in part[:modes])
    assert float(heard.max()) < 0.5  # planted with 0.3: no pairs that cancel each other


@pytest.mark.parametrize("rate", [40, 1000, 3000, 8000, 22_050, 44_100])
def test_stretches_cover_a_recording_and_their_windows_do_not_touch(rate: int):
    for samples in (1, 100, 11_890, 20_000, 100_001, 1_000_000):
        stretches = make_stretches(samples, rate)
        assert stretches[0].begin == 0 and stretches[-1].end == -(-samples // BLOCK)
        assert all(a.end == b.begin for a, b in itertools.pairwise(stretches))
        assert all(s.low <= s.begin <= s.end <= s.high for s in stretches)
        if rate * 1.486 > 4 * MARGIN * BLOCK:
            assert all(b.high >= a.high >= min(b.begin + 1, b.end) for a, b in itertools.pairwise(stretches))
        groups = apart(stretches)
        assert sorted(itertools.chain(*groups)) == list(range(len(stretches)))
        for group in groups:
            assert all(stretches[a].high <= stretches[b].low for a, b in itertools.pairwise(group))
        if rate >= 8000 and len(stretches) > 1:
            assert {b - a for group in groups for a, b in itertools.pairwise(group)} <= {2}


def test_no_more_atoms_and_numbers_than_allowed():
    target = noise(12_000, 1)
    few = pursue(target, RATE, settings(atoms=3), UNLIMITED, go_on)
    assert 0 < count(few) <= 3
    cheap = pursue(target, RATE, settings(budget=1000), 50, go_on)
    assert 0 < count_numbers(cheap) <= 50
    assert count_numbers(pursue(target, RATE, settings(budget=1000), -5, go_on)) == 0


def test_an_snr_goal_ends_the_fit_early():
    target = sound(EIGHT, 8000)
    some = pursue(target, RATE, settings(atoms=40, snr_db=6), UNLIMITED, go_on)
    more = pursue(target, RATE, settings(atoms=40), UNLIMITED, go_on)
    assert count(some) < count(more)
    assert snr_db(target, sound(some, 8000)) >= 6


@pytest.mark.parametrize("quality", ["fast", "normal"])
def test_the_share_that_is_done_only_grows(quality: Quality):
    """Also while density control takes atoms away again; all is done when it comes back, and not before."""
    shares: list[float] = []

    def note(share: float, atoms: int, snr: float) -> bool:
        shares.append(share)
        return True

    pursue(noise(6000, 1), RATE, replace(settings(atoms=6), quality=quality), UNLIMITED, note)
    assert 0 < shares[0] < 0.5 and shares[0] < shares[len(shares) // 2] < shares[-1] < 1
    assert shares == sorted(shares)


def test_the_watcher_can_stop_it_and_keeps_what_is_found():
    target = sound(EIGHT, 8000)
    for last in (1, 3):
        seen: list[tuple[int, float]] = []

        def stop(share: float, atoms: int, snr: float, seen: list[tuple[int, float]] = seen, last: int = last) -> bool:
            seen.append((atoms, snr))
            return len(seen) < last

        found = pursue(target, RATE, settings(atoms=40), UNLIMITED, stop)
        assert len(seen) == last
        assert 0 < count(found) <= seen[-1][0]
        assert snr_db(target, sound(found, 8000)) > seen[-1][1] - 0.5  # what pruning costs


@pytest.mark.parametrize("samples", [0, 1, 63])
def test_too_short_or_silent_recordings_have_no_atoms(samples: int):
    assert count(pursue(torch.ones(samples, dtype=torch.float64), RATE, FitSettings(), UNLIMITED, go_on)) == 0
    assert count(pursue(torch.zeros(4000, dtype=torch.float64), RATE, FitSettings(), UNLIMITED, go_on)) == 0


@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("rate", [1000, RATE])
def test_the_residual_is_what_the_atoms_leave(rate: int, batch: int, monkeypatch: pytest.MonkeyPatch):
    """However the stretches were worked side by side, over many of them and with tails that cross several."""
    monkeypatch.setattr(sweeping, "CHUNK_ATOMS", batch)
    samples, states = 7 * rate, []
    ringing = torch.sin(0.35 * torch.arange(samples)) * torch.exp(-torch.arange(samples) / (2.0 * rate))
    target = ringing.double() + 0.05 * noise(samples, 3)

    def spy(phase: int, state: State) -> None:
        states.append(state.copy())

    pursue(target, rate, replace(settings(atoms=3), bandwidth_hz=rate / 2), UNLIMITED, go_on, spy)
    assert len(states[-1].atoms) >= 4
    for state in states[:: max(1, len(states) // 12)] + states[-1:]:
        blocks = len(state.residual)
        heard = sum((Basis(atoms, blocks).render()[0] for atoms in state.atoms), torch.zeros(blocks, BLOCK).double())
        left = target - heard.flatten()[:samples]
        assert float((left - state.residual.flatten()[:samples]).norm()) < 1e-4 * float(target.norm())  # tails end
        assert not state.residual.flatten()[samples:].any()


def test_a_tone_that_crosses_stretches_leaves_no_seam():
    """One long decay over four stretches: the error around the boundaries is no higher than elsewhere."""
    samples = 48_000
    ringing = sound(planted([4000.0], [[440.0]], [9000.0]), samples)
    struck = sound(planted([9000.0, 21_000.0, 33_000.0], [[610.0], [830.0], [510.0]], [2000.0] * 3), samples)
    target = ringing + struck
    assert len(make_stretches(samples, RATE)) == 4
    found = pursue(target, RATE, settings(atoms=4), UNLIMITED, go_on)
    error = (target - sound(found, samples)).square()
    assert 10 * math.log10(float(target.square().sum() / error.sum())) > 30
    boundaries = [stretch.begin * BLOCK for stretch in make_stretches(samples, RATE)[1:]]
    reach = MARGIN * BLOCK // 4
    near = torch.cat([error[b - reach : b + reach] for b in boundaries]).mean()
    assert float(near) < 10 * float(error.mean()) + 1e-12


def test_density_control_is_worth_its_numbers(monkeypatch: pytest.MonkeyPatch):
    """At the same budget, dropping what growth took in vain and spending it anew leaves less of the recording."""
    freqs = [[300.0 + 170 * k, 610.0 + 90 * k, 1505.0 + 60 * k] for k in range(16)]
    target = sound(planted([700.0 * k for k in range(16)], freqs, [300.0 + 150 * k for k in range(16)]), 12_000)
    reached = []
    for times in (0, 1):
        monkeypatch.setitem(EFFORTS, "normal", replace(EFFORTS["normal"], relocations=times))
        found = pursue(target, RATE, settings(budget=256), 192, go_on)
        assert 189 < count_numbers(found) <= 192
        reached.append(snr_db(target, sound(found, 12_000)))
    assert reached[1] > reached[0] + 0.1


def test_atoms_too_many_to_be_stepped_together_are_stepped_in_turns(monkeypatch: pytest.MonkeyPatch):
    """Each atom comes once, whether it is taken or left, and the fit is about as good."""
    target = sound(EIGHT, 24_000) + 0.1 * noise(24_000, 1)
    together = pursue(target, RATE, settings(atoms=6), UNLIMITED, go_on)
    monkeypatch.setattr(state_module, "TOGETHER", 2)
    apart_ = pursue(target, RATE, settings(atoms=6), UNLIMITED, go_on)
    assert count(apart_) == count(together)
    reached = [snr_db(target, sound(found, 24_000)) for found in (together, apart_)]
    assert reached[1] > reached[0] - 0.5


def swaying(seconds: float) -> Tensor:
    """Notes with vibrato under a swell, which modes describe that nearly cancel each other."""
    t = torch.arange(int(seconds * RATE), dtype=torch.float64) / RATE
    out = 1e-4 * noise(len(t), 5)
    for onset, freq in ((0.1, 220.0), (1.7, 262.0), (3.2, 196.0)):
        u = t - onset
        swell = torch.where((u > 0) & (u < 1.5), torch.sin(math.pi * u / 1.5).clamp(min=0).sqrt(), 0.0)
        phase = 2 * math.pi * freq * (u + 0.004 / 5.5 * torch.sin(2 * math.pi * 5.5 * u))
        out = out + sum((0.1 * swell * torch.sin(h * phase + h) / h**1.3 for h in range(1, 7)), torch.zeros_like(t))
    return out


def test_dropping_modes_costs_no_more_than_they_explain():
    """What a mode explains is worked out for the time when the others are solved again, however they cancel it."""
    target, reached = swaying(5.0), {}

    def spy(phase: int, state: State) -> None:
        modes = sum(int(atoms.used.sum()) for atoms in state.atoms)
        reached[phase] = (modes, snr_db(target, target - state.residual.flatten()[: len(target)]))

    pursue(target, RATE, settings(atoms=40), UNLIMITED, go_on, spy, plan=[pursuit._grown(1.0), pursuit._pruned])
    (modes, grown), (fewer, pruned) = reached[1], reached[2]
    assert grown > 20 and fewer <= modes
    assert pruned > grown - 1


@pytest.mark.parametrize("taken", [True, False])
def test_every_atom_has_its_turn(taken: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(state_module, "TOGETHER", 3)
    stretches = make_stretches(3 * 12_000, RATE)
    problem = Problem(36_000, RATE, 1.0, stretches, settings())
    counts = [8, 0, 4][: len(stretches)]
    state = begun(
        torch.zeros(282, BLOCK, dtype=torch.float64),
        [
            planted(
                [float(s.begin * BLOCK + (37 * k) % 80) for k in range(n)], [[400.0 + k] for k in range(n)], [90.0] * n
            )
            for s, n in zip(stretches, counts, strict=True)
        ],
    )
    seen: dict[int, list[float]] = {index: [] for index in range(len(stretches))}
    for changes in turns(problem, state):
        for change in changes:
            assert 0 < change.old.onset.shape[1] <= 3
            assert change.still.onset.shape[1] + change.old.onset.shape[1] == counts[change.index]
            seen[change.index] += change.old.omega[0, :, 0].tolist()
            if taken:
                stretch = stretches[change.index]
                accept(problem, state, change, torch.zeros(stretch.high - stretch.low, BLOCK))
    for index, n in enumerate(counts):
        assert sorted(seen[index]) == pytest.approx([2 * math.pi * (400.0 + k) / RATE for k in range(n)], rel=1e-6)


def test_the_same_input_gives_the_same_atoms():
    first, second = (pursue(noise(12_000, 2), RATE, settings(atoms=4), UNLIMITED, go_on) for _ in range(2))
    assert count(first) > 0
    assert all(torch.equal(getattr(first, field.name), getattr(second, field.name)) for field in fields(Atoms))
