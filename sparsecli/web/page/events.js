// The table of events that is edited. Rows are never taken out, so that a row's number names its event for good:
// deleting sets a flag.

export const DELETED = 1;
export const MUTED = 2;
export const SOLO = 4;

export class EventTable {
  constructor(scene) {
    this.width = scene.width;
    this.count = scene.count;
    this.values = scene.rows.slice();
    this.note = scene.note.slice();
    this.id = scene.id.slice();
    this.seed = scene.seed.slice();
    this.flags = new Uint8Array(scene.count);
    this.nextId = this.id.reduce((most, id) => (id >= most ? id + 1n : most), 0n);
    this.nextNote = this.note.reduce((most, note) => Math.max(most, note + 1), 0);
  }

  row(e) {
    return this.values.subarray(e * this.width, (e + 1) * this.width);
  }

  get(e, column) {
    return this.values[e * this.width + column];
  }

  // Set a row; all columns but the onset are single precision in a file, and so they are here.
  setRow(e, row) {
    const start = e * this.width;
    this.values[start] = row[0];
    for (let c = 1; c < this.width; c++) this.values[start + c] = Math.fround(row[c]);
  }

  // Copies of rows, deleted until an edit gives them life; returns their numbers. Copies of one note are one note.
  copies(rows) {
    const first = this.count;
    const size = first + rows.length;
    this.values = grown(this.values, size * this.width);
    for (const name of ["note", "id", "seed", "flags"]) this[name] = grown(this[name], size);
    const notes = new Map();
    rows.forEach((e, k) => {
      this.values.copyWithin((first + k) * this.width, e * this.width, (e + 1) * this.width);
      if (this.note[e] >= 0 && !notes.has(this.note[e])) notes.set(this.note[e], this.nextNote++);
      this.note[first + k] = this.note[e] < 0 ? -1 : notes.get(this.note[e]);
      this.id[first + k] = this.nextId++;
      this.seed[first + k] = this.seed[e];
      this.flags[first + k] = DELETED;
    });
    this.count = size;
    return Array.from({ length: rows.length }, (_, k) => first + k);
  }
}

function grown(array, size) {
  if (array.length >= size) return array;
  const bigger = new array.constructor(Math.max(size, Math.ceil(array.length * 1.5)));
  bigger.set(array);
  return bigger;
}
