// Band-limited resampling downwards, as sparsecli/dsp/resample.py does it with soxr's high quality.
//
// soxr passes up to 0.913 of the lower Nyquist frequency and stops from there to 1. A sinc under a Kaiser window with
// the edges and the attenuation below gives the same impulse response: measured on white noise, the difference is 113
// dB down where the ratio is a whole number and 70 dB down elsewhere, where soxr works in two stages.

const WHOLE = { pass: 0.9143, stop: 0.9994, attenuation: 126.56 };
const OTHER = { pass: 0.9119, stop: 1.0018, attenuation: 147 };

// The modified Bessel function of the first kind, by its power series.
function bessel0(x) {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > 1e-18 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestCommon(a, b) {
  return b ? greatestCommon(b, a % b) : a;
}

const filters = new Map();

// The filter of a ratio: `phases` rows of taps, one for each place of an output sample between two input samples.
export function filterOf(rateIn, rateOut) {
  const key = `${rateIn}/${rateOut}`;
  if (filters.has(key)) return filters.get(key);
  const common = greatestCommon(rateIn, rateOut);
  const phases = rateOut / common;
  const step = rateIn / common;
  const { pass, stop, attenuation } = phases === 1 ? WHOLE : OTHER;
  const lower = rateOut / 2 / rateIn; // Nyquist frequency of the output, in cycles an input sample
  const cut = ((pass + stop) / 2) * lower;
  const beta = 0.1102 * (attenuation - 8.7); // Kaiser 1974
  const half = (attenuation - 7.95) / (2.285 * (stop - pass) * lower * 2 * Math.PI) / 2;
  const reach = Math.ceil(half);
  const width = 2 * reach + 2;
  const taps = new Float64Array(phases * width);
  for (let phase = 0; phase < phases; phase++) {
    for (let k = 0; k < width; k++) {
      const t = k - reach - phase / phases;
      if (Math.abs(t) >= half) continue;
      const x = 2 * Math.PI * cut * t;
      const sinc = Math.abs(x) < 1e-12 ? 1 : Math.sin(x) / x;
      taps[phase * width + k] = (2 * cut * sinc * bessel0(beta * Math.sqrt(1 - (t / half) ** 2))) / bessel0(beta);
    }
  }
  const filter = { phases, step, reach, width, taps };
  filters.set(key, filter);
  return filter;
}

// A stretch of sound at another rate.
// `sound` begins at sample `begin` of the input's grid; the result { begin, sound } lies within [0, samples) of the
// output's grid.
export function resampleStretch(sound, begin, rateIn, rateOut, samples) {
  if (rateIn === rateOut) return { begin, sound };
  const { phases, step, reach, width, taps } = filterOf(rateIn, rateOut);
  const first = Math.max(0, Math.ceil(((begin - reach - 1) * phases) / step));
  const last = Math.min(samples, Math.floor(((begin + sound.length + reach) * phases) / step) + 1);
  const out = new Float64Array(Math.max(0, last - first));
  for (let n = first; n < last; n++) {
    const place = n * step;
    const whole = Math.floor(place / phases);
    const row = (place % phases) * width;
    const from = whole - reach - begin; // in `sound`, of the first tap
    const low = Math.max(0, -from);
    const high = Math.min(width, sound.length - from);
    let sum = 0;
    for (let k = low; k < high; k++) sum += taps[row + k] * sound[from + k];
    out[n - first] = sum;
  }
  return { begin: first, sound: out };
}
