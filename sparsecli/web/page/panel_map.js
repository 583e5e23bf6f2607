// The map of the events by how alike they sound. Near each other lie those that sound alike; a click plays one.

import { MODES } from "./columns.js";
import { byId, choose, sharpContext } from "./dom.js";
import { FEATURES, featuresOf } from "./features.js";
import { loudestLevel, loudestSlot } from "./measures.js";
import { thickness } from "./picture.js";
import { pca } from "./pca.js";
import { wordsOf } from "./panel_event.js";

const MOST_TSNE = 700; // of the loudest: its cost grows with their square
const MOST_PCA = 20000;
const EDGE_PX = 14;

export class MapPanel {
  constructor(app) {
    this.app = app;
    this.kind = "pca";
    this.rows = [];
    this.stale = true;
    const { signal } = app.closing;
    this.canvas = byId("map");
    byId("map-kind").addEventListener("click", ({ target }) => {
      if (!target.dataset.map) return;
      this.kind = target.dataset.map;
      choose(byId("map-kind"), "map", this.kind);
      this.stale = true;
      this.show();
    }, { signal });
    this.canvas.addEventListener("click", (event) => this.click(event), { signal });
    app.session.addEventListener("change", () => (this.stale = true));
  }

  async show() {
    if (this.stale) await this.reckon();
    this.draw();
  }

  async reckon() {
    const { session, sound } = this.app;
    this.stale = false;
    const loudness = new Map(session.aliveRows().map((e) => [e, loudestLevel(session.table.row(e))]));
    const rows = [...loudness.keys()].sort((a, b) => loudness.get(b) - loudness.get(a));
    const most = this.kind === "pca" ? MOST_PCA : MOST_TSNE;
    const kept = rows.slice(0, most);
    if (kept.length < 3) {
      byId("map-told").textContent = "A map needs three events or more.";
      this.rows = [];
      return;
    }
    const features = featuresOf(session.table, kept);
    byId("map-told").textContent = this.kind === "pca" ? "" : "Finding neighbours …";
    const places = this.kind === "pca" ? pca(features, kept.length, FEATURES) : await sound.map({ features, count: kept.length, width: FEATURES, seed: 1 });
    this.rows = kept;
    this.places = places;
    const which = kept.length < rows.length ? `the ${kept.length} loudest events` : `${kept.length} events`;
    byId("map-told").textContent = `${which}; what sounds alike lies close together. Click to hear.`;
  }

  // Pixels of each row.
  layout(width, height) {
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let k = 0; k < this.rows.length; k++) {
      x0 = Math.min(x0, this.places[2 * k]);
      x1 = Math.max(x1, this.places[2 * k]);
      y0 = Math.min(y0, this.places[2 * k + 1]);
      y1 = Math.max(y1, this.places[2 * k + 1]);
    }
    const scale = Math.min((width - 2 * EDGE_PX) / (x1 - x0 || 1), (height - 2 * EDGE_PX) / (y1 - y0 || 1));
    return (k) => [
      width / 2 + (this.places[2 * k] - (x0 + x1) / 2) * scale,
      height / 2 + (this.places[2 * k + 1] - (y0 + y1) / 2) * scale,
    ];
  }

  draw() {
    const { context, width, height } = sharpContext(this.canvas);
    const { session, stage } = this.app;
    const at = this.layout(width, height);
    context.clearRect(0, 0, width, height);
    for (const chosen of [false, true]) {
      this.rows.forEach((e, k) => {
        if (session.selection.has(e) !== chosen || !session.isAlive(e)) return;
        const [x, y] = at(k);
        const isNoise = loudestSlot(session.table.row(e)) === MODES;
        const radius = 1.5 + thickness(loudestLevel(session.table.row(e))) * 0.55;
        context.fillStyle = context.strokeStyle = chosen ? stage.theme.chosen : isNoise ? stage.theme.noise : stage.theme.tone;
        context.globalAlpha = session.isAudible(e) ? 0.85 : 0.3;
        context.beginPath();
        if (isNoise) context.rect(x - radius, y - radius, 2 * radius, 2 * radius);
        else context.arc(x, y, radius, 0, 2 * Math.PI);
        if (isNoise) context.stroke();
        else context.fill();
      });
    }
    context.globalAlpha = 1;
  }

  click(event) {
    const at = this.layout(this.canvas.clientWidth, this.canvas.clientHeight);
    let found = -1;
    let least = 144; // twelve pixels, squared
    this.rows.forEach((e, k) => {
      const [x, y] = at(k);
      const distance = (x - event.offsetX) ** 2 + (y - event.offsetY) ** 2;
      if (distance < least && this.app.session.isAlive(e)) {
        least = distance;
        found = e;
      }
    });
    if (found < 0) return;
    this.app.session.select([found], event.shiftKey ? "toggle" : "replace");
    this.app.hear([found]);
    this.app.tell(wordsOf(this.app.session.table, found));
  }
}
