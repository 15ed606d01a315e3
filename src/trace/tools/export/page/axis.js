// The axis of time: to scale, or by events, where every step gets room and idle times shrink.

class Axis {
  /** `times` ascending. */
  constructor(times, toScale) {
    this.toScale = toScale;
    this.times = times.length ? times : [0, 1];
    this.places = null;
    if (toScale) {
      [this.first, this.last] = [this.times[0], this.times[this.times.length - 1]];
      if (this.last <= this.first) this.last = this.first + 1;
      const margin = (this.last - this.first) * 0.01;
      [this.first, this.last] = [this.first - margin, this.last + margin];
      return;
    }
    this.places = new Float64Array(this.times.length);
    for (let i = 1; i < this.times.length; i++) {
      this.places[i] = this.places[i - 1] + Math.log2(1 + (this.times[i] - this.times[i - 1]) / 2e4) + 0.3;
    }
    const end = this.places[this.places.length - 1];
    const margin = Math.max(2, end * 0.025);
    [this.first, this.last] = [-margin, end + margin];
  }

  /** Where a time is. */
  place(time) {
    if (this.toScale) return time;
    return along(this.times, this.places, time, 2e6);
  }

  /** Which time is at a place. */
  time(place) {
    if (this.toScale) return place;
    return along(this.places, this.times, place, 5e-7);
  }
}

/** The value of a piecewise linear function that goes on beyond its ends with a slope of 1/unit. */
function along(xs, ys, x, unit) {
  const last = xs.length - 1;
  if (x <= xs[0]) return ys[0] + (x - xs[0]) / unit;
  if (x >= xs[last]) return ys[last] + (x - xs[last]) / unit;
  let [low, high] = [0, last];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] <= x) low = middle; else high = middle;
  }
  const width = xs[high] - xs[low];
  return width ? ys[low] + (ys[high] - ys[low]) * (x - xs[low]) / width : ys[low];
}

/** Every time at which something happens to one of the rows, once. */
function timesOf(rows) {
  const times = [];
  for (const row of rows) {
    times.push(row.from);
    for (let i = 0; i < row.waits.length; i += 5) times.push(row.from + row.waits[i + 1]);
  }
  const sorted = Float64Array.from(times).sort();
  return sorted.filter((time, i) => i === 0 || time !== sorted[i - 1]);
}

/** A round step of about `rough` nanoseconds. */
function roundStep(rough) {
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
}
