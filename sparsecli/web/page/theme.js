// Colours of the canvas, from the style sheet, so that they stand in one place and follow light and dark.

const NAMES = [
  "paper", "ink", "faint", "line", "tone", "noise", "chosen", "muted", "cursor", "spec0", "spec1", "spec2", "spec3", "halo",
];

export function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const theme = Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  const stops = [theme.spec0, theme.spec1, theme.spec2, theme.spec3].map(parseHex);
  theme.palette = Uint8Array.from({ length: 256 * 3 }, (_, k) => {
    const place = (Math.floor(k / 3) / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    const part = place - low;
    return Math.round(stops[low][k % 3] * (1 - part) + stops[low + 1][k % 3] * part);
  });
  theme.hatch = hatchOf(theme.noise);
  theme.hatchChosen = hatchOf(theme.chosen);
  theme.hatchMuted = hatchOf(theme.muted);
  return theme;
}

function parseHex(text) {
  return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
}

// Slanted lines, by which noise is told from tones without colour.
function hatchOf(colour) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const context = tile.getContext("2d");
  context.strokeStyle = colour;
  context.lineWidth = 1.4;
  context.beginPath();
  for (const shift of [-8, 0, 8]) {
    context.moveTo(shift - 1, 9);
    context.lineTo(shift + 9, -1);
  }
  context.stroke();
  return tile;
}
