// What follows from the numbers of an event: its loudest part, its end, its pitch by name.

import { ATTACK, DECAY, MODES, NOISE_FREQ, NOISE_LEVEL, ONSET, freqColumn, levelColumn } from "./columns.js";
import { NEPERS_PER_T60, SILENT_DB } from "./envelope.js";

const NAMES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];
export const FLOOR_DB = -72; // what is softer is not drawn, and a wedge ends where its mode falls under it

// The slot of the loudest mode; MODES for the noise, -1 where nothing sounds.
export function loudestSlot(row) {
  let found = -1;
  let most = SILENT_DB;
  for (let slot = 0; slot < MODES; slot++) {
    if (row[levelColumn(slot)] > most) {
      most = row[levelColumn(slot)];
      found = slot;
    }
  }
  return found < 0 && row[NOISE_LEVEL] > SILENT_DB ? MODES : found;
}

export function levelOfSlot(row, slot) {
  return slot === MODES ? row[NOISE_LEVEL] : row[levelColumn(slot)];
}

export function freqOfSlot(row, slot) {
  return slot === MODES ? row[NOISE_FREQ] : row[freqColumn(slot)];
}

export function loudestLevel(row) {
  let most = row[NOISE_LEVEL];
  for (let slot = 0; slot < MODES; slot++) most = Math.max(most, row[levelColumn(slot)]);
  return most;
}

// Seconds from the onset to the peak, at u = attack ln(1 + 2 / z).
export function peakDelayS(row) {
  const z = (row[ATTACK] * NEPERS_PER_T60) / Math.max(row[DECAY], 1e-9);
  return row[ATTACK] * Math.log1p(2 / Math.max(z, 1e-12));
}

// When a part of this level has fallen to where it is no longer drawn.
export function drawnEndS(row, level) {
  return row[ONSET] + peakDelayS(row) + (row[DECAY] * Math.max(0, level - FLOOR_DB)) / 60;
}

export function midiOf(freqHz) {
  return 69 + 12 * Math.log2(freqHz / 440);
}

export function freqOfMidi(midi) {
  return 440 * 2 ** ((midi - 69) / 12);
}

// A pitch as musicians say it: A4 +12 ct.
export function pitchName(freqHz) {
  if (!(freqHz > 0)) return "–";
  const midi = midiOf(freqHz);
  const whole = Math.round(midi);
  const cents = Math.round(100 * (midi - whole));
  const name = `${NAMES[((whole % 12) + 12) % 12]}${Math.floor(whole / 12) - 1}`;
  return cents ? `${name} ${cents > 0 ? "+" : "−"}${Math.abs(cents)} ct` : name;
}

// A number with its sign, as people write it.
export function signed(value, digits) {
  return `${value < 0 ? "−" : ""}${Math.abs(value).toFixed(digits)}`;
}
