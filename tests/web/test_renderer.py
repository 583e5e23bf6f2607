"""The sound that the page makes is the sound that `sparse render` makes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsecli.core.columns import SILENT_DB
from sparsecli.core.events import Events, with_optional
from sparsecli.dsp.quality import snr_db
from sparsecli.engine.rendering import render
from sparsecli.engine.settings import RenderSettings
from sparsecli.synth.noise import white_noise
from sparsecli.web.scene import pack_scene, unpack_scene

SOUND = ["renderer.js", "scene.js"]

RENDER = """
for (const name of process.argv.slice(2)) {
  const bytes = fs.readFileSync(name);
  const scene = unpackScene(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const about = aboutOf(scene.header);
  const channels = scene.header.channels;
  const out = Array.from({ length: channels }, () => new Float64Array(about.samples));
  for (let e = 0; e < scene.count; e++) {
    const row = scene.rows.subarray(e * scene.width, (e + 1) * scene.width);
    const { begin, sound } = renderEvent(row, ...seedHalves(scene.seed[e]), about);
    gainsOf(row, channels).forEach((gain, channel) => {
      for (let n = 0; n < sound.length; n++) out[channel][begin + n] += gain * sound[n];
    });
  }
  if (scene.airFrames) {
    const size = scene.airFrames * 24;
    for (let channel = 0; channel < channels; channel++) {
      const levels = scene.air.subarray(channel * size, (channel + 1) * size);
      const joint = Math.floor(about.samples / 3); // of two stretches, made apart
      const pieces = [[0, joint], [joint, about.samples]].map((ends) =>
        renderChannelAir(scene.header, levels, channel, ...ends));
      const air = pieces.flatMap((piece) => Array.from(piece));
      for (let n = 0; n < air.length; n++) out[channel][n] += air[n];
    }
  }
  fs.writeFileSync(name + ".f32", Buffer.concat(out.map((x) => Buffer.from(Float32Array.from(x).buffer))));
}
"""
SETS = [
    *((seed, {}) for seed in range(8)),
    *((seed, {"channels": 2}) for seed in range(8, 12)),
    *((seed, {"sample_rate": 22050}) for seed in range(12, 15)),
    (15, {"sample_rate": 48000}),
    (16, {"sample_rate": 48000, "channels": 2}),
    (17, {"sample_rate": 32000}),
    (18, {"sample_rate": 96000}),
    (19, {"sample_rate": 8000}),
]


def js_renderings(run_node: Callable[..., bytes], folder: Path, sets: list[Events]) -> list[np.ndarray]:
    """The sets as the page renders them, float32 `[channels, samples]`, in one run of node."""
    names = [f"{index}.scene" for index in range(len(sets))]
    for name, events in zip(names, sets, strict=True):
        (folder / name).write_bytes(pack_scene(events))
    run_node(SOUND, RENDER, *names)
    found = [np.fromfile(folder / f"{name}.f32", np.float32) for name in names]
    return [sound.reshape(events.header.channels, -1) for sound, events in zip(found, sets, strict=True)]


def without(events: Events, tones: bool = False, noise: bool = False) -> Events:
    """The same events without their tones or their noise."""
    params = events.params.copy()
    silent = [
        index - 1
        for index, name in enumerate(events.columns)
        if "level" in name and ((noise and name.startswith("noise")) or (tones and not name.startswith("noise")))
    ]
    params[:, silent] = SILENT_DB
    air = events.air[:, :0] if noise else events.air
    return replace(events, params=params, air=np.ascontiguousarray(air))


def test_twenty_sets_sound_as_sparse_renders_them(run_node, random_events, tmp_path: Path):
    """Whole, tones alone and noise alone, each to more than 60 dB.

    Measured: 129 dB and more at 44 100 Hz, where what differs is Python's single precision. Elsewhere noise is
    resampled: by whole numbers to 86 dB and more, else, where soxr works in two stages and the page in one, to 67 dB
    and more.
    """
    whole = [random_events(seed, **about) for seed, about in SETS]
    tones = [without(events, noise=True) for events in whole]
    noise = [without(events, tones=True) for events in whole]
    sets = [*whole, *tones, *noise]
    ratios = np.array(
        [
            snr_db(render(events, RenderSettings(device="cpu")).samples, sound)
            for events, sound in zip(sets, js_renderings(run_node, tmp_path, sets), strict=True)
        ]
    ).reshape(3, len(SETS))
    assert ratios.min() > 60, ratios.round(0)
    as_drawn = ["sample_rate" not in about for _, about in SETS]
    assert ratios[:, as_drawn].min() > 120, ratios.round(0)


def test_the_noise_is_the_same_to_the_bit(run_node):
    seeds = [0, 1, 0xDEADBEEFCAFEF00D, (1 << 64) - 1]
    script = f"""
const all = {[str(seed) for seed in seeds]}.flatMap((seed) => {{
  const out = new Float64Array(1000);
  whiteNoise(...seedHalves(BigInt(seed)), 3, out);
  return Array.from(Float32Array.from(out));
}});
process.stdout.write(Buffer.from(Float32Array.from(all).buffer));
"""
    found = np.frombuffer(run_node(SOUND, script), np.float32).reshape(4, 1000)
    bits = torch.tensor(np.array(seeds, np.uint64).view(np.int64))
    np.testing.assert_array_equal(found, white_noise(bits, 3, 1000).numpy())


def test_scenes_survive_the_way_there_and_back(run_node, random_events, tmp_path: Path):
    events = random_events(3, channels=2)
    (tmp_path / "a.scene").write_bytes(pack_scene(events))
    script = """
const bytes = fs.readFileSync("a.scene");
const scene = unpackScene(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
process.stdout.write(Buffer.from(packScene(scene)));
"""
    back = unpack_scene(run_node(SOUND, script))
    assert back.header == events.header
    for name in ("onset_s", "params", "note", "id", "noise_seed", "air"):
        np.testing.assert_array_equal(getattr(back, name), getattr(events, name))
    with pytest.raises(AssertionError):  # the comparison would see one number that differs
        np.testing.assert_array_equal(back.onset_s, events.onset_s + 1e-12)


@pytest.mark.parametrize("channels", [1, 2])
def test_shares_of_a_room_are_kept_and_not_heard(run_node, random_events, tmp_path: Path, channels: int):
    events = with_optional(random_events(5, channels=channels), ["wet"])
    params = events.params.copy()
    params[:, events.columns.index("wet") - 1] = np.linspace(0, 1, len(events), dtype=np.float32)
    events = replace(events, params=params)
    back = unpack_scene(pack_scene(events))
    assert back.header == events.header and back.columns[-1] == "wet"
    np.testing.assert_array_equal(back.params, params)
    (found,) = js_renderings(run_node, tmp_path, [events])
    assert snr_db(render(events, RenderSettings(device="cpu")).samples, found) > 120


def test_numbers_typed_in_are_held_to_the_limits_of_their_column(run_node):
    """In one channel `wet` stands where `pan` stands in two."""
    script = """
const set = (column, value, name) => {
  const row = new Float64Array(18);
  setNumber(row, column, value, name);
  return row[column];
};
const found = [set(16, -2, "pan"), set(16, 2, "pan"), set(16, -2, "wet"), set(17, 2, "wet"), set(17, 0.25, "wet")];
process.stdout.write(JSON.stringify(found));
"""
    assert json.loads(run_node(["edits.js"], script)) == [-1, 1, 0, 1, 0.25]


MIX = """
globalThis.performance ??= { now: () => Date.now() };
const bytes = fs.readFileSync("a.scene");
const scene = unpackScene(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const seeds = Float64Array.from(Array.from(scene.seed).flatMap((seed) => seedHalves(seed)));
const some = (from, to) => ({
  values: scene.rows.slice(from * scene.width, to * scene.width), seeds: seeds.slice(2 * from, 2 * to),
  count: to - from, width: scene.width,
});
const heard = Array.from({ length: scene.header.channels }, () => new Float32Array(aboutOf(scene.header).samples));
let answered = [];
const mixer = new Mixer(scene.header, scene.air, scene.airFrames, ({ begin, channels, tickets }) => {
  answered.push(...tickets);
  channels.forEach((channel, index) => heard[index].set(channel, begin));
});
mixer.change(some(0, 0), some(0, 6), true, 0);
mixer.change(some(0, 3), some(6, 12), false, 1); // while the whole is being mixed: some it has not come to yet
mixer.change(some(0, 0), some(0, 3), false, 2);
if (process.argv[2] === "anew") mixer.change(some(0, 0), some(0, 12), true, 3); // what still waits is part of it
// How many slices that takes is the machine's affair: what has been told is looked at when nothing is left to do.
process.once("beforeExit", () => {
  fs.writeFileSync("answered.json", JSON.stringify(answered));
  process.stdout.write(Buffer.concat(heard.map((x) => Buffer.from(x.buffer))));
});
"""


@pytest.mark.parametrize(("way", "wishes"), [("on", [0, 1, 2]), ("anew", [0, 1, 2, 3])])
def test_edits_while_the_whole_is_mixed_add_up(run_node, random_events, tmp_path: Path, way: str, wishes: list[int]):
    """Taken out before they were in, put in twice: what is told is the sum of what is meant, and each wish answered."""
    events = random_events(4, channels=2)
    events = events.take(np.argsort(events.onset_s))
    (tmp_path / "a.scene").write_bytes(pack_scene(events))
    found = np.frombuffer(run_node(["mixer.js", *SOUND], MIX, way), np.float32).reshape(2, -1)
    assert snr_db(render(events, RenderSettings(device="cpu")).samples, found) > 120
    assert sorted(json.loads((tmp_path / "answered.json").read_text())) == wishes
