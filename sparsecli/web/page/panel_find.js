// The panel that selects by an expression, which the server understands.

import { byId, make } from "./dom.js";
import { packScene } from "./scene.js";
import { heardScene } from "./exports.js";

const EXAMPLES = ["freq < 200 Hz", "pitch in C4..B4", "time in 1..2 s", "noise > -60 dB", "top 10 by energy", "decay < 50 ms and not modes = 0"];

export class FindPanel {
  constructor(app) {
    this.app = app;
    const { signal } = app.closing;
    byId("find-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.find(event.submitter?.value ?? "replace");
    }, { signal });
    byId("expression").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        this.find("replace");
      }
    }, { signal });
    const box = byId("find-examples");
    box.replaceChildren();
    for (const text of EXAMPLES) {
      const button = make("button", text);
      button.addEventListener("click", () => {
        byId("expression").value = text;
        this.find("replace");
      });
      box.append(button);
    }
    if (app.config.mode === "file") this.tell("Expressions need the server: open the events with sparse view.");
  }

  tell(text) {
    byId("find-told").textContent = text;
  }

  async find(how) {
    const { app } = this;
    if (app.config.mode === "file") {
      this.tell("Expressions need the server: open the events with sparse view.");
      return;
    }
    const expression = byId("expression").value.trim();
    if (!expression) return;
    try {
      const { ids, air } = await this.ask(expression);
      const wanted = new Set(ids);
      const rows = app.session.aliveRows().filter((e) => wanted.has(String(app.session.table.id[e])));
      app.session.select(app.session.extended(rows), how);
      this.tell(`${rows.length} of ${app.session.aliveRows().length} events${air ? ", and the air" : ""}`);
    } catch (error) {
      this.tell(error.message);
    }
  }

  async ask(expression) {
    const body = packScene(heardScene(this.app.session, true));
    const answer = await fetch(`select?expression=${encodeURIComponent(expression)}`, { method: "POST", body });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    return found;
  }
}
