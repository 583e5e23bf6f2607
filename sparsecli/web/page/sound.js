// The page's side of the sound: what is heard of the events, kept as the worker mixes it.

import { seedHalves } from "./scene.js";

const TOGETHER = 4096; // events of a first message; a song's beginning is heard while the rest is mixed

export class Sound extends EventTarget {
  constructor(session, startWorker) {
    super();
    this.session = session;
    const { header } = session.scene;
    this.rate = header.sample_rate;
    this.samples = 0;
    this.worker = startWorker();
    this.looker = startWorker(); // makes pictures, so that these do not wait for a long mix
    this.waiting = new Map();
    this.ticket = 0;
    this.progress = 0;
    this.sent = new Map(); // row -> the numbers that are in the mix
    for (const worker of [this.worker, this.looker]) worker.onmessage = ({ data }) => (data.kind === "mixed" ? this.mixed(data) : this.answer(data.ticket, data));
    session.addEventListener("change", ({ detail }) => this.sync(detail.everywhere ? null : detail.rows));
  }

  begin(samples) {
    const { header, air, airFrames } = this.session.scene;
    this.samples = samples;
    this.channels = Array.from({ length: header.channels }, () => new Float32Array(samples));
    this.worker.postMessage({ ask: "begin", header, air, airFrames });
    return this.all();
  }

  // Mix everything anew, the earliest first.
  all() {
    const { session } = this;
    const rows = session.aliveRows().filter((e) => session.isAudible(e));
    const onset = (e) => session.table.values[e * session.table.width];
    rows.sort((a, b) => onset(a) - onset(b));
    this.sent = new Map(rows.map((e) => [e, Float64Array.from(session.table.row(e))]));
    this.progress = 0;
    return this.change([], rows, true);
  }

  // Bring the mix up to date with rows, or with all of them.
  sync(rows) {
    const { session } = this;
    const remove = [];
    const add = [];
    for (const e of rows ?? Array.from({ length: session.table.count }, (_, k) => k)) {
      const old = this.sent.get(e);
      const audible = session.isAudible(e);
      const row = session.table.row(e);
      if (old && audible && old.every((value, c) => value === row[c])) continue;
      if (old) remove.push(e);
      if (audible) add.push(e);
    }
    if (!remove.length && !add.length) return Promise.resolve();
    if (remove.length > TOGETHER && remove.length > this.sent.size / 2) return this.all();
    const out = packed(session.table, remove, (e) => this.sent.get(e));
    for (const e of remove) this.sent.delete(e);
    for (const e of add) this.sent.set(e, Float64Array.from(session.table.row(e)));
    return this.change(out, add, false);
  }

  change(remove, add, all) {
    const { table } = this.session;
    const gone = Array.isArray(remove) ? packed(table, remove, (e) => table.row(e)) : remove;
    return this.askWorker(this.worker, { ask: "change", remove: gone, add: packed(table, add, (e) => table.row(e)), all });
  }

  // The sound of rows alone: { begin, channels }.
  hear(rows) {
    const { table } = this.session;
    return this.askWorker(this.worker, { ask: "hear", events: packed(table, rows, (e) => table.row(e)) });
  }

  tile(request) {
    return this.askWorker(this.looker, { ask: "tile", ...request }, [request.frames.buffer]).then(({ levels }) => levels);
  }

  map(request) {
    return this.askWorker(this.looker, { ask: "map", ...request }).then(({ places }) => places);
  }

  askWorker(worker, request, owned = []) {
    const ticket = this.ticket++;
    return new Promise((resolve) => {
      this.waiting.set(ticket, resolve);
      worker.postMessage({ ...request, ticket }, owned);
    });
  }

  mixed({ begin, channels, done, of, tickets }) {
    channels.forEach((channel, index) => this.channels[index].set(channel, begin));
    this.progress = of ? done / of : 1;
    if (tickets.length) this.progress = 1;
    const end = begin + channels[0].length;
    this.dispatchEvent(new CustomEvent("sound", { detail: { begin, end } }));
    tickets.forEach((ticket) => this.answer(ticket));
  }

  answer(ticket, data) {
    this.waiting.get(ticket)?.(data);
    this.waiting.delete(ticket);
  }

  stop() {
    this.worker.terminate();
    this.looker.terminate();
  }
}

// Rows as a worker takes them.
function packed(table, rows, numbers) {
  const values = new Float64Array(rows.length * table.width);
  const seeds = new Float64Array(2 * rows.length);
  rows.forEach((e, k) => {
    values.set(numbers(e), k * table.width);
    seeds.set(seedHalves(table.seed[e]), 2 * k);
  });
  return { values, seeds, count: rows.length, width: table.width };
}
