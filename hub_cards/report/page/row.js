// The view of one row: the decision, its scores, its texts side by side, what the oracle said, and its tokens.

const rowView = { drawing: 0, isMarked: true };

async function showRow(id) {
  const drawing = ++rowView.drawing;
  byId("row-copied").textContent = "";
  byId("row-missing").hidden = true;
  byId("row-title").textContent = `Row ${id}`;
  try {
    const row = (await column("row_id")).indexOf(id);
    const parts = row < 0 ? [] : await rowParts(row);
    const list = row < 0 ? new Uint32Array(0) : await currentList();
    if (drawing !== rowView.drawing) return;
    byId("row-body").replaceChildren(...parts);
    byId("row-missing").hidden = row >= 0;
    byId("row-missing").textContent = `This report holds no row with the id “${id}”.`;
    await showNeighbours(row, list);
  } catch (error) {
    if (drawing !== rowView.drawing) return;
    byId("row-body").replaceChildren();
    showProblem(error);
  }
}

// Whoever came by a link has no list of results: all rows are the list then.
async function currentList() {
  if (!rowsView.state) rowsView.rows = await matchingRows(stateOf(new URLSearchParams()));
  return rowsView.rows;
}

async function showNeighbours(row, list) {
  const ids = await column("row_id");
  const place = list.indexOf(row);
  const link = (id, neighbour) => {
    const element = byId(id);
    const isThere = place >= 0 && neighbour !== undefined;
    if (isThere) element.setAttribute("href", rowFragment(ids[neighbour]));
    else element.removeAttribute("href");
    element.setAttribute("aria-disabled", String(!isThere));
  };
  link("row-previous", list[place - 1]);
  link("row-next", list[place + 1]);
  byId("row-back").setAttribute("href", rowsView.state ? fragmentOf(rowsView.state) : "#/rows");
  byId("row-place").textContent = place < 0 ? "" : `${formatCount(place + 1)} of ${formatCount(list.length)}`;
}

async function rowParts(row) {
  const [texts, notes, tokens] = await Promise.all(["texts", "notes", "tokens"].map((kind) => rowEntry(kind, row)));
  const outcomes = await Promise.all(meta.variants.map((name) => column("reflect_status", name)));
  const statuses = outcomes.map((codes) => category("reflect_status", codes?.[row]));
  const winner = (await column("selected_variant"))?.[row] ?? 255;
  const pairs = meta.variants.map((_, v) => pairOf(texts, v));
  const preferred = await defaultPair(row, pairs, statuses, winner);
  const isCompared = Boolean(meta.comparison);
  const [otherDecision, otherScores] = isCompared ? await otherSide(row, notes) : [];
  const parts = [
    await decisionSection(row, notes, winner),
    otherDecision,
    textSection(pairs, preferred),
    await scoreSection(row, "", isCompared ? `Scores: ${meta.comparison.a}` : "Scores", winner),
    otherScores,
    oracleSection(notes, statuses, preferred),
    tokenPart(tokens, pairs, winner),
  ];
  return parts.filter(Boolean);
}

function tokenPart(tokens, pairs, winner) {
  const why = meta.tokens?.why;
  if (!tokens) return why ? make("p", { class: "hint", id: "tokens-why" }, why) : null;
  const response = (name) => pairs[meta.variants.indexOf(name)]?.output ?? "";
  return tokenSection(tokens, meta.variants[winner] ?? meta.variants[0], response);
}

// {instruction, input, output} of a variant, null where the row does not have it.
function pairOf(texts, v) {
  const places = texts?.variants[v];
  if (!places) return null;
  const [instruction, input, output] = places.map((place) => texts.texts[place]);
  return { instruction, input, output };
}

async function otherSide(row, notes) {
  const { b } = meta.comparison;
  const [kept, winner, reasons] = await Promise.all(
    ["other_selected", "other_selected_variant", "other_select_reason"].map((key) => column(key)),
  );
  const told = { kept: kept?.[row], winner: winner?.[row], reason: category("other_select_reason", reasons?.[row]) };
  const words = notes?.other_decision;
  const decision = kept || words?.length ? decisionPart("other-decision", `Decision: ${b}`, told, words) : null;
  return [decision, await scoreSection(row, "other_", `Scores: ${b}`, told.winner)];
}

async function decisionSection(row, notes, winner) {
  const [kept, reasons, changes] = await Promise.all(["selected", "select_reason", "change"].map((key) => column(key)));
  if (!kept && !notes?.decision?.length && !notes?.source_id) return null;
  const title = meta.comparison ? `Decision: ${meta.comparison.a}` : "Decision";
  const told = { kept: kept?.[row], winner, reason: category("select_reason", reasons?.[row]) };
  const part = decisionPart("decision", title, told, notes?.decision);
  const change = category("change", changes?.[row]);
  const changed = change && (change.meaning || plainName(change.name));
  if (changed) part.append(make("p", { id: "row-change" }, "Between the two: ", changed, "."));
  const source = notes?.source_id;
  if (source) part.append(make("p", { class: "hint" }, "Id in the source: ", dataText("bdi", source)));
  return part;
}

