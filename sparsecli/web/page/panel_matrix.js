// The matrix of the numbers: a row for each event, a column for each number, shades from the least to the greatest.

import { MODES, ONSET, levelColumn } from "./columns.js";
import { byId, sharpContext } from "./dom.js";
import { SILENT_DB } from "./envelope.js";
import { wordsOf } from "./panel_event.js";

const HEAD_PX = 72;
const MOST_ROW_PX = 16;
const LEAST_ROW_PX = 2;

export class MatrixPanel {
  constructor(app) {
    this.app = app;
    this.canvas = byId("matrix");
    this.first = 0;
    this.stale = true;
    const { signal } = app.closing;
    this.canvas.addEventListener("click", (event) => this.click(event), { signal });
    this.canvas.addEventListener("pointermove", (event) => this.hover(event), { signal });
    this.canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false, signal });
    app.session.addEventListener("change", () => (this.stale = true));
  }

  show() {
    if (this.stale) this.reckon();
    this.draw();
  }

  // The rows by onset, and the range of each column; frequencies and times as ratios.
  reckon() {
    const { table, scene } = this.app.session;
    this.rows = this.app.session.aliveRows().sort((a, b) => table.get(a, ONSET) - table.get(b, ONSET));
    this.ranges = scene.columns.map((name, c) => {
      let low = Infinity;
      let high = -Infinity;
      for (const e of this.rows) {
        const value = this.scaled(e, c);
        if (value === null) continue;
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
      return [low, high];
    });
    this.stale = false;
  }

  // A number as it is shaded; null where its slot is not in use.
  scaled(e, c) {
    const { table, scene } = this.app.session;
    const value = table.get(e, c);
    const name = scene.columns[c];
    const slot = Math.floor((c - 3) / 3);
    if (c >= 3 && slot < MODES && table.get(e, levelColumn(slot)) <= SILENT_DB && !(name.startsWith("freq") && value > 0)) return null;
    if (name === "noise_level_db" && value <= SILENT_DB) return null;
    return /_hz$|^attack|^decay/.test(name) ? Math.log(Math.max(value, 1e-6)) : value;
  }

  get rowPx() {
    const room = this.canvas.clientHeight - HEAD_PX;
    return Math.min(MOST_ROW_PX, Math.max(LEAST_ROW_PX, room / Math.max(1, this.rows.length)));
  }

  draw() {
    const { context, width, height } = sharpContext(this.canvas);
    const { session, stage } = this.app;
    const { theme } = stage;
    const columns = session.scene.columns.length;
    const cell = width / columns;
    const { rowPx } = this;
    const shown = Math.min(this.rows.length, Math.floor((height - HEAD_PX) / rowPx));
    this.first = Math.max(0, Math.min(this.first, this.rows.length - shown));
    context.clearRect(0, 0, width, height);
    context.font = "11px sans-serif";
    context.textBaseline = "middle";
    session.scene.columns.forEach((name, c) => {
      context.save();
      context.translate((c + 0.5) * cell, HEAD_PX - 6);
      context.rotate(-Math.PI / 2);
      context.fillStyle = theme.faint;
      context.fillText(name.replace(/_(s|hz|db|rad)$/, "").replace("_level", ""), 0, 0);
      context.restore();
    });
    for (let k = 0; k < shown; k++) {
      const e = this.rows[this.first + k];
      const y = HEAD_PX + k * rowPx;
      const chosen = session.selection.has(e);
      for (let c = 0; c < columns; c++) {
        const value = this.scaled(e, c);
        if (value === null) continue;
        const [low, high] = this.ranges[c];
        context.globalAlpha = 0.08 + 0.92 * (high > low ? (value - low) / (high - low) : 0.5);
        context.fillStyle = chosen ? theme.chosen : theme.tone;
        context.fillRect(c * cell, y, cell - 1, Math.max(1, rowPx - (rowPx > 5 ? 1 : 0)));
      }
    }
    context.globalAlpha = 1;
  }

  at(event) {
    const k = Math.floor((event.offsetY - HEAD_PX) / this.rowPx);
    const e = k >= 0 ? this.rows?.[this.first + k] : undefined;
    const c = Math.floor((event.offsetX / this.canvas.clientWidth) * this.app.session.scene.columns.length);
    return e === undefined ? null : { e, c };
  }

  hover(event) {
    const found = this.at(event);
    if (!found) return;
    const { table, scene } = this.app.session;
    this.app.tell(`${wordsOf(table, found.e)}; ${scene.columns[found.c]} = ${+table.get(found.e, found.c).toPrecision(6)}`);
  }

  click(event) {
    const found = this.at(event);
    if (!found) return;
    this.app.session.select([found.e], event.shiftKey ? "toggle" : "replace");
    this.app.hear([found.e]);
  }

  wheel(event) {
    event.preventDefault();
    this.first += Math.round(event.deltaY / this.rowPx);
    this.draw();
  }
}
