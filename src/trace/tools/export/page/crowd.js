// Requests by number: how many there were at once, where each would be thinner than a pixel.

Object.assign(Picture.prototype, {
  /** How many requests were in each lane at once, by what they waited for. */
  crowd(c) {
    const { lanes } = this.laid;
    const bins = Math.ceil((this.height - TOP) / BIN) + 1;
    this.counts = lanes.map(() => CAUSES.map(() => null));
    const scale = (this.height - TOP) / (this.view[1] - this.view[0]) / BIN;
    for (const row of this.seen) {
      for (const piece of pieces(row, this.laid)) {
        const lane = piece.end < 0 ? piece.lane : this.laid.wire;
        const counts = this.counts[lane][piece.cause] || (this.counts[lane][piece.cause] = new Float64Array(bins));
        spread(counts, (this.axis.place(piece.from) - this.view[0]) * scale, (this.axis.place(piece.to) - this.view[0]) * scale);
      }
    }
    lanes.forEach((lane, nth) => {
      const by = this.counts[nth];
      lane.sums = new Float64Array(bins);
      for (const counts of by) if (counts) counts.forEach((n, bin) => { lane.sums[bin] += n; });
      lane.most = Math.max(...lane.sums);
    });
    // The square root keeps a lane with few in sight beside one with many, and wider is still more.
    const most = Math.max(...lanes.map((lane) => lane.most), 1);
    lanes.forEach((lane, nth) => {
      const by = this.counts[nth];
      for (let bin = 0; bin < bins; bin++) {
        if (lane.sums[bin] <= 0) continue;
        const unit = Math.sqrt(lane.sums[bin] / most) * (lane.w - 14) / lane.sums[bin];
        let x = lane.x + 9;
        by.forEach((counts, cause) => {
          if (!counts || counts[bin] <= 0) return;
          c.fillStyle = this.inks[cause];
          const w = counts[bin] * unit;
          c.fillRect(x, TOP + bin * BIN, Math.max(w, 0.4), BIN);
          x += w;
        });
      }
    });
    this.labels = [];
    for (const lane of lanes) {
      if (lane.most >= 0.1) this.label(c, 'max ' + (lane.most < 10 ? lane.most.toFixed(1) : Math.round(lane.most)), lane.x + 9, TOP + 12, lane.x + lane.w, this.ink.soft);
    }
    c.fillStyle = this.ink.bad;
    for (const row of this.seen) if (row.bad) c.fillRect(GUTTER, this.y(row.u1) - 0.5, 6, 1);
    c.textAlign = 'right';
    [c.fillStyle, c.strokeStyle, c.lineWidth] = [this.ink.soft, this.ink.paper, 3];
    const words = 'width: how many requests at once (√)';
    c.strokeText(words, this.width - 6, this.height - 6);
    c.fillText(words, this.width - 6, this.height - 6);
  },

  /** The whole time, stacked by cause, with the view in it. */
  paintMini() {
    const c = this.start(this.mini);
    const [w, h] = [this.mini.clientWidth, this.mini.clientHeight];
    const { first, last } = this.axis;
    const scale = h / (last - first) / BIN;
    if (!this.strip || this.strip.h !== h) {
      const by = CAUSES.map(() => new Float64Array(Math.ceil(h / BIN) + 1));
      for (const row of this.rows) {
        for (let i = 0; i < row.waits.length; i += 5) {
          const [from, to] = [row.from + row.waits[i], row.from + row.waits[i + 1]];
          spread(by[row.waits[i + 2]], (this.axis.place(from) - first) * scale, (this.axis.place(to) - first) * scale);
        }
      }
      this.strip = { h, by, most: Math.max(...by[0].map((_, bin) => by.reduce((sum, counts) => sum + counts[bin], 0)), 1e-9) };
    }
    const { by, most } = this.strip;
    for (let bin = 0; bin < by[0].length; bin++) {
      let x = 2;
      by.forEach((counts, cause) => {
        const width = counts[bin] / most * (w - 8);
        if (width <= 0) return;
        c.fillStyle = this.inks[cause];
        c.fillRect(x, bin * BIN, width, BIN);
        x += width;
      });
    }
    c.fillStyle = this.ink.bad;
    for (const row of this.rows) if (row.bad) c.fillRect(w - 5, (row.u1 - first) * scale * BIN - 1, 4, 2);
    const [y0, y1] = this.view.map((edge) => (edge - first) * scale * BIN);
    c.fillStyle = this.ink.pick;
    c.globalAlpha = 0.13;
    c.fillRect(0, y0, w, y1 - y0);
    c.globalAlpha = 1;
    [c.strokeStyle, c.lineWidth] = [this.ink.pick, 1.5];
    c.strokeRect(1, y0 + 1, w - 2, Math.max(y1 - y0 - 2, 2));
  },

  /** The request nearest to a place in a crowd: the one that waited longest there. */
  nearest(x, y) {
    const time = this.axis.time(this.u(y));
    const nth = this.laid.lanes.findIndex((lane) => x >= lane.x && x < lane.x + lane.w);
    let best = null;
    for (const row of this.seen) {
      if (row.from > time || row.to < time) continue;
      const piece = pieces(row, this.laid).find((one) => one.from <= time && one.to >= time && (one.end < 0 ? one.lane : this.laid.wire) === nth);
      if (piece && (!best || piece.to - piece.from > best.ns)) best = { row, ns: piece.to - piece.from };
    }
    return best && best.row;
  },
});

/** Adds 1 to every bin between two places, and to those at the ends as much as is covered. */
function spread(bins, from, to) {
  [from, to] = [Math.max(from, 0), Math.min(to, bins.length)];
  if (to <= from) return;
  const [first, last] = [Math.floor(from), Math.min(Math.floor(to), bins.length - 1)];
  if (first === last) {
    bins[first] += to - from;
    return;
  }
  bins[first] += first + 1 - from;
  for (let bin = first + 1; bin < last; bin++) bins[bin] += 1;
  bins[last] += to - last;
}
