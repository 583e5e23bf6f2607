// What part of time and pitch is seen: seconds to pixels and back, log frequency to pixels and back.

const MIN_SAMPLES_SEEN = 24; // at the closest zoom
const MIN_OCTAVES_SEEN = 0.5;

export class Viewport {
  constructor(durationS, rate, lowHz, highHz) {
    Object.assign(this, { durationS, rate, lowHz, highHz });
    this.width = 100;
    this.height = 100;
    this.fit();
  }

  fit() {
    this.startS = 0;
    this.endS = this.durationS;
    this.low = Math.log2(this.lowHz);
    this.high = Math.log2(this.highHz);
  }

  get secondsPerPixel() {
    return (this.endS - this.startS) / this.width;
  }

  get octavesPerPixel() {
    return (this.high - this.low) / this.height;
  }

  x(seconds) {
    return ((seconds - this.startS) / (this.endS - this.startS)) * this.width;
  }

  y(freqHz) {
    return this.yOfOctave(Math.log2(Math.max(freqHz, 1e-3)));
  }

  yOfOctave(octave) {
    return this.height - ((octave - this.low) / (this.high - this.low)) * this.height;
  }

  seconds(x) {
    return this.startS + x * this.secondsPerPixel;
  }

  freq(y) {
    return 2 ** (this.low + (this.height - y) * this.octavesPerPixel);
  }

  // Zoom in time by a factor about the pixel x, and in pitch about the pixel y.
  zoomTime(factor, x) {
    const at = this.seconds(x);
    const least = MIN_SAMPLES_SEEN / this.rate;
    const span = Math.min(this.durationS, Math.max(least, (this.endS - this.startS) * factor));
    this.startS = at - (x / this.width) * span;
    this.endS = this.startS + span;
    this.hold();
  }

  zoomPitch(factor, y) {
    const at = Math.log2(this.freq(y));
    const whole = Math.log2(this.highHz / this.lowHz);
    const span = Math.min(whole, Math.max(MIN_OCTAVES_SEEN, (this.high - this.low) * factor));
    this.low = at - ((this.height - y) / this.height) * span;
    this.high = this.low + span;
    this.hold();
  }

  pan(dx, dy) {
    const dt = dx * this.secondsPerPixel;
    const octaves = dy * this.octavesPerPixel;
    this.startS -= dt;
    this.endS -= dt;
    this.low += octaves;
    this.high += octaves;
    this.hold();
  }

  show(startS, endS) {
    this.startS = startS;
    this.endS = Math.max(endS, startS + MIN_SAMPLES_SEEN / this.rate);
    this.hold();
  }

  // Nothing before the start and after the end is shown, nor below and above the spectrogram.
  hold() {
    const span = Math.min(this.endS - this.startS, this.durationS);
    this.startS = Math.min(Math.max(0, this.startS), this.durationS - span);
    this.endS = this.startS + span;
    const octaves = Math.min(this.high - this.low, Math.log2(this.highHz / this.lowHz));
    this.low = Math.min(Math.max(Math.log2(this.lowHz), this.low), Math.log2(this.highHz) - octaves);
    this.high = this.low + octaves;
  }
}
