// The modes of one atom to sound: sum over m of A_m E(u) exp(-d u) cos(2 pi f_m u + phase_m).

import { ATTACK, DECAY, MODES, ONSET, freqColumn, levelColumn, phaseColumn } from "./columns.js";
import { NEPERS_PER_T60, SILENT_DB, amplitudeOf, envelopePeak, supportS } from "./envelope.js";

const BLOCK = 256; // samples; an atom ends with the block of the file in which it falls under 80 dB, as in Python
const ANCHOR = 512; // samples between two evaluations of sine and cosine; between them a rotation is repeated

// The modes of `row` that sound at `rate`, each with amplitude, radians a sample and phase.
function soundingModes(row, rate) {
  const found = [];
  const peak = Math.max(envelopePeak(row[ATTACK], row[DECAY]), 1e-30);
  for (let slot = 0; slot < MODES; slot++) {
    const level = row[levelColumn(slot)];
    const freq = row[freqColumn(slot)];
    if (level > SILENT_DB && row[DECAY] > 0 && freq < rate / 2) {
      found.push({ amplitude: amplitudeOf(level) / peak, turn: (2 * Math.PI * freq) / rate, phase: row[phaseColumn(slot)] });
    }
  }
  return found;
}

// The samples [begin, end) of the file in which the modes of `row` are heard; begin === end where none sounds.
export function modesSpan(row, rate, samples) {
  if (!soundingModes(row, rate).length) return [0, 0];
  const onset = row[ONSET] * rate;
  const length = Math.ceil(supportS(row[ATTACK], row[DECAY]) * rate);
  const last = Math.floor((Math.floor(onset) + length) / BLOCK);
  const begin = Math.max(0, Math.ceil(onset));
  return [begin, Math.max(begin, Math.min(samples, (last + 1) * BLOCK))];
}

// Add the modes of `row` to `out` [end - begin], whose first sample is sample `begin` of the file.
export function addModes(row, rate, begin, out) {
  const modes = soundingModes(row, rate);
  const onset = row[ONSET] * rate;
  const damping = NEPERS_PER_T60 / Math.max(row[DECAY] * rate, 1e-9);
  const rise = 1 / (row[ATTACK] * rate);
  const fade = Math.exp(-damping);
  const relax = Math.exp(-rise);
  const swing = new Float64Array(ANCHOR);
  for (let start = 0; start < out.length; start += ANCHOR) {
    const count = Math.min(ANCHOR, out.length - start);
    const u = begin + start - onset; // samples since the onset
    swing.fill(0);
    for (const { amplitude, turn, phase } of modes) {
      const angle = turn * u + phase;
      let re = amplitude * Math.cos(angle);
      let im = amplitude * Math.sin(angle);
      const cos = Math.cos(turn);
      const sin = Math.sin(turn);
      for (let n = 0; n < count; n++) {
        swing[n] += re;
        const next = re * cos - im * sin;
        im = re * sin + im * cos;
        re = next;
      }
    }
    let decayed = Math.exp(-damping * u);
    let rest = Math.exp(-rise * u); // 1 - rest is the square root of E
    for (let n = 0; n < count; n++) {
      out[start + n] += swing[n] * decayed * (1 - rest) * (1 - rest);
      decayed *= fade;
      rest *= relax;
    }
  }
}
