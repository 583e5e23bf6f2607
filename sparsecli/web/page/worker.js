// What is reckoned beside the page, so that it stays fluid: the mix of all sounds, pictures of sound, maps of events.

import { tsne } from "./tsne.js";
import { Mixer } from "./mixer.js";
import { tileLevels } from "./spectrogram.js";
import { renderTogether } from "./together.js";

let mixer = null;

const answers = {
  // Begin a recording: its header and air.
  begin({ header, air, airFrames }) {
    mixer = new Mixer(header, air, airFrames, (message, owned) => postMessage({ kind: "mixed", ...message }, owned));
  },
  // Take events out of the mix and put others in; `all` begins the mix anew.
  change({ remove, add, all, ticket }) {
    mixer.change(remove, add, all, ticket);
  },
  // The sound of some events alone.
  hear({ events, ticket }) {
    const { begin, channels } = renderTogether(events, mixer.about, mixer.header.channels);
    postMessage({ kind: "heard", ticket, begin, channels }, channels.map((channel) => channel.buffer));
  },
  tile({ frames, spec, ticket }) {
    const levels = tileLevels(frames, spec);
    postMessage({ kind: "tile", ticket, levels }, [levels.buffer]);
  },
  map({ features, count, width, seed, ticket }) {
    const places = tsne(features, count, width, seed);
    postMessage({ kind: "map", ticket, places }, [places.buffer]);
  },
};

onmessage = ({ data }) => answers[data.ask](data);
