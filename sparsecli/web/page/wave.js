// The wave below the picture, down to single samples, and the peaks from which it is drawn when it is long.

const BLOCK = 256; // samples that one pair of peaks stands for

export class Peaks {
  constructor(read) {
    this.read = read;
    this.low = null;
  }

  // Peaks of the samples [begin, end) anew.
  update(begin, end) {
    const channel = this.read().channels[0];
    const blocks = Math.ceil(channel.length / BLOCK);
    if (!this.low || this.low.length !== blocks) {
      this.low = new Float32Array(blocks);
      this.high = new Float32Array(blocks);
      begin = 0;
      end = channel.length;
    }
    for (let block = Math.floor(begin / BLOCK); block < blocks && block * BLOCK < end; block++) {
      let low = 0;
      let high = 0;
      for (const one of this.read().channels) {
        const to = Math.min(one.length, (block + 1) * BLOCK);
        for (let n = block * BLOCK; n < to; n++) {
          if (one[n] < low) low = one[n];
          if (one[n] > high) high = one[n];
        }
      }
      this.low[block] = low;
      this.high[block] = high;
    }
  }
}

export function drawWave(context, view, rate, peaks, channels, top, height, colour) {
  const middle = top + height / 2;
  const scale = height / 2 - 3;
  const perPixel = view.secondsPerPixel * rate;
  context.fillStyle = context.strokeStyle = colour;
  if (perPixel < 1.5) drawSamples(context, view, rate, channels[0], middle, scale);
  else if (perPixel < 2 * BLOCK) drawDirect(context, view, rate, channels[0], middle, scale);
  else drawPeaks(context, view, rate, peaks, middle, scale);
}

function drawPeaks(context, view, rate, peaks, middle, scale) {
  if (!peaks.low) return;
  const perPixel = (view.secondsPerPixel * rate) / BLOCK;
  for (let x = 0; x < view.width; x++) {
    const from = Math.floor((view.startS * rate) / BLOCK + x * perPixel);
    const to = Math.min(peaks.low.length, Math.ceil(from + perPixel));
    let low = 0;
    let high = 0;
    for (let k = from; k < to; k++) {
      if (peaks.low[k] < low) low = peaks.low[k];
      if (peaks.high[k] > high) high = peaks.high[k];
    }
    context.fillRect(x, middle - high * scale, 1, Math.max(1, (high - low) * scale));
  }
}

function drawDirect(context, view, rate, channel, middle, scale) {
  const perPixel = view.secondsPerPixel * rate;
  for (let x = 0; x < view.width; x++) {
    const from = Math.max(0, Math.floor(view.startS * rate + x * perPixel));
    const to = Math.min(channel.length, Math.ceil(from + perPixel) + 1);
    let low = Infinity;
    let high = -Infinity;
    for (let n = from; n < to; n++) {
      if (channel[n] < low) low = channel[n];
      if (channel[n] > high) high = channel[n];
    }
    if (high >= low) context.fillRect(x, middle - high * scale, 1, Math.max(1, (high - low) * scale));
  }
}

function drawSamples(context, view, rate, channel, middle, scale) {
  const from = Math.max(0, Math.floor(view.startS * rate) - 1);
  const to = Math.min(channel.length, Math.ceil(view.endS * rate) + 2);
  context.lineWidth = 1.2;
  context.beginPath();
  for (let n = from; n < to; n++) context.lineTo(view.x(n / rate), middle - channel[n] * scale);
  context.stroke();
  if (view.secondsPerPixel * rate > 0.25) return;
  for (let n = from; n < to; n++) {
    context.beginPath();
    context.arc(view.x(n / rate), middle - channel[n] * scale, 2.5, 0, 2 * Math.PI);
    context.fill();
  }
}
