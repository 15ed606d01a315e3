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
    rows = rows.filter(hasLanes);
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
    this.hits = [];
    this.background(c);
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
    if (this.crowded) {
      c.globalAlpha = this.chosen && this.seen.includes(this.chosen) ? 0.35 : 1;
      this.crowd(c);
      c.globalAlpha = 1;
    } else {
      this.bands(c);
    }
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
      if (lane.about) this.hits.push({ x: lane.x, y: 22, w: lane.w, h: TOP - 22, text: lane.about });
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
    if (!this.rows.length) return;
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

  /** Resets, breaches, panics: what has a mark of its own. */
  flags(c) {
    const drawn = new Map();
    for (const mark of MARKS) {
      if (mark.node >= NODES_MAX) continue;
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
}

function nearLine([x0, y0, x1, y1], x, y) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const length = dx * dx + dy * dy || 1;
  const along = Math.min(Math.max(((x - x0) * dx + (y - y0) * dy) / length, 0), 1);
  return Math.hypot(x - x0 - along * dx, y - y0 - along * dy) < 4;
}
