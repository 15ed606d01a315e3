// The filter: terms with spaces between, all of which must hold. The command line's, and a little more:
// `where`, `hop`, `start` and `node`, and words without a field.

const FIELDS = {
  peer: (row) => row.peer,
  proto: (row) => row.proto,
  kind: (row) => row.kind,
  id: (row) => [row.key, row.wire === null ? '' : row.wire, row.served ? row.served.key : ''],
  dir: (row) => (row.dir === 0 ? 'out' : 'in'),
  state: (row) => row.state,
  where: (row) => row.where,
  node: (row) => [NODES[row.node].label, NODES[row.node].name],
};
const NUMBERS = { wait: (row) => row.took, hop: (row) => row.wait, start: (row) => row.from, conn: (row) => row.conn };
const UNITS = { ns: 1, us: 1e3, 'µs': 1e3, ms: 1e6, s: 1e9, m: 6e10 };
const COMPARE = { '>': (v, x) => v > x, '<': (v, x) => v < x, '>=': (v, x) => v >= x, '<=': (v, x) => v <= x, '=': (v, x) => v === x, '!=': (v, x) => v !== x };

/** A test of rows, or `{ error }`. */
function parseFilter(text) {
  const tests = [];
  for (const term of text.split(/\s+/).filter(Boolean)) {
    const parts = term.match(/^([a-z]+)(!=|>=|<=|=|>|<|~)(.*)$/is);
    if (!parts) {
      const sought = term.toLowerCase();
      const has = (row, field) => [field(row)].flat().some((value) => value.toLowerCase().includes(sought));
      tests.push((row) => Object.values(FIELDS).some((field) => has(row, field)) || row.note.toLowerCase().includes(sought));
      continue;
    }
    const [name, op, value] = [parts[1].toLowerCase(), parts[2], parts[3]];
    if (!value) return { error: 'a value is missing behind ' + op };
    if (Object.hasOwn(NUMBERS, name)) {
      const number = value.match(name === 'conn' ? /^(\d+)()$/ : /^(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m)$/);
      if (!number) return { error: '“' + value + '” is not a ' + (name === 'conn' ? 'number' : 'duration such as 5ms, 1.5s or 200us') };
      if (op === '~') return { error: '~ is for words' };
      const [field, limit] = [NUMBERS[name], number[1] * (UNITS[number[2]] || 1)];
      tests.push((row) => COMPARE[op](field(row), limit));
    } else if (Object.hasOwn(FIELDS, name)) {
      if (!['=', '!=', '~'].includes(op)) return { error: op + ' is for wait, hop, start and conn' };
      const [field, matches] = [FIELDS[name], matcher(name, op, value.toLowerCase())];
      tests.push((row) => [field(row)].flat().some(matches) !== (op === '!='));
    } else {
      return { error: '“' + name + '” is not one of ' + [...Object.keys(FIELDS), ...Object.keys(NUMBERS)].join(' ') };
    }
  }
  return { test: (row) => tests.every((test) => test(row)) };
}

/** Words compare without regard to case; what a peer or an id may be told by depends on the field. */
function matcher(name, op, sought) {
  const plain = name === 'state' ? (word) => word.toLowerCase().replaceAll('_', '') : (word) => word.toLowerCase();
  const wanted = plain(sought);
  if (op === '~') return (value) => plain(value).includes(wanted);
  if (name === 'peer') {
    const [start, end] = wanted.split('…');
    if (end !== undefined) return (value) => plain(value).startsWith(start) && plain(value).endsWith(end);
    return (value) => plain(value).startsWith(wanted) || plain(value).endsWith(wanted);
  }
  if (name === 'id') return (value) => value === wanted || value.startsWith(wanted + '.');
  if (name === 'dir') return (value) => value === wanted.replace('bound', '');
  return (value) => plain(value) === wanted;
}
