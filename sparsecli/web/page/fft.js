// Discrete Fourier transforms of powers of two, in place, in double precision.

const tables = new Map();

// Cosines, sines and the bit-reversed order of a size, made once.
function tableOf(size) {
  let table = tables.get(size);
  if (!table) {
    const cos = new Float64Array(size / 2);
    const sin = new Float64Array(size / 2);
    for (let k = 0; k < size / 2; k++) {
      cos[k] = Math.cos((2 * Math.PI * k) / size);
      sin[k] = -Math.sin((2 * Math.PI * k) / size);
    }
    const order = new Uint32Array(size);
    const bits = Math.log2(size);
    for (let k = 0; k < size; k++) order[k] = (order[k >> 1] >> 1) | ((k & 1) << (bits - 1));
    table = { cos, sin, order };
    tables.set(size, table);
  }
  return table;
}

// The transform of `re + i im`, both [size], by Cooley and Tukey, in place.
export function transform(re, im) {
  const size = re.length;
  if (size < 2) return;
  const { cos, sin, order } = tableOf(size);
  for (let k = 0; k < size; k++) {
    const other = order[k];
    if (other > k) {
      const r = re[k];
      const i = im[k];
      re[k] = re[other];
      im[k] = im[other];
      re[other] = r;
      im[other] = i;
    }
  }
  for (let half = 1; half < size; half *= 2) {
    const stride = size / (2 * half);
    for (let start = 0; start < size; start += 2 * half) {
      for (let k = 0, t = 0; k < half; k++, t += stride) {
        const a = start + k;
        const b = a + half;
        const r = re[b] * cos[t] - im[b] * sin[t];
        const i = re[b] * sin[t] + im[b] * cos[t];
        re[b] = re[a] - r;
        im[b] = im[a] - i;
        re[a] += r;
        im[a] += i;
      }
    }
  }
}

// Multiply the spectrum of a real signal by real gains: `signal` [size] is changed in place.
// gains [size / 2 + 1] are those of the frequencies from 0 to the Nyquist frequency.
export function filterInPlace(signal, gains) {
  const size = signal.length;
  const im = new Float64Array(size);
  transform(signal, im);
  for (let k = 0; k < size; k++) {
    const gain = gains[k <= size / 2 ? k : size - k] / size;
    // The inverse transform is the transform of the conjugate, conjugated; the result is real.
    signal[k] *= gain;
    im[k] *= -gain;
  }
  transform(signal, im);
}
