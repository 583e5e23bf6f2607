// A training that is going on: its curves where else events are, its figures beside them. It has no events and no sound.

import { drawCurves, shortNumber } from "./curves.js";
import { byId, make, sharpContext } from "./dom.js";
import { readTheme } from "./theme.js";

// Make room for a training's curves, or give the room back.
export function setTraining(on) {
  document.body.classList.toggle("is-training", on);
  byId("training").hidden = !on;
}

export function showTraining(run) {
  byId("title").textContent = run.name;
  byId("about").textContent = `training of ${run.training}`;
  document.title = `${run.name} – sparse`;
  byId("run-title").textContent = run.name;
  const known = {};
  for (const point of run.points) Object.assign(known, point);
  const { seconds = 0, step = 0, ...figures } = known;
  const done = run.share || 0;
  const facts = {
    state: run.state,
    step: `${step} of ${run.settings?.steps ?? "?"}`,
    elapsed: timeTold(seconds),
    left: done > 0 && run.state === "running" ? timeTold((seconds * (1 - done)) / done) : "–",
    device: run.device,
    ...Object.fromEntries(Object.entries(figures).map(([name, value]) => [name.replaceAll("_", " "), shortNumber(value)])),
  };
  for (const [name, value] of Object.entries(run.settings ?? {})) if (name !== "steps" && name !== "device") facts[name] = value;
  byId("run-facts").replaceChildren(...Object.entries(facts).flatMap(([key, value]) => [make("dt", key), make("dd", String(value))]));
  drawCurves(sharpContext(byId("training")), run.curves, run.points, "step", readTheme());
}

// A time as people say it.
function timeTold(seconds) {
  if (seconds < 100) return `${seconds.toFixed(0)} s`;
  return seconds < 6000 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
