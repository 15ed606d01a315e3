// The sequence picture: lanes side by side, time downwards, a band per request, or how many there
// were at once where bands would be thinner than a pixel.

const TOP = 40, GUTTER = 62, BIN = 2;
const SLICES = new Map();
for (const [node, actor, from, ns, kind, name] of DATA.slices) {
  const key = node + '/' + actor;
  if (!SLICES.has(key)) SLICES.set(key, []);
  SLICES.get(key).push({ from, to: from + ns, text: word(kind) + ' ' + word(name) });
}
const MARKS = DATA.marks.map(([node, at, kind, actor, conn, text]) => ({ node, at, kind: word(kind), actor, conn, text: word(text) }));

class Picture {
  constructor(canvas, mini) {
    [this.canvas, this.mini] = [canvas, mini];
    [this.rows, this.chosen, this.toScale] = [[], null, true];
    this.hits = [];
    this.pending = false;
    this.show([], true);
  }

  /** Draws these rows; `keep` stays at the same times. */
  show(rows, toScale, keep) {
    const times = keep && this.axis ? [this.axis.time(this.view[0]), this.axis.time(this.view[1])] : null;
    this.rows = rows;
    this.toScale = toScale;
    this.laid = layLanes(rows);
    this.slots = slotRows(rows);
    this.axis = new Axis(timesOf(rows), toScale);
    for (const row of rows) [row.u0, row.u1] = [this.axis.place(row.from), this.axis.place(row.to)];
    this.view = times ? times.map((time) => this.axis.place(time)) : [this.axis.first, this.axis.last];
    this.strip = null;
    this.clamp();
    this.draw();
  }

  fit() {
    this.view = [this.axis.first, this.axis.last];
    this.draw();
  }

  zoom(factor, around = (this.view[0] + this.view[1]) / 2) {
    this.view = this.view.map((edge) => around + (edge - around) * factor);
    this.clamp();
    this.draw();
  }

  pan(share) {
    const by = (this.view[1] - this.view[0]) * share;
    this.view = this.view.map((edge) => edge + by);
    this.clamp();
    this.draw();
  }

  goTo(row) {
    const margin = Math.max((row.u1 - row.u0) * 0.2, this.toScale ? 2000 : 2);
    this.view = [row.u0 - margin, row.u1 + margin];
    this.clamp();
    this.draw();
  }

  /** Brings a row into view without changing the scale. */
  reveal(row) {
    if (row.u1 < this.view[0] || row.u0 > this.view[1]) {
      const half = (this.view[1] - this.view[0]) / 2;
      const middle = (row.u0 + row.u1) / 2;
      this.view = [middle - half, middle + half];
      this.clamp();
    }
    this.draw();
  }

  clamp() {
    const { first, last } = this.axis;
    const least = this.toScale ? 1000 : 2;
    const width = Math.min(Math.max(this.view[1] - this.view[0], least), last - first);
    const middle = (this.view[0] + this.view[1]) / 2;
    const from = Math.min(Math.max(middle - width / 2, first), last - width);
    this.view = [from, from + width];
  }

