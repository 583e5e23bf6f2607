// The spectrogram in tiles, made when they are first seen and kept as long as the sound stays.

import { LOW_HZ, TILE_COLUMNS, TILE_ROWS, windowsOf } from "./spectrogram.js";

const MIN_HOP = 32; // samples; closer, columns are stretched
const MOST_TILES = 300;
const RENEW_MS = 700; // a tile is not made anew more often, however often its sound changes
const AT_ONCE = 1; // asked of the worker, so that it looks first at what is seen now

export class Tiles {
  // read(): the sound as { channels, samples }; ask(request): a promise of levels; ready(): called when one has come.
  constructor(rate, highHz, read, ask, ready) {
    Object.assign(this, { rate, highHz, read, ask, ready });
    this.tiles = new Map();
    this.waiting = 0;
    this.wanted = [];
  }

  // Forget what shows any of the samples [begin, end); the old picture stays until the new one is there.
  forget(begin, end) {
    const reach = windowsOf(this.rate).long / 2;
    for (const tile of this.tiles.values()) {
      if (tile.begin - reach < end && tile.begin + tile.hop * TILE_COLUMNS + reach > begin) tile.stale = true;
    }
  }

  recolour() {
    for (const tile of this.tiles.values()) tile.image = null;
  }

  hopFor(view) {
    const wanted = view.secondsPerPixel * this.rate * 1.5; // a column for one and a half pixels
    return Math.max(MIN_HOP, 2 ** Math.ceil(Math.log2(Math.max(1, wanted))));
  }

  draw(context, view, theme) {
    const hop = this.hopFor(view);
    const span = hop * TILE_COLUMNS;
    const first = Math.floor((view.startS * this.rate) / span);
    const last = Math.floor((Math.min(view.endS, view.durationS) * this.rate - 1) / span);
    this.wanted = [];
    for (let index = first; index <= last; index++) {
      const tile = this.tiles.get(`${hop}/${index}`);
      if (!tile || (tile.stale && performance.now() - tile.made > RENEW_MS)) this.wanted.push({ hop, index });
      else if (tile.stale) this.later();
      if (tile) this.drawTile(context, view, theme, tile);
      else this.drawCoarser(context, view, theme, hop, index);
    }
    this.fetch();
  }

  later() {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.ready();
    }, RENEW_MS);
  }

  // Until a tile is there, the part of a coarser one that covers it.
  drawCoarser(context, view, theme, hop, index) {
    for (let step = 1; step < 8; step++) {
      const tile = this.tiles.get(`${hop * 2 ** step}/${index >> step}`);
      if (!tile) continue;
      context.save();
      context.beginPath();
      const x = view.x((index * hop * TILE_COLUMNS) / this.rate);
      context.rect(x, 0, view.x(((index + 1) * hop * TILE_COLUMNS) / this.rate) - x, view.height);
      context.clip();
      this.drawTile(context, view, theme, tile);
      context.restore();
      return;
    }
  }

  drawTile(context, view, theme, tile) {
    tile.image ??= coloured(tile.levels, theme.palette);
    const x0 = view.x(tile.begin / this.rate);
    const x1 = view.x((tile.begin + tile.hop * TILE_COLUMNS) / this.rate);
    const y0 = view.y(this.highHz);
    const y1 = view.y(LOW_HZ);
    context.drawImage(tile.image, x0, y0, x1 - x0, y1 - y0);
  }

  fetch() {
    while (this.waiting < AT_ONCE && this.wanted.length) {
      const { hop, index } = this.wanted.shift();
      this.waiting++;
      const begin = index * hop * TILE_COLUMNS;
      const tile = { hop, begin, stale: false, levels: null, image: null };
      const known = this.tiles.get(`${hop}/${index}`);
      if (known) known.stale = false; // it is being seen to
      this.ask({ frames: this.framesOf(begin, hop), spec: { rate: this.rate, highHz: this.highHz } }).then((levels) => {
        this.waiting--;
        tile.levels = levels;
        tile.made = performance.now();
        tile.stale = known?.stale ?? false;
        this.tiles.set(`${hop}/${index}`, tile);
        if (this.tiles.size > MOST_TILES) this.tiles.delete(this.tiles.keys().next().value);
        this.ready();
      });
    }
  }

  // The stretch of sound around each column, the mean of the channels.
  framesOf(begin, hop) {
    const { channels } = this.read();
    const { long } = windowsOf(this.rate);
    const frames = new Float32Array(TILE_COLUMNS * long);
    for (let column = 0; column < TILE_COLUMNS; column++) {
      const from = Math.round(begin + (column + 0.5) * hop - long / 2);
      for (const channel of channels) {
        const low = Math.max(0, -from);
        const high = Math.min(long, channel.length - from);
        for (let n = low; n < high; n++) frames[column * long + n] += channel[from + n] / channels.length;
      }
    }
    return frames;
  }
}

function coloured(levels, palette) {
  const image = new ImageData(TILE_COLUMNS, TILE_ROWS);
  for (let k = 0; k < levels.length; k++) {
    image.data[4 * k] = palette[3 * levels[k]];
    image.data[4 * k + 1] = palette[3 * levels[k] + 1];
    image.data[4 * k + 2] = palette[3 * levels[k] + 2];
    image.data[4 * k + 3] = 255;
  }
  const canvas = document.createElement("canvas");
  canvas.width = TILE_COLUMNS;
  canvas.height = TILE_ROWS;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
