// Files from what is heard: events as JSON, audio as WAV; the server makes NPZ and MIDI.

import { packScene } from "./scene.js";

// The events that are heard, as a scene. Muted ones are left out: a file has no such flag.
// After an edit the header says neither what `sparse edit` did before nor what quality a fit had reached.
// With `silent`, what is muted is there too.
export function heardScene(session, silent = false) {
  const { table, scene } = session;
  const rows = session.aliveRows().filter((e) => silent || session.isAudible(e));
  const order = rows.sort((a, b) => table.get(a, 0) - table.get(b, 0) || a - b);
  const untouched = order.length === scene.count && !session.edited;
  const { edits, ...header } = scene.header;
  const values = new Float64Array(order.length * table.width);
  order.forEach((e, k) => values.set(table.row(e), k * table.width));
  return {
    ...scene,
    header: untouched ? scene.header : { ...header, quality: {} },
    count: order.length,
    rows: values,
    note: Int32Array.from(order, (e) => table.note[e]),
    id: BigInt64Array.from(order, (e) => table.id[e]),
    seed: BigUint64Array.from(order, (e) => table.seed[e]),
  };
}

// The shortest decimals that give back the same single.
export function shortest(value) {
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 24) return value.toFixed(1);
  for (let digits = 6; digits < 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return String(Number(text));
  }
  return String(Number(value.toPrecision(9)));
}

// An events file as JSON, one event a line, as sparsecli/io/events_json.py writes it.
export function toJson(scene, units) {
  const labels = ["note", "id", "noise_seed"];
  const columns = [...scene.columns, ...labels].map((name) => JSON.stringify({ name, unit: units[name] ?? "" }));
  const lines = [];
  for (let e = 0; e < scene.count; e++) {
    const row = scene.rows.subarray(e * scene.width, (e + 1) * scene.width);
    const numbers = Array.from(row, (value, c) => (c ? shortest(value) : String(value)));
    lines.push(`[${[...numbers, scene.note[e], scene.id[e], scene.seed[e]].join(", ")}]`);
  }
  const channels = Array.from({ length: scene.header.channels }, (_, channel) => {
    const frames = Array.from({ length: scene.airFrames }, (_, frame) => {
      const start = (channel * scene.airFrames + frame) * 24; // bands
      return `[${Array.from(scene.air.subarray(start, start + 24), shortest).join(", ")}]`;
    });
    return frames.length ? `[\n${frames.join(",\n")}\n]` : "[]";
  });
  const header = JSON.stringify(scene.header, null, 1);
  return `{"header": ${header},\n"columns": [\n${columns.join(",\n")}\n],\n"rows": [\n${lines.join(",\n")}\n],\n"air": [${channels.join(", ")}]}\n`;
}

// A recording as WAV of 16 bits, lowered as a whole where it exceeds full scale: { bytes, gainDb }.
export function toWav(channels, rate) {
  let peak = 0;
  for (const channel of channels) for (const x of channel) if (Math.abs(x) > peak) peak = Math.abs(x);
  const gain = peak > 1 + 1e-6 ? 1 / peak : 1;
  const frames = channels[0].length;
  const bytes = 2 * channels.length * frames;
  const view = new DataView(new ArrayBuffer(44 + bytes));
  const text = (at, letters) => [...letters].forEach((letter, k) => view.setUint8(at + k, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + bytes, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // integers
  view.setUint16(22, channels.length, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * 2 * channels.length, true);
  view.setUint16(32, 2 * channels.length, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, bytes, true);
  let at = 44;
  for (let n = 0; n < frames; n++) {
    for (const channel of channels) {
      view.setInt16(at, Math.max(-32768, Math.min(32767, halfEven(channel[n] * gain * 32768))), true);
      at += 2;
    }
  }
  return { bytes: view.buffer, gainDb: 20 * Math.log10(gain) };
}

function halfEven(value) {
  const low = Math.floor(value);
  const part = value - low;
  if (part !== 0.5) return part < 0.5 ? low : low + 1;
  return low % 2 ? low + 1 : low;
}

// A file of the kind "npz" or "mid", which the server makes; notes at `bpm` quarters a minute.
// Throws an Error whose text says what is wrong.
export async function fromServer(kind, session, bpm) {
  const answer = await fetch(`export/${kind}?tempo=${bpm}`, { method: "POST", body: packScene(heardScene(session)) });
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer.arrayBuffer();
}

export function saveFile(name, type, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
