// What the parts of the page do to each other: filter, choice, view, keys, the address.

const act = { filter: setFilter, choose };
const picture = new Picture($('canvas'), $('mini'));
const table = new Table(act);
let [shownRows, chosen] = [ROWS, null];
let toScale = ROWS.length > 40;

function apply() {
  const text = $('filter').value.trim();
  const filter = parseFilter(text);
  $('filter').setAttribute('aria-invalid', String(Boolean(filter.error)));
  $('filter-note').classList.toggle('bad', Boolean(filter.error));
  $('filter-note').textContent = filter.error || (text ? 'shows ' + ROWS.filter(filter.test).length.toLocaleString('en') + ' of ' + ROWS.length.toLocaleString('en') : '');
  if (filter.error) return;
  shownRows = text ? ROWS.filter(filter.test) : ROWS;
  showSummary(shownRows, Boolean(text), act);
  picture.show(shownRows, toScale);
  table.show(shownRows);
  if (chosen && !shownRows.includes(chosen)) choose(null);
}

function setFilter(text) {
  const field = $('filter');
  field.value = field.value.trim() === text ? '' : text;
  apply();
  remember();
}

/** Chooses a request, or none; `go` zooms to it. */
function choose(row, go) {
  chosen = row;
  if (row && !shownRows.includes(row)) {
    $('filter').value = '';
    apply();
  }
  picture.chosen = row;
  showPanel(row, act);
  table.choose(row);
  if (row && go) picture.goTo(row);
  else if (row) picture.reveal(row);
  else picture.draw();
  remember();
}

/** The choice and the filter stand in the address, so that it can be passed on. */
function remember() {
  const parts = [];
  if (chosen) parts.push('r=' + chosen.node + ',' + chosen.key);
  if ($('filter').value.trim()) parts.push('f=' + encodeURIComponent($('filter').value.trim()));
  const hash = parts.length ? '#' + parts.join('&') : '';
  if (hash !== location.hash) history.replaceState(null, '', hash || location.pathname + location.search);
}

function recall() {
  let [row, text] = [null, null];
  for (const part of location.hash.slice(1).split('&')) {
    try {
      if (part.startsWith('r=')) row = BY_KEY.get(decodeURIComponent(part.slice(2))) || null;
      if (part.startsWith('f=')) text = decodeURIComponent(part.slice(2));
    } catch {
      // An address that cannot be read chooses nothing.
    }
  }
  if (text !== null && text !== $('filter').value) {
    $('filter').value = text;
    apply();
  }
  if (row) choose(row, true);
}

function setScale(value) {
  toScale = value;
  $('scale').setAttribute('aria-pressed', String(!toScale));
  $('scale').textContent = toScale ? 'time to scale' : 'time by events';
  picture.show(shownRows, toScale, true);
}

function tip(hit, x, y) {
  const box = $('tip');
  box.hidden = !hit;
  if (!hit) return;
  if (hit.row) {
    const row = hit.row;
    const wait = hit.i < 0 ? null : { ns: row.waits[hit.i + 1] - row.waits[hit.i], cause: CAUSES[row.waits[hit.i + 2]] };
    box.textContent = title(row) + '\n' + row.state + ', ' + span(row.took) + ' in all' + (wait ? '\nhere: ' + span(wait.ns) + ' ' + CAUSE_WORDS[wait.cause] : '') + (row.note && wait && hit.i === row.longest ? '\n' + row.note : '');
  } else {
    box.textContent = hit.text;
  }
  const frame = $('picture').getBoundingClientRect();
  const [left, top] = [x - frame.left + 14, y - frame.top + 14];
  box.style.left = Math.max(0, Math.min(left, frame.width - box.offsetWidth - 4)) + 'px';
  box.style.top = (top + box.offsetHeight > frame.height ? Math.max(0, top - box.offsetHeight - 24) : top) + 'px';
}

