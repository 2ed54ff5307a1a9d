// Search in the texts: blocks are dealt out to a few workers, which keep them and answer block by block.

const BLOCKS_AHEAD = 2;
const search = {
  engines: [], // functions that take a message
  next: 0, // the first block that nobody holds yet
  id: 0,
  terms: [],
  masks: new Uint8Array(0), // of each row: bit v says that variant v matches
  done: 0, // rows that were answered, or that nobody can read
  damaged: [], // {rows, error} of the blocks that could not be read
  changed: () => {},
};

// Words, and "phrases" in double quotes, lower-cased; an unclosed quote reaches to the end.
function searchTerms(text) {
  const parts = text.toLowerCase().matchAll(/"([^"]*)"?|[^\s"]+/g);
  return [...new Set([...parts].map((part) => (part[1] ?? part[0]).trim()).filter(Boolean))];
}

function searchIsOn() {
  return search.terms.length > 0;
}

function searchIsDone() {
  return search.done >= meta.rows;
}

// Starts the workers and lets them read: called when somebody is about to search.
function prepareSearch() {
  if (search.engines.length || !meta.blocks.texts.length || !canUnpack) return;
  // Two even on two cores: the page has little to do while they read.
  const wanted = Math.max(2, Math.min(4, (navigator.hardwareConcurrency || 2) - 1));
  const count = Math.min(wanted, meta.blocks.texts.length);
  try {
    const address = URL.createObjectURL(new Blob([workerSource()], { type: "text/javascript" }));
    for (let i = 0; i < count; i++) search.engines.push(workerEngine(address));
  } catch (error) {
    console.info(`No workers here (${error.message}): the search runs on the page's own thread.`);
    searchWithoutWorkers();
    return;
  }
  dealBlocks();
}

function workerEngine(address) {
  const worker = new Worker(address);
  const engine = (message) => worker.postMessage(message);
  worker.onmessage = (event) => received(engine, event.data);
  worker.onerror = (event) => {
    event.preventDefault();
    worker.terminate();
    if (search.engines.includes(engine)) searchWithoutWorkers();
  };
  return engine;
}

function searchWithoutWorkers() {
  const engine = searchEngine((message) => received(engine, message));
  search.engines = [engine];
  search.damaged = [];
  search.next = 0;
  dealBlocks();
  ask();
}

function dealBlocks() {
  for (const engine of search.engines) for (let i = 0; i < BLOCKS_AHEAD; i++) giveBlock(engine);
}

async function giveBlock(engine) {
  const number = search.next;
  if (number >= meta.blocks.texts.length || !search.engines.includes(engine)) return;
  search.next += 1;
  try {
    engine({ number, first: meta.blocks.texts[number], base64: await packedText(`texts-${number}`) });
  } catch (error) {
    received(engine, { damaged: number, why: error.message });
  }
}

function received(engine, message) {
  if (!search.engines.includes(engine)) return;
  if ("masks" in message) {
    if (message.id !== search.id || !searchIsOn()) return;
    search.masks.set(message.masks, message.first);
    search.done += message.masks.length;
    search.changed();
    return;
  }
  if ("damaged" in message) {
    const [first, end] = [message.damaged, message.damaged + 1].map((n) => meta.blocks.texts[n] ?? meta.rows);
    search.damaged.push({ rows: end - first, error: unreadable(`texts-${message.damaged}`, { message: message.why }) });
    showProblem(search.damaged[0].error);
    search.done += end - first;
    search.changed();
  }
  giveBlock(engine);
}

// A new query in place of the one before; `changed` is called whenever more rows were answered.
function startSearch(text, changed) {
  search.id += 1;
  search.terms = searchTerms(text);
  search.changed = changed;
  if (!searchIsOn()) {
    for (const engine of search.engines) engine({ id: search.id, terms: [] });
    return;
  }
  prepareSearch();
  ask();
}

function ask() {
  search.masks = new Uint8Array(meta.rows);
  search.done = search.damaged.reduce((sum, block) => sum + block.rows, 0);
  if (search.damaged.length && searchIsOn()) showProblem(search.damaged[0].error);
  for (const engine of search.engines) engine({ id: search.id, terms: search.terms });
}
