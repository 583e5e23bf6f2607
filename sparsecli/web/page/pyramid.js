// Which glyphs to draw, so that a song of any length is drawn in one frame: levels of detail over time.
//
// Time is cut into cells, at each level four times as long as at the one below. A cell keeps its loudest glyphs, the
// lowest level all of them. A view is drawn from the lowest level of which it does not see too many cells.

const KEPT = 28; // glyphs of a cell, above the lowest level
const CELLS_SEEN = 80; // of a level, at most
const PER_CELL = 16; // glyphs of a cell of the lowest level, on average
const GROWTH = 4;

export class Pyramid {
  constructor(glyphs) {
    this.glyphs = glyphs;
    const { count, start } = glyphs;
    let first = Infinity;
    let last = -Infinity;
    for (let k = 0; k < count; k++) {
      first = Math.min(first, start[k]);
      last = Math.max(last, start[k]);
    }
    this.first = count ? first : 0;
    this.span = count ? Math.max(last - first, 1e-3) : 1;
    const order = loudestFirst(glyphs);
    this.levels = [];
    let cells = Math.max(1, Math.ceil(count / PER_CELL));
    for (let kept = Infinity; ; kept = KEPT) {
      this.levels.push(levelOf(glyphs, order, this.first, this.span / cells, cells, kept));
      if (cells <= CELLS_SEEN / 2) break;
      cells = Math.ceil(cells / GROWTH);
    }
  }

  // The glyphs of a view, in no order, into `out`; returns how many.
  query(startS, endS, out) {
    const { glyphs } = this;
    if (!glyphs.count) return 0;
    let level = this.levels[this.levels.length - 1];
    for (const candidate of this.levels) {
      if ((endS - startS) / candidate.cellS <= CELLS_SEEN) {
        level = candidate;
        break;
      }
    }
    const to = Math.min(level.cells - 1, Math.floor((endS - this.first) / level.cellS));
    let found = 0;
    for (let cell = to; cell >= 0; cell--) {
      if (level.reach[cell] < startS) break; // nothing that began up to here still sounds
      for (let at = level.offsets[cell]; at < level.offsets[cell + 1]; at++) {
        const k = level.members[at];
        if (glyphs.end[k] >= startS && glyphs.start[k] <= endS) out[found++] = k;
        if (found === out.length) return found;
      }
    }
    return found;
  }
}

function loudestFirst(glyphs) {
  // Levels in steps of 0.01 dB above, numbers below: one sort of numbers instead of one that compares.
  const keys = new Float64Array(glyphs.count);
  const size = 2 ** 26;
  for (let k = 0; k < glyphs.count; k++) keys[k] = Math.round((100 - glyphs.level[k]) * 100) * size + k;
  keys.sort();
  const order = new Int32Array(glyphs.count);
  for (let k = 0; k < glyphs.count; k++) order[k] = keys[k] % size;
  return order;
}

// One level: `members` from offsets[cell] to offsets[cell + 1] are the glyphs of a cell, loudest first. reach[cell] is
// when the last of those that began in it or before it ends.
function levelOf(glyphs, order, first, cellS, cells, kept) {
  const counts = new Int32Array(cells);
  const own = new Int32Array(glyphs.count).fill(-1);
  for (const k of order) {
    const cell = Math.min(cells - 1, Math.max(0, Math.floor((glyphs.start[k] - first) / cellS)));
    if (counts[cell] >= kept) continue;
    counts[cell]++;
    own[k] = cell;
  }
  const offsets = new Int32Array(cells + 1);
  for (let cell = 0; cell < cells; cell++) offsets[cell + 1] = offsets[cell] + counts[cell];
  const members = new Int32Array(offsets[cells]);
  const next = offsets.slice(0, cells);
  const reach = new Float64Array(cells).fill(-Infinity);
  for (const k of order) {
    if (own[k] < 0) continue;
    members[next[own[k]]++] = k;
    reach[own[k]] = Math.max(reach[own[k]], glyphs.end[k]);
  }
  for (let cell = 1; cell < cells; cell++) reach[cell] = Math.max(reach[cell], reach[cell - 1]);
  return { cellS, cells, offsets, members, reach };
}