function decisionPart(id, title, { kept, winner, reason }, sentences) {
  const titleId = `row-${id}-title`;
  const section = make("section", { id: `row-${id}`, "aria-labelledby": titleId }, make("h2", { id: titleId }, title));
  if (kept !== undefined) {
    const branch = meta.variants[winner] ? variantName(meta.variants[winner]) : null;
    section.append(make("p", { class: "bar" }, decisionBadge(kept), branch));
  }
  const words = sentences?.length ? sentences : [reason?.meaning || (reason && plainName(reason.name))].filter(Boolean);
  if (words.length) section.append(make("ul", {}, ...words.map((sentence) => make("li", {}, sentence))));
  return section;
}

// Beside the original stands the winner; where the original won, the best pair that the oracle wrote.
async function defaultPair(row, pairs, statuses, winner) {
  const last = pairs.findLastIndex(Boolean);
  if (winner > 0 && winner < pairs.length && pairs[winner]) return winner;
  const scores = await Promise.all(meta.variants.map((name) => column("ifd_ppl", name)));
  const isAdopted = (v) => v > 0 && pairs[v] && (!statuses[v] || statuses[v].name === "ok");
  const adopted = pairs.map((_, v) => v).filter(isAdopted);
  const ifd = (v) => scores[v]?.[row] ?? NaN;
  const passing = adopted.filter((v) => ifd(v) < 1).sort((a, b) => ifd(b) - ifd(a));
  return passing[0] ?? adopted.at(-1) ?? Math.max(0, last);
}

function textSection(pairs, preferred) {
  const there = meta.variants.filter((_, v) => pairs[v]);
  if (!there.length) return null;
  const title = make("h2", { id: "row-texts-title" }, "Texts");
  const section = make("section", { id: "row-texts", "aria-labelledby": "row-texts-title" }, title);
  const body = make("div", { id: "texts", class: there.length > 1 ? "beside" : "beside single" });
  const choices = ["left", "right"].map((side) =>
    make("select", { id: `texts-${side}` }, ...there.map((name) => optionElement(name, name))),
  );
  const marks = make("input", { type: "checkbox", id: "texts-marks" });
  const draw = () => {
    const sides = choices.map((choice) => meta.variants.indexOf(choice.value));
    drawTexts(body, pairs, sides, marks.checked);
  };
  const original = pairs.findIndex(Boolean);
  choices[0].value = meta.variants[original];
  choices[1].value = meta.variants[preferred];
  marks.checked = rowView.isMarked;
  marks.addEventListener("change", () => {
    rowView.isMarked = marks.checked;
    draw();
  });
  for (const choice of choices) choice.addEventListener("change", draw);
  if (there.length > 1) {
    const [left, right] = choices;
    const labels = ["Left", "Right"].map((text, i) => make("label", { for: choices[i].id }, text));
    const toggle = make("label", {}, marks, " Mark differences");
    section.append(make("div", { class: "bar" }, labels[0], left, labels[1], right, toggle));
  }
  draw();
  section.append(body);
  return section;
}

function drawTexts(body, pairs, sides, isMarked) {
  const shown = pairs.filter(Boolean).length > 1 ? sides : [sides[0]];
  const names = { instruction: "Instruction", input: "Input", output: "Response" };
  const parts = [];
  for (const [field, name] of Object.entries(names)) {
    if (field === "input" && shown.every((v) => !pairs[v].input)) continue;
    const [left, right] = shown.map((v) => ({ text: pairs[v][field], variant: meta.variants[v] }));
    const cells = right ? comparedCells(name, left, right, isMarked) : [textCell(name, left, "")];
    parts.push(make("h3", {}, name), ...cells);
  }
  body.replaceChildren(...parts);
}

function oracleSection(notes, statuses, preferred) {
  const part = (name, v) => oraclePart(name, notes, v, statuses[v], v === preferred);
  const parts = meta.variants.map(part).filter(Boolean);
  if (!parts.length) return null;
  const title = make("h2", { id: "row-oracle-title" }, "What the oracle said");
  return make("section", { id: "row-oracle", "aria-labelledby": "row-oracle-title" }, title, ...parts);
}

function oraclePart(name, notes, v, status, isOpen) {
  const [critique, completion, model] = ["critiques", "completions", "oracle"].map((key) => notes?.[key]?.[v]);
  if (!status && !critique && !completion) return null;
  const outcome = status ? make("span", { class: "badge" }, plainName(status.name)) : null;
  const told = [status?.meaning, model ? `oracle: ${model}` : null].filter(Boolean).join("; ");
  const part = make("details", { class: "oracle", "data-variant": name, open: isOpen },
    make("summary", {}, variantName(name), outcome && " ", outcome),
    told ? make("p", { class: "hint" }, told) : null,
  );
  if (critique) part.append(make("h3", {}, "Critique"), dataText("div", critique, "text"));
  if (completion) {
    const summary = make("summary", {}, "The oracle’s whole completion, not adopted");
    part.append(make("details", { class: "completion" }, summary, dataText("div", completion, "text")));
  }
  return part;
}
