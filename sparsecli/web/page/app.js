// The page: what is open, and how its parts work together.

import {
  deleteSelected, duplicateSelected, longer, louder, moveSelected, muteSelected, perturbAll, randomEvents, randomTimes,
  soloSelected, stepSelection,
} from "./actions.js";
import { MODES, ONSET } from "./columns.js";
import { byId, choose, sharpContext } from "./dom.js";
import { fromServer, heardScene, saveFile, toJson, toWav } from "./exports.js";
import { MUTED } from "./events.js";
import { listen, writeHelp } from "./keys.js";
import { loadAudio, loadScene, readConfig, startWorker } from "./load.js";
import { drawnEndS, freqOfSlot, loudestLevel, pitchName, signed } from "./measures.js";
import { drawMeter } from "./meter.js";
import { EventPanel, unitOf, wordsOf } from "./panel_event.js";
import { FindPanel } from "./panel_find.js";
import { MapPanel } from "./panel_map.js";
import { MatrixPanel } from "./panel_matrix.js";
import { RunPanel } from "./panel_run.js";
import { Player } from "./player.js";
import { Pointer } from "./pointer.js";
import { samplesOf } from "./renderer.js";
import { Runs } from "./runs.js";
import { Session } from "./session.js";
import { Sound } from "./sound.js";
import { Stage } from "./stage.js";

const NUDGE_S = 0.01; // of the arrow keys where no grid is asked for
const MANY = 20000; // events above which a wish to hear them all plays the mix instead

class App {
  constructor(config) {
    this.config = config;
    this.tool = "box";
    this.tab = "event";
    this.original = null;
    this.seed = 1;
    this.closing = new AbortController();
  }

  // Show a set of events in place of what was shown.
  open(scene, original) {
    const view = this.stage?.view;
    const source = this.player?.source ?? "rendering";
    this.close();
    this.closing = new AbortController();
    this.original = original;
    this.session = new Session(scene);
    this.sound = new Sound(this.session, () => startWorker(this.config));
    const samples = samplesOf(scene.header);
    this.player = new Player((name) => this.read(name), scene.header.sample_rate);
    const begun = this.sound.begin(samples);
    this.stage = new Stage(byId("stage"), this.session, this.sound, (name) => this.read(name));
    if (view && view.durationS === this.stage.view.durationS) {
      const { startS, endS, low, high } = view;
      Object.assign(this.stage.view, { startS, endS, low, high });
    }
    this.pointer = new Pointer(this);
    this.panels = { event: new EventPanel(this), find: new FindPanel(this), map: new MapPanel(this), matrix: new MatrixPanel(this) };
    byId("whole-notes").checked = this.session.wholeNotes;
    this.session.addEventListener("selection", () => this.refresh());
    this.session.addEventListener("change", () => this.refresh());
    this.session.addEventListener("done", ({ detail }) => this.tell(detail));
    this.player.addEventListener("state", () => this.showTransport());
    this.sound.addEventListener("sound", () => this.showBusy());
    this.setOriginal(original);
    this.setSource(original && source === "original" ? "original" : "rendering");
    this.setGrid();
    this.describe();
    this.refresh();
    this.animate();
    return begun;
  }

  close() {
    this.closing.abort();
    this.player?.pause();
    this.player?.context?.close();
    this.sound?.stop();
    this.stage?.resizing.disconnect();
  }

  setOriginal(channels) {
    this.original = channels;
    byId("ab").querySelector('[data-source="original"]').disabled = !channels;
    if (channels) this.stage.heard("original", 0, channels[0].length);
  }

  // The sound of "rendering" or "original".
  read(name) {
    if (name === "original") return this.original ? { channels: this.original } : null;
    return { channels: this.sound.channels };
  }

  describe() {
    const { header, count } = this.session.scene;
    byId("title").textContent = header.source?.name || "events";
    document.title = `${header.source?.name || "events"} – sparse`;
    const snr = header.quality?.snr_db;
    const parts = [`${header.duration_s.toFixed(2)} s`, `${header.sample_rate} Hz`, header.channels === 2 ? "stereo" : "mono", `${count} events`];
    if (Number.isFinite(snr)) parts.push(`SNR ${snr.toFixed(1)} dB`);
    byId("about").textContent = parts.join("   ");
  }

