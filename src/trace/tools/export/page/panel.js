// The life line of one request: every step of both nodes in order, and what it waited for between.

function showPanel(row, act) {
  const panel = $('panel');
  panel.hidden = !row;
  if (!row) {
    panel.replaceChildren();
    return;
  }
  const close = el('button', { type: 'button', class: 'close', title: 'Close (Esc)', 'aria-label': 'Close', onclick: () => act.choose(null) }, '×');
  const sentence = story(row);
  const facts = [
    'node ' + NODES[row.node].label + (row.dir === 0 ? ' asked' : ' served'), row.proto, 'connection ' + row.conn, row.asked ? size(row.asked) + ' asked' : '', row.answered ? size(row.answered) + ' answered' : '',
    'began at ' + clock(row.from, 1e3), row.served ? '' : NODES.length > 1 ? 'the other node’s trace has no end of it' : 'seen by one node only', row.uncertain ? 'events around it were lost: what is missing proves nothing' : '',
  ];
  panel.replaceChildren(
    close,
    el('h2', {}, title(row), ' ', el('span', { class: row.bad ? 'bad' : '' }, row.state)),
    el('p', {}, 'It ' + sentence, ' ', el('button', { type: 'button', class: 'link', onclick: () => act.choose(row, true) }, 'Show in the picture')),
    ...(row.bad ? [el('p', { id: 'stood' }, stood(row))] : []),
    el('p', { class: 'mono' }, facts.filter(Boolean).join(' · ')),
    el('div', { class: 'line', 'aria-hidden': 'true' }, ...waitsOf(row).map((wait) => el('div', { title: CAUSES[wait.cause] + ' ' + span(wait.to - wait.from), style: { background: colour(wait.cause), flex: wait.to - wait.from + ' 0 0' } }))),
    steps(row),
  );
  panel.scrollTop = 0;
}

function waitsOf(row) {
  const waits = [];
  for (let i = 0; i < row.waits.length; i += 5) waits.push({ i, from: row.waits[i], to: row.waits[i + 1], cause: row.waits[i + 2], node: row.waits[i + 3] });
  return waits;
}

function pointsOf(row) {
  const points = [];
  for (let i = 0; i < row.points.length; i += 6) {
    const [step, node, at, id, actor, by] = row.points.slice(i, i + 6);
    points.push({ step, node, at, id, actor, by });
  }
  return points;
}

/** How far a request got that did not end well. */
function stood(row) {
  const points = pointsOf(row);
  const ended = points.findLastIndex((point) => point.step === 8 && point.node === row.node);
  // What the other node still did after the end is not where it stood when it ended.
  const before = points.filter((point, nth) => nth !== ended && point.step !== 8 && (ended < 0 || point.at <= points[ended].at));
  const last = before[before.length - 1];
  if (!last) return 'Nothing is known of its way.';
  const silent = row.served || last.node !== row.node || STEPS[last.step] !== 'written' ? '' : '; nothing came back';
  const lost = row.served && last.node === row.served.node && STEPS[last.step] === 'written' ? '; that answer was not taken by node ' + NODES[row.node].label : '';
  return 'It stood at “' + STEPS[last.step] + '” on node ' + NODES[last.node].label + ' since ' + clock(row.from + last.at, 1e3) + silent + lost + '.';
}

function steps(row) {
  const head = el('tr', {}, ...['after', 'node', 'step', 'actor', 'event', 'cause'].map((name, nth) => el('th', { class: nth === 0 ? 'num' : '' }, name)));
  const lines = [];
  const waits = waitsOf(row);
  const longest = waits.reduce((most, wait) => Math.max(most, wait.to - wait.from), 1);
  const put = (until) => {
    while (waits.length && waits[0].from < until) {
      const wait = waits.shift();
      const ns = wait.to - wait.from;
      const bar = el('span', { class: 'bar', style: { background: colour(wait.cause), width: Math.max(3, ns / longest * 90) + 'px' } });
      const words = span(ns) + ' ' + CAUSE_WORDS[CAUSES[wait.cause]];
      lines.push(el('tr', { class: wait.i === row.longest ? 'wait longest' : 'wait' }, el('td', {}), el('td', { class: 'wide', colspan: '5' }, bar, words)));
    }
  };
  let reached = 0;
  for (const point of pointsOf(row)) {
    reached = Math.max(reached, point.at);
    put(reached);
    const actor = NODES[point.node].actors.get(point.actor);
    const where = point.actor === 0 ? 'caller' : (actor && actor.name ? actor.name + ' ' : 'actor ') + point.actor;
    const step = point.step === 8 ? 'ended' + (point.node === row.node ? ': ' + row.state : '') : STEPS[point.step];
    lines.push(el('tr', {}, el('td', { class: 'num' }, point.at < 1e7 ? span(point.at) : (point.at / 1e6).toFixed(2) + ' ms'), el('td', {}, NODES[point.node].label), el('td', { class: point.step === 8 && point.node === row.node && row.bad ? 'bad' : '' }, step), el('td', {}, where), el('td', { class: 'mono' }, point.id), el('td', { class: 'mono' }, point.by || '')));
  }
  put(Infinity);
  return el('table', {}, el('thead', {}, head), el('tbody', {}, ...lines));
}
