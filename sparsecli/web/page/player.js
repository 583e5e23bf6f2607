// Plays the rendering and the original, sample by sample together, so that one can be switched for the other as they run.
//
// Sound goes out in short pieces, cut from the mix just before they are due: an edit is heard at the next piece.

const PIECE_S = 0.05;
const AHEAD_S = 0.12; // pieces are scheduled so far ahead
const TICK_MS = 30;
const FADE_S = 0.012; // from one source to the other, and at the ends, so that nothing clicks

export class Player extends EventTarget {
  // read(source): { channels, rate } of "rendering" or "original", or null.
  constructor(read, rate) {
    super();
    Object.assign(this, { read, rate });
    this.source = "rendering";
    this.playing = false;
    this.loop = null; // [startS, endS]
    this.at = 0; // seconds, where it stands when it does not play
    this.marks = []; // [time of the context, place in seconds] of scheduled pieces
  }

  // Made by the first sound, since browsers allow none before a click or a key.
  open() {
    if (this.context) {
      if (this.context.state === "suspended") this.context.resume();
      return;
    }
    try {
      this.context = new AudioContext({ sampleRate: this.rate, latencyHint: "interactive" });
    } catch {
      this.context = new AudioContext(); // a rate that the browser does not play: it resamples
    }
    this.analyser = this.context.createAnalyser();
    this.analyser.fftSize = 2048;
    this.analyser.connect(this.context.destination);
    this.gains = {};
    for (const name of ["rendering", "original"]) {
      this.gains[name] = this.context.createGain();
      this.gains[name].gain.value = name === this.source ? 1 : 0;
      this.gains[name].connect(this.analyser);
    }
    this.alone = this.context.createGain(); // what is clicked
    this.alone.connect(this.analyser);
  }

  play(fromS = this.at) {
    this.open();
    this.halt();
    this.playing = true;
    const from = this.loop && (fromS < this.loop[0] || fromS >= this.loop[1] - 1e-3) ? this.loop[0] : fromS;
    this.next = Math.round(from * this.rate);
    this.due = this.context.currentTime + 0.03;
    this.marks = [[this.due, this.next / this.rate]];
    this.live = new Set();
    this.timer = setInterval(() => this.schedule(), TICK_MS);
    this.schedule();
    this.dispatchEvent(new Event("state"));
  }

  pause() {
    if (!this.playing) return;
    this.at = this.position();
    this.playing = false;
    this.halt();
    this.dispatchEvent(new Event("state"));
  }

  halt() {
    clearInterval(this.timer);
    for (const node of this.live ?? []) node.stop();
    this.live = new Set();
  }

  seek(seconds) {
    this.at = Math.max(0, seconds);
    if (this.playing) this.play(this.at);
    else this.dispatchEvent(new Event("state"));
  }

  setSource(name) {
    this.source = name;
    if (this.context) {
      const now = this.context.currentTime;
      for (const [other, node] of Object.entries(this.gains)) node.gain.setTargetAtTime(other === name ? 1 : 0, now, FADE_S / 3);
    }
    this.dispatchEvent(new Event("state"));
  }

  setLoop(range) {
    this.loop = range;
    if (this.playing && range) {
      const at = this.position();
      if (at < range[0] || at > range[1]) this.play(range[0]);
    }
    this.dispatchEvent(new Event("state"));
  }

  schedule() {
    const end = this.lengthS() * this.rate;
    while (this.due < this.context.currentTime + AHEAD_S) {
      const stop = this.loop ? Math.min(end, Math.round(this.loop[1] * this.rate)) : end;
      if (this.next >= stop) {
        if (!this.loop) {
          if (this.context.currentTime >= this.due) this.finish();
          return;
        }
        this.next = Math.round(this.loop[0] * this.rate);
        this.marks.push([this.due, this.next / this.rate]);
      }
      const count = Math.min(Math.round(PIECE_S * this.rate), Math.max(1, stop - this.next));
      for (const name of ["rendering", "original"]) this.piece(name, this.next, count);
      this.next += count;
      this.due += count / this.rate;
    }
  }

  piece(name, begin, count) {
    const sound = this.read(name);
    if (!sound || begin >= sound.channels[0].length) return;
    const buffer = bufferOf(this.context, this.rate, sound.channels, begin, count);
    const node = this.context.createBufferSource();
    node.buffer = buffer;
    node.connect(this.gains[name]);
    node.start(this.due);
    this.live.add(node);
    node.onended = () => this.live.delete(node);
  }

  finish() {
    this.playing = false;
    this.at = 0;
    this.halt();
    this.dispatchEvent(new Event("state"));
  }

  lengthS() {
    return this.read("rendering").channels[0].length / this.rate;
  }

  position() {
    if (!this.playing) return this.at;
    const now = this.context.currentTime;
    while (this.marks.length > 1 && this.marks[1][0] <= now) this.marks.shift();
    const [time, place] = this.marks[0];
    return Math.min(place + Math.max(0, now - time), this.lengthS());
  }

  // Play a sound by itself, in place of the last one that was.
  hear(channels) {
    this.open();
    this.heard?.stop();
    if (!channels[0].length) return;
    const node = this.context.createBufferSource();
    node.buffer = bufferOf(this.context, this.rate, channels, 0, channels[0].length);
    node.connect(this.alone);
    node.start();
    this.heard = node;
    this.lastHeard = channels;
  }

  // Peak and RMS in dB of what goes out just now.
  meter() {
    if (!this.analyser) return { peak: -Infinity, rms: -Infinity };
    const samples = new Float32Array(this.analyser.fftSize);
    this.analyser.getFloatTimeDomainData(samples);
    let peak = 0;
    let power = 0;
    for (const x of samples) {
      peak = Math.max(peak, Math.abs(x));
      power += x * x;
    }
    return { peak: 20 * Math.log10(peak), rms: 10 * Math.log10(power / samples.length) };
  }
}

function bufferOf(context, rate, channels, begin, count) {
  const buffer = context.createBuffer(channels.length, count, rate);
  channels.forEach((channel, index) => buffer.copyToChannel(channel.subarray(begin, Math.min(begin + count, channel.length)), index));
  return buffer;
}
