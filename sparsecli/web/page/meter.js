// The level meter: RMS as a bar, peak as a line, red where it is over full scale.

const FLOOR = -60;
const FALL_DB = 1.2; // of the peak line, each frame

let heldDb = FLOOR;

// Draw it; returns whether anything is still to be seen.
export function drawMeter({ context, width, height }, { peak, rms }, theme) {
  heldDb = Math.max(peak, heldDb - FALL_DB, FLOOR);
  const x = (db) => (Math.max(0, Math.min(1, (db - FLOOR) / (6 - FLOOR))) * width);
  context.clearRect(0, 0, width, height);
  context.fillStyle = theme.line;
  context.fillRect(0, height / 2 - 4, width, 8);
  context.fillStyle = theme.tone;
  context.fillRect(0, height / 2 - 4, x(rms), 8);
  context.fillStyle = heldDb > 0 ? theme.noise : theme.ink;
  if (heldDb > FLOOR) context.fillRect(x(heldDb) - 1, height / 2 - 7, 2, 14);
  context.fillStyle = theme.faint;
  context.fillRect(x(0), height / 2 + 5, 1, 3);
  return heldDb > FLOOR || rms > FLOOR;
}