  // What depends on the events or the selection.
  refresh() {
    if (this.refreshing) return;
    this.refreshing = true;
    requestAnimationFrame(() => {
      this.refreshing = false;
      this.panels[this.tab]?.show?.();
      const alive = this.session.aliveRows();
      const muted = alive.filter((e) => this.session.table.flags[e] & MUTED).length;
      const parts = [`${alive.length} events`, this.session.selection.size && `${this.session.selection.size} selected`, muted && `${muted} muted`, this.session.solos && `${this.session.solos} solo`];
      byId("counts").textContent = parts.filter(Boolean).join(", ");
      byId("undo").disabled = !this.session.done.length;
      byId("redo").disabled = !this.session.undone.length;
    });
  }

  tell(text) {
    byId("told").textContent = text;
  }

  showBusy() {
    const busy = this.sound.progress < 1;
    byId("busy").hidden = !busy;
    if (busy) byId("busy").textContent = `Mixing ${Math.round(100 * this.sound.progress)} %`;
  }

  // Sound

  togglePlay() {
    if (this.player.playing) this.player.pause();
    else this.player.play();
    this.animate();
  }

  async hear(rows) {
    const audible = rows.filter((e) => this.session.isAlive(e));
    if (!audible.length || audible.length > MANY) return;
    const { channels } = await this.sound.hear(audible);
    this.player.hear(channels);
    this.animate();
  }

  hearSelected() {
    return this.hear([...this.session.selection]);
  }

  switchSource() {
    if (this.original) this.setSource(this.player.source === "rendering" ? "original" : "rendering");
    else this.tell("There is no recording: give it with --audio.");
  }

  setSource(name) {
    this.player.setSource(name);
    this.stage.source = name;
    choose(byId("ab"), "source", name);
    this.stage.redraw();
  }

  toggleLoop() {
    const { stage, player } = this;
    if (player.loop) this.setLoop(null);
    else this.setLoop([stage.view.startS, stage.view.endS]);
  }

  setLoop(range) {
    this.stage.marks.loop = range;
    this.player.setLoop(range);
    byId("loop").setAttribute("aria-pressed", String(range !== null));
    this.stage.redraw();
  }

  showTransport() {
    document.body.classList.toggle("playing", this.player.playing);
    byId("play").setAttribute("aria-label", this.player.playing ? "Pause" : "Play");
    this.showPosition();
  }

  showPosition() {
    const at = this.player.position();
    this.stage.marks.cursorS = at;
    byId("time").textContent = `${at.toFixed(3)} s`;
    this.stage.redraw();
  }

  // Cursor and meter, as long as there is something to see.
  animate() {
    if (this.animating) return;
    this.animating = true;
    const turn = () => {
      if (this.player.playing) this.showPosition();
      const moving = drawMeter(sharpContext(byId("meter")), this.player.meter(), this.stage.theme);
      if (this.player.playing || moving) requestAnimationFrame(turn);
      else this.animating = false;
    };
    requestAnimationFrame(turn);
  }

  // Selection and edits

  step(by) {
    const e = stepSelection(this.session, by);
    if (e === null) return;
    const { view } = this.stage;
    const at = this.session.table.get(e, ONSET);
    if (at < view.startS || at > view.endS) view.show(at - (view.endS - view.startS) / 2, at + (view.endS - view.startS) / 2);
    this.tell(wordsOf(this.session.table, e));
    this.hearSelected();
  }

  nudge(seconds, semitones) {
    moveSelected(this.session, seconds, semitones);
    this.hearSelected();
  }

  louder(db) {
    louder(this.session, db);
  }

  longer(factor) {
    longer(this.session, factor);
  }

  mute() {
    muteSelected(this.session);
  }

  solo() {
    soloSelected(this.session);
  }

  remove() {
    deleteSelected(this.session);
  }

  duplicate() {
    duplicateSelected(this.session, this.snapTimeS || this.lengthOfSelection());
  }

  lengthOfSelection() {
    const onsets = [...this.session.selection].map((e) => this.session.table.get(e, ONSET));
    return Math.max(0.25, Math.max(...onsets) - Math.min(...onsets)); // a quarter of a second, so that copies are seen apart
  }

  undo() {
    const label = this.session.undo();
    this.tell(label ? `Undone: ${label}` : "Nothing to undo");
  }

  redo() {
    const label = this.session.redo();
    this.tell(label ? `Done again: ${label}` : "Nothing to do again");
  }

  chance(act) {
    act(this.session, this.seed++);
  }

  // View

  stepS() {
    return this.snapTimeS || NUDGE_S;
  }

  zoom(factor) {
    this.stage.view.zoomTime(factor, this.stage.view.x(this.player.position()));
    this.stage.redraw();
  }

  fit() {
    this.stage.view.fit();
    this.stage.redraw();
  }

