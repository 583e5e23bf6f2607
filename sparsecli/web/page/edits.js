// What can be done to the numbers of an event. Each function changes a row in place; limits are those of a file.

import {
  ATTACK, DECAY, MAX_ATTACK_S, MAX_DECAY_S, MAX_FREQ_HZ, MAX_LEVEL_DB, MAX_ONSET_S, MIN_ATTACK_S, MIN_DECAY_S,
  MIN_ONSET_S, MODES, NOISE_FREQ, NOISE_LEVEL, ONSET, freqColumn, levelColumn, phaseColumn,
} from "./columns.js";
import { SILENT_DB } from "./envelope.js";

const DB_PER_OCTAVE = 20 * Math.log10(2); // of an amplitude that doubles

function held(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

export function transpose(row, semitones) {
  const factor = 2 ** (semitones / 12);
  for (let slot = 0; slot < MODES; slot++) row[freqColumn(slot)] = Math.min(row[freqColumn(slot)] * factor, MAX_FREQ_HZ);
}

export function moveTime(row, seconds) {
  row[ONSET] = held(row[ONSET] + seconds, MIN_ONSET_S, MAX_ONSET_S);
}

export function raiseLevel(row, db) {
  for (let slot = 0; slot < MODES; slot++) raiseColumn(row, levelColumn(slot), db);
  raiseColumn(row, NOISE_LEVEL, db);
}

function raiseColumn(row, column, db) {
  if (row[column] > SILENT_DB) row[column] = held(row[column] + db, SILENT_DB + 0.01, MAX_LEVEL_DB);
}

export function scaleDecay(row, factor) {
  row[DECAY] = held(row[DECAY] * factor, MIN_DECAY_S, MAX_DECAY_S);
}

export function scaleAttack(row, factor) {
  row[ATTACK] = held(row[ATTACK] * factor, MIN_ATTACK_S, MAX_ATTACK_S);
}

// Tilt of levels, in dB an octave about 1 kHz.
export function brighten(row, db) {
  for (let slot = 0; slot < MODES; slot++) {
    const freq = row[freqColumn(slot)];
    if (freq > 0) raiseColumn(row, levelColumn(slot), db * Math.log2(freq / 1000));
  }
  if (row[NOISE_FREQ] > 0) raiseColumn(row, NOISE_LEVEL, db * Math.log2(row[NOISE_FREQ] / 1000));
}

// All numbers of the sound of `from`; the onset stays.
export function takeSound(row, from) {
  for (let c = 1; c < row.length; c++) row[c] = from[c];
}

// One change for all: `octaves` of each column, as `sparse edit --perturb` has it. Times and frequencies are multiplied
// by 2^octaves, and so are amplitudes; onsets, phases and places stay.
export function perturb(row, octaves) {
  scaleAttack(row, 2 ** octaves[ATTACK]);
  scaleDecay(row, 2 ** octaves[DECAY]);
  for (let slot = 0; slot < MODES; slot++) {
    row[freqColumn(slot)] = Math.min(row[freqColumn(slot)] * 2 ** octaves[freqColumn(slot)], MAX_FREQ_HZ);
    raiseColumn(row, levelColumn(slot), DB_PER_OCTAVE * octaves[levelColumn(slot)]);
  }
  raiseColumn(row, NOISE_LEVEL, DB_PER_OCTAVE * octaves[NOISE_LEVEL]);
}

// A number typed in, held to what its column allows; a phase is folded into one turn.
// name: of the column; where `pan` and `wet` stand depends on the file.
export function setNumber(row, column, value, name) {
  if (column === ONSET) row[ONSET] = held(value, MIN_ONSET_S, MAX_ONSET_S);
  else if (column === ATTACK) row[ATTACK] = held(value, MIN_ATTACK_S, MAX_ATTACK_S);
  else if (column === DECAY) row[DECAY] = held(value, MIN_DECAY_S, MAX_DECAY_S);
  else if (name === "pan") row[column] = held(value, -1, 1);
  else if (name === "wet") row[column] = held(value, 0, 1);
  else if (column === NOISE_LEVEL) row[NOISE_LEVEL] = held(value, SILENT_DB, row[NOISE_FREQ] > 0 ? MAX_LEVEL_DB : SILENT_DB);
  else setModeNumber(row, column, value);
}

function setModeNumber(row, column, value) {
  const slot = Math.floor((column - 3) / 3);
  if (column === freqColumn(slot)) row[column] = held(value, slot === 3 && row[NOISE_LEVEL] > SILENT_DB ? 1 : 0, MAX_FREQ_HZ);
  else if (column === levelColumn(slot)) row[column] = held(value, SILENT_DB, MAX_LEVEL_DB);
  else if (column === phaseColumn(slot)) row[column] = held(value - 2 * Math.PI * Math.round(value / (2 * Math.PI)), -3.1415928, 3.1415928);
}
