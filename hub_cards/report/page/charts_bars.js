// What rows became, counted: the selection as a flow, and outcomes as stacked bars.

const SEGMENT_COLOURS = ["dropped", "reflect_response", "reflect_instruction", "reflect_both", "original"];
const STRIPES = { symbol: "rect", symbolSize: 1, dashArrayX: [1, 0], dashArrayY: [2, 5] };
const DECALS = [
  { symbol: "none" },
  { ...STRIPES, rotation: Math.PI / 4 },
  { ...STRIPES, rotation: -Math.PI / 4 },
  { ...STRIPES, rotation: 0 },
  { ...STRIPES, rotation: Math.PI / 2 },
  { symbol: "rect", symbolSize: 1, dashArrayX: [3, 3], dashArrayY: [3, 3] },
];
const FLOW_TEXT = 12; // size of the names, in pixels

function flowChart(chart) {
  const most = Math.max(chart.branches.length, chart.outcomes.length);
  return {
    renderer: "svg",
    paper: 1,
    height: () => Math.max(260, most * 46 + 40),
    option: (colours, width) => flowOption(chart, colours, width),
    listen: listenToLinks,
  };
}

function flowOption(chart, colours, width) {
  const nodes = flowNodes(chart, colours);
  const last = nodes.filter(({ depth }) => depth === 2);
  const widest = (between) =>
    Math.max(...last.map((node) => textWidth(flowLabel(chart, node, between), FLOW_TEXT))) + 10;
  // Where the names would take too much of the width they stand on two lines, and break if they must.
  const isNarrow = width < 620 || widest("  ") > 0.36 * width;
  const between = isNarrow ? "\n" : "  ";
  const room = Math.min(widest(between), 0.42 * width);
  for (const node of last) node.label = { width: room, overflow: "break" };
  return {
    tooltip: { ...chartTooltip(colours), trigger: "item", formatter: (hit) => flowTooltip(chart, nodes, hit) },
    series: {
      type: "sankey",
      left: 6,
      right: room + 8,
      top: 10,
      bottom: 16,
      nodeWidth: 12,
      nodeGap: isNarrow ? 26 : 18,
      layoutIterations: 0, // the order is ours
      draggable: false,
      emphasis: { focus: "adjacency" },
      blur: { itemStyle: { opacity: 0.4 }, lineStyle: { opacity: 0.1 }, label: { opacity: 0.6 } },
      lineStyle: { opacity: 0.38, curveness: 0.5 },
      label: {
        formatter: ({ data }) => flowLabel(chart, data, between),
        color: colours.ink,
        fontSize: FLOW_TEXT,
        lineHeight: 14,
        textBorderColor: colours.paper,
        textBorderWidth: 3,
      },
      data: nodes,
      links: flowLinks(chart, colours),
    },
  };
}

// Names from the data could be alike, so nodes are named by their places and bring their text along.
function flowNodes(chart, colours) {
  const node = (name, depth, { rows, href }, text, color) => ({
    name,
    depth,
    value: rows,
    text,
    href,
    itemStyle: { color, borderColor: color },
  });
  return [
    node("rows", 0, chart, "rows", colours.soft),
    ...chart.branches.map((one, place) => node(`branch ${place}`, 1, one, one.name, colours[one.name] ?? colours.soft)),
    ...chart.outcomes.map((one, place) => {
      const [sign, colour] = one.kept ? ["✓", colours.selected] : ["✗", colours.dropped];
      return node(`outcome ${place}`, 2, one, `${sign} ${one.name}`, colour);
    }),
  ];
}

function flowLinks(chart, colours) {
  const band = (source, target, value, branch, href) => ({
    source,
    target,
    value,
    href,
    lineStyle: { color: colours[branch.name] ?? colours.soft },
  });
  return [
    ...chart.branches.map((one, place) => band("rows", `branch ${place}`, one.rows, one, one.href)),
    ...chart.links.map(({ branch, outcome, rows, href }) =>
      band(`branch ${branch}`, `outcome ${outcome}`, rows, chart.branches[branch], href),
    ),
  ];
}

