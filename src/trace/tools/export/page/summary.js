// What was slow, in words and in numbers, of the requests that pass the filter.

function quantile(sorted, q) {
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] : 0;
}

function totals(rows) {
  const by = CAUSES.map(() => 0);
  for (const row of rows) {
    for (let i = 0; i < row.waits.length; i += 5) by[row.waits[i + 2]] += row.waits[i + 1] - row.waits[i];
  }
  return by;
}

function showNodes() {
  const boxes = NODES.map((node) => {
    const gaps = [node.lost ? count(node.lost, 'event') + ' lost' : '', node.skipped ? count(node.skipped, 'event') + ' skipped' : '', node.beyond ? count(node.beyond, 'request') + ' more than fit' : '', node.cut ? 'the file ends in the middle of a line' : ''].filter(Boolean);
    const clockWords = node.offset ? ', clock moved by ' + span(node.offset) : '';
    return el('span', {}, el('b', {}, node.label), ' = ' + node.name + ' (' + count(node.events, 'event') + clockWords + (gaps.length ? ', ' + gaps.join(', ') : '') + ')');
  });
  $('nodes').replaceChildren(...boxes);
}

function showSummary(rows, filtered, act) {
  const took = rows.filter((row) => row.state === 'ok').map((row) => row.took).sort((a, b) => a - b);
  const states = new Map();
  for (const row of rows) states.set(row.state, (states.get(row.state) || 0) + 1);
  const failed = rows.filter((row) => row.bad);
  const tile = (value, label, bad) => el('div', { class: bad ? 'tile bad' : 'tile' }, el('b', {}, value), el('span', {}, label));
  const slowest = rows.reduce((worst, row) => (!worst || row.took > worst.took ? row : worst), null);
  $('tiles').replaceChildren(
    tile(rows.length.toLocaleString('en'), filtered ? 'of ' + ROWS.length.toLocaleString('en') + ' shown' : 'requests'),
    tile(failed.length.toLocaleString('en'), 'not ok', failed.length > 0),
    tile(took.length ? span(quantile(took, 0.5)) : '–', 'p50 of ok'),
    tile(took.length ? span(quantile(took, 0.99)) : '–', 'p99 of ok'),
    tile(slowest ? span(slowest.took) : '–', 'slowest'),
  );
  const by = totals(rows);
  const all = by.reduce((a, b) => a + b, 0);
  $('words').replaceChildren(...sentences(rows, states, slowest, by, all, act));
  const order = CAUSES.map((_, c) => c).filter((c) => by[c] > 0);
  $('where-bar').replaceChildren(...order.map((c) => el('div', { style: { background: colour(c), flex: by[c] + ' 0 0' }, title: CAUSES[c] + ' ' + span(by[c]) })));
  $('legend').replaceChildren(...CAUSES.map((name, c) => {
    const share = all ? by[c] / all : 0;
    const text = name + (by[c] ? ' ' + percent(share) + ' · ' + span(by[c]) : '');
    const button = el('button', { type: 'button', class: 'cause', title: 'Requests that waited longest ' + CAUSE_WORDS[name], onclick: () => act.filter('where=' + name) }, chip(c), text);
    button.disabled = by[c] === 0;
    return button;
  }));
}

const percent = (share) => (share > 0 && share < 0.01 ? '<1 %' : Math.round(share * 100) + ' %');

/** At most a few: the outcome, where the time went, the slowest, and what is not told. */
function sentences(rows, states, slowest, by, all, act) {
  const lines = [];
  const line = (...parts) => lines.push(el('p', {}, ...parts));
  const link = (text, run) => el('button', { type: 'button', class: 'link', onclick: run }, text);
  if (!rows.length) {
    line(ROWS.length ? 'No request passes the filter.' : 'The trace holds no requests.');
    return lines;
  }
  const bad = [...states].filter(([state]) => state !== 'ok').sort((a, b) => b[1] - a[1]);
  const parts = [];
  bad.forEach(([state, n], nth) => parts.push(nth ? ', ' : '', n.toLocaleString('en') + ' ', link(state, () => act.filter('state=' + state))));
  line(bad.length ? 'Of ' + count(rows.length, 'request') + ', ' + (states.get('ok') ? states.get('ok').toLocaleString('en') : 'none') + ' ended well; ' : 'All ' + count(rows.length, 'request') + ' ended well', ...parts, '.');
  const top = by.map((ns, c) => [ns, c]).filter(([ns]) => ns > 0).sort((a, b) => b[0] - a[0]).slice(0, 2).filter(([ns], nth) => nth === 0 || ns > all * 0.02);
  if (top.length) {
    const texts = top.map(([ns, c]) => percent(ns / all) + ' ' + CAUSE_WORDS[CAUSES[c]]);
    line('Of all the time that requests took (' + span(all) + ' summed up), they waited ' + texts.join(', and ') + '.');
  }
  const worst = CAUSES.map((name) => {
    const hit = rows.filter((row) => row.where === name && row.wait >= 2e7);
    return { name, hit, ns: hit.reduce((sum, row) => sum + row.wait, 0) };
  }).filter((finding) => finding.hit.length).sort((a, b) => b.ns - a.ns).slice(0, 4);
  if (worst.length) {
    const links = [];
    worst.forEach(({ name, hit }, nth) => {
      const longest = Math.max(...hit.slice(0, 20000).map((row) => row.wait));
      links.push(nth ? ' · ' : 'Slow ones: ', link(hit.length.toLocaleString('en') + ' by ' + name + ', up to ' + span(longest), () => act.filter('where=' + name + ' hop>=20ms')));
    });
    line(...links);
  }
  line('Slowest: ', link(title(slowest), () => act.choose(slowest, true)), ' ' + story(slowest));
  if (DATA.total > ROWS.length) {
    const left = Object.entries(DATA.outcomes).map(([how, n]) => n.toLocaleString('en') + ' ' + shown(how)).join(', ');
    lines.push(el('p', { class: 'more' }, count(DATA.total - ROWS.length, 'request') + ' of ' + DATA.total.toLocaleString('en') + ' (' + left + ') are left out of this page, which holds those that failed and then the slowest. The numbers above count only what it holds.'));
  }
  return lines;
}

function title(row) {
  return row.kind + (row.wire === null ? '' : ' #' + row.wire) + (row.peer ? (row.dir === 0 ? ' to ' : ' from ') + short(row.peer) : '');
}

/** What became of a request and what it mostly waited for. */
function story(row) {
  const ended = row.state === 'open' ? 'is still open after ' + span(row.took) : row.state === 'ok' ? 'took ' + span(row.took) : 'ended as ' + row.state + ' after ' + span(row.took);
  if (row.longest < 0) return ended + '.';
  const share = row.took ? ' (' + percent(row.wait / row.took) + ')' : '';
  const at = row.waits[row.longest + 4] === WIRE ? '' : ', at node ' + NODES[row.waits[row.longest + 3]].label;
  return ended + ', ' + span(row.wait) + share + ' of it ' + CAUSE_WORDS[row.where] + at + (row.note ? ': ' + row.note : '') + '.';
}
