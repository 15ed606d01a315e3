// Opened with #selftest, the page uses itself and writes down whether it worked.

function selftest() {
  const results = [];
  const check = (name, holds) => results.push((holds ? 'ok ' : 'FAILED ') + name);
  const pointer = (type, x, y) => {
    const box = $('canvas').getBoundingClientRect();
    $('canvas').dispatchEvent(new PointerEvent(type, { bubbles: true, pointerId: 1, clientX: box.left + x, clientY: box.top + y }));
  };
  // A pointer that was made up cannot be captured.
  $('canvas').setPointerCapture = () => {};
  picture.paint();
  check('has every request', table.rows.length === ROWS.length);
  check('draws lanes', picture.laid.lanes.length >= (ROWS.length ? 3 : 1));
  check('keeps the table short', $('rows').children.length <= 80);

  if (!ROWS.length) return results;
  $('rows').firstElementChild.click();
  check('a click in the table opens the life line', chosen === table.rows[0] && !$('panel').hidden && $('panel').textContent.includes(chosen.kind));
  check('the address names the request', location.hash === '#r=' + chosen.node + ',' + chosen.key);
  check('every step has its event', pointsOf(chosen).every((point) => $('panel').textContent.includes(point.id)));
  choose(null);
  check('closing lets go', $('panel').hidden && location.hash === '');

  const slow = ROWS.reduce((worst, row) => (row.took > worst.took ? row : worst));
  choose(slow, true);
  picture.paint();
  const hit = picture.hits.find((one) => one.row === slow && middleOf(one)[1] > TOP && middleOf(one)[1] < picture.height);
  check('the slowest request is in the picture', Boolean(hit));
  if (hit) {
    const [x, y] = middleOf(hit);
    pointer('pointermove', x, y);
    check('hovering tells about it', !$('tip').hidden && $('tip').textContent.includes(span(slow.took)));
    choose(null);
    picture.paint();
    pointer('pointerdown', x, y);
    pointer('pointerup', x, y);
    check('a click in the picture chooses a request', Boolean(chosen));
  }
  choose(null);

  $('zoom-in').click();
  const before = picture.view[1] - picture.view[0];
  $('zoom-out').click();
  check('zooms out', picture.view[1] - picture.view[0] > before);
  $('fit').click();
  check('shows everything', picture.view[0] === picture.axis.first && picture.view[1] === picture.axis.last);
  $('canvas').dispatchEvent(new WheelEvent('wheel', { deltaY: -300, cancelable: true }));
  check('the wheel zooms in', picture.view[1] - picture.view[0] < picture.axis.last - picture.axis.first);
  $('fit').click();

  const bad = ROWS.filter((row) => row.state !== 'ok').length;
  const badWords = bad.toLocaleString('en');
  setFilter('state!=ok');
  check('a filter shows what it says', shownRows.length === bad && table.rows.length === bad && $('filter-note').textContent.includes(badWords));
  setFilter('hop>5ms wait<1m');
  check('durations compare', shownRows.every((row) => row.wait > 5e6) && shownRows.length === ROWS.filter((row) => row.wait > 5e6 && row.took < 6e10).length);
  setFilter('kind~' + ROWS[0].kind.slice(1, 4));
  check('a part of a word is found', shownRows.includes(ROWS[0]));
  setFilter('colour=red');
  check('a wrong filter is told', $('filter-note').textContent.includes('colour'));
  setFilter('');
  check('no filter shows all', shownRows.length === ROWS.length);

  const took = COLUMNS.findIndex((column) => column.name === 'took');
  $('head').children[0].click();
  $('head').children[took].click();
  check('sorts by duration', table.rows[0] === slow || table.rows[0].took === slow.took);
  $('head').children[0].click();
  document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'j', bubbles: true }));
  check('keys walk', chosen === table.rows[0]);
  document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true }));
  check('Escape lets go', chosen === null);
  const scale = toScale;
  setScale(!scale);
  picture.paint();
  setScale(scale);
  check('the words name the slowest', $('words').textContent.includes(title(slow)));
  location.hash = '#r=' + slow.node + ',' + slow.key;
  recall();
  check('an address leads to its request', chosen === slow);
  const begun = performance.now();
  picture.paint();
  results.push('ok ' + count(ROWS.length, 'request') + ' painted in ' + (performance.now() - begun).toFixed(1) + ' ms');
  return results;
}

function middleOf({ line, x, y, w, h }) {
  return line ? [(line[0] + line[2]) / 2, (line[1] + line[3]) / 2] : [x + w / 2, y + h / 2];
}

if (location.hash === '#selftest') {
  let results;
  try {
    results = selftest();
  } catch (error) {
    results = ['FAILED with ' + error + '\n' + error.stack];
  }
  $('selftest').hidden = false;
  $('selftest').textContent = 'selftest: ' + (results.some((line) => line.startsWith('FAILED')) ? 'failed' : 'passed') + '\n' + results.join('\n');
}
