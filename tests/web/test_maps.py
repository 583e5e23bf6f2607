"""What the page reckons beside sound: maps, numbers as text, and chance."""

from __future__ import annotations

import json

import numpy as np
import pytest


def test_pca_is_that_of_the_singular_values(run_node):
    chance = np.random.default_rng(0)
    features = chance.standard_normal((60, 5)) * [5, 3, 1, 0.5, 0.1] @ np.linalg.qr(chance.standard_normal((5, 5)))[0]
    features -= features.mean(0)
    script = f"process.stdout.write(JSON.stringify([...pca(Float64Array.from({features.ravel().tolist()}), 60, 5)]));"
    places = np.array(json.loads(run_node(["pca.js"], script))).reshape(60, 2)
    left, sizes, _ = np.linalg.svd(features, full_matrices=False)
    wanted = left[:, :2] * sizes[:2]
    signs = np.sign(np.sum(places * wanted, axis=0))
    np.testing.assert_allclose(places * signs, wanted, atol=1e-6 * sizes[0])


def test_tsne_keeps_neighbours_together(run_node):
    """Three heaps in ten dimensions: the nearest on the map is of one's own heap."""
    chance = np.random.default_rng(1)
    heap = np.repeat(np.arange(3), 20)
    features = 6 * np.eye(3, 10)[heap] + chance.standard_normal((60, 10))
    features = (features - features.mean(0)) / features.std()
    script = f"process.stdout.write(JSON.stringify([...tsne(Float64Array.from({features.ravel().tolist()}), 60, 10)]));"
    places = np.array(json.loads(run_node(["tsne.js"], script))).reshape(60, 2)
    assert np.isfinite(places).all()
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.diag(np.full(60, np.inf))
    assert np.mean(heap[distance.argmin(1)] == heap) > 0.95


def test_numbers_as_text_give_back_the_same_singles(run_node):
    bits = np.random.default_rng(2).integers(0, 1 << 32, 20_000, dtype=np.uint64).astype(np.uint32)
    singles = bits.view(np.float32)
    singles = np.r_[singles[np.isfinite(singles)], np.float32([0, 440, -200, 0.1, 1e-38, 3.4e38])]
    script = f"process.stdout.write(JSON.stringify({[float(x) for x in singles]}.map(shortest)));"
    texts = json.loads(run_node(["exports.js"], script))
    np.testing.assert_array_equal(np.array([float(text) for text in texts], np.float32), singles)
    digits = [len(text.partition("e")[0].replace(".", "").strip("-0")) for text in texts]
    assert texts[-3] == "0.1" and max(digits) == 9  # what a single needs at most


@pytest.mark.parametrize("seed", [1, 2])
def test_chance_is_even_normal_and_repeatable(run_node, seed: int):
    script = f"""
const draw = (kind) => {{
  const chance = new Chance({seed});
  return Array.from({{ length: 4000 }}, () => chance[kind]());
}};
const order = new Chance({seed}).order(50);
process.stdout.write(JSON.stringify([draw("even"), draw("normal"), draw("even"), order]));
"""
    even, normal, again, order = json.loads(run_node(["chance.js"], script))
    assert even == again and sorted(order) == list(range(50)) and order != sorted(order)
    # Four standard errors of 4000 draws.
    assert abs(np.mean(even) - 0.5) < 4 * np.sqrt(1 / 12 / 4000) and 0 < min(even) < max(even) < 1
    assert abs(np.mean(normal)) < 4 / np.sqrt(4000) and abs(np.var(normal) - 1) < 4 * np.sqrt(2 / 4000)
