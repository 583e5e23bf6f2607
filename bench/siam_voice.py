"""Train the voice of a model on by itself, its eye left as it is.

    python bench/siam_voice.py --model FILE --data DIR --out FILE

The strikes are those of the fits in the folder, transposed and stretched, and as many drawn by chance, as in the scenes
of `sparse train siam`. No sound is made, so that a step takes some milliseconds.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch

from sparsecli.engine.siam_lessons import bank_of
from sparsecli.engine.siam_scenes import draw_strikes
from sparsecli.engine.siam_training import generator_for, spread_out
from sparsecli.io.events_file import load_events
from sparsecli.models.siam import VECTOR
from sparsecli.models.siam_file import load_siam, save_siam

STRIKES = 128  # of either kind in a step
RATE = 1e-3  # of AdamW at first; it falls by half a cosine
AVERAGE = 0.99  # decay of the running mean of the weights, which is what is kept


def main() -> None:
    """Train, tell how it goes, and write the model with the mean of the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder with events of fits")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_siam(arguments.model)
    bank = bank_of([load_events(path) for path in sorted(arguments.data.glob("*.npz"))])
    voice = model.voice.requires_grad_(True)
    mean = {name: value.clone() for name, value in voice.state_dict().items()}
    optimiser = torch.optim.AdamW(voice.parameters(), RATE)
    told = 0.0
    for step in range(arguments.steps):
        draw = generator_for(0, step)
        parts = [spread_out(draw_strikes(STRIKES, draw, source), draw) for source in (bank, None)]
        vectors, volume = voice(torch.cat(parts).float())
        nats = (0.5 * vectors.square().sum(1) - volume).mean() / VECTOR + 0.5 * math.log(2 * math.pi)
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 + math.cos(math.pi * step / arguments.steps)) / 2
        optimiser.zero_grad()
        nats.backward()
        torch.nn.utils.clip_grad_norm_(voice.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            for name, value in voice.state_dict().items():
                mean[name].lerp_(value, 1 - AVERAGE)
        told += float(nats.detach()) / 500
        if step % 500 == 499:
            print(f"step {step + 1}: {told:.3f} nats a number", flush=True)
            told = 0.0
    voice.load_state_dict(mean)
    facts = {"trained_by": "sparse train siam, bench/siam_voice.py"}
    save_siam(arguments.out, model, facts, half=True, overwrite=True)


if __name__ == "__main__":
    main()