  draw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.paint();
    });
  }

  paint() {
    const style = getComputedStyle(document.documentElement);
    const ink = (name) => style.getPropertyValue('--' + name).trim();
    this.ink = Object.fromEntries(['paper', 'ink', 'soft', 'line', 'lane', 'lane2', 'pick', 'bad', 'work'].map((name) => [name, ink(name)]));
    this.inks = CAUSES.map((_, c) => ink('c' + c));
    const c = this.start(this.canvas);
    [this.width, this.height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    this.place();
    this.background(c);
    this.hits = [];
    const [u0, u1] = this.view;
    this.seen = this.rows.filter((row) => row.u1 >= u0 && row.u0 <= u1);
    const thin = this.seen.filter((row) => this.y(row.u1) - this.y(row.u0) < 3).length;
    const slot = Math.min(...this.laid.lanes.map((lane) => lane.w)) / Math.max(1, this.slots);
    this.crowded = this.seen.length > 500 || (this.seen.length > 60 && (thin > this.seen.length * 0.6 || slot < 1.5));
    c.save();
    c.beginPath();
    c.rect(GUTTER, TOP, this.width - GUTTER, this.height - TOP);
    c.clip();
    this.work(c);
    if (this.crowded) this.crowd(c);
    else this.bands(c);
    if (this.chosen && this.rows.includes(this.chosen)) this.band(c, this.chosen, true);
    this.flags(c);
    c.restore();
    this.paintMini();
  }

  start(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [Math.max(1, Math.round(canvas.clientWidth * ratio)), Math.max(1, Math.round(canvas.clientHeight * ratio))];
    if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
    const c = canvas.getContext('2d');
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    c.font = '11px system-ui, "DejaVu Sans", sans-serif';
    return c;
  }

  y(u) {
    return TOP + (u - this.view[0]) / (this.view[1] - this.view[0]) * (this.height - TOP);
  }

  u(y) {
    return this.view[0] + (y - TOP) / (this.height - TOP) * (this.view[1] - this.view[0]);
  }

  /** Puts the lanes side by side. */
  place() {
    const { lanes } = this.laid;
    const weights = lanes.reduce((sum, lane) => sum + lane.weight, 0);
    let x = GUTTER;
    for (const lane of lanes) {
      lane.x = x;
      lane.w = (this.width - GUTTER) * lane.weight / weights;
      x += lane.w;
    }
  }

  background(c) {
    const { lanes } = this.laid;
    let group = null;
    lanes.forEach((lane, nth) => {
      c.fillStyle = lane.key === 'wire' ? this.ink.paper : this.ink[nth % 2 ? 'lane' : 'lane2'];
      c.fillRect(lane.x, TOP, lane.w, this.height - TOP);
      c.textAlign = 'center';
      c.fillStyle = this.ink.ink;
      this.fitText(c, lane.name, lane.x + lane.w / 2, TOP - 7, lane.w - 4);
      if (lane.group && lane.group !== group) {
        const last = lanes.filter((other) => other.group === lane.group);
        const width = last.reduce((sum, other) => sum + other.w, 0);
        c.font = 'bold 12px system-ui, "DejaVu Sans", sans-serif';
        this.fitText(c, 'node ' + lane.group + '  ' + short(NODES[lane.node].name), lane.x + width / 2, 14, width - 4);
        c.font = '11px system-ui, "DejaVu Sans", sans-serif';
        c.fillStyle = this.ink.line;
        c.fillRect(lane.x + 4, 20, width - 8, 2);
      }
      group = lane.group;
    });
    const [u0, u1] = this.view;
    const whole = this.axis.time(u1) - this.axis.time(u0);
    c.textAlign = 'right';
    const label = (time, y, step) => {
      c.fillStyle = this.ink.line;
      c.fillRect(GUTTER - 4, y, this.width - GUTTER + 4, 0.5);
      c.fillStyle = this.ink.soft;
      c.fillText(clock(time, step), GUTTER - 7, y + 4);
    };
    const steps = Math.max(2, (this.height - TOP) / 56);
    if (this.toScale) {
      const step = roundStep(whole / steps);
      for (let time = Math.ceil(u0 / step) * step; time <= u1; time += step) label(time, this.y(time), step);
    } else {
      for (let y = TOP + 28; y < this.height; y += 56) label(this.axis.time(this.u(y)), y, Math.max(whole / 5000, 1e4));
    }
    c.fillStyle = this.ink.soft;
    c.textAlign = 'left';
    c.fillText(this.toScale ? 'time ↓' : 'times not', 4, 14);
    if (!this.toScale) c.fillText('to scale ↓', 4, 27);
  }

  fitText(c, text, x, y, width) {
    let shorter = text;
    while (shorter.length > 1 && c.measureText(shorter).width > width) shorter = shorter.slice(0, -2).trimEnd() + '…';
    c.fillText(shorter, x, y);
  }

  /** What the actors themselves were busy with, at the edge of their lanes. */
  work(c) {
    c.fillStyle = this.ink.work;
    for (const lane of this.laid.lanes) {
      const bins = new Float64Array(Math.ceil((this.height - TOP) / BIN) + 1);
      for (const actor of lane.actors || []) {
        for (const slice of SLICES.get(lane.node + '/' + actor) || []) {
          const [y0, y1] = [this.y(this.axis.place(slice.from)), this.y(this.axis.place(slice.to))];
          if (y1 < TOP || y0 > this.height) continue;
          const h = y1 - y0;
          if (h < 2) {
            spread(bins, (y0 - TOP) / BIN, (y1 - TOP) / BIN);
            continue;
          }
          c.fillRect(lane.x + 1, y0, 5, h);
          this.hits.push({ x: lane.x, y: y0, w: 7, h, text: lane.name + ' was busy with ' + slice.text + '\n' + span(slice.to - slice.from) });
        }
      }
      // Many short ones: as wide as the share of the time that they took.
      bins.forEach((share, bin) => share > 0.02 && c.fillRect(lane.x + 1, TOP + bin * BIN, 5 * Math.min(share, 1), BIN));
    }
  }

  bands(c) {
    this.labels = [];
    const faint = this.chosen && this.seen.includes(this.chosen) && this.seen.length > 1;
    c.globalAlpha = faint ? 0.45 : 1;
    for (const row of this.seen) if (row !== this.chosen) this.band(c, row, false);
    c.globalAlpha = 1;
    if (this.seen.length <= 80) for (const row of this.seen) this.words(c, row);
  }

  slotX(lane, row) {
    const room = lane.w - 14;
    const width = Math.max(Math.min(room / this.slots, 13), 3);
    const places = Math.max(1, Math.floor(room / width));
    return { x: lane.x + 9 + row.slot % places * width, w: Math.max(width - 2, 2) };
  }

  /** One request: a bar for each wait in the lane where it was, lines where it went on. */
  band(c, row, chosen) {
    const { lanes, find } = this.laid;
    const home = lanes[find(row.node, row.dir === 0 ? CALLER : PROTOCOL, 0)];
    const at = (lane) => this.slotX(lane, row);
    let [x, y] = [at(home).x + at(home).w / 2, this.y(row.u0)];
    if (row.dir === 1) x = lanes[this.laid.wire].x + lanes[this.laid.wire].w / 2;
    const list = pieces(row, this.laid);
    const thread = (x1, y1) => {
      c.beginPath();
      c.moveTo(x, y);
      c.lineTo(x1, y1);
      c.stroke();
      [x, y] = [x1, y1];
    };
    const bars = [];
    [c.strokeStyle, c.lineWidth] = [chosen ? this.ink.pick : this.ink.soft, chosen ? 1.6 : 0.8];
    for (const piece of list) {
      const [y0, y1] = [this.y(this.axis.place(piece.from)), this.y(this.axis.place(piece.to))];
      if (piece.end < 0) {
        const slot = at(lanes[piece.lane]);
        thread(slot.x + slot.w / 2, y0);
        bars.push({ x: slot.x, y: y0, w: slot.w, h: Math.max(y1 - y0, 1.5), cause: piece.cause, i: piece.i });
        y = y1;
        continue;
      }
      const [from, to] = [at(lanes[piece.lane]), at(lanes[piece.end])];
      thread(from.x + from.w / 2, y0);
      const far = to.x + to.w / 2;
      c.save();
      [c.strokeStyle, c.lineWidth] = [this.inks[piece.cause], chosen ? 3 : 2];
      if (piece.lost) {
        c.setLineDash([4, 3]);
        const middle = x + (far - x) / 2;
        this.hits.push({ x: middle - 6, y: y0, w: 12, h: Math.max(y1 - y0, 4), row, i: piece.i });
        thread(middle, y0 + Math.min(14, (y1 - y0) / 2));
        thread(middle, y1);
      } else {
        this.hits.push({ line: [x, y0, far, y1], row, i: piece.i });
        thread(far, y1);
      }
      c.restore();
    }
    for (const bar of bars) {
      c.fillStyle = this.inks[bar.cause];
      c.fillRect(bar.x, bar.y, bar.w, bar.h);
      if (chosen) {
        [c.strokeStyle, c.lineWidth] = [this.ink.pick, 1.5];
        c.strokeRect(bar.x - 1, bar.y - 1, bar.w + 2, bar.h + 2);
      }
      this.hits.push({ x: bar.x - 1, y: bar.y - 1, w: bar.w + 2, h: bar.h + 2, row, i: bar.i });
    }
    this.ends(c, row, x, y, at(home));
  }

  /** A dot where it began, a cross where it failed, an arrow where it is open. */
  ends(c, row, x, y, slot) {
    const begin = [slot.x + slot.w / 2, this.y(row.u0)];
    c.fillStyle = this.ink.soft;
    if (row.dir === 0) {
      c.beginPath();
      c.arc(begin[0], begin[1], 2.2, 0, 7);
      c.fill();
    }
    if (!row.bad) return;
    [c.strokeStyle, c.lineWidth] = [this.ink.bad, 2];
    c.beginPath();
    if (row.state === 'open') {
      c.moveTo(x - 4, y - 5);
      c.lineTo(x, y - 1);
      c.lineTo(x + 4, y - 5);
    } else {
      c.moveTo(x - 4, y - 4);
      c.lineTo(x + 4, y + 4);
      c.moveTo(x + 4, y - 4);
      c.lineTo(x - 4, y + 4);
    }
    c.stroke();
    this.hits.push({ x: x - 6, y: y - 6, w: 12, h: 12, row, i: -1 });
  }

  /** The name of a request at its beginning and its longest wait beside it, where there is room. */
  words(c, row) {
    const { lanes, find } = this.laid;
    const home = lanes[find(row.node, row.dir === 0 ? CALLER : PROTOCOL, 0)];
    const slot = this.slotX(home, row);
    const name = row.kind + (row.wire === null ? '' : ' #' + row.wire);
    // Above the line that leaves the dot: to the right of it, or to the left on the other node's side.
    const [x, y] = [slot.x + slot.w / 2, this.y(row.u0) - 5];
    const room = Math.min(c.measureText(name).width, home.w * 1.6);
    this.label(c, name, home.node === 0 ? x - 4 : Math.min(x + 4, this.width - 4) - room, y, home.node === 0 ? x + room + 2 : this.width + 1, this.ink.ink);
    const piece = pieces(row, this.laid).find((one) => one.i === row.longest);
    if (!piece || row.wait < 1e6) return;
    const lane = lanes[piece.end < 0 ? piece.lane : this.laid.wire];
    const place = this.slotX(lane, row);
    const middle = this.y((this.axis.place(piece.from) + this.axis.place(piece.to)) / 2);
    const text = CAUSES[piece.cause] + ' ' + span(row.wait);
    this.label(c, text, piece.end < 0 ? place.x + place.w + 4 : lane.x + lane.w * 0.56, middle + 4, this.width, this.ink.ink);
  }

  label(c, text, x, y, right, fill) {
    const w = c.measureText(text).width;
    if (x + w > Math.max(right, x + 40) && right < this.width) {
      while (text.length > 5 && x + c.measureText(text).width > right) text = text.slice(0, -2) + '…';
    }
    const box = { x: x - 1, y: y - 10, w: c.measureText(text).width + 2, h: 12 };
    if (box.y < TOP || box.x + box.w > this.width) return;
    if (this.labels.some((other) => box.x < other.x + other.w && other.x < box.x + box.w && box.y < other.y + other.h && other.y < box.y + box.h)) return;
    this.labels.push(box);
    c.textAlign = 'left';
    c.globalAlpha = 0.75;
    c.fillStyle = this.ink.paper;
    c.fillRect(box.x, box.y + 1, box.w, box.h - 1);
    c.globalAlpha = 1;
    c.fillStyle = fill;
    c.fillText(text, x, y);
  }

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
      if (lane.most > 0) this.label(c, 'max ' + (lane.most < 10 ? lane.most.toFixed(1) : Math.round(lane.most)), lane.x + 9, TOP + 12, lane.x + lane.w, this.ink.soft);
    }
    c.fillStyle = this.ink.bad;
    for (const row of this.seen) if (row.bad) c.fillRect(GUTTER, this.y(row.u1) - 0.5, 6, 1);
    c.textAlign = 'right';
    [c.fillStyle, c.strokeStyle, c.lineWidth] = [this.ink.soft, this.ink.paper, 3];
    const words = 'width: how many requests at once (√)';
    c.strokeText(words, this.width - 6, this.height - 6);
    c.fillText(words, this.width - 6, this.height - 6);
  }

  /** Resets, breaches, panics: what has a mark of its own. */
  flags(c) {
    const drawn = new Map();
    for (const mark of MARKS) {
      if (mark.node > 1) continue;
      const y = this.y(this.axis.place(mark.at));
      if (y < TOP || y > this.height) continue;
      const lane = this.laid.lanes.find((one) => one.key === laneKey(mark.node, SESSION, mark.conn) && mark.conn) || this.laid.lanes.find((one) => one.node === mark.node);
      // Where many come together every third pixel has one.
      if (!lane || drawn.get(lane) === Math.round(y / 3)) continue;
      drawn.set(lane, Math.round(y / 3));
      c.fillStyle = this.ink.bad;
      c.beginPath();
      c.moveTo(lane.x + lane.w - (this.crowded ? 5 : 9), y);
      c.lineTo(lane.x + lane.w - 1, y - (this.crowded ? 2 : 4));
      c.lineTo(lane.x + lane.w - 1, y + (this.crowded ? 2 : 4));
      c.fill();
      this.hits.push({ x: lane.x + lane.w - 11, y: y - 5, w: 12, h: 10, text: mark.kind + (mark.text ? ': ' + mark.text : '') + '\nnode ' + nodeName(mark.node) + ', ' + clock(mark.at, 1e3) });
    }
  }

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
  }

  /** What is drawn at a point: a hit with a row, with words, or nothing. */
  at(x, y) {
    for (let i = this.hits.length - 1; i >= 0; i--) {
      const hit = this.hits[i];
      if (hit.line ? nearLine(hit.line, x, y) : x >= hit.x && x <= hit.x + hit.w && y >= hit.y && y <= hit.y + hit.h) return hit;
    }
    if (!this.crowded || y < TOP) return null;
    const nth = this.laid.lanes.findIndex((lane) => x >= lane.x && x < lane.x + lane.w);
    if (nth < 0) return null;
    const bin = Math.floor((y - TOP) / BIN);
    const parts = this.counts[nth].map((counts, cause) => (counts && counts[bin] > 0.005 ? [counts[bin], CAUSES[cause]] : null)).filter(Boolean).sort((a, b) => b[0] - a[0]);
    if (!parts.length) return null;
    const lane = this.laid.lanes[nth];
    const head = (lane.group ? 'node ' + lane.group + ', ' : '') + lane.name + ' at ' + clock(this.axis.time(this.u(y)), 1e6);
    return { text: head + '\n' + parts.map(([n, cause]) => n.toFixed(n < 10 ? 1 : 0) + ' waiting: ' + cause).join('\n') };
  }

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
  }
}

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

function nearLine([x0, y0, x1, y1], x, y) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const length = dx * dx + dy * dy || 1;
  const along = Math.min(Math.max(((x - x0) * dx + (y - y0) * dy) / length, 0), 1);
  return Math.hypot(x - x0 - along * dx, y - y0 - along * dy) < 4;
}
