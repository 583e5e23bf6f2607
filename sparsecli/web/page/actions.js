// What can be done, each by its name: buttons and keys call these. All act on the selection of a session.

import { Chance } from "./chance.js";
import { ONSET } from "./columns.js";
import { brighten, moveTime, perturb, raiseLevel, scaleAttack, scaleDecay, takeSound, transpose } from "./edits.js";
import { DELETED, MUTED, SOLO } from "./events.js";

function many(count) {
  return count === 1 ? "1 event" : `${count} events`;
}

// Change the selection, if there is any.
function changeSelected(session, label, change) {
  const rows = [...session.selection];
  if (rows.length) session.edit(`${label}, ${many(rows.length)}`, rows, change);
}

export function moveSelected(session, seconds, semitones) {
  const label = [seconds && `moved by ${(1000 * seconds).toFixed(1)} ms`, semitones && `transposed by ${+semitones.toFixed(2)} semitones`];
  changeSelected(session, label.filter(Boolean).join(" and "), (row) => {
    moveTime(row, seconds);
    transpose(row, semitones);
  });
}

export function louder(session, db) {
  changeSelected(session, `${db > 0 ? "+" : ""}${db.toFixed(1)} dB`, (row) => raiseLevel(row, db));
}

export function longer(session, factor) {
  changeSelected(session, `decay times ${factor.toFixed(2)}`, (row) => scaleDecay(row, factor));
}

export function slower(session, factor) {
  changeSelected(session, `attack times ${factor.toFixed(2)}`, (row) => scaleAttack(row, factor));
}

export function brighter(session, db) {
  changeSelected(session, `${db > 0 ? "brighter" : "darker"} by ${Math.abs(db)} dB an octave`, (row) => brighten(row, db));
}

// Set a flag on all that is selected, or take it away where all have it.
function toggle(session, flag, on, off) {
  const rows = [...session.selection];
  const all = rows.every((e) => session.table.flags[e] & flag);
  changeSelected(session, all ? off : on, (row, flags) => (all ? flags & ~flag : flags | flag));
}

export function muteSelected(session) {
  toggle(session, MUTED, "muted", "unmuted");
}

export function soloSelected(session) {
  toggle(session, SOLO, "solo", "solo ended");
}

export function deleteSelected(session) {
  changeSelected(session, "deleted", (row, flags) => (flags | DELETED) & ~SOLO); // what is gone silences nothing else
}

// Copies after the last onset of what is selected, so far on as the grid or the selection's length says.
export function duplicateSelected(session, stepS) {
  const rows = [...session.selection];
  if (rows.length) session.duplicate(`duplicated, ${many(rows.length)}`, rows, (row) => moveTime(row, stepS));
}

// Notes at random times, evenly over the recording; the events of a note keep together.
export function randomTimes(session, seed) {
  const chance = new Chance(seed);
  const rows = session.chosen();
  const { table, scene } = session;
  const starts = new Map();
  for (const e of rows) {
    const note = table.note[e];
    if (note >= 0) starts.set(note, Math.min(starts.get(note) ?? Infinity, table.get(e, ONSET)));
  }
  const shifts = new Map();
  session.edit(`random times, ${many(rows.length)}`, rows, (row, flags, e) => {
    const note = table.note[e];
    const to = scene.header.duration_s * chance.even();
    if (note < 0) row[ONSET] = to;
    else {
      if (!shifts.has(note)) shifts.set(note, to - starts.get(note));
      moveTime(row, shifts.get(note));
    }
  });
}

// Events trade sounds and keep their times.
export function randomEvents(session, seed) {
  const rows = session.chosen();
  const order = new Chance(seed).order(rows.length);
  const sounds = rows.map((e) => Float64Array.from(session.table.row(e)));
  let k = 0;
  session.edit(`sounds traded, ${many(rows.length)}`, rows, (row) => takeSound(row, sounds[order[k++]]));
}

// One random change of sound for all, `amount` in octaves.
export function perturbAll(session, amount, seed) {
  const chance = new Chance(seed);
  const octaves = Float64Array.from({ length: session.table.width }, () => amount * chance.normal());
  const rows = session.chosen();
  session.edit(`perturbed, ${many(rows.length)}`, rows, (row) => perturb(row, octaves));
}

// The next or previous event in time after the last one that was selected.
export function stepSelection(session, step) {
  const { table } = session;
  const rows = session.aliveRows().sort((a, b) => table.get(a, ONSET) - table.get(b, ONSET) || a - b);
  if (!rows.length) return null;
  const places = [...session.selection].map((e) => rows.indexOf(e));
  const from = places.length ? (step > 0 ? Math.max(...places) : Math.min(...places)) : step > 0 ? -1 : rows.length;
  const e = rows[Math.min(rows.length - 1, Math.max(0, from + step))];
  session.select(session.extended([e]));
  return e;
}
