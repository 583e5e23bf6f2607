// Events to sound, the same as `sparse render` gives: the sound of one event, and the air.

import { airSeed, renderAir } from "./air.js";
import { hasBurst, noiseRate, renderBurst } from "./bursts.js";
import { PAN } from "./columns.js";
import { addModes, modesSpan } from "./modes.js";
import { filterOf, resampleStretch } from "./resample.js";

// How many samples a recording of a header has.
export function samplesOf(header) {
  return Math.max(1, roundHalfEven(header.duration_s * header.sample_rate));
}

// As Python rounds.
function roundHalfEven(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 ? low + 1 : low;
}

// What of an event goes to each channel.
export function gainsOf(row, channels) {
  return channels === 2 ? [1 - row[PAN], 1 + row[PAN]] : [1];
}

// The sound of one event before its place: { begin, sound }, in one channel.
// about: { rate, samples, grid } of the recording, as `aboutOf` gives it.
export function renderEvent(row, seedLow, seedHigh, about) {
  const { rate, samples, grid } = about;
  const [begin, end] = modesSpan(row, rate, samples);
  let burst = { begin: 0, sound: [] };
  if (hasBurst(row)) {
    const drawn = renderBurst(row, seedLow, seedHigh, grid, about.gridSamples);
    if (drawn.sound.length) burst = resampleStretch(drawn.sound, drawn.begin, grid, rate, samples);
  }
  const burstEnd = burst.begin + burst.sound.length;
  const hasModes = end > begin;
  if (!hasModes && !burst.sound.length) return { begin: 0, sound: new Float64Array(0) };
  const first = Math.min(hasModes ? begin : burst.begin, burst.sound.length ? burst.begin : begin);
  const last = Math.max(hasModes ? end : burstEnd, burst.sound.length ? burstEnd : end);
  const sound = new Float64Array(last - first);
  if (hasModes) addModes(row, rate, begin, sound.subarray(begin - first, end - first));
  for (let n = 0; n < burst.sound.length; n++) sound[burst.begin - first + n] += burst.sound[n];
  return { begin: first, sound };
}

// The samples [begin, end) of the air of one channel at the recording's rate.
export function renderChannelAir(header, levels, channel, begin, end) {
  const { rate, samples, grid, gridSamples } = aboutOf(header);
  const margin = rate === grid ? 0 : filterOf(grid, rate).reach + 2; // of the grid, that the samples at the ends hear
  const from = Math.max(0, Math.floor((begin * grid) / rate) - margin);
  const to = Math.min(gridSamples, Math.ceil((end * grid) / rate) + margin);
  const air = renderAir(levels, airSeed(header.seed ?? 0, channel), from, to, grid, header.sample_rate / 2);
  const found = resampleStretch(air, from, grid, rate, samples);
  return found.sound.subarray(begin - found.begin, end - found.begin);
}

// Rate and length of a recording, and of the grid on which its noise is drawn.
export function aboutOf(header) {
  const rate = header.sample_rate;
  const samples = samplesOf(header);
  const grid = noiseRate(rate);
  return { rate, samples, grid, gridSamples: Math.max(1, roundHalfEven((samples * grid) / rate)) };
}
