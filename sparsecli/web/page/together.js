// Some events as one sound.

import { gainsOf, renderEvent } from "./renderer.js";

// events: { values [n x width], seeds [n x 2], count, width }. The sum { begin, channels } over the samples it covers.
export function renderTogether(events, about, channels) {
  const sounds = [];
  let first = Infinity;
  let last = 0;
  for (let e = 0; e < events.count; e++) {
    const row = events.values.subarray(e * events.width, (e + 1) * events.width);
    const { begin, sound } = renderEvent(row, events.seeds[2 * e], events.seeds[2 * e + 1], about);
    if (!sound.length) continue;
    sounds.push({ begin, sound, gains: gainsOf(row, channels) });
    first = Math.min(first, begin);
    last = Math.max(last, begin + sound.length);
  }
  if (!sounds.length) return { begin: 0, channels: Array.from({ length: channels }, () => new Float32Array(0)) };
  const out = Array.from({ length: channels }, () => new Float32Array(last - first));
  for (const { begin, sound, gains } of sounds) addSound(out, begin - first, sound, gains, 1);
  return { begin: first, channels: out };
}

// Add a sound to channels from sample `begin` on, with the gain of each, times `sign`.
export function addSound(channels, begin, sound, gains, sign) {
  channels.forEach((channel, index) => {
    const gain = sign * (gains[index] ?? gains[0]);
    for (let n = 0; n < sound.length; n++) channel[begin + n] += gain * sound[n];
  });
}
