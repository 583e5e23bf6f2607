// What is drawn of events: one glyph for each mode and each burst, as columns of numbers.

import { MODES, ONSET } from "./columns.js";
import { FLOOR_DB, drawnEndS, freqOfSlot, levelOfSlot } from "./measures.js";

// The glyphs of rows: { count, e, slot, start, end, freq, level }, slot MODES for a burst.
export function glyphsOf(table, rows) {
  const most = rows.length * (MODES + 1);
  const glyphs = {
    count: 0,
    e: new Int32Array(most),
    slot: new Uint8Array(most),
    start: new Float64Array(most),
    end: new Float64Array(most),
    freq: new Float64Array(most),
    level: new Float32Array(most),
  };
  for (const e of rows) {
    const row = table.row(e);
    for (let slot = 0; slot <= MODES; slot++) {
      const level = levelOfSlot(row, slot);
      if (level <= FLOOR_DB) continue;
      const k = glyphs.count++;
      glyphs.e[k] = e;
      glyphs.slot[k] = slot;
      glyphs.start[k] = row[ONSET];
      glyphs.end[k] = drawnEndS(row, level);
      glyphs.freq[k] = freqOfSlot(row, slot);
      glyphs.level[k] = level;
    }
  }
  return glyphs;
}
