// What of an event its place on a map is made from: how it sounds, not when.

import { ATTACK, DECAY, MODES, NOISE_LEVEL, freqColumn, levelColumn } from "./columns.js";
import { freqOfSlot, loudestSlot } from "./measures.js";

const SOFTEST_DB = -90;
export const FEATURES = 2 + 2 * MODES + 1;

// Features [rows x FEATURES] of mean 0 and variance 1.
export function featuresOf(table, rows) {
  const features = new Float64Array(rows.length * FEATURES);
  rows.forEach((e, k) => {
    const row = table.row(e);
    const main = Math.log2(Math.max(20, freqOfSlot(row, Math.max(0, loudestSlot(row)))));
    const slots = [...Array(MODES).keys()].sort((a, b) => row[levelColumn(b)] - row[levelColumn(a)]);
    const numbers = [Math.log2(row[ATTACK]), Math.log2(Math.max(row[DECAY], 1e-3))];
    for (const slot of slots) {
      const heard = row[levelColumn(slot)] > SOFTEST_DB;
      numbers.push(heard ? Math.log2(Math.max(20, row[freqColumn(slot)])) : main, Math.max(SOFTEST_DB, row[levelColumn(slot)]));
    }
    numbers.push(Math.max(SOFTEST_DB, row[NOISE_LEVEL]));
    features.set(numbers, k * FEATURES);
  });
  for (let c = 0; c < FEATURES; c++) standardise(features, rows.length, c);
  return features;
}

function standardise(features, count, column) {
  let mean = 0;
  for (let e = 0; e < count; e++) mean += features[e * FEATURES + column] / count;
  let variance = 0;
  for (let e = 0; e < count; e++) variance += (features[e * FEATURES + column] - mean) ** 2 / count;
  const scale = variance > 1e-12 ? 1 / Math.sqrt(variance) : 0;
  for (let e = 0; e < count; e++) features[e * FEATURES + column] = (features[e * FEATURES + column] - mean) * scale;
}
