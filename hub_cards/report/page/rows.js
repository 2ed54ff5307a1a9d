// The rows view: filters and a table in pages.

const PAGE_ROWS = 50;
const SEARCH_DELAY = 120; // milliseconds without a key before a search starts
const REDRAW_DELAY = 150; // milliseconds between two drawings while a search goes on
const TABLE_SCORES = ["ifd_ppl", "rifd_ppl", "n_tokens_Q", "n_tokens_A"];
const rowsView = {
  state: null,
  rows: new Uint32Array(0), // those that match, in order
  searched: "", // the query that the search was started with
  drawn: "", // what the table shows
  drawing: 0, // counts: an older drawing that ends late is not shown
  redraw: 0, // timers
  typed: 0,
  said: 0, // when screen readers were last told how many rows there are
};

function optionElement(value, text, title = "") {
  return make("option", { value, title: title || null }, text);
}

function fillSelect(name, any, entries) {
  byId(`filter-${name}`).replaceChildren(...(any ? [optionElement("", any)] : []), ...entries);
}

function categoryOptions(kind) {
  const entries = meta.categories[kind] ?? [];
  return entries.map(({ name, meaning }) => optionElement(name, plainName(name), meaning));
}

// Called once: what the data does not have gets no control.
function buildFilters() {
  const hasWinner = hasColumn("selected_variant");
  const variants = meta.variants.map((name) => optionElement(name, name));
  const scores = () => scoreKeys().map((key) => optionElement(key, scoreLabel(key)));
  fillSelect("variant", null, [...(hasWinner ? [optionElement(WINNER, "the one that won")] : []), ...variants]);
  fillSelect("branch", "any", meta.variants.map((name) => optionElement(name, name)));
  fillSelect("reason", "any", categoryOptions("select_reason"));
  fillSelect("status", "any", categoryOptions("reflect_status"));
  fillSelect("change", "any", categoryOptions("change"));
  fillSelect("score", null, scores());
  fillSelect("sort", "order of the data", scores());
  const there = {
    q: meta.blocks.texts.length,
    in: meta.blocks.texts.length && meta.variants.length > 1,
    variant: meta.variants.length > 1,
    branch: hasWinner && meta.variants.length > 1,
    kept: hasColumn("selected"),
    reason: meta.categories.select_reason?.length,
    status: meta.categories.reflect_status?.length,
    change: hasColumn("change"),
    score: scoreKeys().length,
    sort: scoreKeys().length,
  };
  for (const [name, is] of Object.entries(there)) byId(`field-${name}`).hidden = !is;
  listenToFilters();
}

function listenToFilters() {
  const form = byId("filters");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    changeRows(typedState());
  });
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    changeRows(stateOf(new URLSearchParams()));
    byId("filter-q").focus();
  });
  byId("rows-empty-reset").addEventListener("click", () => form.reset());
  form.addEventListener("input", (event) => {
    const isTyped = event.target instanceof HTMLInputElement;
    clearTimeout(rowsView.typed);
    rowsView.typed = setTimeout(() => changeRows(typedState()), isTyped ? SEARCH_DELAY : 0);
  });
  byId("filter-q").addEventListener("focus", prepareSearch, { once: true });
  byId("filter-direction").addEventListener("click", () => sortBy(rowsView.state.sort.replace(/^-/, ""), true));
}

// Sorting by the same score again turns the order round.
function sortBy(key, turn = false) {
  const { sort } = rowsView.state;
  if (!key) return;
  const turned = sort.startsWith("-") ? key : `-${key}`;
  const isSame = sort.replace(/^-/, "") === key;
  changeRows({ ...rowsView.state, sort: isSame || turn ? turned : key, page: 1 });
}

function typedState() {
  const state = { ...rowsView.state, page: 1 };
  for (const name of CHOICES) state[name] = byId(`filter-${name}`).value;
  for (const name of ["min", "max"]) state[name] = limitOf(byId(`filter-${name}`).value);
  const key = byId("filter-sort").value;
  state.sort = key && rowsView.state.sort.startsWith("-") ? `-${key}` : key;
  return state;
}

function showState(state) {
  for (const name of FILTERS) {
    const control = byId(`filter-${name}`);
    const value = name === "sort" ? state.sort.replace(/^-/, "") : String(state[name]);
    if (control && control.value !== value && !(name === "q" && control.value.trim() === value)) control.value = value;
  }
  const direction = byId("filter-direction");
  direction.setAttribute("aria-pressed", String(state.sort.startsWith("-")));
  direction.setAttribute("aria-disabled", String(!state.sort));
}

