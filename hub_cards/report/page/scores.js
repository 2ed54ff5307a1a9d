// The scores of one row as a table: one column a variant.

// The rows of the table: {label, meaning, values: by variant a number or NaN}; `side` is "" or "other_".
async function scoreLines(row, side) {
  const lines = [];
  const isOfSide = (key) => key.startsWith("other_") === (side === "other_");
  const keys = scoreKeys().filter((key) => isOfSide(key) && !hasColumn(key));
  for (const key of keys) {
    const columns = await Promise.all(meta.variants.map((name) => column(key, name)));
    const values = columns.map((scores) => scores?.[row] ?? NaN);
    const { meaning, unit } = meta.columns.find((one) => one.key === key);
    const label = meta.score_labels?.[key.slice(side.length)] ?? scoreLabel(key);
    lines.push({ key, label, unit, meaning, values });
    if (!key.startsWith(`${side}loss_`)) continue;
    const of = `, exp of the ${label}`;
    lines.push({ key: key.replace("loss_", "ppl_"), label: "perplexity", of, values: values.map(Math.exp) });
  }
  return lines;
}

// Why a variant has no scores, in words; null where that is not known.
async function scoreStatuses(row) {
  const columns = await Promise.all(meta.variants.map((name) => column("score_status", name)));
  return columns.map((codes) => category("score_status", codes?.[row]));
}

function missingScore(status) {
  const cell = make("td", { class: "number missing" }, "–");
  if (status && status.name !== "ok") {
    cell.append(" ", make("span", { class: "hint", title: status.meaning || null }, plainName(status.name)));
  } else {
    cell.append(unseen("not there"));
  }
  return cell;
}

function scoreLine(line, winner, statuses) {
  const unit = line.unit && line.unit !== "ratio" ? make("span", { class: "hint" }, ` ${line.unit}`) : null;
  const cells = line.values.map((value, v) => {
    if (Number.isNaN(value)) return missingScore(statuses[v]);
    return make("td", { class: v === winner ? "number won" : "number" }, formatScore(value));
  });
  const attributes = { scope: "row", title: line.meaning || null, class: line.of ? "part" : null };
  const head = make("th", attributes, line.label, unit, line.of ? unseen(line.of) : null);
  return make("tr", { "data-score": line.key }, head, ...cells);
}

function statusLine(statuses) {
  const cells = statuses.map((status) =>
    make("td", { class: "number", title: status?.meaning || null }, status ? plainName(status.name) : "–"),
  );
  return make("tr", { "data-score": "score_status" }, make("th", { scope: "row" }, "status"), ...cells);
}

// The section of one row's scores by this side of a comparison, or by the other ("other_"); null where there are none.
async function scoreSection(row, side, title, winner) {
  const lines = await scoreLines(row, side);
  const isThere = lines.some((line) => line.values.some((value) => !Number.isNaN(value)));
  const statuses = side ? meta.variants.map(() => null) : await scoreStatuses(row);
  if (!isThere && !statuses.some(Boolean)) return null;
  const id = `row-${side}scores-title`;
  const heads = meta.variants.map((name, v) => {
    const won = v === winner ? make("span", { class: "badge" }, "winner") : null;
    const attributes = { scope: "col", class: won ? "number won" : "number" };
    return make("th", attributes, variantName(name), won && " ", won);
  });
  const body = lines.map((line) => scoreLine(line, winner, statuses));
  if (statuses.some((status) => status && status.name !== "ok")) body.push(statusLine(statuses));
  const table = make("table", { class: "scores" },
    make("caption", { class: "unseen" }, title),
    make("thead", {}, make("tr", {}, make("td", {}), ...heads)),
    make("tbody", {}, ...body),
  );
  const scroll = make("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": `${title}, table` }, table);
  const heading = make("h2", { id }, title);
  return make("section", { class: "row-scores", "aria-labelledby": id }, heading, scroll, meanings(lines));
}

function meanings(lines) {
  const told = lines.filter((line) => line.meaning);
  if (!told.length) return null;
  const pairs = told.flatMap((line) => [make("dt", {}, line.label), make("dd", {}, line.meaning)]);
  return make("details", {}, make("summary", {}, "What the scores mean"), make("dl", {}, ...pairs));
}
