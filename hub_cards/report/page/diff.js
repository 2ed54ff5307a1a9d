// Two texts side by side, the words that differ marked: <del> on the left, <ins> on the right.

const DIFF_CHARACTERS = 100_000; // of both texts together
const DIFF_MILLISECONDS = 150;

// [{same, left, right}, …] in order; null where the texts are too long, or too different, to be compared in time.
function wordDifferences(left, right) {
  if (left.length + right.length > DIFF_CHARACTERS) return null;
  const parts = Diff.diffWordsWithSpace(left, right, { timeout: DIFF_MILLISECONDS });
  if (!parts) return null;
  const runs = [];
  parts.forEach((part, i) => {
    const isChanged = (one) => Boolean(one?.added || one?.removed);
    // A space between two changed words belongs to the change: single marked words are hard to read, and to hear.
    const isBridge = !isChanged(part) && !part.value.trim() && isChanged(parts[i - 1]) && isChanged(parts[i + 1]);
    const same = !isChanged(part) && !isBridge;
    if (!runs.length || runs.at(-1).same !== same) runs.push({ same, left: "", right: "" });
    const run = runs.at(-1);
    if (!part.added) run.left += part.value;
    if (!part.removed) run.right += part.value;
  });
  return runs;
}

function markedText(runs, side) {
  const pieces = document.createDocumentFragment();
  const mark = side === "left" ? "del" : "ins";
  for (const run of runs) {
    if (run[side]) pieces.append(run.same ? run[side] : make(mark, {}, run[side]));
  }
  return pieces;
}

// The two cells of one field ("Response", …); where `isMarked`, with the differences of the right from the left.
function comparedCells(field, left, right, isMarked) {
  const isSame = left.text === right.text;
  const runs = isMarked && !isSame ? wordDifferences(left.text, right.text) : null;
  const note = isMarked && !isSame && !runs ? "too long or too different to mark word by word" : null;
  return [
    textCell(field, left, runs && markedText(runs, "left"), null),
    textCell(field, right, runs && markedText(runs, "right"), isSame ? "the same text" : note),
  ];
}

function textCell(field, { text, variant }, marked, note) {
  const name = make("p", { class: "side-name" }, variantName(variant), note && make("span", { class: "hint" }, note));
  const empty = text ? null : make("span", { class: "hint" }, "(empty)");
  const cell = make("div", { class: "text", dir: "auto", "data-variant": variant }, empty ?? marked ?? text);
  return make("div", { class: "side", role: "group", "aria-label": `${field}, ${variant}` }, name, cell);
}
