// Pictures of sound on a logarithmic frequency axis, a tile of columns at once.
//
// Low frequencies are seen through a long window, which tells neighbouring tones apart, high ones through a short one,
// which tells when they begin; between, one fades into the other.

import { transform } from "./fft.js";

const BLEND_LOW_HZ = 350; // all long below
const BLEND_HIGH_HZ = 1400; // all short above
export const TILE_COLUMNS = 128;
export const TILE_ROWS = 288;
export const LOW_HZ = 27.5; // A0, the lowest row
export const RANGE_DB = 90; // of the bytes of a tile: 0 is this far under full scale

// Long and short window for a rate: near 93 and 23 ms.
export function windowsOf(rate) {
  const long = 2 ** Math.round(Math.log2(rate * 0.093));
  return { long, short: long / 4 };
}

// The frequency of a row, from LOW_HZ up to `highHz`.
export function freqOfRow(row, highHz) {
  return LOW_HZ * (highHz / LOW_HZ) ** (row / (TILE_ROWS - 1));
}

const plans = new Map();

// Which bins each row takes from a window of a size, and the window with the gain that shows a sine's amplitude.
function planOf(size, rate, highHz) {
  const key = `${size} ${rate} ${highHz}`;
  if (plans.has(key)) return plans.get(key);
  const window = Float64Array.from({ length: size }, (_, n) => (2 / size) * (1 - Math.cos((2 * Math.PI * (n + 0.5)) / size)));
  const from = new Float64Array(TILE_ROWS);
  const to = new Float64Array(TILE_ROWS);
  const half = (highHz / LOW_HZ) ** (0.5 / (TILE_ROWS - 1));
  for (let row = 0; row < TILE_ROWS; row++) {
    const bin = (freqOfRow(row, highHz) * size) / rate;
    from[row] = bin / half;
    to[row] = bin * half;
  }
  const plan = { window, from, to, re: new Float64Array(size), im: new Float64Array(size), power: new Float64Array(size / 2 + 1) };
  plans.set(key, plan);
  return plan;
}

// The power at each row of one frame, the greatest of the bins that it covers, between bins interpolated.
function rowPowers(frame, offset, size, rate, highHz, out) {
  const { window, from, to, re, im, power } = planOf(size, rate, highHz);
  for (let n = 0; n < size; n++) re[n] = frame[offset + n] * window[n];
  im.fill(0);
  transform(re, im);
  for (let k = 0; k <= size / 2; k++) power[k] = re[k] * re[k] + im[k] * im[k];
  const top = size / 2;
  for (let row = 0; row < TILE_ROWS; row++) {
    const low = Math.ceil(from[row]);
    const high = Math.min(top, Math.floor(to[row]));
    let most = 0;
    if (low <= high) {
      for (let k = low; k <= high; k++) if (power[k] > most) most = power[k];
    } else {
      const middle = Math.min(top - 1e-6, (from[row] + to[row]) / 2);
      const k = Math.floor(middle);
      most = power[k] + (power[k + 1] - power[k]) * (middle - k);
    }
    out[row] = most;
  }
}

// Levels of a tile as bytes [TILE_ROWS x TILE_COLUMNS], the highest row first.
// frames: Float32Array of TILE_COLUMNS stretches of `long` samples, each around its column; spec: { rate, highHz }.
export function tileLevels(frames, { rate, highHz }) {
  const { long, short } = windowsOf(rate);
  const levels = new Uint8Array(TILE_ROWS * TILE_COLUMNS);
  const slow = new Float64Array(TILE_ROWS);
  const quick = new Float64Array(TILE_ROWS);
  for (let column = 0; column < TILE_COLUMNS; column++) {
    const offset = column * long;
    let silent = true;
    for (let n = 0; n < long && silent; n++) silent = frames[offset + n] === 0;
    if (silent) continue;
    rowPowers(frames, offset, long, rate, highHz, slow);
    rowPowers(frames, offset + (long - short) / 2, short, rate, highHz, quick);
    for (let row = 0; row < TILE_ROWS; row++) {
      const freq = freqOfRow(row, highHz);
      const part = Math.min(1, Math.max(0, Math.log(freq / BLEND_LOW_HZ) / Math.log(BLEND_HIGH_HZ / BLEND_LOW_HZ)));
      const db = 10 * ((1 - part) * Math.log10(slow[row] + 1e-12) + part * Math.log10(quick[row] + 1e-12));
      levels[(TILE_ROWS - 1 - row) * TILE_COLUMNS + column] = Math.max(0, Math.min(255, (1 + db / RANGE_DB) * 255));
    }
  }
  return levels;
}
