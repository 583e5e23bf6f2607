"""The networks of SIAM: a voice that can be undone, and what sixteen numbers mean."""

from __future__ import annotations

import math

import pytest
import torch

from sparsecli.core.columns import ATOM_COLUMNS, SILENT_DB
from sparsecli.models.siam import (
    HIGHEST,
    LOOKS_AT,
    LOWEST,
    MEAN,
    PLAIN_SHAPE,
    SPREAD,
    VECTOR,
    Siam,
    SiamShape,
    Strikes,
    coordinates_of,
    strikes_of,
)

SMALL = SiamShape(scales=(256, 1024), width=8, voice_width=8, voice_depth=4)


@pytest.fixture(scope="module")
def trained() -> Siam:
    """A model whose weights are not those of chance: its voice is far from plain."""
    torch.manual_seed(1)
    model = Siam(SMALL)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model.eval().requires_grad_(False)


def normal(events: int) -> torch.Tensor:
    return torch.randn(events, VECTOR, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_the_voice_can_be_undone(trained: Siam):
    vectors = normal(200)
    back = trained.voice(trained.voice.inverse(vectors))[0]
    assert float((trained.voice(vectors)[0] - vectors).abs().mean()) > 0.1  # it does something
    torch.testing.assert_close(back, vectors, rtol=0, atol=1e-9)


def test_the_volume_is_that_of_the_slopes(trained: Siam):
    coordinates = normal(3)
    volume = trained.voice(coordinates)[1]
    for row in range(3):
        slopes = torch.autograd.functional.jacobian(lambda x: trained.voice(x[None])[0][0], coordinates[row])
        torch.testing.assert_close(volume[row], torch.linalg.slogdet(slopes)[1], rtol=0, atol=1e-9)


def test_vectors_hold_strikes_to_the_precision_of_a_file(trained: Siam):
    strikes = strikes_of(0.8 * normal(300))
    heard = trained.decode(trained.encode(strikes).float())
    used = strikes.level_db > SILENT_DB
    assert torch.equal(heard.level_db > SILENT_DB, used)
    # float32 has 2^-24 of each number; the voice of this test and the logarithms magnify that at most some 100 times.
    torch.testing.assert_close(heard.freq_hz, strikes.freq_hz, rtol=2e-5, atol=0)
    torch.testing.assert_close(heard.attack_s, strikes.attack_s, rtol=2e-5, atol=0)
    torch.testing.assert_close(heard.decay_s, strikes.decay_s, rtol=2e-5, atol=0)
    torch.testing.assert_close(heard.level_db[used], strikes.level_db[used], rtol=0, atol=1e-3)
    turned = torch.remainder(heard.phase_rad - strikes.phase_rad + math.pi, 2 * math.pi) - math.pi
    assert float(turned[used].abs().max()) < 1e-3


def test_chance_weights_mean_the_plain_coordinates():
    plain = Siam(SMALL).requires_grad_(False)
    strikes = plain.decode(torch.zeros(1, VECTOR))
    assert float(strikes.attack_s) == pytest.approx(0.01)
    assert float(strikes.decay_s) == pytest.approx(1.2)
    assert float(strikes.freq_hz[0, 0]) == pytest.approx(600.0)
    assert strikes.phase_rad.flatten().tolist() == pytest.approx([math.pi] * 4)
    one_more = torch.zeros(1, VECTOR)
    one_more[0, 2] = 1.0  # one deviation of ln freq1, which takes all tones along
    ratio = float(plain.decode(one_more).freq_hz[0, 3] / strikes.freq_hz[0, 3])
    assert ratio == pytest.approx(math.exp(SPREAD[2]))


def test_any_numbers_are_a_strike_that_an_atom_can_hold(trained: Siam):
    columns = {column.name: column for column in ATOM_COLUMNS}
    for vectors in (normal(500), 50 * normal(100), torch.full((1, VECTOR), 1e6), torch.full((1, VECTOR), -1e6)):
        strikes = trained.decode(vectors)
        for name in ("attack_s", "decay_s"):
            values = getattr(strikes, name)
            assert bool(((values >= columns[name].low) & (values <= columns[name].high)).all())
        assert bool(strikes.freq_hz.isfinite().all())
        assert bool((strikes.level_db[:, 0] == 0).all())  # the gain is the level of the loudest
        assert bool((strikes.level_db.diff(dim=1) <= 0).all())


def test_coordinates_are_bounded_and_told_in_sixteen():
    assert len(MEAN) == len(SPREAD) == len(LOWEST) == len(HIGHEST) == VECTOR
    extreme = Strikes(
        attack_s=torch.tensor([1e-9, 1e9]).double(),
        decay_s=torch.tensor([0.0, 1e9]).double(),
        freq_hz=torch.tensor([[0.0] * 4, [1e9] * 4]).double(),
        level_db=torch.tensor([[0.0] + [SILENT_DB] * 3, [0.0] * 4]).double(),
        phase_rad=torch.tensor([[-100.0] * 4, [100.0] * 4]).double(),
        noise_level_db=torch.tensor([SILENT_DB, 200.0]).double(),
        noise_hz=torch.tensor([0.0, 1e9]).double(),
        noise_decay_s=torch.tensor([0.0, 1e9]).double(),
    )
    plain = coordinates_of(extreme)
    assert plain.shape == (2, VECTOR)
    assert bool((plain.abs() < 12).all())


def test_an_eye_of_chance_weights_says_the_plain_shape():
    bands = torch.randn(5, LOOKS_AT, dtype=torch.complex64)
    said = Siam(SMALL).eye(bands, torch.zeros(5, 2)).detach()
    assert said[3].tolist() == pytest.approx(PLAIN_SHAPE)


@pytest.mark.parametrize(
    "sizes",
    [
        {"width": 0},
        {"depth": -1},
        {"sample_rate": 10},
        {"width": 2.5},
        {"scales": ()},
        {"scales": (100,)},
        {"scales": (1 << 20,)},
    ],
)
def test_sizes_that_are_none_are_refused(sizes: dict[str, object]):
    with pytest.raises(ValueError, match=next(iter(sizes))):
        SiamShape(**sizes)  # type: ignore[arg-type]


def test_sizes_survive_a_file_and_others_are_refused():
    assert SiamShape.from_json(SMALL.to_json()) == SMALL
    for wrong in ([], {"width": 8}, {**SMALL.to_json(), "more": 1}, {**SMALL.to_json(), "scales": 256}):
        with pytest.raises(ValueError, match="sizes are needed"):
            SiamShape.from_json(wrong)
