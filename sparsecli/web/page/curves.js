// Curves of figures over the course of a run.

const TITLE_PX = 18;
const SCALE_PX = 46; // for the numbers at the left
const GAP_PX = 26;

// Curves in columns, each with its own scale: [{ name, keys }] of points [{ [along]: number, [key]: number }].
// The first key of a curve is a line, the second one dots.
export function drawCurves({ context, width, height }, curves, points, along, theme) {
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, sans-serif";
  const seen = curves.filter(({ keys }) => keys.some((key) => points.some((point) => Number.isFinite(point[key]))));
  const columns = width > 620 ? 2 : 1;
  const rows = Math.max(1, Math.ceil(seen.length / columns));
  const each = { width: width / columns, height: height / rows };
  seen.forEach((curve, place) => {
    const left = (place % columns) * each.width + SCALE_PX + 10;
    const top = Math.floor(place / columns) * each.height + TITLE_PX + 12;
    const box = { left, top, width: each.width - SCALE_PX - GAP_PX - 10, height: each.height - TITLE_PX - GAP_PX - 12 };
    drawCurve(context, box, curve, points, along, theme);
  });
}

function drawCurve(context, { left, top, width, height }, { name, keys }, points, along, theme) {
  const has = (key) => points.filter((point) => Number.isFinite(point[key]) && Number.isFinite(point[along]));
  const values = keys.flatMap((key) => has(key).map((point) => point[key]));
  const [least, most] = roundedRange(Math.min(...values), Math.max(...values));
  const end = Math.max(...points.map((point) => point[along] ?? 0), 1);
  const x = (point) => left + (point[along] / end) * width;
  const y = (value) => top + height - ((value - least) / (most - least)) * height;
  context.fillStyle = theme.ink;
  context.textAlign = "left";
  context.fillText(name, left, top - 10);
  context.textAlign = "right";
  context.fillText(keys.map((key) => has(key).at(-1)?.[key]).filter(Number.isFinite).map(shortNumber).join("  ●  "), left + width, top - 10);
  context.strokeStyle = theme.line;
  context.fillStyle = theme.faint;
  context.lineWidth = 1;
  for (const value of [least, (least + most) / 2, most]) {
    context.beginPath();
    context.moveTo(left, y(value));
    context.lineTo(left + width, y(value));
    context.stroke();
    context.fillText(shortNumber(value), left - 6, y(value) + 4);
  }
  context.fillText(`${along} ${shortNumber(end)}`, left + width, top + height + 15);
  context.strokeStyle = theme.tone;
  context.lineWidth = 1.7;
  context.beginPath();
  for (const point of has(keys[0])) context.lineTo(x(point), y(point[keys[0]]));
  context.stroke();
  context.fillStyle = keys.length > 1 ? theme.noise : theme.tone;
  const dotted = has(keys.at(-1));
  if (keys.length > 1 || dotted.length < 60) {
    for (const point of dotted) {
      context.beginPath();
      context.arc(x(point), y(point[keys.at(-1)]), 3, 0, 2 * Math.PI);
      context.fill();
    }
  }
}

// A range that holds both, wider where they are the same.
export function roundedRange(least, most) {
  if (most > least) return [least, most];
  const room = Math.abs(least) * 0.1 || 1;
  return [least - room, least + room];
}

// Three digits, without needless zeros.
export function shortNumber(value) {
  const size = Math.abs(value);
  if (size >= 1e5 || (size > 0 && size < 1e-3)) return value.toExponential(1);
  return size >= 1000 ? String(Math.round(value)) : String(+value.toPrecision(3));
}
