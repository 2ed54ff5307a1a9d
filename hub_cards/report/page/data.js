// What the page holds: columns of numbers, and blocks of texts, each gzip in base64 inside an element of its own.

const TEXT_BLOCKS_KEPT = 6;
const meta = JSON.parse(byId("meta").textContent);
const columnNumbers = new Map(meta.columns.map((column, number) => [columnName(column.key, column.variant), number]));
const loadedColumns = new Map();
const loadedBlocks = new Map();

function columnName(key, variant) {
  return variant ? `${key} ${variant}` : key;
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

// The bytes of gzip in base64, in pieces.
async function* unpackedPieces(base64) {
  const stream = new DecompressionStream("gzip");
  const writer = stream.writable.getWriter();
  const written = Promise.all([writer.write(fromBase64(base64.trim())), writer.close()]);
  written.catch(() => {}); // reading fails of the same fault, and tells it
  const reader = stream.readable.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
}

async function unpackJson(base64) {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of unpackedPieces(base64)) text += decoder.decode(piece, { stream: true });
  return JSON.parse(text + decoder.decode());
}

async function unpackBytes(base64) {
  const pieces = [];
  for await (const piece of unpackedPieces(base64)) pieces.push(piece);
  return new Blob(pieces).arrayBuffer();
}

// The parser may still be reading the page. An element is whole once something stands behind it.
async function packedText(id) {
  for (;;) {
    const read = document.readyState !== "loading";
    const element = byId(id);
    if (element && (read || element.nextSibling)) return element.textContent;
    if (read) throw new Error("it is not in the file");
    await pause(20);
  }
}

function unreadable(id, error) {
  const why = `Part ${id} of this report could not be read (${error.message}).`;
  return new Error(`${why} The file may be damaged or cut short.`);
}

const canUnpack = typeof DecompressionStream !== "undefined";

async function readPart(id, unpack) {
  if (!canUnpack) {
    throw new Error("This browser cannot unpack the rows, for want of DecompressionStream: those since 2023 can.");
  }
  try {
    return await unpack(await packedText(id));
  } catch (error) {
    throw unreadable(id, error);
  }
}

function hasColumn(key, variant = null) {
  return columnNumbers.has(columnName(key, variant));
}

// One entry a row: Float64Array (NaN is null), Uint8Array (255 is null) or an array of texts; null for no such column.
function column(key, variant = null) {
  const number = columnNumbers.get(columnName(key, variant));
  if (number === undefined) return Promise.resolve(null);
  if (!loadedColumns.has(number)) loadedColumns.set(number, readColumn(number));
  return loadedColumns.get(number);
}

function readColumn(number) {
  const type = meta.columns[number].type;
  return readPart(`column-${number}`, async (base64) => {
    if (type === "json") return unpackJson(base64);
    const bytes = await unpackBytes(base64);
    return type === "f64" ? new Float64Array(bytes) : new Uint8Array(bytes);
  });
}

// Which block of a kind holds a row: the last one that starts at it or before it.
function blockNumber(kind, row) {
  const starts = meta.blocks[kind];
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle] <= row) low = middle;
    else high = middle - 1;
  }
  return low;
}

// What a kind of block ("texts", "notes", "tokens") says of one row; null where the report holds none of that kind.
async function rowEntry(kind, row) {
  if (!meta.blocks[kind]?.length) return null;
  const number = blockNumber(kind, row);
  const id = `${kind}-${number}`;
  const entries = loadedBlocks.get(id) ?? readPart(id, unpackJson);
  loadedBlocks.delete(id);
  loadedBlocks.set(id, entries);
  if (loadedBlocks.size > 3 * TEXT_BLOCKS_KEPT) loadedBlocks.delete(loadedBlocks.keys().next().value);
  return (await entries)[row - meta.blocks[kind][number]];
}

function columnOf(key, variant = null) {
  return meta.columns[columnNumbers.get(columnName(key, variant))];
}

// The keys of every score, in the report's order, each once however many variants have it.
function scoreKeys() {
  return [...new Set(meta.columns.filter((one) => one.type === "f64").map((one) => one.key))];
}

function scoreLabel(key) {
  return meta.score_labels?.[key] ?? meta.columns.find((one) => one.key === key)?.label ?? key;
}

// {name, meaning} of a code, or null where the row has none.
function category(kind, code) {
  return meta.categories[kind]?.[code] ?? null;
}
