// When the charts are drawn, how wide and in which colours. What is in them: charts_strips.js, charts_panels.js,
// charts_bars.js.

const CHART_COLOURS = {
  ink: "#1b1b1b",
  soft: "#555555",
  line: "#cccccc",
  paper: "#ffffff",
  panel: "#f6f6f6",
  accent: "#0b57a4",
  original: "#7f7f7f",
  reflect_instruction: "#1f77b4",
  reflect_response: "#c25a00",
  reflect_both: "#8a4fbf",
  selected: "#2a8a3e",
  dropped: "#b5483a",
};
const CHART_KINDS = {
  distributions: stripsChart,
  ratios: panelChart,
  scores: panelChart,
  flow: flowChart,
  outcomes: barsChart,
  changes: barsChart,
};
const PAPER_WIDTH = 640; // of a chart that fills a sheet, in CSS pixels: A4 and Letter hold it with their margins
const chartsDrawn = new Map(); // element -> {instance, chart, width}
const chartsWaiting = []; // elements that are on view and not yet drawn
let chartsWatched = false;
let chartsOnPaper = false;

// Draws the charts that are on view, one after the other so that the page stays quick; may be called again at any time.
function drawCharts(meta, navigate) {
  const places = [...document.querySelectorAll("[data-chart]")];
  if (!chartsWatched) watchCharts(places, meta, navigate);
  const isNew = (place) => !chartsDrawn.has(place) && !chartsWaiting.includes(place);
  const found = places.filter((place) => place.clientWidth > 0 && isNew(place));
  for (const place of found) {
    const chart = chartOf(place, meta);
    place.style.height = `${chart.height(place.clientWidth)}px`;
  }
  const isIdle = chartsWaiting.length === 0;
  chartsWaiting.push(...found);
  if (isIdle) drawNextChart(meta, navigate);
}

function drawNextChart(meta, navigate) {
  if (chartsWaiting.length === 0) return;
  drawChart(chartsWaiting.shift(), meta, navigate);
  setTimeout(() => drawNextChart(meta, navigate));
}

function watchCharts(places, meta, navigate) {
  chartsWatched = true;
  const observer = new ResizeObserver((changes) => {
    for (const { target } of changes) refitChart(target);
    // A section that was hidden has its width now.
    drawCharts(meta, navigate);
  });
  for (const place of places) observer.observe(place);
  document.addEventListener("themechange", redrawCharts);
  addEventListener("beforeprint", () => {
    for (const place of chartsWaiting.splice(0)) drawChart(place, meta, navigate);
    printCharts(true);
  });
  addEventListener("afterprint", () => printCharts(false));
}

function chartOf(place, meta) {
  const [kind, number] = place.dataset.chart.split(":");
  return CHART_KINDS[kind](meta.charts[kind], number === undefined ? null : Number(number));
}

function drawChart(place, meta, navigate) {
  const width = place.clientWidth;
  if (width === 0) return;
  const chart = chartOf(place, meta);
  const instance = echarts.init(place, null, {
    renderer: chart.renderer,
    devicePixelRatio: Math.max(2, devicePixelRatio), // sharp enough for paper
  });
  chartsDrawn.set(place, { instance, chart, width });
  instance.setOption(chartOption(chart, width));
  chart.listen(instance, navigate);
}

function refitChart(place) {
  const drawn = chartsDrawn.get(place);
  const width = place.clientWidth;
  if (drawn && width > 0 && width !== drawn.width && !chartsOnPaper) fitChart(drawn, place, width);
}

function fitChart(drawn, place, width) {
  drawn.width = width;
  const height = drawn.chart.height(width);
  place.style.height = `${height}px`;
  drawn.instance.resize({ width, height });
  drawn.instance.setOption(chartOption(drawn.chart, width), { notMerge: true });
}

function chartOption(chart, width) {
  const colours = chartsOnPaper ? CHART_COLOURS : coloursOfPage();
  const text = { color: colours.ink, fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 12 };
  return {
    animation: false,
    backgroundColor: "transparent",
    textStyle: text,
    // The place has a label of its own, which says what the chart shows.
    aria: { enabled: true, label: { enabled: false }, decal: { show: false } },
    ...chart.option(colours, width),
  };
}

