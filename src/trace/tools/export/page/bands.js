// Requests one by one: a bar for each wait in the lane where it was, lines where they went on.

Object.assign(Picture.prototype, {
  bands(c) {
    this.labels = [];
    const faint = this.chosen && this.seen.includes(this.chosen) && this.seen.length > 1;
    c.globalAlpha = faint ? 0.45 : 1;
    for (const row of this.seen) if (row !== this.chosen) this.band(c, row, false);
    c.globalAlpha = 1;
    if (this.seen.length <= 80) for (const row of this.seen) this.words(c, row);
  },

  slotX(lane, row) {
    const room = lane.w - 14;
    const width = Math.max(Math.min(room / this.slots, 13), 3);
    const places = Math.max(1, Math.floor(room / width));
    return { x: lane.x + 9 + row.slot % places * width, w: Math.max(width - 2, 2) };
  },

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
  },

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
  },

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
  },

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
    const alpha = c.globalAlpha;
    c.globalAlpha = 0.75;
    c.fillStyle = this.ink.paper;
    c.fillRect(box.x, box.y + 1, box.w, box.h - 1);
    c.globalAlpha = 1;
    c.fillStyle = fill;
    c.fillText(text, x, y);
    c.globalAlpha = alpha;
  },
});
