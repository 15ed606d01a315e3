// The table of requests: only the rows in sight are in the document, however many there are.

const ROW_HEIGHT = 24;
const COLUMNS = [
  { name: 'start', num: true, of: (row) => row.from, text: (row) => clock(row.from, 1e6) },
  { name: 'request', of: (row) => row.kind + '\u0000' + (row.wire || '').padStart(20, '0'), text: (row) => row.kind + (row.wire === null ? '' : ' #' + row.wire) },
  { name: 'way', of: (row) => way(row), text: way },
  { name: 'state', of: (row) => row.state, text: (row) => row.state, bad: true },
  { name: 'took', num: true, of: (row) => row.took, text: (row) => span(row.took) },
  { name: 'longest wait', of: (row) => row.wait, text: null },
  { name: 'waits', of: (row) => row.where, text: null },
];

function way(row) {
  const [here, there] = [NODES[row.node].label, row.served ? NODES[row.served.node].label : (row.peer ? '…' + row.peer.slice(-4) : '?')];
  return row.dir === 0 ? here + ' → ' + there : there + ' → ' + here;
}

class Table {
  constructor(act) {
    [this.rows, this.chosen, this.act] = [[], null, act];
    // Many are looked through for the slowest, few are read in their order.
    [this.by, this.down] = ROWS.length > 40 ? [COLUMNS.findIndex((column) => column.name === 'took'), true] : [0, false];
    this.scroll = $('scroll');
    this.scroll.addEventListener('scroll', () => this.draw());
    $('head').replaceChildren(...COLUMNS.map((column, nth) => el('button', { type: 'button', role: 'columnheader', class: column.num ? 'num' : '', onclick: () => this.sort(nth) }, column.name)));
    this.body = $('rows');
    this.body.addEventListener('click', (event) => {
      const row = event.target.closest('.row');
      if (row) act.choose(this.rows[Number(row.dataset.nth)], false);
    });
    this.body.addEventListener('dblclick', (event) => {
      const row = event.target.closest('.row');
      if (row) act.choose(this.rows[Number(row.dataset.nth)], true);
    });
  }

  show(rows) {
    this.rows = rows.slice();
    this.arrange();
  }

  sort(by) {
    this.down = this.by === by ? !this.down : ['took', 'longest wait'].includes(COLUMNS[by].name);
    this.by = by;
    this.arrange();
    this.scroll.scrollTop = 0;
  }

  arrange() {
    const { of } = COLUMNS[this.by];
    const sign = this.down ? -1 : 1;
    const keys = new Map(this.rows.map((row) => [row, of(row)]));
    this.rows.sort((a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      return x < y ? -sign : x > y ? sign : a.nth - b.nth;
    });
    [...$('head').children].forEach((head, nth) => {
      head.setAttribute('aria-sort', nth === this.by ? (this.down ? 'descending' : 'ascending') : 'none');
      head.textContent = COLUMNS[nth].name + (nth === this.by ? (this.down ? ' ▾' : ' ▴') : '');
    });
    this.scroll.setAttribute('aria-rowcount', this.rows.length);
    this.body.style.height = this.rows.length * ROW_HEIGHT + 'px';
    this.draw();
  }

  /** Puts the rows in sight into the document; `all` puts in up to 500 for the printer. */
  draw(all) {
    const height = this.scroll.clientHeight || 400;
    const first = all ? 0 : Math.max(0, Math.floor(this.scroll.scrollTop / ROW_HEIGHT) - 6);
    const last = all ? Math.min(this.rows.length, 500) : Math.min(this.rows.length, first + Math.ceil(height / ROW_HEIGHT) + 12);
    const rows = [];
    for (let nth = first; nth < last; nth++) rows.push(this.row(nth));
    this.body.replaceChildren(...rows);
  }

  row(nth) {
    const row = this.rows[nth];
    const cells = COLUMNS.map((column) => {
      if (column.name === 'waits') return el('div', { class: 'mix', style: { background: mix(row) } });
      if (column.name === 'longest wait') return row.longest < 0 ? el('div', { role: 'gridcell' }) : el('div', { role: 'gridcell' }, chip(row.waits[row.longest + 2]), row.where + ' ' + span(row.wait));
      return el('div', { role: 'gridcell', class: (column.num ? 'num' : '') + (column.bad && row.bad ? ' bad' : ''), title: column.name === 'way' ? row.peer : '' }, column.text(row));
    });
    const chosen = row === this.chosen;
    return el('div', { class: chosen ? 'row chosen' : 'row', role: 'row', id: 'row-' + row.nth, 'data-nth': nth, 'aria-rowindex': nth + 1, 'aria-selected': String(chosen), style: { top: nth * ROW_HEIGHT + 'px' } }, ...cells);
  }

  choose(row) {
    this.chosen = row;
    const nth = row ? this.rows.indexOf(row) : -1;
    if (nth >= 0) {
      const [top, height] = [nth * ROW_HEIGHT, this.scroll.clientHeight];
      if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
      else if (top + ROW_HEIGHT > this.scroll.scrollTop + height) this.scroll.scrollTop = top + ROW_HEIGHT - height;
      this.scroll.setAttribute('aria-activedescendant', 'row-' + row.nth);
    } else {
      this.scroll.removeAttribute('aria-activedescendant');
    }
    this.draw();
  }

  /** The row so many further on. */
  neighbour(by) {
    if (!this.rows.length) return null;
    const nth = this.chosen ? this.rows.indexOf(this.chosen) : -1;
    return this.rows[nth < 0 ? 0 : Math.min(Math.max(nth + by, 0), this.rows.length - 1)];
  }
}

/** The waits of a row as stripes. */
function mix(row) {
  if (!row.took) return 'none';
  const stripes = [];
  for (let i = 0; i < row.waits.length; i += 5) {
    stripes.push(colour(row.waits[i + 2]) + ' ' + row.waits[i] / row.took * 100 + '% ' + row.waits[i + 1] / row.took * 100 + '%');
  }
  return stripes.length ? 'linear-gradient(90deg, ' + stripes.join(', ') + ')' : 'none';
}
