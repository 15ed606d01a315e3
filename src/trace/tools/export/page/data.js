'use strict';
// The data of the page, unpacked, and how times and words are shown.

const $ = (id) => document.getElementById(id);
const DATA = JSON.parse($('data').textContent);
const CAUSES = DATA.causes;
const STEPS = ['created', 'queued', 'encoded', 'written', 'first byte', 'received', 'delivered', 'decoded', 'ended'];
const CALLER = 0, SESSION = 1, WIRE = 2, PROTOCOL = 3;
const C_WIRE = CAUSES.indexOf('wire'), C_PEER = CAUSES.indexOf('peer');
const CAUSE_WORDS = {
  mailbox: 'in the mailbox of the session',
  queue: 'for its turn in a queue of the session',
  window: 'for the window of the substream, until the other side had read',
  socket: 'for the socket, which took no bytes: the other node did not read, or the network',
  wire: 'on the way between the nodes',
  peer: 'for the peer to answer',
  limiter: 'for a place to be served',
  handler: 'for the protocol that served it',
  decoding: 'for the caller to decode the answer',
};

/** Characters that act on the screen instead of being seen are spelled out. */
function shown(text) {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\udb40[\udc00-\udc7f]/g,
    (c) => '\\u{' + c.codePointAt(0).toString(16) + '}');
}

const WORDS = DATA.words.map(shown);
const word = (number) => (number < 0 ? '' : WORDS[number]);
const nodeName = (node) => (node < 26 ? String.fromCharCode(65 + node) : 'N' + node);
const short = (text) => (text.length > 13 ? text.slice(0, 6) + '…' + text.slice(-6) : text);

const NODES = DATA.nodes.map((node, nth) => ({
  ...node,
  label: nodeName(nth),
  name: shown(node.name),
  conns: new Map(node.conns.map((c) => [c[0], { number: c[0], dir: c[1], peer: word(c[2]), addr: word(c[3]), in: c[4], out: c[5], ended: c.length > 6 ? { at: c[6], how: word(c[7]), why: word(c[8]) } : null }])),
  actors: new Map(node.actors.map((a) => [a[0], { number: a[0], name: word(a[1]), conn: a[2] }])),
}));

const ROWS = DATA.rows.map((r) => {
  const [node, key, dir, kind, proto, conn, wire, state, from, to, asked, answered, uncertain, served, note, points, waits] = r;
  const row = {
    node, key, dir, conn, wire, from, to, asked, answered, points, waits,
    kind: word(kind) || 'request', proto: word(proto), state: word(state), note: word(note), uncertain: uncertain === 1,
    served: served && { node: served[0], key: served[1], conn: served[2] },
    took: to - from, longest: -1, wait: 0, slot: 0,
  };
  row.bad = row.state !== 'ok';
  const peer = NODES[node].conns.get(conn);
  row.peer = (peer && peer.peer) || (row.served ? NODES[row.served.node].name : '');
  for (let i = 0; i < waits.length; i += 5) {
    if (waits[i + 1] - waits[i] > row.wait) {
      row.wait = waits[i + 1] - waits[i];
      row.longest = i;
    }
  }
  row.where = row.longest < 0 ? '' : CAUSES[waits[row.longest + 2]];
  return row;
}).sort((a, b) => a.from - b.from || a.to - b.to);
ROWS.forEach((row, nth) => { row.nth = nth; });
const BY_KEY = new Map();
for (const row of ROWS) {
  BY_KEY.set(row.node + ',' + row.key, row);
  if (row.served) BY_KEY.set(row.served.node + ',' + row.served.key, row);
}
DATA.rows = null;

/** A duration with three digits. */
function span(ns) {
  const abs = Math.abs(ns);
  if (abs < 1e3) return ns + ' ns';
  const [value, unit] = abs < 1e6 ? [ns / 1e3, 'µs'] : abs < 1e9 ? [ns / 1e6, 'ms'] : [ns / 1e9, 's'];
  const size = Math.abs(value);
  return value.toFixed(size < 10 ? 2 : size < 100 ? 1 : 0) + ' ' + unit;
}

/** A point in time, in seconds, as exactly as `step` asks for. */
function clock(ns, step) {
  const digits = step >= 1e9 ? 0 : Math.min(9, Math.ceil(9 - Math.log10(Math.max(step, 1))));
  return (ns / 1e9).toFixed(digits) + ' s';
}

function size(bytes) {
  return bytes < 10000 ? bytes + ' B' : bytes < 1e7 ? (bytes / 1024).toFixed(0) + ' KiB' : (bytes / 1048576).toFixed(0) + ' MiB';
}

/** An element with words in it; words are never read as HTML. */
function el(tag, attrs, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attrs || {})) {
    if (name === 'onclick') element.addEventListener('click', value);
    else if (name === 'style') Object.assign(element.style, value);
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const count = (n, one, many) => n.toLocaleString('en') + ' ' + (n === 1 ? one : many || one + 's');
const colour = (cause) => 'var(--c' + cause + ')';
const chip = (cause) => el('span', { class: 'chip', style: { background: colour(cause) } });
