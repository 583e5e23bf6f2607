// The air, a slow noise floor in 24 bands, to sound: white noise shaped frame by frame, as sparsecli/synth/air.py does.

import { SILENT_DB } from "./envelope.js";
import { filterInPlace } from "./fft.js";
import { whiteNoise } from "./philox.js";

const BANDS = 24;
const FRAMES_PER_S = 1;
const HOP = 1024; // samples of the noise grid
const AIR_SEED = 0xa1n;

// ERB-rate of a frequency (Glasberg and Moore 1990), and the inverse.
export function erbRate(freqHz) {
  return 21.4 * Math.log10(1 + freqHz / 229);
}

function erbRateToHz(erbs) {
  return 229 * (10 ** (erbs / 21.4) - 1);
}

// The value of `values(index)`, index from 0 to count - 1, between two of them; constant beyond the ends.
function between(place, count, values) {
  const held = Math.min(Math.max(place, 0), count - 1);
  const low = Math.min(Math.floor(held), Math.max(0, count - 2));
  const part = held - low;
  return values(low) * (1 - part) + values(Math.min(low + 1, count - 1)) * part;
}

// The halves of the key of a channel's noise: header seed times 256 plus 161 above, the channel below.
export function airSeed(seed, channel) {
  return [channel, Number(BigInt.asUintN(32, (BigInt(seed) << 8n) | AIR_SEED))];
}

// The samples [begin, end) of the air of one channel on the noise grid of `rate` Hz.
// levels: [frames x 24] in dB; seed: halves of the key; nyquistHz: of the source.
export function renderAir(levels, seed, begin, end, rate, nyquistHz) {
  const out = new Float64Array(end - begin);
  const frames = levels.length / BANDS;
  if (!frames || levels.every((level) => level <= SILENT_DB)) return out;
  const top = erbRate(nyquistHz);
  const density = new Float64Array(levels.length); // level less that of white noise in the band
  for (let band = 0; band < BANDS; band++) {
    const width = erbRateToHz((top * (band + 1)) / BANDS) - erbRateToHz((top * band) / BANDS);
    for (let frame = 0; frame < frames; frame++) {
      density[frame * BANDS + band] = levels[frame * BANDS + band] - 10 * Math.log10(width / (rate / 2));
    }
  }
  const places = new Float64Array(HOP + 1);
  let heard = 0;
  for (let k = 0; k <= HOP; k++) {
    const freq = (k * rate) / (2 * HOP);
    places[k] = (erbRate(freq) / top) * BANDS - 0.5;
    if (freq < nyquistHz) heard = k + 1;
  }
  const window = Float64Array.from({ length: 2 * HOP }, (_, n) => Math.sin((Math.PI * n) / (2 * HOP))); // root of Hann
  const gains = new Float64Array(HOP + 1);
  const now = new Float64Array(BANDS);
  const stretch = new Float64Array(2 * HOP);
  for (let frame = Math.floor(begin / HOP); frame <= Math.ceil(end / HOP); frame++) {
    // Frame f covers the noise from sample f HOP on, which sounds one hop earlier.
    const place = ((frame * HOP) / rate) * FRAMES_PER_S - 0.5;
    for (let band = 0; band < BANDS; band++) now[band] = between(place, frames, (at) => density[at * BANDS + band]);
    for (let k = 0; k < heard; k++) gains[k] = 10 ** (between(places[k], BANDS, (at) => now[at]) / 20);
    whiteNoise(seed[0], seed[1], frame * HOP, stretch);
    for (let n = 0; n < stretch.length; n++) stretch[n] *= window[n];
    filterInPlace(stretch, gains);
    const start = (frame - 1) * HOP - begin;
    for (let n = Math.max(0, -start); n < stretch.length && start + n < out.length; n++) {
      out[start + n] += stretch[n] * window[n];
    }
  }
  return out;
}
