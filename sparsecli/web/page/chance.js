// Random numbers that can be had again: Philox with a seed, as the noise has it.

import { philox } from "./philox.js";

export class Chance {
  constructor(seed) {
    this.seed = seed >>> 0;
    this.count = 0;
    this.words = new Uint32Array(4);
  }

  // Evenly in (0, 1).
  even() {
    if (this.count % 4 === 0) philox(this.count / 4, 0, this.seed, 0x5eed, this.words);
    return (this.words[this.count++ % 4] + 0.5) / 4294967296;
  }

  // With mean 0 and variance 1 (Box and Muller).
  normal() {
    return Math.sqrt(-2 * Math.log(this.even())) * Math.cos(2 * Math.PI * this.even());
  }

  // The numbers from 0 to count - 1 in random order (Fisher and Yates).
  order(count) {
    const found = Array.from({ length: count }, (_, k) => k);
    for (let k = count - 1; k > 0; k--) {
      const other = Math.floor(this.even() * (k + 1));
      [found[k], found[other]] = [found[other], found[k]];
    }
    return found;
  }
}
