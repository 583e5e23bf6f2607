// Keys and gestures: the one list from which keys act and the help sheet is written.

// key: as KeyboardEvent has it, with Ctrl+ (or Cmd) and Shift+ before it; act(app): what it does.
export const KEYS = [
  { group: "Play", keys: [" "], shown: "Space", meaning: "play or pause", act: (app) => app.togglePlay() },
  { group: "Play", keys: ["Enter"], shown: "Enter", meaning: "hear what is selected", act: (app) => app.hearSelected() },
  { group: "Play", keys: ["x"], shown: "X", meaning: "rendering or original", act: (app) => app.switchSource() },
  { group: "Play", keys: ["l"], shown: "L", meaning: "loop", act: (app) => app.toggleLoop() },
  { group: "Play", keys: ["Home"], shown: "Home", meaning: "to the start", act: (app) => app.player.seek(0) },
  { group: "Select", keys: [",", "."], shown: ", .", meaning: "event before, event after", act: (app, key) => app.step(key === "." ? 1 : -1) },
  { group: "Select", keys: ["Ctrl+a"], shown: "Ctrl A", meaning: "all", act: (app) => app.session.select(app.session.aliveRows()) },
  { group: "Select", keys: ["Escape"], shown: "Esc", meaning: "none", act: (app) => app.session.select([]) },
  { group: "Select", keys: ["n"], shown: "N", meaning: "whole notes or single events", act: (app) => app.press("whole-notes") },
  { group: "Select", keys: ["/"], shown: "/", meaning: "find by an expression", act: (app) => app.find() },
  { group: "Change", keys: ["ArrowUp", "ArrowDown"], shown: "↑ ↓", meaning: "a semitone", act: (app, key) => app.nudge(0, key === "ArrowUp" ? 1 : -1) },
  { group: "Change", keys: ["Shift+ArrowUp", "Shift+ArrowDown"], shown: "Shift ↑ ↓", meaning: "an octave", act: (app, key) => app.nudge(0, key === "ArrowUp" ? 12 : -12) },
  { group: "Change", keys: ["Alt+ArrowUp", "Alt+ArrowDown"], shown: "Alt ↑ ↓", meaning: "5 cents", act: (app, key) => app.nudge(0, key === "ArrowUp" ? 0.05 : -0.05) },
  { group: "Change", keys: ["ArrowLeft", "ArrowRight"], shown: "← →", meaning: "10 ms, or one step of the grid", act: (app, key) => app.nudge(app.stepS() * (key === "ArrowRight" ? 1 : -1), 0) },
  { group: "Change", keys: ["Shift+ArrowLeft", "Shift+ArrowRight"], shown: "Shift ← →", meaning: "1 ms", act: (app, key) => app.nudge(key === "ArrowRight" ? 1e-3 : -1e-3, 0) },
  { group: "Change", keys: ["[", "]"], shown: "[ ]", meaning: "softer, louder by 1 dB", act: (app, key) => app.louder(key === "]" ? 1 : -1) },
  { group: "Change", keys: ["{", "}"], shown: "{ }", meaning: "shorter, longer by a tenth", act: (app, key) => app.longer(key === "}" ? 1.1 : 1 / 1.1) },
  { group: "Change", keys: ["m"], shown: "M", meaning: "mute", act: (app) => app.mute() },
  { group: "Change", keys: ["s"], shown: "S", meaning: "solo", act: (app) => app.solo() },
  { group: "Change", keys: ["d"], shown: "D", meaning: "duplicate", act: (app) => app.duplicate() },
  { group: "Change", keys: ["Delete", "Backspace"], shown: "Delete", meaning: "delete", act: (app) => app.remove() },
  { group: "Change", keys: ["Ctrl+z"], shown: "Ctrl Z", meaning: "undo", act: (app) => app.undo() },
  { group: "Change", keys: ["Ctrl+Shift+z", "Ctrl+y"], shown: "Ctrl Shift Z", meaning: "redo", act: (app) => app.redo() },
  { group: "Look", keys: ["+", "="], shown: "+", meaning: "closer", act: (app) => app.zoom(0.5) },
  { group: "Look", keys: ["-"], shown: "−", meaning: "wider", act: (app) => app.zoom(2) },
  { group: "Look", keys: ["0"], shown: "0", meaning: "all of it", act: (app) => app.fit() },
  { group: "Look", keys: ["z"], shown: "Z", meaning: "what is selected", act: (app) => app.zoomToSelected() },
  { group: "Look", keys: ["v", "g", "h"], shown: "V G H", meaning: "box, lasso, pan", act: (app, key) => app.setTool({ v: "box", g: "lasso", h: "pan" }[key]) },
  { group: "Look", keys: ["p", "t"], shown: "P T", meaning: "snap to semitones, to the grid", act: (app, key) => app.press(key === "p" ? "snap-pitch" : "snap-time") },
  { group: "Look", keys: ["?"], shown: "?", meaning: "this sheet", act: (app) => app.help() },
];

export const GESTURES = [
  { shown: "Click", meaning: "select and hear" },
  { shown: "Shift click", meaning: "add or take away" },
  { shown: "Drag", meaning: "move; with Shift in time or pitch alone" },
  { shown: "Drag the right end", meaning: "length" },
  { shown: "Drag the top", meaning: "level" },
  { shown: "Drag from nothing", meaning: "box or lasso" },
  { shown: "Wheel", meaning: "closer, wider; with Shift along" },
  { shown: "Alt wheel", meaning: "closer, wider in pitch" },
  { shown: "Drag on the wave", meaning: "mark a loop" },
];

// What a key press is called in the list.
export function nameOfPress(event) {
  const control = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
  const alt = event.altKey && event.key.startsWith("Arrow") ? "Alt+" : "";
  const letter = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const shift = event.shiftKey && (event.key.length > 1 || control) ? "Shift+" : "";
  return control + alt + shift + letter;
}

export function listen(app) {
  const byName = new Map(KEYS.flatMap((entry) => entry.keys.map((key) => [key, entry])));
  document.addEventListener("keydown", (event) => {
    const own = event.target;
    if (own.matches?.("input:not([type=checkbox]):not([type=range]), textarea, select") || document.querySelector("dialog[open]")) return;
    if ((event.key === " " || event.key === "Enter") && own.matches?.("button, input, a")) return; // these press what has the focus
    const entry = byName.get(nameOfPress(event));
    if (!entry || (!app.session && event.key !== "?")) return; // before there are events, or of a training
    event.preventDefault();
    entry.act(app, event.key);
  });
}

export function writeHelp(list) {
  const groups = groupsOf(KEYS);
  for (const [name, entries] of [...groups, ["Pointer", GESTURES]]) {
    const section = document.createElement("section");
    const title = document.createElement("h3");
    title.textContent = name;
    section.append(title);
    for (const { shown, meaning } of entries) {
      const line = document.createElement("div");
      const key = document.createElement("kbd");
      key.textContent = shown;
      const text = document.createElement("span");
      text.textContent = meaning;
      line.append(text, key);
      section.append(line);
    }
    list.append(section);
  }
}

function groupsOf(entries) {
  const groups = new Map();
  for (const entry of entries) groups.set(entry.group, [...(groups.get(entry.group) ?? []), entry]);
  return groups;
}
