// The sum of all that is heard, kept up to date: an edit costs what the edited events cost, however long the song.
//
// A changed event's old sound is subtracted and its new one added. In single precision each leaves an error some 140
// dB under the event, so that thousands of edits cannot be heard.

import { aboutOf, gainsOf, renderChannelAir, renderEvent } from "./renderer.js";
import { addSound } from "./together.js";

const SLICE_MS = 40; // of work at once; between slices new wishes are heard
const AIR_S = 4; // of air that is made at once, just before the events that begin in it

export class Mixer {
  // tell(message, owned): called with { begin, channels, done, of, tickets } for each stretch that has changed, and for
  // wishes that are met, by their tickets.
  constructor(header, air, airFrames, tell) {
    Object.assign(this, { header, air, airFrames, tell });
    this.about = aboutOf(header);
    this.channels = Array.from({ length: header.channels }, () => new Float32Array(this.about.samples));
    this.jobs = [];
    this.busy = false;
  }

  // remove, add: { values, seeds, count, width }. With `all`, the mix is silence and the air before they are added.
  // An edit is done before what is left of a whole mix: sums do not depend on their order.
  change(remove, add, all, ticket) {
    const jobs = [{ sign: 1, events: add, at: 0, tickets: [ticket], all }];
    if (all) {
      jobs[0].tickets.unshift(...this.jobs.flatMap((job) => job.tickets)); // whatever was waiting is part of the new whole
      this.jobs = [];
      this.channels.forEach((channel) => channel.fill(0));
      this.aired = 0;
    } else {
      jobs.unshift({ sign: -1, events: remove, at: 0, tickets: [] });
    }
    const whole = this.jobs.findIndex((job) => job.all);
    this.jobs.splice(whole < 0 ? this.jobs.length : whole, 0, ...jobs);
    if (!this.busy) this.work();
  }

  work() {
    this.busy = true;
    const until = performance.now() + SLICE_MS;
    const changed = { first: Infinity, last: 0 };
    let told = { done: 0, of: 0 };
    const tickets = [];
    while (this.jobs.length && performance.now() < until) {
      const job = this.jobs[0];
      const { events } = job;
      if (job.all && this.airIsDue(job)) widen(changed, this.addAir());
      else if (job.at < events.count) widen(changed, this.mix(events, job.at++, job.sign));
      if (job.at >= events.count && !(job.all && this.airIsDue(job))) {
        this.jobs.shift();
        tickets.push(...job.tickets);
      }
      told = { done: job.at, of: events.count };
    }
    if (changed.last > changed.first || tickets.length) this.tellOf(changed.first, changed.last, told, tickets);
    if (this.jobs.length) setTimeout(() => this.work());
    else this.busy = false;
  }

  // Whether the air is wanted before the next event: events come in the order of their onsets.
  airIsDue({ events, at }) {
    if (!this.airFrames || this.aired >= this.about.samples) return false;
    return at >= events.count || events.values[at * events.width] * this.about.rate >= this.aired;
  }

  addAir() {
    const begin = this.aired;
    const end = Math.min(this.about.samples, begin + Math.round(AIR_S * this.about.rate));
    const size = this.airFrames * 24; // bands
    this.channels.forEach((channel, index) => {
      const levels = this.air.subarray(index * size, (index + 1) * size);
      addSound([channel], begin, renderChannelAir(this.header, levels, index, begin, end), [1], 1);
    });
    this.aired = end;
    return [begin, end];
  }

  mix(events, e, sign) {
    const row = events.values.subarray(e * events.width, (e + 1) * events.width);
    const { begin, sound } = renderEvent(row, events.seeds[2 * e], events.seeds[2 * e + 1], this.about);
    addSound(this.channels, begin, sound, gainsOf(row, this.channels.length), sign);
    return [begin, begin + sound.length];
  }

  tellOf(first, last, { done, of }, tickets) {
    const begin = Math.min(first, last);
    const channels = this.channels.map((channel) => channel.slice(begin, last));
    this.tell({ begin, channels, done, of, tickets }, channels.map((channel) => channel.buffer));
  }
}

// Widen a stretch of samples by another.
function widen(changed, [begin, end]) {
  if (end <= begin) return;
  changed.first = Math.min(changed.first, begin);
  changed.last = Math.max(changed.last, end);
}
