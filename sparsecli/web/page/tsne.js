// Maps of many numbers in two: t-SNE (van der Maaten and Hinton 2008), exact, for some hundred events.

import { Chance } from "./chance.js";
import { pca } from "./pca.js";

const STEPS = 400;
const EARLY = 80; // steps in which neighbours are drawn together
const EARLY_PULL = 6;
const RATE = 120;

// Places [count x 2] of features [count x width].
export function tsne(features, count, width, seed = 1) {
  const wanted = similarities(features, count, width, Math.max(3, Math.min(30, (count - 1) / 3)));
  const places = pca(features, count, width);
  const chance = new Chance(seed);
  let most = 1e-9;
  for (const x of places) most = Math.max(most, Math.abs(x));
  for (let k = 0; k < places.length; k++) places[k] = (1e-2 * places[k]) / most + 1e-4 * chance.normal();
  const speed = new Float64Array(2 * count);
  const near = new Float64Array(count * count);
  const force = new Float64Array(2 * count);
  for (let step = 0; step < STEPS; step++) {
    const pull = step < EARLY ? EARLY_PULL : 1;
    let sum = 1e-12;
    for (let i = 0; i < count; i++) {
      for (let j = i + 1; j < count; j++) {
        const dx = places[2 * i] - places[2 * j];
        const dy = places[2 * i + 1] - places[2 * j + 1];
        const closeness = 1 / (1 + dx * dx + dy * dy);
        near[i * count + j] = closeness;
        sum += 2 * closeness;
      }
    }
    force.fill(0);
    for (let i = 0; i < count; i++) {
      for (let j = i + 1; j < count; j++) {
        const closeness = near[i * count + j];
        const push = 4 * (pull * wanted[i * count + j] - closeness / sum) * closeness;
        const dx = push * (places[2 * i] - places[2 * j]);
        const dy = push * (places[2 * i + 1] - places[2 * j + 1]);
        force[2 * i] -= dx;
        force[2 * i + 1] -= dy;
        force[2 * j] += dx;
        force[2 * j + 1] += dy;
      }
    }
    const keep = step < EARLY ? 0.5 : 0.8;
    for (let k = 0; k < places.length; k++) {
      speed[k] = keep * speed[k] + RATE * force[k];
      places[k] += speed[k];
    }
  }
  return places;
}

// Joint likelihoods [count x count] that two are neighbours, each with about `perplexity` of them.
function similarities(features, count, width, perplexity) {
  const joint = new Float64Array(count * count);
  const distance = new Float64Array(count);
  const own = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < count; j++) {
      let sum = 0;
      for (let c = 0; c < width; c++) sum += (features[i * width + c] - features[j * width + c]) ** 2;
      distance[j] = sum;
    }
    let low = 1e-6;
    let high = 1e6;
    for (let turn = 0; turn < 50; turn++) {
      const beta = Math.sqrt(low * high); // 1 / (2 sigma^2)
      let total = 1e-300;
      let weighted = 0;
      for (let j = 0; j < count; j++) {
        own[j] = j === i ? 0 : Math.exp(-distance[j] * beta);
        total += own[j];
        weighted += own[j] * distance[j];
      }
      const entropy = Math.log(total) + (beta * weighted) / total;
      if (entropy > Math.log(perplexity)) low = beta;
      else high = beta;
      for (let j = 0; j < count; j++) own[j] /= total;
    }
    for (let j = 0; j < count; j++) {
      joint[i * count + j] += own[j] / (2 * count);
      joint[j * count + i] += own[j] / (2 * count);
    }
  }
  return joint;
}
