// The canvas: spectrogram, events, axes, wave and cursor, drawn when something has changed, once a frame at most.

import { drawBeatGrid, drawPitchAxis, drawPitchGrid, drawTimeGrid, drawTimeLabels } from "./axes.js";
import { Picture } from "./picture.js";
import { LOW_HZ } from "./spectrogram.js";
import { readTheme } from "./theme.js";
import { Tiles } from "./tiles.js";
import { Viewport } from "./viewport.js";
import { Peaks, drawWave } from "./wave.js";

const AXIS_PX = 64;
const RULER_PX = 22;
const WAVE_PX = 74;
const HIGHEST_HZ = 20000;
const FRAMES_KEPT = 600;
const HANDLE_PX = 4.5;

export class Stage {
  // read(source): { channels } of "rendering" or "original", or null.
  constructor(canvas, session, sound, read) {
    Object.assign(this, { canvas, session, sound, read });
    const { header } = session.scene;
    const highHz = Math.min(HIGHEST_HZ, header.sample_rate / 2);
    this.view = new Viewport(header.duration_s, header.sample_rate, LOW_HZ, highHz);
    this.context = canvas.getContext("2d", { alpha: false });
    this.picture = new Picture(session, () => this.redraw());
    this.source = "rendering";
    this.layers = {};
    for (const name of ["rendering", "original"]) {
      const tiles = new Tiles(header.sample_rate, highHz, () => read(name), (request) => sound.tile(request), () => this.redraw());
      this.layers[name] = { tiles, peaks: new Peaks(() => read(name)) };
    }
    this.marks = { cursorS: 0, loop: null, band: null, lasso: null, shift: null, gridS: 0, group: null };
    this.frames = []; // milliseconds that the last frames took to draw
    this.theme = readTheme();
    session.addEventListener("change", () => this.redraw());
    session.addEventListener("selection", () => this.redraw());
    sound.addEventListener("sound", ({ detail }) => this.heard("rendering", detail.begin, detail.end));
    this.resizing = new ResizeObserver(() => this.resize());
    this.resizing.observe(canvas);
    this.resize();
  }

  heard(name, begin, end) {
    this.layers[name].tiles.forget(begin, end);
    this.layers[name].peaks.update(begin, end);
    this.redraw();
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    if (!clientWidth || !clientHeight) return;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    this.ratio = ratio;
    this.view.width = clientWidth - AXIS_PX;
    this.view.height = clientHeight - RULER_PX - WAVE_PX;
    this.draw();
  }

  retheme() {
    this.theme = readTheme();
    for (const { tiles } of Object.values(this.layers)) tiles.recolour();
    this.redraw();
  }