function listenToCanvas() {
  const canvas = $('canvas');
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  let drag = null;
  canvas.addEventListener('wheel', (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 20 : 1;
    if (event.shiftKey) picture.pan((event.deltaY || event.deltaX) * lines / 800);
    else picture.zoom(Math.exp(event.deltaY * lines * 0.0015), picture.u(place(event)[1]));
  }, { passive: false });
  canvas.addEventListener('pointerdown', (event) => {
    drag = { y: event.clientY, view: picture.view.slice(), moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener('pointermove', (event) => {
    const [x, y] = place(event);
    if (!drag) {
      const hit = picture.at(x, y);
      canvas.style.cursor = hit && (hit.row || picture.crowded) ? 'pointer' : '';
      tip(hit, event.clientX, event.clientY);
      return;
    }
    const by = event.clientY - drag.y;
    if (Math.abs(by) > 3) drag.moved = true;
    if (!drag.moved) return;
    canvas.classList.add('moving');
    tip(null);
    const unit = (drag.view[1] - drag.view[0]) / (picture.height - TOP);
    picture.view = drag.view.map((edge) => edge - by * unit);
    picture.clamp();
    picture.draw();
  });
  canvas.addEventListener('pointerup', (event) => {
    const moved = drag && drag.moved;
    drag = null;
    canvas.classList.remove('moving');
    if (moved) return;
    const [x, y] = place(event);
    const hit = picture.at(x, y);
    const row = hit && hit.row ? hit.row : picture.crowded ? picture.nearest(x, y) : null;
    if (row) choose(row, false);
  });
  canvas.addEventListener('dblclick', () => chosen && picture.goTo(chosen));
  canvas.addEventListener('pointerleave', () => tip(null));
  const mini = $('mini');
  const move = (event) => {
    const box = mini.getBoundingClientRect();
    const { first, last } = picture.axis;
    const at = first + (event.clientY - box.top) / box.height * (last - first);
    const half = (picture.view[1] - picture.view[0]) / 2;
    picture.view = [at - half, at + half];
    picture.clamp();
    picture.draw();
  };
  mini.addEventListener('pointerdown', (event) => {
    mini.setPointerCapture(event.pointerId);
    move(event);
  });
  mini.addEventListener('pointermove', (event) => event.buttons && move(event));
}

const KEYS = {
  '+': () => picture.zoom(0.6),
  '=': () => picture.zoom(0.6),
  '-': () => picture.zoom(1 / 0.6),
  0: () => picture.fit(),
  s: () => setScale(!toScale),
  j: () => walk(1),
  k: () => walk(-1),
  Enter: () => chosen && picture.goTo(chosen),
  Escape: () => choose(null),
  '/': () => $('filter').select(),
  '?': () => $('help').click(),
};
const IN_PICTURE = {
  ArrowDown: () => picture.pan(0.12),
  ArrowUp: () => picture.pan(-0.12),
  PageDown: () => picture.pan(0.9),
  PageUp: () => picture.pan(-0.9),
  Home: () => picture.fit(),
};
const IN_TABLE = {
  ArrowDown: () => walk(1),
  ArrowUp: () => walk(-1),
  PageDown: () => walk(10),
  PageUp: () => walk(-10),
  Home: () => walk(-Infinity),
  End: () => walk(Infinity),
};

function walk(by) {
  const row = table.neighbour(by);
  if (row) choose(row, false);
}

function listenToKeys() {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const field = event.target;
    if (field === $('filter')) {
      if (event.key === 'Escape') field.blur();
      return;
    }
    if (field.tagName === 'BUTTON' && ['Enter', ' '].includes(event.key)) return;
    const near = field === $('scroll') ? IN_TABLE : field === $('canvas') || field === $('mini') ? IN_PICTURE : {};
    const run = Object.hasOwn(near, event.key) ? near[event.key] : Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
    if (!run) return;
    event.preventDefault();
    run();
  });
}

function begin() {
  document.title = 'trunkline trace: ' + count(DATA.total, 'request') + ', ' + NODES.map((node) => short(node.name)).join(' and ');
  showNodes();
  let typing = 0;
  $('filter').addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(() => { apply(); remember(); }, 120);
  });
  $('controls').addEventListener('submit', (event) => { event.preventDefault(); apply(); remember(); });
  $('scale').addEventListener('click', () => setScale(!toScale));
  $('zoom-in').addEventListener('click', () => picture.zoom(0.6));
  $('zoom-out').addEventListener('click', () => picture.zoom(1 / 0.6));
  $('fit').addEventListener('click', () => picture.fit());
  $('help').addEventListener('click', () => {
    $('help-text').hidden = !$('help-text').hidden;
    $('help').setAttribute('aria-expanded', String(!$('help-text').hidden));
    picture.draw();
  });
  listenToCanvas();
  listenToKeys();
  new ResizeObserver(() => { picture.draw(); table.draw(); }).observe($('canvas'));
  new ResizeObserver(() => table.draw()).observe($('scroll'));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => picture.draw());
  addEventListener('hashchange', recall);
  addEventListener('beforeprint', () => table.draw(true));
  addEventListener('afterprint', () => table.draw());
  apply();
  setScale(toScale);
  recall();
}

begin();
