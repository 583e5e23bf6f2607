// The panel of a run that is going on: figures, settings and curves.

import { byId, make, sharpContext } from "./dom.js";
import { setTraining, showTraining } from "./training.js";

const CURVES = [
  { key: "snr_db", name: "SNR, dB" },
  { key: "loss", name: "left over, share of the energy" },
  { key: "atoms", name: "atoms" },
];

export class RunPanel {
  constructor(app) {
    this.app = app;
  }

  show(run) {
    if (!run) return;
    setTraining(Boolean(run.training));
    if (run.training) {
      showTraining(run);
      return;
    }
    byId("run-title").textContent = run.name;
    const last = run.points[run.points.length - 1] ?? {};
    const facts = {
      state: run.state,
      done: `${Math.round(100 * (run.share ?? 0))} %`,
      elapsed: `${(last.seconds ?? 0).toFixed(1)} s`,
      atoms: last.atoms ?? 0,
      SNR: last.snr_db === undefined ? "–" : `${last.snr_db.toFixed(1)} dB`,
      "speed against real time": last.seconds ? `${((run.share * run.duration_s) / last.seconds).toFixed(2)} ×` : "–",
      device: run.device,
      memory: last.memory_mb ? `${Math.round(last.memory_mb)} MB` : "–",
      ...Object.fromEntries(Object.entries(run.settings ?? {}).map(([key, value]) => [key, String(value)])),
    };
    byId("run-facts").replaceChildren(...Object.entries(facts).flatMap(([key, value]) => [make("dt", key), make("dd", String(value))]));
    this.drawCurves(run);
  }

  drawCurves(run) {
    const { context, width, height } = sharpContext(byId("curves"));
    const { theme } = this.app.stage ?? {};
    if (!theme) return;
    context.clearRect(0, 0, width, height);
    context.font = "11px sans-serif";
    const each = height / CURVES.length;
    CURVES.forEach(({ key, name }, place) => {
      const points = run.points.filter((point) => Number.isFinite(point[key]));
      const top = place * each + 16;
      const room = each - 26;
      context.fillStyle = theme.faint;
      context.textAlign = "left";
      context.fillText(name, 0, top - 5);
      context.fillStyle = theme.line;
      context.fillRect(0, top + room, width, 1);
      if (points.length < 2) return;
      const most = Math.max(...points.map((point) => point[key]));
      const least = Math.min(0, ...points.map((point) => point[key]));
      const end = points[points.length - 1].seconds || 1;
      context.fillStyle = theme.ink;
      context.textAlign = "right";
      context.fillText(+points[points.length - 1][key].toPrecision(3), width, top - 5);
      context.strokeStyle = theme.tone;
      context.lineWidth = 1.6;
      context.beginPath();
      for (const point of points) context.lineTo((point.seconds / end) * width, top + room - ((point[key] - least) / (most - least || 1)) * (room - 4));
      context.stroke();
    });
  }
}
