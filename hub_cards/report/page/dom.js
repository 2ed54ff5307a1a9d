// Small helpers that build elements and words. Text from the data only ever becomes a text node.

function byId(id) {
  return document.getElementById(id);
}

// make("a", {href: "#/rows"}, "text", element): `null` children are left out, `null` and `false` attributes too.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function unseen(text) {
  return make("span", { class: "unseen" }, text);
}

// The direction of a text is its own, whatever stands around it.
function dataText(tag, text, className = null) {
  return make(tag, { dir: "auto", class: className }, text);
}

// "ifd_not_below_1" as people read it.
function plainName(name) {
  return name.replaceAll("_", " ");
}

function formatCount(number) {
  return number.toLocaleString("en");
}

function formatScore(value) {
  if (Number.isInteger(value)) return formatCount(value);
  const size = Math.abs(value);
  if (size >= 1e6 || size < 0.001) return value.toPrecision(3);
  if (size >= 1000) return value.toLocaleString("en", { maximumFractionDigits: 0 });
  return value.toFixed(size >= 100 ? 1 : 3);
}

// A small coloured square beside the name of a variant: the name carries the meaning, the colour only repeats it.
function variantName(name) {
  const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
  swatch.style.setProperty("--swatch", `var(--${CSS.escape(name)}, var(--soft))`);
  return make("span", { class: "variant" }, swatch, name);
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

// One line at the top of the page for whatever could not be done; the rest of the page goes on.
function showProblem(error) {
  const line = byId("problem");
  line.textContent = error instanceof Error ? error.message : String(error);
  line.hidden = false;
}

function hideProblem() {
  byId("problem").hidden = true;
}
