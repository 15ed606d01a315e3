// The lanes of the picture: who stands where, and in which lane each wait of a request is drawn.

const SESSION_LANES_MAX = 4, NODES_MAX = 4;

/** Lanes from left to right: one node's tasks and sessions, the wire, the other nodes' mirrored. */
function layLanes(rows) {
  const used = new Map();
  const use = (key) => used.set(key, (used.get(key) || 0) + 1);
  for (const row of rows) {
    use(laneKey(row.node, row.dir === 0 ? CALLER : PROTOCOL, 0));
    use(laneKey(row.node, SESSION, row.conn));
    if (row.served) {
      use(laneKey(row.served.node, PROTOCOL, 0));
      use(laneKey(row.served.node, SESSION, row.served.conn));
    }
  }
  const side = (node) => {
    if (node >= NODES.length) return [];
    const { label, conns, actors } = NODES[node];
    const lanes = [];
    if (used.has(laneKey(node, CALLER, 0))) lanes.push({ key: laneKey(node, CALLER, 0), name: 'callers', weight: 1.25 });
    if (used.has(laneKey(node, PROTOCOL, 0))) lanes.push({ key: laneKey(node, PROTOCOL, 0), name: 'protocols', weight: 1 });
    const others = [...actors.values()].filter((actor) => actor.conn === 0 && SLICES.has(node + '/' + actor.number));
    if (others.length) lanes.push({ key: 'a' + node, name: others.length > 1 ? 'others' : others[0].name.includes('Manager') ? 'manager' : others[0].name || 'actor', weight: 0.95, actors: others.map((actor) => actor.number) });
    const sessions = [...used.keys()].filter((key) => key.startsWith(node + '/s'));
    sessions.sort((a, b) => used.get(b) - used.get(a));
    const own = sessions.slice(0, sessions.length > SESSION_LANES_MAX ? SESSION_LANES_MAX - 1 : SESSION_LANES_MAX);
    own.sort((a, b) => Number(b.split('s')[1]) - Number(a.split('s')[1]));
    if (own.length < sessions.length) lanes.push({ key: node + '/s*', name: count(sessions.length - own.length, 'more session'), weight: 1.2 });
    for (const key of own) {
      const conn = Number(key.split('s')[1]);
      const peer = conns.get(conn);
      const work = [...actors.values()].filter((actor) => actor.conn === conn).map((actor) => actor.number);
      lanes.push({ key, name: conn ? 'session ' + conn : 'no session', about: aboutConn(node, conn, peer), weight: 1.2, actors: work });
    }
    lanes.forEach((lane) => { lane.node = node; lane.group = label; });
    return lanes;
  };
  const wire = { key: 'wire', name: 'wire', node: -1, group: '', weight: 1.7 };
  const unseen = rows.some((row) => !row.served);
  if (unseen) wire.name = 'wire and peers';
  const lanes = [...side(0), wire];
  for (let node = 1; node < NODES_MAX; node++) lanes.push(...side(node).reverse());
  const index = new Map(lanes.map((lane, nth) => [lane.key, nth]));
  const find = (node, place, conn) => {
    const key = laneKey(node, place, conn);
    return index.get(key) ?? index.get(node + '/s*') ?? index.get('wire');
  };
  return { lanes, find, wire: index.get('wire') };
}

/** Whether all of a row has lanes: nodes beyond the fourth are in the table only. */
const hasLanes = (row) => row.node < NODES_MAX && (!row.served || row.served.node < NODES_MAX);

function aboutConn(node, conn, peer) {
  if (!peer) return '';
  const lines = ['connection ' + conn + ' of node ' + nodeName(node) + (peer.peer ? ' with ' + peer.peer : ''), peer.addr, size(peer.in) + ' in, ' + size(peer.out) + ' out'];
  if (peer.ended) lines.push('ended at ' + clock(peer.ended.at, 1e6) + ' (' + peer.ended.how + '): ' + peer.ended.why);
  return lines.filter(Boolean).join('\n');
}

function laneKey(node, place, conn) {
  return place === CALLER ? node + '/c' : place === PROTOCOL ? node + '/p' : node + '/s' + conn;
}

/** The pieces of a row: `{ i, from, to, cause, lane, end }`; `end` differs where it crosses the wire. */
function pieces(row, laid) {
  const list = [];
  let back = false;
  for (let i = 0; i < row.waits.length; i += 5) {
    const [from, to, cause, node, place] = row.waits.slice(i, i + 5);
    const conn = row.served && node === row.served.node ? row.served.conn : row.conn;
    const piece = { i, from: row.from + from, to: row.from + to, cause, lane: laid.wire, end: -1, lost: false };
    if (place !== WIRE) {
      piece.lane = laid.find(node, place, conn);
      back = back || node !== row.node;
    } else if ((cause === C_WIRE || (cause === C_PEER && !back)) && row.served) {
      const [asker, server] = [laid.find(row.node, SESSION, row.conn), laid.find(row.served.node, SESSION, row.served.conn)];
      const last = i + 5 >= row.waits.length;
      if (node === row.served.node) {
        [piece.lane, piece.end] = [server, asker];
        piece.lost = last && row.bad;
        back = true;
      } else if (!back) {
        [piece.lane, piece.end] = [asker, server];
        piece.lost = last && row.bad;
      } else {
        piece.lane = asker;
      }
    }
    list.push(piece);
  }
  return list;
}

/** Gives each row a place of its own among those that overlap it; tells how many places there are. */
function slotRows(rows) {
  const busy = [];
  let most = 1;
  for (const row of rows) {
    let slot = busy.findIndex((until) => until <= row.from);
    if (slot < 0) slot = busy.length < 512 ? busy.length : row.nth % 512;
    busy[slot] = row.to;
    row.slot = slot;
    most = Math.max(most, slot + 1);
  }
  return most;
}
