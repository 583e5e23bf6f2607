// What is open: the events, what was done to them, and which are selected. Everything that changes goes through here.

import { DELETED, EventTable, MUTED, SOLO } from "./events.js";

export class Session extends EventTarget {
  constructor(scene) {
    super();
    this.scene = scene;
    this.table = new EventTable(scene);
    this.done = [];
    this.undone = [];
    this.selection = new Set();
    this.solos = 0;
    this.wholeNotes = scene.note.some((note) => note >= 0);
    this.members = membersOf(this.table);
  }

  get edited() {
    return this.done.length > 0;
  }

  isAlive(e) {
    return !(this.table.flags[e] & DELETED);
  }

  isAudible(e) {
    const flags = this.table.flags[e];
    return !(flags & (DELETED | MUTED)) && (this.solos === 0 || (flags & SOLO) !== 0);
  }

  aliveRows() {
    const found = [];
    for (let e = 0; e < this.table.count; e++) if (this.isAlive(e)) found.push(e);
    return found;
  }

  // Change rows: `change(row, flags, e)` is given a copy of each and returns its new flags (or nothing).
  edit(label, rows, change) {
    const { table } = this;
    const { width } = table;
    const before = { values: new Float64Array(rows.length * width), flags: new Uint8Array(rows.length) };
    const after = { values: new Float64Array(rows.length * width), flags: new Uint8Array(rows.length) };
    rows.forEach((e, k) => {
      const row = table.row(e);
      before.values.set(row, k * width);
      before.flags[k] = table.flags[e];
      const copy = Float64Array.from(row);
      const flags = change(copy, table.flags[e], e);
      for (let c = 1; c < width; c++) copy[c] = Math.fround(copy[c]);
      after.values.set(copy, k * width);
      after.flags[k] = flags ?? table.flags[e];
    });
    const step = { label, rows: Int32Array.from(rows), before, after };
    this.undone = [];
    this.done.push(step);
    this.put(step, after);
    this.dispatchEvent(new CustomEvent("done", { detail: label }));
  }

  undo() {
    const step = this.done.pop();
    if (!step) return null;
    this.undone.push(step);
    this.put(step, step.before);
    return step.label;
  }

  redo() {
    const step = this.undone.pop();
    if (!step) return null;
    this.done.push(step);
    this.put(step, step.after);
    return step.label;
  }

  put(step, state) {
    const { table } = this;
    const solosBefore = this.solos;
    step.rows.forEach((e, k) => {
      table.setRow(e, state.values.subarray(k * table.width, (k + 1) * table.width));
      if ((table.flags[e] ^ state.flags[k]) & SOLO) this.solos += state.flags[k] & SOLO ? 1 : -1;
      table.flags[e] = state.flags[k];
      if (!this.isAlive(e)) this.selection.delete(e);
    });
    const everywhere = (solosBefore === 0) !== (this.solos === 0); // whether anything is soloed decides for all
    this.dispatchEvent(new CustomEvent("change", { detail: { rows: step.rows, everywhere } }));
    this.dispatchEvent(new Event("selection"));
  }

  // Copies of rows, made alive by an edit of their own; `change` is called with each copy.
  duplicate(label, rows, change) {
    const copies = this.table.copies(rows);
    for (const e of copies) this.join(e);
    this.edit(label, copies, (row, flags, e) => {
      change(row, flags, e);
      return 0;
    });
    this.select(copies);
    return copies;
  }

  join(e) {
    const note = this.table.note[e];
    if (note < 0) return;
    if (!this.members.has(note)) this.members.set(note, []);
    this.members.get(note).push(e);
  }

  // Rows with, where whole notes are meant, all events of their notes.
  extended(rows) {
    if (!this.wholeNotes) return [...rows];
    const found = new Set();
    for (const e of rows) {
      const note = this.table.note[e];
      if (note < 0) found.add(e);
      else for (const other of this.members.get(note)) if (this.isAlive(other)) found.add(other);
    }
    return [...found];
  }

  select(rows, how = "replace") {
    if (how === "replace") this.selection.clear();
    for (const e of rows) {
      if (how === "toggle" && this.selection.has(e)) this.selection.delete(e);
      else if (how === "remove") this.selection.delete(e);
      else if (this.isAlive(e)) this.selection.add(e);
    }
    this.dispatchEvent(new Event("selection"));
  }

  // What an action means: the selection, or everything where nothing is selected.
  chosen() {
    return this.selection.size ? [...this.selection] : this.aliveRows();
  }
}

function membersOf(table) {
  const members = new Map();
  for (let e = 0; e < table.count; e++) {
    const note = table.note[e];
    if (note < 0) continue;
    if (!members.has(note)) members.set(note, []);
    members.get(note).push(e);
  }
  return members;
}
