// The token view: each token of a response, shaded by how much the instruction helped the student to expect it.

const TOKEN_STEPS = [0.1, 0.5, 1, 2]; // nats: where a shade begins; a fixed scale, so that rows can be compared
const UNKNOWN_TOKEN = "no number for this token";

// Nats that the instruction took off (positive: it helped); NaN where one of the numbers is missing.
function tokenHelp([, without, given]) {
  return without === null || given === null ? NaN : without - given;
}

function tokenShade(help) {
  const step = TOKEN_STEPS.filter((limit) => Math.abs(help) >= limit).length;
  return step ? `${help > 0 ? "helped" : "hurt"}-${step}` : null;
}

function tokenWords([text, without, given]) {
  const help = tokenHelp([text, without, given]);
  const shown = text.trim() ? `“${text.trim()}”` : "space";
  if (Number.isNaN(help)) return `${shown}: ${UNKNOWN_TOKEN}`;
  const change = `${help >= 0 ? "helped by" : "hurt by"} ${Math.abs(help).toFixed(2)}`;
  return `${shown}: ${without.toFixed(2)} without, ${given.toFixed(2)} with the instruction, ${change} nats`;
}

function tokenSpan(token, place) {
  const classes = ["token", tokenShade(tokenHelp(token))].filter(Boolean).join(" ");
  const attributes = { class: classes, role: "option", tabindex: place === 0 ? 0 : -1, "aria-selected": "false" };
  const lines = token[0].split("\n");
  // The end of a line is shaded like any text: the style sheet draws a sign there, which is not copied.
  const pieces = lines.flatMap((line, i) => (i === 0 ? [line] : [make("span", { class: "line-end" }), `\n${line}`]));
  return make("span", { ...attributes, "aria-label": tokenWords(token) }, ...pieces);
}

function tokenSummary(tokens, response) {
  const known = tokens.filter((token) => !Number.isNaN(tokenHelp(token)));
  if (!known.length) return "No token of this response has both numbers.";
  // Sums, for a piece may be several tokens (those of one character): they are the losses times the tokens.
  const total = (values) => values.reduce((sum, value) => sum + value, 0).toFixed(1);
  const without = total(known.map((token) => token[1]));
  const given = total(known.map((token) => token[2]));
  const helped = known.filter((token) => tokenHelp(token) > 0).length;
  const hurt = known.filter((token) => tokenHelp(token) < 0).length;
  const isCut = tokens.reduce((sum, token) => sum + token[0].length, 0) < response.length;
  const parts = [
    `${formatCount(known.length)} pieces, each a token or the tokens of one character:`,
    `${without} nats in all without the instruction, ${given} with it; it helped with ${formatCount(helped)} of them,`,
    `and hurt with ${formatCount(hurt)}.`,
    isCut ? "The end of the response was cut off before it was scored." : "",
  ];
  return parts.join(" ").trim();
}

function tokenLegend() {
  const names = [
    ...TOKEN_STEPS.map((limit, i) => [`hurt-${i + 1}`, `−${limit}`]).reverse(),
    ["", "0"],
    ...TOKEN_STEPS.map((limit, i) => [`helped-${i + 1}`, `+${limit}`]),
  ];
  const swatches = names.map(([shade, text]) => make("span", { class: `token ${shade}` }, text));
  const text = "Nats less with the instruction, at least: ";
  const [hurt, helped] = ["hurt ", " helped"].map((word) => make("span", { class: "hint" }, word));
  return make("p", { class: "legend" }, text, hurt, ...swatches, helped);
}

// One stop for the Tab key; the arrows go from token to token.
function tokenList(tokens, variant) {
  const list = make("div", { id: "token-list", class: "text tokens", role: "listbox", dir: "auto" });
  list.setAttribute("aria-label", `Tokens of ${variant}`);
  // Screen readers hear the same words as the name of the token that has the focus.
  const readout = make("p", { id: "token-readout", class: "readout", "aria-hidden": "true" });
  readout.append("Point at a token, or go there with the arrow keys.");
  list.append(...tokens.map(tokenSpan));
  const tell = (span) => {
    readout.textContent = span.getAttribute("aria-label");
  };
  list.addEventListener("pointerover", (event) => {
    const span = event.target.closest("[role=option]");
    if (span) tell(span);
  });
  list.addEventListener("focusin", (event) => {
    for (const old of list.querySelectorAll('[aria-selected="true"]')) {
      old.setAttribute("aria-selected", "false");
      old.tabIndex = -1;
    }
    list.firstElementChild.tabIndex = -1;
    event.target.setAttribute("aria-selected", "true");
    event.target.tabIndex = 0;
    tell(event.target);
  });
  list.addEventListener("keydown", (event) => stepInTokens(event, list));
  return [list, readout];
}

function stepInTokens(event, list) {
  const { activeElement: now } = document;
  const targets = {
    ArrowRight: now.nextElementSibling,
    ArrowLeft: now.previousElementSibling,
    ArrowDown: now.nextElementSibling,
    ArrowUp: now.previousElementSibling,
    Home: list.firstElementChild,
    End: list.lastElementChild,
  };
  if (!(event.key in targets) || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  targets[event.key]?.focus();
}

// The section of one row; `entry` is by variant the tokens or null, `response` gives the text of a variant.
function tokenSection(entry, preferred, response) {
  const title = make("h2", { id: "row-tokens-title" }, "Token by token: what the instruction did for the response");
  const section = make("section", { id: "tokens", "aria-labelledby": "row-tokens-title" }, title);
  const there = meta.variants.filter((_, v) => entry[v]?.length);
  if (!there.length) {
    section.append(make("p", { class: "hint" }, "No token losses were kept of this row."));
    return section;
  }
  const body = make("div", {});
  const choice = make("select", { id: "token-variant" }, ...there.map((name) => optionElement(name, name)));
  choice.value = there.includes(preferred) ? preferred : there[0];
  const draw = () => {
    const tokens = entry[meta.variants.indexOf(choice.value)];
    const summary = make("p", { id: "token-summary" }, tokenSummary(tokens, response(choice.value)));
    const [list, readout] = tokenList(tokens, choice.value);
    body.replaceChildren(summary, tokenLegend(), readout, list);
  };
  choice.addEventListener("change", draw);
  draw();
  section.append(make("p", { class: "bar" }, make("label", { for: "token-variant" }, "Variant "), choice), body);
  return section;
}