function coloursOfPage() {
  const style = getComputedStyle(document.documentElement);
  const found = Object.keys(CHART_COLOURS).map((name) => [name, style.getPropertyValue(`--${name}`).trim()]);
  return Object.fromEntries(found.map(([name, colour]) => [name, colour || CHART_COLOURS[name]]));
}

function redrawCharts() {
  for (const [, { instance, chart, width }] of chartsDrawn) {
    instance.setOption(chartOption(chart, width), { notMerge: true });
  }
}

// Paper is white, has its own width and no tooltips: what they say stands in the tables, which are opened.
function printCharts(onPaper) {
  chartsOnPaper = onPaper;
  for (const [place, drawn] of chartsDrawn) {
    const width = onPaper ? PAPER_WIDTH * drawn.chart.paper : place.clientWidth;
    place.style.width = onPaper ? `${width}px` : "";
    fitChart(drawn, place, onPaper ? width : place.clientWidth || drawn.width);
  }
  for (const details of document.querySelectorAll(".chart-numbers")) {
    if (onPaper && !details.open) details.dataset.opened = "";
    if (onPaper || "opened" in details.dataset) details.open = onPaper;
    if (!onPaper) delete details.dataset.opened;
  }
}

function chartTooltip(colours) {
  return {
    confine: true,
    backgroundColor: colours.paper,
    borderColor: colours.line,
    padding: [6, 9],
    textStyle: { color: colours.ink, fontSize: 12 },
    extraCssText: "max-width: min(26rem, 90vw); white-space: normal; box-shadow: 0 2px 8px #0003;",
  };
}

// Lines of [text, text] as elements: a tooltip of text that comes from the data is never HTML.
function tooltipOf(title, lines, hint = "") {
  const box = document.createElement("div");
  const head = box.appendChild(document.createElement("b"));
  head.textContent = title;
  for (const [name, value] of lines) {
    const line = box.appendChild(document.createElement("div"));
    line.style.cssText = "display: flex; gap: 1.2em; justify-content: space-between;";
    line.appendChild(document.createElement("span")).textContent = name;
    const number = line.appendChild(document.createElement("span"));
    number.textContent = value;
    number.style.cssText = "font-variant-numeric: tabular-nums;";
  }
  if (hint) {
    const last = box.appendChild(document.createElement("small"));
    last.textContent = hint;
  }
  return box;
}

function textWidth(text, size) {
  return echarts.format.getTextRect(text, `${size}px ${getComputedStyle(document.body).fontFamily}`).width;
}

function chartCount(number) {
  return number.toLocaleString("en");
}

function chartPercent(count, total) {
  const share = total ? (100 * count) / total : 0;
  return `${share.toLocaleString("en", { maximumFractionDigits: share < 10 ? 1 : 0 })} %`;
}

function chartNumber(value) {
  const size = Math.abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-3)) return value.toPrecision(3);
  return value.toLocaleString("en", { maximumFractionDigits: size >= 100 ? 0 : 3 });
}

// How an axis of the data is drawn: as a linear one of what `to` gives, with the ticks that were chosen for it.
function axisScale({ scale, edges, ticks }) {
  const to = scale === "log" ? Math.log10 : (value) => value;
  const back = scale === "log" ? (value) => 10 ** value : (value) => value;
  const places = ticks.map(to);
  return {
    to,
    edges,
    drawn: edges.map(to),
    axis(colours, more = {}) {
      return {
        type: "value",
        min: to(edges[0]),
        max: to(edges.at(-1)),
        splitLine: { show: false },
        axisLine: { show: true, lineStyle: { color: colours.soft }, onZero: false },
        axisTick: { show: true, customValues: places },
        ...more,
        axisLabel: {
          color: colours.soft,
          fontSize: 11,
          hideOverlap: true,
          customValues: places,
          formatter: (value) => chartNumber(Number(back(value).toPrecision(10))),
          ...more.axisLabel,
        },
      };
    },
    // The place of the bin that holds a drawn value; -1 where none does.
    bin(place) {
      const after = edges.findIndex((edge) => to(edge) > place);
      return after < 1 ? -1 : after - 1;
    },
  };
}

// The link to the rows of a variant, or to the kept ones as they were kept, whose score lies between two numbers.
function scoreHash(group, score, min, max) {
  const rows = group === "selected" ? { variant: "winner", kept: "1" } : { variant: group };
  return `#/rows?${new URLSearchParams({ ...rows, score, min: String(min), max: String(max) })}`;
}
