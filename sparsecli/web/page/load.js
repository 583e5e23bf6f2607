// Where the page has its events, recording and worker from: the server, or the page itself where it is one file.

import { byId } from "./dom.js";
import { unpackScene } from "./scene.js";

export function readConfig() {
  return JSON.parse(byId("config-data").textContent);
}

function bytesOf(id) {
  return Uint8Array.from(atob(byId(id).textContent), (letter) => letter.charCodeAt(0));
}

// The events at an address of the server, or in the page.
export async function loadScene(config, address = "scene") {
  if (config.mode !== "file") return unpackScene(await (await fetchWhole(address)).arrayBuffer());
  const unpacked = new Blob([bytesOf("scene-data")]).stream().pipeThrough(new DecompressionStream("gzip"));
  return unpackScene(await new Response(unpacked).arrayBuffer());
}

// The recording, [channels] of samples at the rate of the events; null where there is none.
export async function loadAudio(config, rate, address = "audio") {
  let bytes;
  if (config.mode === "file") {
    if (!byId("audio-data")) return null;
    bytes = bytesOf("audio-data").buffer;
  } else {
    const answer = await fetch(address);
    if (!answer.ok) return null;
    bytes = await answer.arrayBuffer();
  }
  const decoded = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
  return Array.from({ length: decoded.numberOfChannels }, (_, channel) => decoded.getChannelData(channel));
}

async function fetchWhole(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer;
}

let workerAddress = null;

export function startWorker(config) {
  if (config.mode !== "file") return new Worker("worker.js");
  workerAddress ??= URL.createObjectURL(new Blob([bytesOf("worker-data")], { type: "text/javascript" }));
  return new Worker(workerAddress);
}
