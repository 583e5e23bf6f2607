"""How well SIAM finds strikes that are known: onsets, frequencies and decays in scenes of the own renderer.

python bench/siam_truth.py
"""

from __future__ import annotations

import math

import numpy as np
import torch
from page import make_parser, table, write_page

from sparsecli.engine import siam_bands
from sparsecli.engine.modal import Atoms
from sparsecli.engine.siam import SiamLimits, pick_atoms
from sparsecli.engine.siam_scenes import SCENE_S, draw_scene
from sparsecli.engine.siam_training import generator_for
from sparsecli.models.finding import open_model
from sparsecli.models.siam import Siam

SEED = 1 << 51  # apart from what training draws
SCENES, MOST = 20, 40  # scenes of more strikes are left out: so many tones are told apart by chance
NEAR_HZ, NEAR_S = 8.0, 0.1  # within which a tone may be the one that is sought
HEAD = ("", "found", "onset late ms", "onset off ms", "frequency off Hz", "decay off octaves", "SNR dB")


def errors_of(truth: Atoms, found: Atoms, rate: int) -> tuple[int, list[tuple[float, float, float]]]:
    """How many strikes there are, and of those found the errors of onset in s, frequency in Hz and decay in octaves."""
    sought, errors = 0, []
    for row in range(truth.onset.shape[1]):
        tone, onset = int(truth.amp[0, row].abs().argmax()), float(truth.onset[0, row])
        if not 0 <= onset < (SCENE_S - 0.2) * rate:
            continue
        sought += 1
        apart_hz = (found.omega[0] - truth.omega[0, row, tone]).abs() * rate / (2 * math.pi)  # [A, 4]
        apart_s = (found.onset[0, :, None] - onset) / rate
        near = (apart_hz < NEAR_HZ) & (apart_s.abs() < NEAR_S) & found.used[0]
        if bool(near.any()):
            best = int(torch.where(near, found.amp[0].abs(), 0.0).argmax())
            octaves = (found.log_damping[0, best // 4] - truth.log_damping[0, row]) / math.log(2)
            errors.append((float(apart_s[best // 4, 0]), float(apart_hz.flatten()[best]), abs(float(octaves))))
    return sought, errors


def measure(model: Siam, steps: int) -> list[str]:
    """A row after the name."""
    siam_bands.STEPS = steps
    sought, errors, snr_db = 0, list[tuple[float, float, float]](), list[float]()
    for index in range(SCENES):
        scene = draw_scene(model.shape, generator_for(SEED, index))
        assert scene.atoms is not None
        count = scene.atoms.onset.shape[1]
        if count > MOST:
            continue
        told = [0.0]
        limits = SiamLimits(2 * count)
        with torch.no_grad():
            found, _ = pick_atoms(model, scene.samples, limits, lambda _, snr, told=told: told.append(snr) or True)
        own, off = errors_of(scene.atoms, found, model.shape.sample_rate)
        sought, errors = sought + own, errors + off
        snr_db.append(told[-1])
    late_s, off_hz, octaves = np.array(errors).T
    return [
        f"{len(errors)} of {sought}", f"{1000 * np.median(late_s):.1f}", f"{1000 * np.median(np.abs(late_s)):.1f}",
        f"{np.median(off_hz):.3f}", f"{np.median(octaves):.2f}", f"{np.mean(snr_db):.1f}",
    ]  # fmt: skip


def main() -> None:
    """Measure both models and write the page."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", help="a model; default: that of the package")
    arguments = parser.parse_args()
    trained = open_model(arguments.model).siam
    chance, steps = Siam(trained.shape).requires_grad_(False), siam_bands.STEPS
    rows = []
    for name, model in (("one shape for all peaks", chance), ("the trained eye", trained)):
        for sharpened in (0, steps):
            rows.append([f"{name}, {sharpened} steps", *measure(model, sharpened)])
            print(*rows[-1], flush=True)
    write_page(
        __file__,
        arguments,
        "Known strikes found by SIAM",
        f"Scenes of {SCENE_S:g} s with up to {MOST} strikes of chance over noise, which training did not draw; "
        f"twice as many events are allowed. A strike is found where an event within {NEAR_S:g} s has a tone within "
        f"{NEAR_HZ:g} Hz of its loudest. Errors are medians over those found; the SNR is before the last solving of "
        "amplitudes.",
        table(HEAD, rows),
    )


if __name__ == "__main__":
    main()
