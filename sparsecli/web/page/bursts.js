// The noise burst of an atom to sound: noise in a Gaussian band around its fourth frequency, under its envelope.

import { ATTACK, DECAY, NOISE_FREQ, NOISE_LEVEL, ONSET } from "./columns.js";
import { SILENT_DB, amplitudeOf, envelopeAt, envelopePeak, supportS } from "./envelope.js";
import { filterInPlace } from "./fft.js";
import { whiteNoise } from "./philox.js";

const NOISE_RATE = 44100; // of the grid on which noise is drawn, doubled until it covers the source's band
const BURST_BAND = 3; // centre of the band over its standard deviation
const MAX_BURST_SAMPLES = 1 << 21;

export function noiseRate(sampleRate) {
  let rate = NOISE_RATE;
  while (rate < sampleRate) rate *= 2;
  return rate;
}

export function hasBurst(row) {
  return row[NOISE_LEVEL] > SILENT_DB && row[DECAY] > 0 && row[NOISE_FREQ] > 0;
}

// erfc to 1e-12 of itself: a series where x is small, else a continued fraction (Abramowitz and Stegun 7.1.6, 7.1.14).
function erfc(x) {
  if (x < 0) return 2 - erfc(-x);
  if (x < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; term > 1e-17 * sum; n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return 1 - (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (x + fraction);
  return Math.exp(-x * x) / ((x + fraction) * Math.sqrt(Math.PI));
}

// Gains [size / 2 + 1] that shape white noise into a band around `centreHz` of an RMS of 1, what is beyond `rate` / 2
// and not heard taken into account.
function bandGains(size, rate, centreHz) {
  const gains = new Float64Array(size / 2 + 1);
  let power = 0;
  for (let k = 0; k < gains.length; k++) {
    const freq = (k * rate) / size;
    gains[k] = Math.exp(-0.5 * (BURST_BAND * (freq / centreHz - 1)) ** 2);
    power += gains[k] ** 2 * (k === 0 || k === size / 2 ? 1 : 2);
  }
  const nyquist = rate / 2;
  const beyond = ((centreHz * Math.sqrt(Math.PI)) / (2 * BURST_BAND * nyquist)) * erfc(BURST_BAND * (nyquist / centreHz - 1));
  const gain = 1 / Math.sqrt(Math.max(power / size + beyond, 1e-12));
  for (let k = 0; k < gains.length; k++) gains[k] *= gain;
  return gains;
}

// The burst of `row` on the grid of `rate` Hz, as far as it lies in [0, samples): { begin, sound }.
export function renderBurst(row, seedLow, seedHigh, rate, samples) {
  const onset = row[ONSET];
  const first = Math.ceil(onset * rate); // carries noise sample 0
  const length = Math.min(MAX_BURST_SAMPLES, Math.ceil(supportS(row[ATTACK], row[DECAY]) * rate));
  const begin = Math.max(first, 0);
  const end = Math.min(first + length, samples);
  if (begin >= end) return { begin: 0, sound: new Float64Array(0) };
  const size = 2 ** Math.max(4, Math.ceil(Math.log2(Math.max(1, length))));
  const noise = new Float64Array(size);
  whiteNoise(seedLow, seedHigh, 0, noise);
  filterInPlace(noise, bandGains(size, rate, row[NOISE_FREQ]));
  const gain = amplitudeOf(row[NOISE_LEVEL]) / envelopePeak(row[ATTACK], row[DECAY]);
  const sound = new Float64Array(end - begin);
  for (let n = begin; n < end; n++) {
    sound[n - begin] = gain * envelopeAt(n / rate - onset, row[ATTACK], row[DECAY]) * noise[n - first];
  }
  return { begin, sound };
}
