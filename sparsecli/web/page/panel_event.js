// The panel of what is selected: what it is, what can be done to it, and its numbers.

import { brighter, longer, louder, moveSelected, slower } from "./actions.js";
import { DECAY, MODES, NOISE_LEVEL, ONSET, freqColumn } from "./columns.js";
import { byId, make } from "./dom.js";
import { setNumber } from "./edits.js";
import { SILENT_DB } from "./envelope.js";
import { MUTED, SOLO } from "./events.js";
import { freqOfSlot, loudestLevel, loudestSlot, pitchName, signed } from "./measures.js";

export const UNITS = { s: /_s$/, Hz: /_hz$/, dB: /_db$/, rad: /_rad$/ };

export function unitOf(name) {
  return Object.keys(UNITS).find((unit) => UNITS[unit].test(name)) ?? "";
}

// What an event is in a few words: A4 +3 ct, 1.234 s, −20.1 dB.
export function wordsOf(table, e) {
  const row = table.row(e);
  const slot = loudestSlot(row);
  const what = slot < 0 ? "silent" : slot === MODES ? `noise around ${Math.round(freqOfSlot(row, slot))} Hz` : pitchName(freqOfSlot(row, slot));
  return `${what}, ${signed(row[ONSET], 3)} s, ${signed(loudestLevel(row), 1)} dB`;
}

const CHANGES = [
  ["Pitch", [["−12", -12], ["−1", -1], ["+1", 1], ["+5", 5], ["+12", 12]], (session, by) => moveSelected(session, 0, by)],
  ["Level", [["−6", -6], ["−1", -1], ["+1", 1], ["+6", 6]], louder],
  ["Decay", [["÷ 2", 0.5], ["÷ 1.2", 1 / 1.2], ["× 1.2", 1.2], ["× 2", 2]], longer],
  ["Attack", [["÷ 2", 0.5], ["× 2", 2]], slower],
  ["Colour", [["darker", -1.5], ["brighter", 1.5]], brighter],
];

export class EventPanel {
  constructor(app) {
    this.app = app;
    this.only = null; // the one event that is shown
    this.typing = null; // the field that somebody is typing into
    this.body = byId("event-numbers").querySelector("tbody");
    this.fields = app.session.scene.columns.map(fieldOf);
    this.writeChanges();
    this.body.replaceChildren();
    const { signal } = app.closing;
    this.body.addEventListener("input", ({ target }) => (this.typing = target), { signal });
    this.body.addEventListener("change", ({ target }) => this.typed(target), { signal });
  }

  writeChanges() {
    const box = byId("event-changes");
    box.replaceChildren();
    for (const [name, steps, act] of CHANGES) {
      const buttons = make("div");
      for (const [text, value] of steps) {
        const button = make("button", text, { "aria-label": `${name} ${text}` });
        button.addEventListener("click", () => {
          act(this.app.session, value);
          this.app.hearSelected();
        });
        buttons.append(button);
      }
      box.append(make("span", name), buttons);
    }
  }

  show() {
    const { session } = this.app;
    const rows = [...session.selection];
    byId("event-actions").hidden = byId("event-changes").hidden = !rows.length;
    byId("event-title").textContent = this.title(rows);
    byId("event-told").textContent = this.told(rows);
    byId("mute").setAttribute("aria-pressed", rows.length > 0 && rows.every((e) => session.table.flags[e] & MUTED));
    byId("solo").setAttribute("aria-pressed", rows.length > 0 && rows.every((e) => session.table.flags[e] & SOLO));
    const only = rows.length ? this.loudest(rows) : null;
    if (only !== this.only) this.typing = null;
    this.only = only;
    this.writeNumbers();
  }

  loudest(rows) {
    const { table } = this.app.session;
    return rows.reduce((most, e) => (loudestLevel(table.row(e)) > loudestLevel(table.row(most)) ? e : most));
  }

  title(rows) {
    const { table } = this.app.session;
    if (!rows.length) return "Nothing selected";
    if (rows.length === 1) return wordsOf(table, rows[0]).split(",")[0];
    const notes = new Set(rows.map((e) => table.note[e]));
    if (notes.size === 1 && !notes.has(-1)) return `Note, ${rows.length} events`;
    return `${rows.length} events`;
  }

  told(rows) {
    const { table } = this.app.session;
    if (!rows.length) return "Click an event to hear it. Drag it to move it in time and pitch.";
    let first = Infinity;
    let last = -Infinity;
    for (const e of rows) {
      first = Math.min(first, table.get(e, ONSET));
      last = Math.max(last, table.get(e, ONSET));
    }
    const times = rows.length === 1 ? `starts at ${signed(first, 3)} s` : `from ${signed(first, 3)} to ${signed(last, 3)} s`;
    return `${times}, loudest ${signed(loudestLevel(table.row(this.loudest(rows))), 1)} dB${rows.length > 1 ? "; the numbers are the loudest’s" : ""}`;
  }

  // What is being typed stays as it stands, whatever else changes meanwhile.
  writeNumbers() {
    if (this.only === null) {
      this.body.replaceChildren();
      return;
    }
    if (!this.body.children.length) this.body.replaceChildren(...this.fields.map(lineOf));
    const row = this.app.session.table.row(this.only);
    this.fields.forEach((field, c) => {
      if (field !== this.typing) field.value = shown(row, c, this.app.session.scene.columns[c]);
    });
  }

  typed(field) {
    this.typing = null;
    const value = Number(field.value.replace(",", ".").replace("−", "-"));
    if (!Number.isFinite(value) || field.value.trim() === "") {
      this.show();
      return;
    }
    const column = Number(field.dataset.column);
    const { session } = this.app;
    const name = session.scene.columns[column];
    session.edit(`${name} = ${value}`, [this.only], (row) => setNumber(row, column, value, name));
    this.app.hear([this.only]);
  }
}

function fieldOf(name, c) {
  return make("input", "", { "data-column": c, inputmode: "decimal", "aria-label": name, spellcheck: "false" });
}

// A line of the table: what, how much, and of what unit.
function lineOf(field, c) {
  const name = field.getAttribute("aria-label");
  const line = make("tr", "", c >= freqColumn(0) && (c - freqColumn(0)) % 3 === 0 ? { class: "apart" } : {});
  const cell = make("td");
  cell.append(field);
  line.append(make("td", nameOf(name)), cell, make("td", unitOf(name)));
  return line;
}

function shown(row, c, name) {
  const unused = (name.startsWith("level") || c === NOISE_LEVEL) && row[c] <= SILENT_DB;
  return unused ? "–" : row[c].toFixed(c === ONSET || c <= DECAY ? 4 : 2);
}

// A column's name as people read it: freq1_hz is frequency 1.
function nameOf(column) {
  return column.replace(/_(s|hz|db|rad)$/, "").replace("freq", "frequency ").replace("level", "level ").replace("phase", "phase ").replace("noise_level ", "noise level").trim();
}
