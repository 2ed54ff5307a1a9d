// What the rows view shows, as the fragment of the page's address says it, and which rows that are.

const WINNER = "winner";
const CHOICES = ["q", "in", "variant", "branch", "kept", "reason", "status", "change", "score"];
const FILTERS = [...CHOICES, "min", "max", "sort", "page"];
const prepared = new Map(); // what was computed from columns: orders and the scores of the variant looked at

// {view, id, state} of a fragment; anything unknown in it counts as not said.
function placeOf(fragment) {
  const [path, query = ""] = fragment.replace(/^#/, "").split("?", 2);
  const [, view, ...rest] = path.split("/");
  if (view === "row") return { view, id: decoded(rest.join("/")), state: null };
  const known = view === "rows" || (view === "compare" && byId("compare")) ? view : "overview";
  return { view: known, id: null, state: known === "rows" ? stateOf(new URLSearchParams(query)) : null };
}

// A "%" that belongs to no code is a broken link, and still names something.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}

function stateOf(parameters) {
  const said = Object.fromEntries(FILTERS.map((name) => [name, parameters.get(name) ?? ""]));
  const lookedAt = [...(hasColumn("selected_variant") ? [WINNER] : []), ...meta.variants];
  const scores = scoreKeys();
  const one = (value, values) => (values.includes(value) ? value : "");
  const named = (kind) => (meta.categories[kind] ?? []).map((entry) => entry.name);
  return {
    q: said.q,
    in: one(said.in, ["looked"]),
    variant: one(said.variant, lookedAt) || lookedAt[0],
    branch: one(said.branch, meta.variants),
    kept: one(said.kept, ["1", "0"]),
    reason: one(said.reason, named("select_reason")),
    status: one(said.status, named("reflect_status")),
    change: one(said.change, named("change")),
    score: one(said.score, scores) || one("ifd_ppl", scores) || scores[0] || "",
    min: limitOf(said.min),
    max: limitOf(said.max),
    sort: one(said.sort.replace(/^-/, ""), scores) && said.sort,
    page: Math.max(1, Math.trunc(Number(said.page)) || 1),
  };
}

function limitOf(text) {
  return text.trim() !== "" && Number.isFinite(Number(text)) ? text.trim() : "";
}

// The fragment that says a state, without what goes without saying.
function fragmentOf(state) {
  const plain = stateOf(new URLSearchParams());
  const parameters = new URLSearchParams();
  const hasRange = state.min !== "" || state.max !== "";
  for (const name of FILTERS) {
    const isSaid = name === "score" ? hasRange : state[name] !== plain[name];
    if (isSaid) parameters.set(name, state[name]);
  }
  return parameters.size ? `#/rows?${parameters}` : "#/rows";
}

function rowFragment(id) {
  return `#/row/${encodeURIComponent(id)}`;
}

function codeOf(kind, name) {
  return meta.categories[kind].findIndex((entry) => entry.name === name);
}

function remembered(name, compute) {
  if (!prepared.has(name)) prepared.set(name, compute());
  return prepared.get(name);
}

// Which variant is looked at, row by row: Uint8Array. A row without a winner is looked at as it was loaded.
function lookedVariants(variant) {
  return remembered(`looked ${variant}`, async () => {
    if (variant !== WINNER) return new Uint8Array(meta.rows).fill(meta.variants.indexOf(variant));
    return (await column("selected_variant")).map((code) => (code < meta.variants.length ? code : 0));
  });
}

// A score of the variant looked at, row by row: Float64Array, NaN where there is none.
function lookedScores(key, variant) {
  if (hasColumn(key)) return column(key);
  return remembered(`scores ${key} ${variant}`, async () => {
    const [looked, ...scores] = await Promise.all([
      lookedVariants(variant),
      ...meta.variants.map((name) => column(key, name)),
    ]);
    const found = new Float64Array(meta.rows).fill(NaN);
    for (let row = 0; row < meta.rows; row++) if (scores[looked[row]]) found[row] = scores[looked[row]][row];
    return found;
  });
}

// All rows, sorted: "" is the order of the data, "-key" sorts high to low; rows without the score stand last.
function sortedRows(sort, variant) {
  return remembered(`order ${sort} ${variant}`, async () => {
    const rows = new Uint32Array(meta.rows);
    for (let row = 0; row < meta.rows; row++) rows[row] = row;
    if (!sort) return rows;
    const scores = await lookedScores(sort.replace(/^-/, ""), variant);
    const sign = sort.startsWith("-") ? -1 : 1;
    const there = rows.filter((row) => !Number.isNaN(scores[row]));
    const missing = rows.filter((row) => Number.isNaN(scores[row]));
    there.sort((a, b) => sign * (scores[a] - scores[b]) || a - b);
    rows.set(there);
    rows.set(missing, there.length);
    return rows;
  });
}

// The outcome of the oracle: of the variant looked at, or of any where that one was not asked for.
async function statusTest(state) {
  const code = codeOf("reflect_status", state.status);
  const [looked, ...outcomes] = await Promise.all([
    lookedVariants(state.variant),
    ...meta.variants.map((name) => column("reflect_status", name)),
  ]);
  return (row) => {
    const own = outcomes[looked[row]];
    return own && own[row] !== 255 ? own[row] === code : outcomes.some((codes) => codes?.[row] === code);
  };
}

async function testsOf(state) {
  const tests = [];
  const equals = async (key, code) => {
    const codes = await column(key);
    if (codes) tests.push((row) => codes[row] === code);
  };
  if (state.kept) await equals("selected", Number(state.kept));
  if (state.branch) await equals("selected_variant", meta.variants.indexOf(state.branch));
  if (state.reason) await equals("select_reason", codeOf("select_reason", state.reason));
  if (state.change) await equals("change", codeOf("change", state.change));
  if (state.status) tests.push(await statusTest(state));
  if (state.min !== "" || state.max !== "") {
    const scores = await lookedScores(state.score, state.variant);
    const low = state.min === "" ? -Infinity : Number(state.min);
    const high = state.max === "" ? Infinity : Number(state.max);
    tests.push((row) => scores[row] >= low && scores[row] <= high);
  }
  if (searchIsOn()) {
    const looked = await lookedVariants(state.variant);
    const masks = search.masks;
    const inLooked = state.in === "looked";
    tests.push((row) => (inLooked ? masks[row] & (1 << looked[row]) : masks[row]) !== 0);
  }
  return tests;
}

// The rows of a state in its order, as far as they were searched.
async function matchingRows(state) {
  const tests = await testsOf(state);
  const rows = await sortedRows(state.sort, state.variant);
  return tests.reduce((left, test) => left.filter(test), rows);
}