  zoomToSelected() {
    const { session, stage } = this;
    if (!session.selection.size) {
      this.fit();
      return;
    }
    let [first, last] = [Infinity, -Infinity];
    for (const e of session.selection) {
      const row = session.table.row(e);
      first = Math.min(first, row[ONSET]);
      last = Math.max(last, drawnEndS(row, loudestLevel(row)));
    }
    const margin = 0.15 * (last - first);
    stage.view.show(first - margin, last + margin);
    stage.redraw();
  }

  hovered(shape, at) {
    if (this.pointer?.drag) return;
    if (this.under !== (shape?.e ?? null)) {
      this.under = shape?.e ?? null;
      this.stage.marks.group = shape ? new Set(this.session.extended([shape.e])) : null;
      this.stage.redraw();
    }
    if (shape) {
      const freq = freqOfSlot(this.session.table.row(shape.e), shape.slot);
      const what = shape.slot === MODES ? `noise around ${Math.round(freq)} Hz` : `${pitchName(freq)}, ${freq.toFixed(1)} Hz`;
      this.tell(`${what}, ${signed(shape.level, 1)} dB, starts at ${signed(this.session.table.get(shape.e, ONSET), 3)} s`);
    } else if (at) {
      const freq = this.stage.view.freq(at.y);
      this.tell(`${this.stage.view.seconds(at.x).toFixed(3)} s, ${freq.toFixed(0)} Hz, ${pitchName(freq)}`);
    }
  }

  setTool(tool) {
    this.tool = tool;
    choose(byId("tool"), "tool", tool);
  }

  setGrid() {
    const divided = Number(byId("grid").value);
    this.bpm = Math.min(400, Math.max(20, Number(byId("bpm").value) || 120));
    this.snapTimeS = byId("snap-time").checked ? 60 / this.bpm / divided : 0;
    this.snapsPitch = byId("snap-pitch").checked;
    this.stage.marks.gridS = this.snapTimeS;
    this.session.wholeNotes = byId("whole-notes").checked;
    this.stage.redraw();
  }

  press(id) {
    byId(id).checked = !byId(id).checked;
    this.setGrid();
  }

  setTab(name) {
    this.tab = name;
    for (const button of byId("tabs").querySelectorAll("button")) {
      const own = button.dataset.tab === name;
      button.setAttribute("aria-selected", String(own));
      byId(`panel-${button.dataset.tab}`).hidden = !own;
    }
    if (name === "run") this.runPanel.show(this.runs.current);
    else this.panels?.[name]?.show?.();
  }

  find() {
    this.setTab("find");
    byId("expression").focus();
  }

  help() {
    byId("help").showModal();
  }

  setTheme(name) {
    document.documentElement.dataset.theme = name;
    this.stage?.retheme();
    if (this.stage) drawMeter(sharpContext(byId("meter")), this.player.meter(), this.stage.theme);
    this.panels?.[this.tab]?.show?.();
  }

  // Files

  async export(kind) {
    const { session } = this;
    const stem = (session.scene.header.source?.name || "events").replace(/\.[^.]*$/, "") || "events";
    const silent = session.aliveRows().filter((e) => !session.isAudible(e)).length;
    const left = silent ? `; ${silent} that are not heard are left out` : "";
    try {
      if (kind === "wav") {
        const { bytes, gainDb } = toWav(this.sound.channels, session.scene.header.sample_rate);
        saveFile(`${stem}.wav`, "audio/wav", bytes);
        this.tell(`${stem}.wav${gainDb < 0 ? `, ${signed(gainDb, 2)} dB so that nothing is over full scale` : ""}${left}`);
      } else if (kind === "json") {
        const units = Object.fromEntries(session.scene.columns.map((name) => [name, fileUnit(name)]));
        saveFile(`${stem}.json`, "application/json", toJson(heardScene(session), units));
        this.tell(`${stem}.json${left}`);
      } else if (this.config.mode === "file") {
        this.tell(`${kind.toUpperCase()} needs the server: open the events with sparse view, or export JSON.`);
      } else {
        saveFile(`${stem}.${kind}`, "application/octet-stream", await fromServer(kind, session, this.bpm));
        this.tell(`${stem}.${kind}${left}`);
      }
    } catch (error) {
      this.tell(`Not exported: ${error.message}`);
    }
  }
}

// A unit as an events file states it.
function fileUnit(name) {
  return unitOf(name) === "dB" ? "dBFS" : unitOf(name);
}

