from __future__ import annotations

import numpy as np
import pytest

from sparsecli.engine.dictionaries import FAMILIES, WINDOWS, build_dictionary, parse_dictionary

from ..oracle.matching import atoms_slowly


def test_a_text_names_families_and_their_windows():
    assert parse_dictionary("gabor") == [("gabor", WINDOWS)]
    assert parse_dictionary("damped:4096,64 + dirac") == [("damped", (64, 4096)), ("dirac", (1,))]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("wavelet", "there is no dictionary 'wavelet'; there are gabor, chirp, damped, cosine, dirac"),
        ("", "there is no dictionary ''"),
        ("gabor:500", "a window of 500; windows are powers of two from 16 to 65536 samples"),
        ("gabor:8", "a window of 8"),
        ("gabor:", "a window of nothing"),
        ("gabor:-512", "a window of -512"),
        ("gabor:512+gabor:1024", "gabor is named twice"),
        ("dirac:1", "dirac has no windows"),
    ],
)
def test_what_is_no_dictionary(text: str, cause: str):
    with pytest.raises(ValueError, match=f"--dictionary .*{cause}"):
        parse_dictionary(text)


@pytest.mark.parametrize("family", FAMILIES)
def test_windows_have_energy_1_and_conjugate_partners(family: str):
    blocks = build_dictionary(family).blocks
    for block in blocks:
        assert (np.abs(block.window) ** 2).sum() == pytest.approx(1)
        np.testing.assert_allclose(blocks[block.partner].window, block.window.conj(), atol=1e-15)
        assert block.partner in range(len(blocks)) and blocks[block.partner].length == block.length


@pytest.mark.parametrize("family", ["gabor", "damped", "chirp", "dirac"])
def test_weights_are_those_of_the_projection_on_a_pair_of_conjugates(family: str):
    """At every frequency, 0 Hz and half the rate too: the energy is |projection of x on span(Re g, Im g)|^2."""
    text = family if family == "dirac" else f"{family}:64"
    dictionary = build_dictionary(text)
    x = np.random.default_rng(0).standard_normal(1 + 2 * dictionary.longest)
    for (index, place, k), basis in atoms_slowly(dictionary, 1):
        block = dictionary.blocks[index]
        u = np.arange(block.start, block.start + block.length)
        c = np.vdot(block.window * np.exp(2j * np.pi * block.freqs[k] * u), x[dictionary.longest + place + u])
        a, b, both = block.weights[:, k]
        energy = a * c.real**2 + b * c.imag**2 + both * c.real * c.imag
        assert energy == pytest.approx(((x @ basis) ** 2).sum(), rel=1e-9)


def test_modified_cosines_of_one_window_are_an_orthonormal_basis():
    """The transform of Princen and Bradley: alias cancels between neighbours."""
    dictionary, samples = build_dictionary("cosine:32"), 128
    bases = np.stack([basis[:, 0] for _, basis in atoms_slowly(dictionary, samples)])
    np.testing.assert_allclose(bases @ bases.T, np.eye(len(bases)), atol=1e-12)
    x = np.random.default_rng(1).standard_normal(samples + 64)
    x[:32] = x[-32:] = 0
    np.testing.assert_allclose(bases.T @ (bases @ x), x, atol=1e-12)
