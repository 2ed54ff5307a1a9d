// One score against another: a panel a variant, points where rows are few, shaded cells where they are many.

function panelChart(chart, number) {
  const panel = chart.panels[number];
  const scales = { x: axisScale(chart.x), y: axisScale(chart.y) };
  return {
    renderer: "canvas",
    paper: 0.49,
    height: (width) => Math.round(Math.min(Math.max(width * 0.78, 240), 420)),
    option: (colours) => panelOption(chart, panel, scales, colours),
    listen: (instance, navigate) => listenToPanel(instance, chart, panel, navigate),
  };
}

function panelOption(chart, panel, scales, colours) {
  const named = (name, gap) => ({ name, nameLocation: "middle", nameGap: gap, nameTextStyle: { color: colours.ink } });
  return {
    grid: { left: 52, right: 14, top: 8, bottom: 44 },
    xAxis: scales.x.axis(colours, named(chart.x_label, 28)),
    yAxis: scales.y.axis(colours, named(chart.y_label, 38)),
    tooltip: { ...chartTooltip(colours), trigger: "item", formatter: (hit) => panelTooltip(chart, panel, hit) },
    series: [
      guides(chart, scales, colours),
      ...(panel.points ? pointSeries(panel.points, scales, colours) : cellSeries(panel.cells, scales, colours)),
    ],
  };
}

// The lines at 1 and the gate, or the diagonal.
function guides(chart, { x, y }, colours) {
  const line = { color: colours.ink, type: [5, 4], width: 1, opacity: 0.75 };
  const [left, right, floor, top] = [x.drawn[0], x.drawn.at(-1), y.drawn[0], y.drawn.at(-1)];
  const one = [{ xAxis: x.to(1) }, { yAxis: y.to(1) }];
  const diagonal = [[{ coord: [left, floor] }, { coord: [right, top] }]];
  const corner = [[{ coord: [left, floor] }, { coord: [x.to(1), y.to(1)] }]];
  return {
    type: "scatter",
    data: [],
    silent: true,
    z: 1,
    markLine: {
      silent: true,
      symbol: "none",
      label: { show: false },
      lineStyle: line,
      data: chart.gate === undefined ? diagonal : one,
    },
    markArea: { silent: true, itemStyle: { color: colours.selected, opacity: 0.1 }, data: chart.gate ? corner : [] },
  };
}

function pointSeries(points, { x, y }, colours) {
  const all = points.row.map((_, place) => [x.to(points.x[place]), y.to(points.y[place]), place]);
  const shared = { type: "scatter", cursor: "pointer" };
  return [
    {
      ...shared,
      data: all.filter(([, , place]) => !points.kept[place]),
      symbolSize: 6,
      itemStyle: { color: colours.original, opacity: 0.55 },
      emphasis: { itemStyle: { opacity: 1, borderColor: colours.ink, borderWidth: 1 } },
      z: 2,
    },
    {
      ...shared,
      data: all.filter(([, , place]) => points.kept[place]),
      symbol: "diamond",
      symbolSize: 11,
      itemStyle: { color: colours.selected, borderColor: colours.paper, borderWidth: 1 },
      emphasis: { itemStyle: { borderColor: colours.ink } },
      z: 3,
    },
  ];
}

function cellSeries(cells, { x, y }, colours) {
  const data = cells.rows.map((_, place) => [cells.x[place], cells.y[place], place]);
  const most = Math.max(...cells.rows);
  const mostKept = Math.max(1, ...cells.kept);
  const bounds = (api, column, row) => {
    const [left, bottom] = api.coord([x.drawn[column], y.drawn[row]]);
    const [right, top] = api.coord([x.drawn[column + 1], y.drawn[row + 1]]);
    const [x0, y0] = [Math.round(left), Math.round(top)]; // whole pixels, else seams shine through
    return { x: x0, y: y0, width: Math.round(right) - x0, height: Math.round(bottom) - y0 };
  };
  const renderCell = (_, api) => {
    const place = api.value(2);
    const shape = bounds(api, api.value(0), api.value(1));
    const shade = 0.1 + 0.8 * Math.sqrt(cells.rows[place] / most);
    const style = { fill: colours.original, opacity: shade };
    const children = [{ type: "rect", shape, style, emphasis: { style: { stroke: colours.ink } } }];
    if (cells.kept[place]) children.push(keptMark(shape, cells.kept[place] / mostKept, colours));
    return { type: "group", children };
  };
  // One series, so that a cell and its mark are one thing to point at.
  const drawn = { type: "custom", renderItem: renderCell, encode: { x: [], y: [] }, clip: true };
  return [{ ...drawn, data, cursor: "pointer", z: 2 }];
}

// A diamond, as large as the cell's part of the kept rows.
function keptMark({ x, y, width, height }, part, colours) {
  const [middle, centre] = [x + width / 2, y + height / 2];
  const half = Math.min(width, height, 12) * (0.2 + 0.3 * Math.sqrt(part));
  const points = [
    [middle, centre - half],
    [middle + half, centre],
    [middle, centre + half],
    [middle - half, centre],
  ];
  return { type: "polygon", shape: { points }, style: { fill: colours.selected }, z2: 1 };
}

function panelTooltip(chart, panel, { data: [, , place] }) {
  const { points, cells } = panel;
  if (points) {
    const lines = [
      [chart.x_label, chartNumber(points.x[place])],
      [chart.y_label, chartNumber(points.y[place])],
      ...(panel.kept === null ? [] : [["", points.kept[place] ? "kept" : "not kept"]]),
    ];
    return tooltipOf(chart.ids[points.row[place]], lines);
  }
  const range = ({ edges }, bin) => `${chartNumber(edges[bin])} to ${chartNumber(edges[bin + 1])}`;
  const lines = [
    [chart.x_label, range(chart.x, cells.x[place])],
    [chart.y_label, range(chart.y, cells.y[place])],
    ...(panel.kept === null ? [] : [["kept", chartCount(cells.kept[place])]]),
  ];
  return tooltipOf(`${chartCount(cells.rows[place])} row${cells.rows[place] === 1 ? "" : "s"}`, lines);
}

function listenToPanel(instance, chart, panel, navigate) {
  const { points, cells } = panel;
  instance.on("click", ({ data }) => {
    if (!Array.isArray(data)) return;
    const place = data[2];
    if (points) navigate(`#/row/${encodeURIComponent(chart.ids[points.row[place]])}`);
    else navigate(scoreHash(panel.name, "ifd_ppl", chart.x.edges[cells.x[place]], chart.x.edges[cells.x[place] + 1]));
  });
}
