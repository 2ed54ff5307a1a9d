// Where the reader is, and the keys: the fragment of the address says it all.

const VIEWS = ["overview", "rows", "row", "compare"];
const here = { view: null, id: null, drawn: new Set(), wantsSearch: false };

function navigate(fragment) {
  location.hash = fragment;
}

// Without a jump: the address is that of what is shown now. Some sandboxes forbid to change it; nothing is lost then.
function setFragment(fragment, isStep) {
  try {
    if (isStep) history.pushState(null, "", fragment);
    else history.replaceState(null, "", fragment);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}

async function route() {
  const place = placeOf(location.hash);
  const isFirst = here.view === null;
  const isMoved = place.view !== here.view || place.id !== here.id;
  const left = here.view === "row" && place.view === "rows" ? here.id : null;
  Object.assign(here, { view: place.view, id: place.id });
  hideProblem();
  if (document.readyState !== "loading") checkEnd();
  for (const view of VIEWS) if (byId(view)) byId(view).hidden = view !== place.view;
  markTab(place.view);
  if (isMoved && !isFirst) scrollTo(0, 0);
  if (place.view === "rows") await showRows(place.state);
  else if (place.view === "row") await showRow(place.id);
  else drawOnce(place.view);
  if (here.view !== place.view || here.id !== place.id) return;
  document.title = [titleOf(place), meta.title].filter(Boolean).join(" · ");
  if (isMoved && !isFirst) focusView(place.view, left);
}

function markTab(view) {
  for (const link of byId("tabs").querySelectorAll("a")) {
    const isHere = link.getAttribute("href").startsWith(`#/${view === "row" ? "rows" : view}`);
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function titleOf({ view, id }) {
  return { overview: "", rows: "Rows", row: `Row ${id}`, compare: "What changed" }[view];
}

// The heading of the view, unless the search was asked for; or, back from a row, the row that one came from.
function focusView(view, row = null) {
  if (here.wantsSearch) {
    here.wantsSearch = false;
    byId("filter-q").select();
    return;
  }
  const link = row === null ? null : byId("rows-table").querySelector(`[data-row="${CSS.escape(row)}"]`);
  (link ?? byId(`${view}-title`)).focus();
}

function drawOnce(view) {
  if (here.drawn.has(view) || typeof drawCharts !== "function") return;
  here.drawn.add(view);
  drawCharts(meta, navigate);
}

function followed(id) {
  const target = byId(id).getAttribute("href");
  if (target) navigate(target);
}

// What a key does, or undefined; only keys that stand alone, and never while somebody types.
function actionOf(event) {
  const isTyping = event.target.closest?.("input:not([type=checkbox]), select, textarea");
  if (event.ctrlKey || event.altKey || event.metaKey || byId("help").open || event.defaultPrevented) return undefined;
  if (event.key === "Escape") return here.view === "row" ? () => followed("row-back") : undefined;
  if (isTyping) return undefined;
  const step = { j: 1, k: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
  const isArrow = event.key.startsWith("Arrow");
  if (!isArrow && !byId("help-keys").checked) return undefined;
  const inTable = byId("rows-table").contains(event.target);
  if (step && here.view === "rows" && (inTable || !isArrow)) return () => stepInTable(step);
  if (step && here.view === "row" && !isArrow) return () => followed(step > 0 ? "row-next" : "row-previous");
  return { "/": focusSearch, "?": () => byId("help").showModal() }[event.key];
}

function focusSearch() {
  if (byId("field-q").hidden) return;
  if (here.view === "rows") {
    byId("filter-q").select();
    return;
  }
  here.wantsSearch = true;
  navigate(byId("tabs").querySelector('[href^="#/rows"]').getAttribute("href"));
}

async function copyLink() {
  const said = byId("row-copied");
  try {
    await navigator.clipboard.writeText(location.href);
    said.textContent = "Copied.";
  } catch (error) {
    // No clipboard here (TypeError), or it was refused (DOMException): the address can still be taken by hand.
    const field = make("input", { readonly: true, "aria-label": "Link to this row", value: location.href });
    said.replaceChildren(field);
    field.select();
  }
}

function listenToKeys() {
  const kept = stored("report-keys");
  byId("help-keys").checked = kept !== "off";
  byId("help-keys").addEventListener("change", (event) => store("report-keys", event.target.checked ? "on" : "off"));
  document.addEventListener("keydown", (event) => {
    const action = actionOf(event);
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function start() {
  startTheme();
  buildFilters();
  listenToKeys();
  byId("row-copy").addEventListener("click", copyLink);
  // A jump to an element is not a place of its own: the address stays that of the view.
  document.querySelector(".skip")?.addEventListener("click", (event) => {
    event.preventDefault();
    focusView(here.view);
  });
  addEventListener("hashchange", route);
  route();
  whenRead(checkEnd);
}

function whenRead(action) {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", action);
  else action();
}

// The last element of the file: what is missing of one that was cut off is said at once, not where it is missed.
function checkEnd() {
  if (!byId("end")) showProblem(new Error("This file is cut short: some rows are missing. Copy or download it again."));
}

start();
