// Runs that are going on, as the server tells of them. It tells everything again to whoever comes late or comes back.

import { byId, make } from "./dom.js";

export class Runs extends EventTarget {
  constructor() {
    super();
    this.runs = new Map();
    this.chosen = null;
    this.source = new EventSource("updates");
    this.source.addEventListener("runs", ({ data }) => this.take(JSON.parse(data)));
    this.source.onerror = () => this.dispatchEvent(new CustomEvent("lost"));
  }

  // News: [{ run, name, state, share, points, from, scene, audio, ... }]; points are those from number `from` on.
  take(news) {
    for (const { run, points, from, ...about } of news) {
      const known = this.runs.get(run) ?? { run, points: [] };
      Object.assign(known, about);
      known.points = [...known.points.slice(0, from), ...points];
      this.runs.set(run, known);
    }
    this.chosen ??= this.runs.keys().next().value ?? null;
    this.write();
    this.dispatchEvent(new CustomEvent("news", { detail: news.map(({ run }) => run) }));
  }

  write() {
    const bar = byId("runs");
    bar.hidden = this.runs.size === 0;
    const focus = document.activeElement?.dataset?.run;
    bar.replaceChildren(
      ...[...this.runs.values()].map((run) => {
        const button = make("button", run.name, { role: "tab", "aria-selected": String(run.run === this.chosen), "data-run": run.run });
        const progress = make("progress", "", { max: 1, value: run.share ?? 0 });
        const state = make("small", run.state);
        button.append(progress, state);
        button.addEventListener("click", () => {
          this.chosen = run.run;
          this.write();
          this.dispatchEvent(new CustomEvent("chosen"));
        });
        return button;
      }),
    );
    if (focus) bar.querySelector(`[data-run="${CSS.escape(focus)}"]`)?.focus();
  }

  get current() {
    return this.runs.get(this.chosen) ?? null;
  }
}
