// Events as shapes: a tone is a solid wedge, as thick as loud, from its onset until it has died away; a burst of noise is
// a hatched box, within its band the higher the louder. Which are drawn when there are many, pyramid.js says.

import { MODES } from "./columns.js";
import { FLOOR_DB, peakDelayS } from "./measures.js";
import { Pyramid } from "./pyramid.js";
import { MUTED } from "./events.js";
import { glyphsOf } from "./glyphs.js";

const THICKEST = 9; // pixels from the middle of a wedge to its edge, at full scale
const MOST_DRAWN = 6000;
const MOST_APART = 900; // glyphs that are drawn with a halo
const BAND_OCTAVES = Math.log2((1 + 1 / 3) / (1 - 1 / 3)); // between one standard deviation under and over the centre
const SETTLE_MS = 400; // after the last edit, the levels of detail are made anew

export class Picture {
  constructor(session, changed) {
    this.session = session;
    this.changed = changed;
    this.found = new Int32Array(MOST_DRAWN);
    this.drawn = []; // what the last frame showed, for the pointer: { e, slot, x, y, x1, half }
    this.rebuild();
    session.addEventListener("change", ({ detail }) => this.touch(detail.rows));
  }

  rebuild() {
    clearTimeout(this.settling);
    this.pyramid = new Pyramid(glyphsOf(this.session.table, this.session.aliveRows()));
    this.loose = new Set(); // rows changed since
    this.looseGlyphs = null;
  }

  touch(rows) {
    for (const e of rows) this.loose.add(e);
    this.looseGlyphs = null;
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      this.rebuild();
      this.changed();
    }, SETTLE_MS);
  }

  // Draw what a view shows. shift: { seconds, octaves, decay, db } of what is being dragged, or null.
  draw(context, view, theme, shift) {
    this.drawn.length = 0;
    const { session } = this;
    const groups = { tone: [], noise: [], toneMuted: [], noiseMuted: [], toneChosen: [], noiseChosen: [] };
    const place = (glyphs, k) => this.place(groups, glyphs, k, view, shift);
    const { glyphs } = this.pyramid;
    const count = this.pyramid.query(view.startS, view.endS, this.found);
    for (let at = 0; at < count; at++) {
      const k = this.found[at];
      if (!this.loose.has(glyphs.e[k]) && !session.selection.has(glyphs.e[k])) place(glyphs, k);
    }
    this.looseGlyphs ??= glyphsOf(session.table, [...this.loose].filter((e) => session.isAlive(e)));
    for (let k = 0; k < this.looseGlyphs.count; k++) if (!session.selection.has(this.looseGlyphs.e[k])) place(this.looseGlyphs, k);
    this.placeChosen(place, count);
    fillWedges(context, groups.toneMuted, theme.muted, 0.35, null);
    fillBoxes(context, groups.noiseMuted, theme.hatchMuted, theme.muted, 0.5);
    fillBoxes(context, groups.noise, theme.hatch, theme.noise, 0.6);
    fillWedges(context, groups.tone, theme.tone, 0.9, count < MOST_APART ? theme.halo : null);
    fillBoxes(context, groups.noiseChosen, theme.hatchChosen, theme.chosen, 1);
    fillWedges(context, groups.toneChosen, theme.chosen, 1, theme.halo);
  }

  // What is selected is drawn above the rest, and whole unless it is too much.
  placeChosen(place, count) {
    const { selection, table } = this.session;
    if (selection.size <= MOST_DRAWN / 4) {
      const glyphs = glyphsOf(table, [...selection]);
      for (let k = 0; k < glyphs.count; k++) place(glyphs, k);
      return;
    }
    const { glyphs } = this.pyramid;
    for (let at = 0; at < count; at++) if (selection.has(glyphs.e[this.found[at]])) place(glyphs, this.found[at]);
  }

  place(groups, glyphs, k, view, shift) {
    const e = glyphs.e[k];
    const chosen = this.session.selection.has(e);
    const isNoise = glyphs.slot[k] === MODES;
    let start = glyphs.start[k];
    let end = glyphs.end[k];
    let octave = Math.log2(Math.max(glyphs.freq[k], 1e-3));
    let level = glyphs.level[k];
    if (chosen && shift) {
      end = start + (end - start) * shift.decay + shift.seconds;
      start += shift.seconds;
      octave += shift.octaves;
      level += shift.db;
    }
    const x = view.x(start);
    const x1 = Math.max(view.x(end), x + 3);
    const half = isNoise ? (BAND_OCTAVES / 2 / view.octavesPerPixel) * bandShare(level) : thickness(level);
    const y = view.yOfOctave(octave);
    if (x > view.width || x1 < 0 || y + half < 0 || y - half > view.height) return;
    const row = this.session.table.row(e);
    const peak = Math.min(x1, x + Math.max(1.5, peakDelayS(row) / view.secondsPerPixel));
    const shape = { e, slot: glyphs.slot[k], x, x1, y, half, peak, level };
    this.drawn.push(shape);
    const muted = !this.session.isAudible(e) || this.session.table.flags[e] & MUTED;
    groups[(isNoise ? "noise" : "tone") + (chosen ? "Chosen" : muted ? "Muted" : "")].push(shape);
  }

  // The shape at a point: the nearest one whose body, widened a little, holds it.
  hit(px, py) {
    let found = null;
    let least = Infinity;
    for (const shape of this.drawn) {
      if (px < shape.x - 5 || px > shape.x1 + 3) continue;
      const reach = shape.slot === MODES ? shape.half : Math.max(5, shape.half + 2);
      const distance = Math.abs(py - shape.y);
      if (distance > reach) continue;
      const cost = shape.slot === MODES ? 30 + distance : distance + 0.02 * Math.abs(px - shape.x);
      if (cost < least) {
        least = cost;
        found = shape;
      }
    }
    return found;
  }
}