// A change by hand: the address follows, and only a turned page is a step that "back" undoes.
function changeRows(state, isStep = false) {
  setFragment(fragmentOf(state), isStep);
  showRows(state);
}

function showRows(state) {
  rowsView.state = state;
  showState(state);
  byId("tabs").querySelector('[href^="#/rows"]').setAttribute("href", fragmentOf(state));
  if (state.q !== rowsView.searched) {
    rowsView.searched = state.q;
    startSearch(state.q, searchMoved);
  }
  return drawRows();
}

function searchMoved() {
  if (searchIsDone()) {
    clearTimeout(rowsView.redraw);
    rowsView.redraw = 0;
    drawRows();
  } else if (!rowsView.redraw) {
    const isFirst = rowsView.rows.length === 0;
    const redraw = () => {
      rowsView.redraw = 0;
      drawRows();
    };
    rowsView.redraw = setTimeout(redraw, isFirst ? 0 : REDRAW_DELAY);
  }
}

async function drawRows() {
  const drawing = ++rowsView.drawing;
  const { state } = rowsView;
  try {
    const rows = await matchingRows(state);
    const shown = pageOf(rows, state.page);
    const cells = await tableColumns(state);
    if (drawing !== rowsView.drawing) return;
    rowsView.rows = rows;
    const drawn = `${fragmentOf(state)} ${shown}`;
    if (drawn !== rowsView.drawn) drawTable(shown, cells, state);
    rowsView.drawn = drawn;
    drawPagers(rows.length, state);
    sayCount(rows.length);
  } catch (error) {
    showProblem(error);
  }
}

function pageCount(rows) {
  return Math.max(1, Math.ceil(rows / PAGE_ROWS));
}

function pageOf(rows, page) {
  const first = (Math.min(page, pageCount(rows.length)) - 1) * PAGE_ROWS;
  return rows.subarray(first, first + PAGE_ROWS);
}

function sayCount(count) {
  const isSearching = searchIsOn() && !searchIsDone();
  const all = formatCount(meta.rows);
  const found = count === meta.rows ? `${all} rows` : `${formatCount(count)} of ${all} rows`;
  const percent = Math.floor((100 * search.done) / Math.max(1, meta.rows));
  const text = isSearching ? `${found}, ${percent} % searched …` : found;
  byId("rows-count").textContent = text;
  byId("rows-empty").hidden = count > 0 || isSearching;
  byId("rows-table").setAttribute("aria-busy", String(isSearching));
  // Screen readers hear how a search goes, but not every step of it.
  if (isSearching && performance.now() - rowsView.said < 1500) return;
  rowsView.said = performance.now();
  byId("rows-status").textContent = text;
}

function drawPagers(count, state) {
  const pages = pageCount(count);
  const page = Math.min(state.page, pages);
  for (const id of ["pager-top", "pager-bottom"]) {
    const pager = byId(id);
    if (!pager.childElementCount) buildPager(pager);
    const targets = { first: 1, previous: page - 1, next: page + 1, last: pages };
    for (const button of pager.querySelectorAll("button")) {
      const target = targets[button.dataset.page];
      const isOff = target < 1 || target > pages || target === page;
      button.setAttribute("aria-disabled", String(isOff));
      button.dataset.target = isOff ? "" : target;
    }
    pager.querySelector("span").textContent = `Page ${formatCount(page)} of ${formatCount(pages)}`;
    pager.hidden = pages === 1;
  }
}

// A button that is off stays where it is, so that the focus does not fall out of the pager at its ends.
function buildPager(pager) {
  const button = (name, text) =>
    make("button", { type: "button", "data-page": name, onclick: (event) => turnPage(event.currentTarget) }, text);
  pager.append(button("first", "First"), button("previous", "Previous"));
  pager.append(make("span", {}), button("next", "Next"), button("last", "Last"));
}

async function turnPage(button) {
  if (!button.dataset.target) return;
  const isBelow = button.closest("nav").id === "pager-bottom";
  const page = Number(button.dataset.target);
  setFragment(fragmentOf({ ...rowsView.state, page }), true);
  await showRows({ ...rowsView.state, page });
  byId("rows-status").textContent = byId("pager-top").querySelector("span").textContent;
  if (isBelow) byId("rows-table").scrollIntoView({ block: "start" });
}