function flowLabel(chart, { text, depth, value }, between) {
  const share = depth ? ` (${chartPercent(value, chart.rows)})` : "";
  return `${text}${between}${chartCount(value)}${share}`;
}

function flowTooltip(chart, nodes, { dataType, data }) {
  const text = (id) => nodes.find(({ name }) => name === id).text;
  const title = dataType === "edge" ? `${text(data.source)} → ${text(data.target)}` : data.text;
  return tooltipOf(title, [["rows", `${chartCount(data.value)} (${chartPercent(data.value, chart.rows)})`]]);
}

function barsChart(chart) {
  const named = chart.bars.some(({ name }) => name);
  return {
    renderer: "svg",
    paper: 1,
    height: (width) => chart.bars.length * (named ? 44 : 40) + 30 + 22 * legendLines(chart, width),
    option: (colours, width) => barsOption(chart, colours, width),
    listen: listenToLinks,
  };
}

// How many lines the names of the segments need, each with its sign.
function legendLines({ segments }, width) {
  const lines = segments.reduce(
    ([count, used], { name }) => {
      const wide = 38 + 7 * name.length;
      return used + wide > width ? [count + 1, wide] : [count, used + wide];
    },
    [1, 0],
  );
  return lines[0];
}

function barsOption(chart, colours, width) {
  return {
    grid: { left: 6, right: 20, top: 4, bottom: 6 + 22 * legendLines(chart, width), outerBoundsMode: "same" },
    legend: {
      bottom: 0,
      left: 0,
      itemWidth: 16,
      itemHeight: 11,
      itemGap: 14,
      textStyle: { color: colours.ink, fontSize: 12 },
      data: chart.segments.map(({ name }) => name),
      selectedMode: false,
    },
    xAxis: {
      type: "value",
      max: 100,
      splitLine: { lineStyle: { color: colours.line } },
      axisLabel: { color: colours.soft, fontSize: 11, formatter: "{value} %" },
    },
    yAxis: {
      type: "category",
      inverse: true,
      data: chart.bars.map(({ name }) => name),
      axisLine: { show: false },
      axisTick: { show: false },
      axisLabel: { color: colours.ink, fontSize: 12 },
    },
    tooltip: { ...chartTooltip(colours), trigger: "item", formatter: barTooltip },
    series: chart.segments.map((_, place) => segmentSeries(chart, place, colours, width)),
  };
}

// Good segments are green, the others are not; those of one kind differ by their patterns too.
function segmentSeries(chart, place, colours, width) {
  const { name, good } = chart.segments[place];
  const before = chart.segments.slice(0, place).filter((other) => other.good === good).length;
  const colour = good ? colours.selected : colours[SEGMENT_COLOURS[before % SEGMENT_COLOURS.length]];
  const decal = { ...DECALS[(good ? before : before + 1) % DECALS.length], color: colours.paper };
  return {
    type: "bar",
    name,
    stack: "rows",
    barMaxWidth: 26,
    cursor: "pointer",
    itemStyle: { color: colour, decal, borderColor: colours.paper, borderWidth: 1 },
    label: {
      color: colours.ink,
      backgroundColor: colours.paper,
      padding: [2, 4],
      borderRadius: 2,
      fontSize: 11,
      formatter: ({ data }) => chartCount(data.count),
    },
    data: chart.bars.map(({ counts, rows, hrefs }) => ({
      value: (100 * counts[place]) / rows,
      count: counts[place],
      rows,
      href: hrefs[place],
      label: { show: counts[place] / rows > 40 / width },
    })),
  };
}

function barTooltip({ name, seriesName, data: { count, rows } }) {
  const title = name ? `${name}: ${seriesName}` : seriesName;
  return tooltipOf(title, [["rows", `${chartCount(count)} (${chartPercent(count, rows)})`]]);
}

function listenToLinks(instance, navigate) {
  instance.on("click", ({ data }) => {
    if (data?.href) navigate(data.href);
  });
}
