// The filter: terms with spaces between, all of which must hold. The command line has the same.

const FIELDS = {
  peer: (row) => row.peer,
  proto: (row) => row.proto,
  kind: (row) => row.kind,
  id: (row) => [row.wire === null ? '' : row.wire, row.key, row.served ? row.served.key : ''],
  state: (row) => row.state,
  where: (row) => row.where,
  node: (row) => [NODES[row.node].label, NODES[row.node].name],
  dir: (row) => (row.dir === 0 ? 'out' : 'in'),
  conn: (row) => String(row.conn),
};
const NUMBERS = { wait: (row) => row.wait, took: (row) => row.took, start: (row) => row.from, bytes: (row) => row.asked + row.answered };
const UNITS = { '': 1, ns: 1, us: 1e3, 'µs': 1e3, ms: 1e6, s: 1e9, m: 6e10 };

/** A test of rows, or `{ error }`. */
function parseFilter(text) {
  const tests = [];
  for (const term of text.match(/(?:[^\s"]|"[^"]*"?)+/g) || []) {
    const parts = term.match(/^([a-z]+)(!=|>=|<=|=|>|<|~)(.*)$/s);
    if (!parts) {
      const sought = unquote(term).toLowerCase();
      tests.push((row) => Object.values(FIELDS).some((field) => [field(row)].flat().some((v) => v.toLowerCase().includes(sought))) || row.note.toLowerCase().includes(sought));
      continue;
    }
    const [, name, op, raw] = parts;
    const value = unquote(raw);
    if (name in NUMBERS) {
      const number = value.match(/^(\d+(?:\.\d+)?)\s*([a-zµ]*)$/);
      if (!number || !(number[2] in UNITS)) return { error: name + ' takes a duration such as 5ms, not ' + (value || 'nothing') };
      const [field, limit] = [NUMBERS[name], number[1] * UNITS[number[2]]];
      const compare = { '>': (v) => v > limit, '<': (v) => v < limit, '>=': (v) => v >= limit, '<=': (v) => v <= limit, '=': (v) => v === limit, '!=': (v) => v !== limit }[op];
      if (!compare) return { error: name + ' cannot be compared with ' + op };
      tests.push((row) => compare(field(row)));
    } else if (Object.hasOwn(FIELDS, name)) {
      if (!['=', '!=', '~'].includes(op)) return { error: name + ' is compared with = or !=' };
      const [field, matches] = [FIELDS[name], matcher(op === '~' ? '*' + value + '*' : value, name === 'peer')];
      tests.push((row) => [field(row)].flat().some(matches) !== (op === '!='));
    } else {
      return { error: 'no field is called ' + name };
    }
  }
  return { test: (row) => tests.every((test) => test(row)) };
}

function unquote(text) {
  return text.replace(/"/g, '');
}

/** Equality without regard to case; `*` stands for anything. A peer may be told by its end. */
function matcher(pattern, byEnd) {
  const sought = pattern.toLowerCase().replace(/^…/, '');
  if (!sought.includes('*')) return (value) => value.toLowerCase() === sought || (byEnd && sought.length > 3 && value.toLowerCase().endsWith(sought));
  const parts = sought.split('*');
  return (value) => {
    const text = value.toLowerCase();
    if (!text.startsWith(parts[0]) || !text.endsWith(parts[parts.length - 1])) return false;
    let at = parts[0].length;
    for (const part of parts.slice(1, -1)) {
      const found = text.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return at + parts[parts.length - 1].length <= text.length;
  };
}