export function thickness(level) {
  return THICKEST * Math.max(0.07, Math.min(1.2, (level - FLOOR_DB) / -FLOOR_DB)) ** 1.3;
}

// Each by itself: one path of a thousand wedges that lie on each other takes six times as long. With a halo the longest
// are at the back, so that they are told apart where they lie on each other.
function fillWedges(context, shapes, colour, alpha, halo) {
  if (!shapes.length) return;
  context.globalAlpha = alpha;
  context.fillStyle = colour;
  if (halo) {
    context.strokeStyle = halo;
    context.lineJoin = "round";
    shapes.sort((a, b) => b.x1 - b.x - (a.x1 - a.x));
    for (const shape of shapes) {
      context.beginPath();
      outlineWedge(context, shape);
      context.lineWidth = Math.min(1.5, 0.5 + 0.25 * shape.half);
      context.fill();
      context.stroke();
    }
  } else {
    for (const shape of shapes) {
      context.beginPath();
      outlineWedge(context, shape);
      context.fill();
    }
  }
  context.globalAlpha = 1;
}

function outlineWedge(context, { x, x1, y, half, peak }) {
  context.moveTo(x, y);
  context.lineTo(peak, y - half);
  context.lineTo(x1, y);
  context.lineTo(peak, y + half);
  context.closePath();
}

// The part of a band's height that a burst takes: all of it at full scale, a fifth where it is hardly heard.
function bandShare(level) {
  return Math.max(0.2, Math.min(1, (level - FLOOR_DB) / -FLOOR_DB));
}

function fillBoxes(context, shapes, hatch, colour, alpha) {
  if (!shapes.length) return;
  context.globalAlpha = alpha;
  context.fillStyle = context.createPattern(hatch, "repeat");
  context.strokeStyle = colour;
  context.lineWidth = 0.8;
  context.beginPath();
  for (const { x, x1, y, half } of shapes) {
    const tail = half * 0.25; // it narrows as it dies away
    context.moveTo(x, y - half);
    context.lineTo(x1, y - tail);
    context.lineTo(x1, y + tail);
    context.lineTo(x, y + half);
    context.closePath();
  }
  context.fill();
  context.stroke();
  context.globalAlpha = 1;
}
