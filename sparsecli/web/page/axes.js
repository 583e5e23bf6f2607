// Lines and numbers of time and pitch, as many as there is room for.

import { freqOfMidi, midiOf } from "./measures.js";

const STEPS_S = [1e-5, 1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600];
const FREQS = [50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000];

export function timeStep(view, leastPixels = 84) {
  return STEPS_S.find((step) => step / view.secondsPerPixel >= leastPixels) ?? 1200;
}

export function timeLabel(seconds, step) {
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  if (seconds < 60) return `${seconds.toFixed(digits)} s`;
  const minutes = Math.floor(seconds / 60 + 1e-9);
  const rest = (seconds - 60 * minutes).toFixed(digits);
  return `${minutes}:${rest.padStart(digits ? digits + 3 : 2, "0")}`;
}

export function drawTimeGrid(context, view, theme, height) {
  const step = timeStep(view);
  context.strokeStyle = theme.line;
  context.lineWidth = 1;
  context.beginPath();
  for (let k = Math.ceil(view.startS / step - 1e-9); k * step <= view.endS; k++) {
    const x = Math.round(view.x(k * step)) + 0.5;
    context.moveTo(x, 0);
    context.lineTo(x, height);
  }
  context.stroke();
}

export function drawTimeLabels(context, view, theme, y) {
  const step = timeStep(view);
  context.fillStyle = theme.faint;
  context.textAlign = "left";
  context.textBaseline = "middle";
  for (let k = Math.ceil(view.startS / step - 1e-9); k * step <= view.endS; k++) {
    context.fillText(timeLabel(k * step, step), view.x(k * step) + 5, y);
  }
}

// Frequencies at the left, the Cs of the octaves at the right of the axis.
export function drawPitchAxis(context, view, theme, width) {
  context.textBaseline = "middle";
  context.fillStyle = theme.faint;
  context.textAlign = "right";
  for (const freq of FREQS) {
    const y = view.y(freq);
    if (y < 8 || y > view.height - 8) continue;
    context.fillText(freq >= 1000 ? `${freq / 1000}k` : `${freq}`, width - 32, y);
  }
  context.textAlign = "left";
  context.fillStyle = theme.ink;
  const perSemitone = 1 / 12 / view.octavesPerPixel;
  for (let midi = Math.ceil(midiOf(view.freq(view.height))); midi <= midiOf(view.freq(0)); midi++) {
    const isC = midi % 12 === 0;
    if (!isC && !(perSemitone > 13)) continue;
    const y = view.y(freqOfMidi(midi));
    if (y < 6 || y > view.height - 6) continue;
    const name = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"][midi % 12];
    context.fillStyle = isC ? theme.ink : theme.faint;
    context.fillText(isC || perSemitone > 13 ? `${name}${Math.floor(midi / 12) - 1}` : "", width - 26, y);
  }
}

export function drawPitchGrid(context, view, theme, width) {
  context.strokeStyle = theme.line;
  context.lineWidth = 1;
  context.beginPath();
  const perSemitone = 1 / 12 / view.octavesPerPixel;
  for (let midi = Math.ceil(midiOf(view.freq(view.height))); midi <= midiOf(view.freq(0)); midi++) {
    if (midi % 12 !== 0 && perSemitone < 10) continue;
    const y = Math.round(view.y(freqOfMidi(midi))) + 0.5;
    context.moveTo(0, y);
    context.lineTo(width, y);
  }
  context.stroke();
}

// Lines of the musical grid that dragging snaps to.
export function drawBeatGrid(context, view, theme, gridS) {
  if (!(gridS / view.secondsPerPixel > 6)) return;
  context.strokeStyle = theme.chosen;
  context.globalAlpha = 0.25;
  context.beginPath();
  for (let k = Math.ceil(view.startS / gridS); k * gridS <= view.endS; k++) {
    const x = Math.round(view.x(k * gridS)) + 0.5;
    context.moveTo(x, 0);
    context.lineTo(x, view.height);
  }
  context.stroke();
  context.globalAlpha = 1;
}
