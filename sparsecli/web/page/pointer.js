// What the pointer does on the canvas: select, hear, move, shape, mark, pan and zoom.

import { longer, louder, moveSelected } from "./actions.js";
import { MODES, ONSET } from "./columns.js";
import { freqOfSlot, levelOfSlot, loudestSlot, midiOf } from "./measures.js";
import { SILENT_DB } from "./envelope.js";

const STARTS_PX = 3; // a press that moves less is a click
const DB_PER_PIXEL = 0.25;

export class Pointer {
  constructor(app) {
    this.app = app;
    this.drag = null;
    const { canvas } = app.stage;
    const { signal } = app.closing;
    canvas.addEventListener("pointerdown", (event) => this.down(event), { signal });
    canvas.addEventListener("pointermove", (event) => this.move(event), { signal });
    canvas.addEventListener("pointerup", (event) => this.up(event), { signal });
    canvas.addEventListener("pointercancel", () => this.end(), { signal });
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false, signal });
    canvas.addEventListener("dblclick", () => this.app.zoomToSelected(), { signal });
  }

  down(event) {
    const { app } = this;
    const { stage, session } = app;
    const at = stage.place(event);
    stage.canvas.focus({ preventScroll: true });
    stage.canvas.setPointerCapture(event.pointerId);
    this.drag = { ...at, kind: this.kindOf(event, at), moved: false, extend: event.shiftKey };
    if (this.drag.kind === "event") {
      const shape = stage.picture.hit(at.x, at.y);
      const rows = event.altKey ? [shape.e] : session.extended([shape.e]);
      this.drag.anchor = shape;
      this.drag.was = session.selection.has(shape.e);
      if (event.shiftKey) session.select(rows, "toggle");
      else if (!this.drag.was) session.select(rows);
    }
  }

  kindOf(event, { x, y, region }) {
    const { stage } = this.app;
    if (region === "ruler" || region === "wave") return "loop";
    if (region === "axis" || event.button === 1 || this.app.tool === "pan") return "pan";
    const handle = stage.handleAt(x, y);
    if (handle) return handle;
    return stage.picture.hit(x, y) ? "event" : this.app.tool;
  }

  move(event) {
    const { stage } = this.app;
    const at = stage.place(event);
    const { drag } = this;
    if (!drag) {
      this.hover(at);
      return;
    }
    if (!drag.moved && Math.hypot(at.x - drag.x, at.y - drag.y) < STARTS_PX) return;
    drag.moved = true;
    this[`drag_${drag.kind}`](at, event);
    stage.redraw();
  }

  hover({ x, y, region }) {
    const { stage } = this.app;
    const { canvas } = stage;
    const handle = region === "picture" ? stage.handleAt(x, y) : null;
    const over = region === "picture" && !handle ? stage.picture.hit(x, y) : null;
    canvas.style.cursor = handle === "decay" ? "ew-resize" : handle ? "ns-resize" : over ? "grab" : region === "axis" || this.app.tool === "pan" ? "move" : region === "picture" ? "crosshair" : "text";
    this.app.hovered(over, region === "picture" ? { x, y } : null);
  }

  up(event) {
    const { app, drag } = this;
    if (!drag) return;
    const at = app.stage.place(event);
    if (!drag.moved) this.click(drag);
    else this[`drop_${drag.kind}`]?.(at);
    this.end();
  }

  end() {
    this.drag = null;
    Object.assign(this.app.stage.marks, { band: null, lasso: null, shift: null });
    this.app.stage.redraw();
  }

  click(drag) {
    const { app } = this;
    if (drag.kind === "event") {
      if (app.tab === "run") app.setTab("event"); // who takes an event in hand wants to see it
      if (drag.was && !drag.extend) app.session.select(app.session.extended([drag.anchor.e]));
      app.hearSelected();
    } else if (drag.kind === "loop") {
      app.player.seek(app.stage.view.seconds(drag.x));
    } else if (drag.kind === "box" || drag.kind === "lasso") {
      if (!drag.extend) app.session.select([]);
      app.player.seek(app.stage.view.seconds(drag.x));
    }
  }

  // Moving what is selected: the anchor goes where the pointer is, or to the grid beside it.
  drag_event(at, event) {
    const { app, drag } = this;
    const { view } = app.stage;
    let seconds = (at.x - drag.x) * view.secondsPerPixel;
    let octaves = (drag.y - at.y) * view.octavesPerPixel;
    if (event.shiftKey) {
      if (Math.abs(at.x - drag.x) > Math.abs(at.y - drag.y)) octaves = 0;
      else seconds = 0;
    }
    const row = app.session.table.row(drag.anchor.e);
    if (app.snapTimeS && seconds) {
      seconds = Math.round((row[ONSET] + seconds) / app.snapTimeS) * app.snapTimeS - row[ONSET];
    }
    if (app.snapsPitch && octaves) {
      const slot = loudestSlot(row);
      const midi = midiOf(freqOfSlot(row, slot < 0 ? MODES : slot));
      octaves = (Math.round(midi + 12 * octaves) - midi) / 12;
    }
    if (event.shiftKey && event.altKey) seconds = 0;
    app.stage.marks.shift = { seconds, octaves, decay: 1, db: 0 };
    app.tell(`${(1000 * seconds).toFixed(1)} ms, ${(12 * octaves).toFixed(2)} semitones`);
  }

  drop_event() {
    const { shift } = this.app.stage.marks;
    if (!shift) return;
    moveSelected(this.app.session, shift.seconds, 12 * shift.octaves);
    this.app.hearSelected();
  }

  drag_decay(at) {
    const { stage } = this.app;
    const shape = stage.held();
    this.drag.start ??= { x: shape.x, x1: shape.x1 };
    const { x, x1 } = this.drag.start;
    const decay = Math.max(0.02, (at.x - x) / Math.max(1, x1 - x));
    stage.marks.shift = { seconds: 0, octaves: 0, decay, db: 0 };
    this.app.tell(`decay times ${decay.toFixed(2)}`);
  }

  drop_decay() {
    longer(this.app.session, this.app.stage.marks.shift.decay);
    this.app.hearSelected();
  }

  drag_level(at) {
    const db = Math.max(-60, Math.min(30, (this.drag.y - at.y) * DB_PER_PIXEL));
    this.app.stage.marks.shift = { seconds: 0, octaves: 0, decay: 1, db };
    this.app.tell(`${db > 0 ? "+" : ""}${db.toFixed(1)} dB`);
  }

  drop_level() {
    louder(this.app.session, this.app.stage.marks.shift.db);
    this.app.hearSelected();
  }

  drag_box(at) {
    this.app.stage.marks.band = { x0: this.drag.x, y0: this.drag.y, x1: at.x, y1: at.y };
  }

  drop_box() {
    const { x0, y0, x1, y1 } = this.app.stage.marks.band;
    const [left, right, top, bottom] = [Math.min(x0, x1), Math.max(x0, x1), Math.min(y0, y1), Math.max(y0, y1)];
    this.selectWhere((x, y) => x >= left && x <= right && y >= top && y <= bottom);
  }

  drag_lasso(at) {
    (this.app.stage.marks.lasso ??= [[this.drag.x, this.drag.y]]).push([at.x, at.y]);
  }

  drop_lasso() {
    const points = this.app.stage.marks.lasso;
    this.selectWhere((x, y) => isInside(points, x, y));
  }

  // Select events of which the beginning of the loudest part lies where `inside` says.
  selectWhere(inside) {
    const { session, stage } = this.app;
    const { view } = stage;
    const rows = session.aliveRows().filter((e) => {
      const row = session.table.row(e);
      const slot = loudestSlot(row);
      if (slot < 0 || levelOfSlot(row, slot) <= SILENT_DB) return false;
      return inside(view.x(row[ONSET]), view.y(freqOfSlot(row, slot)));
    });
    session.select(session.extended(rows), this.drag.extend ? "add" : "replace");
  }

  drag_pan(at) {
    const { view } = this.app.stage;
    const last = this.drag.last ?? this.drag;
    view.pan(at.x - last.x, at.y - last.y);
    this.drag.last = at;
  }

  drag_loop(at) {
    const { stage } = this.app;
    const ends = [this.drag.x, at.x].map((x) => Math.min(Math.max(0, stage.view.seconds(x)), stage.view.durationS));
    stage.marks.loop = [Math.min(...ends), Math.max(...ends)];
  }

  drop_loop() {
    this.app.setLoop(this.app.stage.marks.loop);
  }

  wheel(event) {
    event.preventDefault();
    const { stage } = this.app;
    const { view } = stage;
    const { x, y } = stage.place(event);
    const unit = event.deltaMode === 1 ? 16 : 1;
    const across = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (event.altKey) view.zoomPitch(2 ** ((event.deltaY * unit) / 300), y);
    else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) view.pan(-across * unit, 0);
    else view.zoomTime(2 ** ((event.deltaY * unit) / 240), Math.max(0, x));
    stage.redraw();
  }
}

// Whether a point lies in a polygon: whether a line from it crosses the outline an odd number of times.
function isInside(points, x, y) {
  let inside = false;
  for (let k = 0, last = points.length - 1; k < points.length; last = k++) {
    const [xa, ya] = points[k];
    const [xb, yb] = points[last];
    if (ya > y !== yb > y && x < ((xb - xa) * (y - ya)) / (yb - ya) + xa) inside = !inside;
  }
  return inside;
}
