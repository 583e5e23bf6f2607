// Noise that is the same wherever it is made: Philox-4x32-10 (Salmon et al. 2011), as sparsecli/synth/noise.py has it.

const ROUNDS = 10;

// The upper half of the product of two whole numbers of 32 bits; Math.imul gives the lower.
function upperProduct(a, b) {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  return (a1 * b1 + Math.floor((a0 * b1 + (middle & 0xffff)) / 65536) + Math.floor(middle / 65536)) >>> 0;
}

// Four words of 32 bits for the counter (x0, x1, 0, 0) under the key (k0, k1), into `out`.
export function philox(x0, x1, k0, k1, out) {
  let x2 = 0;
  let x3 = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const aHigh = upperProduct(x0, 0xd2511f53);
    const aLow = Math.imul(x0, 0xd2511f53);
    const bHigh = upperProduct(x2, 0xcd9e8d57);
    const bLow = Math.imul(x2, 0xcd9e8d57);
    x0 = (bHigh ^ x1 ^ k0) >>> 0;
    x1 = bLow >>> 0;
    x2 = (aHigh ^ x3 ^ k1) >>> 0;
    x3 = aLow >>> 0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  out[0] = x0;
  out[1] = x1;
  out[2] = x2;
  out[3] = x3;
}

const SCALE = Math.fround(Math.sqrt(12));
const words = new Uint32Array(4);

// White noise of mean 0 and variance 1 into `out`: sample `start + i` of the seed whose halves are `low` and `high`.
// In single precision step by step, as Python reckons it, so that the numbers are the same.
export function whiteNoise(low, high, start, out) {
  const round = Math.fround;
  let group = -1;
  for (let i = 0; i < out.length; i++) {
    const index = start + i;
    const own = Math.floor(index / 4);
    if (own !== group) {
      philox(own >>> 0, Math.floor(own / 4294967296) >>> 0, low, high, words);
      group = own;
    }
    const uniform = round(round(round(words[index % 4]) + 0.5) * 2 ** -32);
    out[i] = round(round(uniform - 0.5) * SCALE);
  }
}
