// The table of the rows view: which columns there are, and the rows of one page.

// What the table shows: {name, key (of a score that sorts), kind ("number", "wordy"), cell(row)}.
async function tableColumns(state) {
  const [ids, titles] = await Promise.all([column("row_id"), column("title")]);
  const columns = [{ name: "Instruction", cell: (row) => titleCell(ids[row], titles[row]) }];
  await addDecision(columns);
  const sorted = state.sort.replace(/^-/, "");
  const shown = TABLE_SCORES.filter((key) => scoreKeys().includes(key));
  for (const key of sorted && !shown.includes(sorted) ? [...shown, sorted] : shown) {
    const scores = await lookedScores(key, state.variant);
    columns.push({ name: scoreLabel(key), key, kind: "number", cell: (row) => scoreCell(scores[row]) });
  }
  if (hasColumn("change")) {
    const changes = await column("change");
    columns.push({ name: "Change", kind: "wordy", cell: (row) => codeCell("change", changes[row]) });
  }
  return columns;
}

async function addDecision(columns) {
  if (hasColumn("selected_variant") && meta.variants.length > 1) {
    const winners = await column("selected_variant");
    const cell = (row) => (meta.variants[winners[row]] ? variantName(meta.variants[winners[row]]) : "–");
    columns.push({ name: "Branch", cell });
  }
  if (hasColumn("selected")) {
    const [kept, reasons] = await Promise.all([column("selected"), column("select_reason")]);
    const cell = (row) => decisionCell(kept[row], category("select_reason", reasons?.[row]));
    columns.push({ name: "Decision", kind: "wordy", cell });
  }
}

function titleCell(id, title) {
  const text = title || "(empty instruction)";
  return make("a", { href: rowFragment(id), dir: "auto", "data-row": id }, text);
}

function scoreCell(value) {
  return Number.isNaN(value) ? "–" : formatScore(value);
}

function codeCell(kind, code) {
  const found = category(kind, code);
  return found ? make("span", { title: found.meaning || null }, plainName(found.name)) : "–";
}

function decisionBadge(kept) {
  if (kept === 1) return make("span", { class: "badge kept" }, "kept");
  if (kept === 0) return make("span", { class: "badge dropped" }, "dropped");
  return make("span", { class: "badge" }, "undecided");
}

function decisionCell(kept, reason) {
  const isPlain = !reason || reason.name === "kept";
  const title = reason?.meaning || null;
  const told = isPlain ? null : make("span", { class: "hint", title }, plainName(reason.name));
  return make("span", { class: "decision" }, decisionBadge(kept), told);
}

function drawTable(rows, columns, state) {
  const table = byId("rows-table");
  const focused = table.contains(document.activeElement) ? document.activeElement : null;
  const place = focused && { id: focused.dataset.row, key: focused.dataset.sort };
  table.tHead.replaceChildren(make("tr", {}, ...columns.map((one) => headCell(one, state.sort))));
  const body = [...rows].map((row) =>
    make("tr", {}, ...columns.map((one, i) => {
      const attributes = { class: one.kind ?? null, scope: i === 0 ? "row" : null };
      return make(i === 0 ? "th" : "td", attributes, one.cell(row));
    })),
  );
  table.tBodies[0].replaceChildren(...body);
  table.hidden = rows.length === 0;
  if (place) focusAgain(table, place);
}

// The table is drawn anew while a search goes on: whoever stands in it stays where they were.
function focusAgain(table, { id, key }) {
  const selector = id === undefined ? `[data-sort="${CSS.escape(key)}"]` : `[data-row="${CSS.escape(id)}"]`;
  (table.querySelector(selector) ?? table.querySelector("[data-row]"))?.focus({ preventScroll: true });
}

function headCell(one, sort) {
  if (!one.key) return make("th", { scope: "col" }, one.name);
  const isSorted = sort.replace(/^-/, "") === one.key;
  const isDown = sort.startsWith("-");
  const order = isSorted ? (isDown ? "descending" : "ascending") : "none";
  const arrow = make("span", { "aria-hidden": "true", class: "arrow" }, isSorted ? (isDown ? "▼" : "▲") : "");
  const attributes = { type: "button", "data-sort": one.key, onclick: () => sortBy(one.key) };
  const button = make("button", attributes, one.name, arrow);
  return make("th", { scope: "col", class: "number", "aria-sort": order }, button);
}

// j and k, or the arrows, go from row to row where the focus is in the table; true where they did.
function stepInTable(step) {
  const table = byId("rows-table");
  const links = [...table.querySelectorAll("[data-row]")];
  const now = links.indexOf(document.activeElement?.closest("#rows-table tr")?.querySelector("[data-row]"));
  const next = links[Math.min(links.length - 1, Math.max(0, now + step))];
  next?.focus();
}
