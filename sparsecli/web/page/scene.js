// Events as bytes, as sparsecli/web/scene.py has them, to typed arrays and back.

const MAGIC = "SPRSCENE";
const BANDS = 24;

// { header, columns, E, C, rows: Float64Array [E x C], note, id, seed: BigUint64Array, air: Float32Array, airFrames }
export function unpackScene(buffer) {
  const bytes = new Uint8Array(buffer);
  if (String.fromCharCode(...bytes.subarray(0, MAGIC.length)) !== MAGIC) throw new Error("no scene");
  const size = new DataView(buffer).getUint32(MAGIC.length, true);
  const start = MAGIC.length + 4;
  const about = JSON.parse(new TextDecoder().decode(bytes.subarray(start, start + size)));
  let place = Math.ceil((start + size) / 8) * 8;
  const count = about.counts.events;
  const width = about.columns.length;
  const take = (Kind, length) => {
    const array = new Kind(buffer, place, length);
    place += array.byteLength;
    return array;
  };
  const onset = take(Float64Array, count);
  const id = take(BigInt64Array, count);
  const seed = take(BigUint64Array, count);
  const params = take(Float32Array, count * (width - 1));
  const air = take(Float32Array, (about.header.channels ?? 1) * about.counts.air_frames * BANDS);
  const note = take(Int32Array, count);
  const rows = new Float64Array(count * width);
  for (let e = 0; e < count; e++) {
    rows[e * width] = onset[e];
    for (let c = 1; c < width; c++) rows[e * width + c] = params[e * (width - 1) + c - 1];
  }
  return { header: about.header, columns: about.columns, count, width, rows, note, id, seed, air, airFrames: about.counts.air_frames };
}

// The same events as bytes.
export function packScene(scene) {
  const { count, width } = scene;
  const counts = { events: count, air_frames: scene.airFrames };
  const text = new TextEncoder().encode(JSON.stringify({ header: scene.header, columns: scene.columns, counts }));
  const head = MAGIC.length + 4 + text.length;
  const start = Math.ceil(head / 8) * 8;
  const buffer = new ArrayBuffer(start + count * (24 + 4 * (width - 1) + 4) + 4 * scene.air.length);
  const bytes = new Uint8Array(buffer);
  bytes.set(new TextEncoder().encode(MAGIC));
  new DataView(buffer).setUint32(MAGIC.length, text.length, true);
  bytes.set(text, MAGIC.length + 4);
  let place = start;
  const put = (array) => {
    bytes.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), place);
    place += array.byteLength;
  };
  const onset = new Float64Array(count);
  const params = new Float32Array(count * (width - 1));
  for (let e = 0; e < count; e++) {
    onset[e] = scene.rows[e * width];
    for (let c = 1; c < width; c++) params[e * (width - 1) + c - 1] = scene.rows[e * width + c];
  }
  [onset, scene.id, scene.seed, params, scene.air, scene.note].forEach(put);
  return buffer;
}

// The halves of an event's noise seed.
export function seedHalves(seed) {
  return [Number(seed & 0xffffffffn), Number(seed >> 32n)];
}
