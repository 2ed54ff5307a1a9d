// The search engine. It runs inside every worker, or in slices on the page's own thread where there are no workers.
// Its functions reach the workers as text: they may use nothing but each other and the functions that unpack.

// Bit v of the answer: variant v has every term in its instruction, its input or its response.
function matchingVariants(row, terms) {
  let alive = 0;
  for (let v = 0; v < row.variants.length; v++) if (row.variants[v]) alive |= 1 << v;
  for (const term of terms) {
    const found = row.texts.map(() => undefined);
    for (let v = 0; v < row.variants.length; v++) {
      if (alive & (1 << v) && !row.variants[v].some((text) => (found[text] ??= row.texts[text].includes(term)))) {
        alive &= ~(1 << v);
      }
    }
    if (!alive) return 0;
  }
  return alive;
}

// Takes {number, first, base64} (a block to keep) and {id, terms} (a query, in place of the one before it).
// Sends {loaded: number}, {damaged: number, why} and {id, first, masks} for every block and query.
function searchEngine(send) {
  const blocks = [];
  const channel = new MessageChannel();
  let query = { id: 0, terms: [] };

  // A turn of the event loop: newer messages come in, and the page can draw.
  function turn() {
    return new Promise((resolve) => {
      channel.port1.onmessage = resolve;
      channel.port2.postMessage(null);
    });
  }

  function answer(block) {
    block.answered = query.id;
    const masks = Uint8Array.from(block.rows, (row) => matchingVariants(row, query.terms));
    send({ id: query.id, first: block.first, masks });
  }

  async function answerAll() {
    const mine = query.id;
    let until = performance.now() + 10;
    for (const block of blocks) {
      if (block.answered !== mine) answer(block);
      if (performance.now() < until) continue;
      await turn();
      if (query.id !== mine) return;
      until = performance.now() + 10;
    }
  }

  async function keep({ number, first, base64 }) {
    try {
      const rows = await unpackJson(base64);
      for (const row of rows) row.texts = row.texts.map((text) => text.toLowerCase());
      const block = { first, rows, answered: 0 };
      blocks.push(block);
      if (query.terms.length) answer(block);
      send({ loaded: number });
    } catch (error) {
      send({ damaged: number, why: error.message });
    }
  }

  return (message) => {
    if ("base64" in message) {
      keep(message);
    } else {
      query = message;
      if (query.terms.length) answerAll();
    }
  };
}

function runInWorker() {
  const receive = searchEngine((message) => self.postMessage(message));
  self.onmessage = (event) => receive(event.data);
}

function workerSource() {
  const parts = [fromBase64, unpackedPieces, unpackJson, matchingVariants, searchEngine, runInWorker];
  return `"use strict";\n${parts.map(String).join("\n")}\nrunInWorker();\n`;
}
