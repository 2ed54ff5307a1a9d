// Two texts side by side, the words that differ marked: <del> on the left, <ins> on the right. jsdiff compares them in
// a worker, for two long texts that share little take it a second; where there are no workers it gets less time, here.

const DIFF_CHARACTERS = 100_000; // of both texts together
const DIFF_MILLISECONDS = { worker: 4000, page: 200 };
const differ = { worker: null, hasFailed: false, waiting: new Map(), asked: 0 };

// [{same, left, right}, …] in order; null where it took too long. Sent to the worker as text: uses only `Diff`.
function wordDifferences(left, right, timeout) {
  // A token is a word or a sign with the space behind it: what differs in spaces only is the same.
  const tokensOf = (text) => text.match(/^\s+|([\p{L}\p{M}\p{N}_]+|\S)\s*/gu) ?? [];
  const [old, young] = [tokensOf(left), tokensOf(right)];
  const bare = (tokens) => tokens.map((token) => token.trim());
  const parts = Diff.diffArrays(bare(old), bare(young), { timeout });
  if (!parts) return null;
  const runs = [];
  let [i, j] = [0, 0];
  for (const { added, removed, count } of parts) {
    const same = !added && !removed;
    if (!runs.length || runs.at(-1).same !== same) runs.push({ same, left: "", right: "" });
    const run = runs.at(-1);
    if (!added) run.left += old.slice(i, (i += count)).join("");
    if (!removed) run.right += young.slice(j, (j += count)).join("");
  }
  return runs;
}

function differSource() {
  const library = [...document.scripts].find((script) => script.text.includes("exports.diffArrays="));
  const answer = "onmessage = ({ data: [n, ...texts] }) => postMessage([n, wordDifferences(...texts)]);";
  return [library.text, wordDifferences, answer].join("\n");
}

// A promise of `wordDifferences`.
function askDiffer(left, right) {
  if (left.length + right.length > DIFF_CHARACTERS) return Promise.resolve(null);
  try {
    if (!differ.hasFailed) differ.worker ??= startDiffer();
  } catch (error) {
    console.info(`No workers here (${error.message}): differences are looked for on the page's own thread.`);
    differ.hasFailed = true;
  }
  if (differ.hasFailed) return Promise.resolve(wordDifferences(left, right, DIFF_MILLISECONDS.page));
  const number = ++differ.asked;
  return new Promise((resolve) => {
    differ.waiting.set(number, { left, right, resolve });
    differ.worker.postMessage([number, left, right, DIFF_MILLISECONDS.worker]);
  });
}

function startDiffer() {
  const worker = new Worker(URL.createObjectURL(new Blob([differSource()], { type: "text/javascript" })));
  const answered = (number, runs) => {
    differ.waiting.get(number)?.resolve(runs);
    differ.waiting.delete(number);
  };
  worker.onmessage = ({ data: [number, runs] }) => answered(number, runs);
  worker.onerror = (event) => {
    event.preventDefault();
    differ.hasFailed = true;
    for (const [number, { left, right }] of differ.waiting) {
      answered(number, wordDifferences(left, right, DIFF_MILLISECONDS.page));
    }
  };
  return worker;
}

function markedText(runs, side) {
  const pieces = document.createDocumentFragment();
  const mark = side === "left" ? "del" : "ins";
  for (const run of runs) {
    if (run[side]) pieces.append(run.same ? run[side] : make(mark, {}, run[side]));
  }
  return pieces;
}

// The two cells of one field ("Response", …) as texts; where `isMarked` the differences are marked a moment later.
function comparedCells(field, left, right, isMarked) {
  const isSame = left.text === right.text;
  const cells = [textCell(field, left, ""), textCell(field, right, isSame ? "the same text" : "")];
  if (isMarked && !isSame && left.text && right.text) markCells(cells, left.text, right.text);
  return cells;
}

async function markCells(cells, left, right) {
  const runs = await askDiffer(left, right);
  if (!runs) {
    cells[1].querySelector(".hint").textContent = "too long or too different to mark word by word";
    return;
  }
  cells[0].querySelector(".text").replaceChildren(markedText(runs, "left"));
  cells[1].querySelector(".text").replaceChildren(markedText(runs, "right"));
}

function textCell(field, { text, variant }, note) {
  const name = make("p", { class: "side-name" }, variantName(variant), make("span", { class: "hint" }, note));
  const content = text || make("span", { class: "hint" }, "(empty)");
  const cell = make("div", { class: "text", dir: "auto", "data-variant": variant }, content);
  return make("div", { class: "side", role: "group", "aria-label": `${field}, ${variant}` }, name, cell);
}
