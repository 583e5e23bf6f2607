// The sum of all that is heard, kept up to date: an edit costs what the edited events cost, however long the song.
//
// A changed event's old sound is subtracted and its new one added. In single precision each leaves an error some 140
// dB under the event, so that thousands of edits cannot be heard.

import { aboutOf, gainsOf, renderChannelAir, renderEvent } from "./renderer.js";
import { addSound } from "./together.js";

const SLICE_MS = 40; // of work at once; between slices new wishes are heard

export class Mixer {
  // tell(message, owned): called with { begin, channels, done, all, ticket } for each stretch that has changed.
  constructor(header, air, airFrames, tell) {
    Object.assign(this, { header, air, airFrames, tell });
    this.about = aboutOf(header);
    this.channels = Array.from({ length: header.channels }, () => new Float32Array(this.about.samples));
    this.jobs = [];
    this.busy = false;
  }

  // remove, add: { values, seeds, count, width }. With `all`, the mix is silence and the air before they are added.
  change(remove, add, all, ticket) {
    if (all) {
      this.jobs = []; // whatever was waiting is part of the new whole
      this.jobs.push({ sign: 0, ticket });
    } else {
      this.jobs.push({ sign: -1, events: remove, at: 0 });
    }
    this.jobs.push({ sign: 1, events: add, at: 0, ticket, all, count: add.count });
    if (!this.busy) this.work();
  }

  work() {
    this.busy = true;
    const until = performance.now() + SLICE_MS;
    let first = Infinity;
    let last = 0;
    let told = { done: 0, of: 0 };
    let ticket = null;
    while (this.jobs.length && performance.now() < until) {
      const job = this.jobs[0];
      if (job.sign === 0) {
        this.startWithAir();
        first = 0;
        last = this.about.samples;
        this.jobs.shift();
        continue;
      }
      if (job.at < job.events.count) {
        const [begin, end] = this.mix(job.events, job.at++, job.sign);
        if (end > begin) {
          first = Math.min(first, begin);
          last = Math.max(last, end);
        }
      }
      told = { done: job.at, of: job.events.count };
      if (job.at >= job.events.count) {
        this.jobs.shift();
        if (job.ticket !== undefined) ticket = job.ticket;
      }
    }
    if (last > first || ticket !== null) this.tellOf(first, last, told, ticket);
    if (this.jobs.length) setTimeout(() => this.work());
    else this.busy = false;
  }

  startWithAir() {
    const size = this.airFrames * 24; // bands
    this.channels.forEach((channel, index) => {
      channel.fill(0);
      if (this.airFrames) channel.set(renderChannelAir(this.header, this.air.subarray(index * size, (index + 1) * size), index));
    });
  }

  mix(events, e, sign) {
    const row = events.values.subarray(e * events.width, (e + 1) * events.width);
    const { begin, sound } = renderEvent(row, events.seeds[2 * e], events.seeds[2 * e + 1], this.about);
    addSound(this.channels, begin, sound, gainsOf(row, this.channels.length), sign);
    return [begin, begin + sound.length];
  }

  tellOf(first, last, { done, of }, ticket) {
    const begin = Math.min(first, last);
    const channels = this.channels.map((channel) => channel.slice(begin, last));
    this.tell({ begin, channels, done, of, ticket }, channels.map((channel) => channel.buffer));
  }
}