function connect(app) {
  const on = (id, act) => byId(id).addEventListener("click", act);
  on("play", () => app.togglePlay());
  on("loop", () => app.toggleLoop());
  on("undo", () => app.undo());
  on("redo", () => app.redo());
  on("hear", () => app.hearSelected());
  on("mute", () => app.mute());
  on("solo", () => app.solo());
  on("duplicate", () => app.duplicate());
  on("delete", () => app.remove());
  on("help-button", () => app.help());
  on("select-all", () => app.session.select(app.session.aliveRows()));
  on("select-none", () => app.session.select([]));
  on("select-other", () => app.session.select(app.session.aliveRows(), "toggle"));
  on("random-times", () => app.chance(randomTimes));
  on("random-events", () => app.chance(randomEvents));
  on("perturb", () => app.chance((session, seed) => perturbAll(session, Number(byId("perturb-amount").value), seed)));
  byId("perturb-amount").addEventListener("input", ({ target }) => (byId("perturb-told").textContent = `${target.value} octaves`));
  on("theme-button", () => app.setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  byId("ab").addEventListener("click", ({ target }) => target.dataset.source && app.setSource(target.dataset.source));
  byId("tool").addEventListener("click", ({ target }) => target.dataset.tool && app.setTool(target.dataset.tool));
  byId("tabs").addEventListener("click", ({ target }) => target.dataset.tab && app.setTab(target.dataset.tab));
  for (const id of ["whole-notes", "snap-pitch", "snap-time", "grid", "bpm"]) byId(id).addEventListener("change", () => app.setGrid());
  connectMenu(app);
}

function connectMenu(app) {
  const button = byId("export-button");
  const menu = byId("export-menu");
  const show = (open) => {
    menu.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", () => {
    show(menu.hidden);
    if (!menu.hidden) menu.querySelector("button").focus();
  });
  menu.addEventListener("click", ({ target }) => {
    const kind = target.closest("button")?.dataset.export;
    show(false);
    if (kind) app.export(kind);
  });
  menu.addEventListener("keydown", (event) => {
    const buttons = [...menu.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    if (event.key === "ArrowDown") buttons[(at + 1) % buttons.length].focus();
    else if (event.key === "ArrowUp") buttons[(at + buttons.length - 1) % buttons.length].focus();
    else if (event.key !== "Escape") return;
    else {
      show(false);
      button.focus();
    }
    event.preventDefault();
    event.stopPropagation();
  });
  document.addEventListener("pointerdown", ({ target }) => !menu.contains(target) && target !== button && show(false));
}

// Follow runs: show the chosen one's events as they are found, until they are edited here.
function follow(app) {
  const runs = (app.runs = new Runs());
  app.runPanel = new RunPanel(app);
  byId("tabs").querySelector('[data-tab="run"]').hidden = false;
  let shown = null; // run and number of the events that are shown
  let busy = false;
  const update = async () => {
    const run = runs.current;
    if (app.tab === "run") app.runPanel.show(run);
    if (!run?.scene || busy) return;
    const other = shown?.run !== run.run;
    if (!other && (shown.scene === run.scene || !byId("follow").checked || app.session.edited || app.player.playing)) return;
    busy = true;
    try {
      const scene = await loadScene(app.config, `runs/${run.run}/scene`);
      const original = other && run.audio ? await loadAudio(app.config, scene.header.sample_rate, `runs/${run.run}/audio`) : other ? null : app.original;
      shown = { run: run.run, scene: run.scene };
      await app.open(scene, original);
    } finally {
      busy = false;
    }
    if (runs.current.run !== shown.run || runs.current.scene !== shown.scene) update();
  };
  runs.addEventListener("news", update);
  runs.addEventListener("chosen", update);
  byId("theme-button").addEventListener("click", update);
  window.addEventListener("resize", update);
  runs.addEventListener("lost", () => {
    const rest = runs.current?.training ? "." : ", and can be edited and exported as JSON and WAV.";
    byId("run-told").textContent = `The server does not answer. What is here stays${rest}`;
  });
  app.setTab("run");
}

async function start() {
  const app = new App(readConfig());
  window.sparse = app; // for tests, and for whoever opens the console
  app.setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  writeHelp(byId("help-list"));
  connect(app);
  listen(app);
  if (app.config.mode === "monitor") {
    follow(app);
    return;
  }
  const scene = await loadScene(app.config);
  const mixed = app.open(scene, null);
  performance.mark("painted");
  if (app.config.mode === "file" || app.config.audio) {
    const original = await loadAudio(app.config, scene.header.sample_rate);
    if (original) app.setOriginal(original);
  }
  await mixed;
  performance.mark("mixed");
}

start();