  redraw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => this.draw());
  }

  // Where a pointer is: { x, y } in the picture, and "picture", "ruler", "wave" or "axis".
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left - AXIS_PX;
    const y = event.clientY - box.top;
    const region = x < 0 ? "axis" : y < this.view.height ? "picture" : y < this.view.height + RULER_PX ? "ruler" : "wave";
    return { x, y, region };
  }

  draw() {
    this.asked = false;
    const began = performance.now();
    const { context, view, theme, marks } = this;
    const layer = this.layers[this.source];
    const shown = this.read(this.source);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.fillStyle = theme.paper;
    context.fillRect(0, 0, view.width + AXIS_PX, view.height + RULER_PX + WAVE_PX);
    context.font = `11.5px ${getFont()}`;
    context.save();
    context.translate(AXIS_PX, 0);
    context.beginPath();
    context.rect(0, 0, view.width, view.height);
    context.clip();
    if (shown) layer.tiles.draw(context, view, theme);
    drawTimeGrid(context, view, theme, view.height);
    drawPitchGrid(context, view, theme, view.width);
    if (marks.gridS) drawBeatGrid(context, view, theme, marks.gridS);
    this.picture.draw(context, view, theme, marks.shift);
    this.drawHandles();
    this.drawMarks();
    context.restore();
    drawPitchAxis(context, view, theme, AXIS_PX);
    context.save();
    context.translate(AXIS_PX, view.height);
    context.beginPath();
    context.rect(0, 0, view.width, RULER_PX + WAVE_PX);
    context.clip();
    this.drawRuler();
    if (shown) drawWave(context, view, view.rate, layer.peaks, shown.channels, RULER_PX, WAVE_PX, theme.faint);
    this.drawCursor(RULER_PX + WAVE_PX);
    context.restore();
    this.frames.push(performance.now() - began);
    if (this.frames.length > FRAMES_KEPT) this.frames.shift();
  }

  drawRuler() {
    const { context, view, theme, marks } = this;
    if (marks.loop) {
      context.fillStyle = theme.chosen;
      context.globalAlpha = 0.16;
      const [from, to] = marks.loop.map((seconds) => view.x(seconds));
      context.fillRect(from, 0, to - from, RULER_PX + WAVE_PX);
      context.globalAlpha = 1;
    }
    context.fillStyle = theme.line;
    context.fillRect(0, 0, view.width, 1);
    context.fillRect(0, RULER_PX, view.width, 1);
    drawTimeLabels(context, view, theme, RULER_PX / 2 + 1);
  }

  drawCursor(height) {
    const { context, view, theme, marks } = this;
    const x = Math.round(view.x(marks.cursorS));
    if (x < 0 || x > view.width) return;
    context.fillStyle = theme.cursor;
    context.fillRect(x, 0, 1, height);
  }

  // Box, lasso and cursor over the picture.
  drawMarks() {
    const { context, view, theme, marks } = this;
    context.strokeStyle = context.fillStyle = theme.chosen;
    context.lineWidth = 1;
    const outline = marks.band ? new Path2D() : marks.lasso ? new Path2D() : null;
    if (marks.band) {
      const { x0, y0, x1, y1 } = marks.band;
      outline.rect(Math.min(x0, x1) + 0.5, Math.min(y0, y1) + 0.5, Math.abs(x1 - x0), Math.abs(y1 - y0));
    } else if (marks.lasso) {
      marks.lasso.forEach(([x, y]) => outline.lineTo(x, y));
    }
    if (outline) {
      context.globalAlpha = 0.1;
      context.fill(outline);
      context.globalAlpha = 1;
      context.setLineDash([4, 3]);
      context.stroke(outline);
      context.setLineDash([]);
    }
    if (marks.group) this.drawGroup(marks.group);
    this.drawCursor(view.height);
  }

  // What belongs to the note under the pointer: a line beside its parts, from the lowest to the highest.
  drawGroup(group) {
    const parts = this.picture.drawn.filter(({ e }) => group.has(e));
    if (parts.length < 2) return;
    const { context, theme } = this;
    const x = Math.min(...parts.map((shape) => shape.x)) - 5;
    context.strokeStyle = theme.chosen;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x, Math.min(...parts.map((shape) => shape.y)));
    context.lineTo(x, Math.max(...parts.map((shape) => shape.y)));
    for (const { y } of parts) {
      context.moveTo(x, y);
      context.lineTo(x + 4, y);
    }
    context.stroke();
  }

  // The loudest shape of the selection, on which the handles stand; null where too much or nothing is selected.
  held() {
    const { selection } = this.session;
    if (!selection.size || selection.size > 200) return null;
    let found = null;
    for (const shape of this.picture.drawn) if (selection.has(shape.e) && (!found || shape.level > found.level)) found = shape;
    return found;
  }

  // Handles: { kind, x, y }.
  handles() {
    const shape = this.held();
    if (!shape) return [];
    return [
      { kind: "decay", x: shape.x1, y: shape.y },
      { kind: "level", x: shape.peak, y: shape.y - shape.half - 7 },
    ];
  }

  drawHandles() {
    const { context, theme } = this;
    for (const { kind, x, y } of this.handles()) {
      context.beginPath();
      if (kind === "decay") context.rect(x - HANDLE_PX, y - HANDLE_PX, 2 * HANDLE_PX, 2 * HANDLE_PX);
      else context.arc(x, y, HANDLE_PX, 0, 2 * Math.PI);
      context.fillStyle = theme.paper;
      context.fill();
      context.strokeStyle = theme.chosen;
      context.lineWidth = 2;
      context.stroke();
    }
  }

  handleAt(px, py) {
    return this.handles().find(({ x, y }) => Math.abs(px - x) < 8 && Math.abs(py - y) < 8)?.kind ?? null;
  }
}

let font = "";

function getFont() {
  font ||= getComputedStyle(document.body).fontFamily;
  return font;
}
