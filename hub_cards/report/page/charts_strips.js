// Distributions: strips one below the other, one a variant, each over the outline of the first one.

const STRIP = { label: 17, plot: 46, gap: 7, side: 8, axis: 24 };

function stripsChart(charts, number) {
  const chart = charts[number];
  const scale = axisScale(chart.axis);
  const heights = chart.groups.map((group) => stripHeights(chart, group));
  return {
    renderer: "svg",
    paper: 1,
    height: () => chart.groups.length * (STRIP.label + STRIP.plot + STRIP.gap) + STRIP.axis,
    option: (colours) => stripsOption(chart, scale, heights, colours),
    listen: (instance, navigate) => listenToStrips(instance, chart, scale, navigate),
  };
}

// Shares of the group's numbers in percent; of bins that are not equally wide shares per doubling.
function stripHeights({ axis: { edges }, uneven }, { counts, numbers }) {
  return counts.map((count, place) => {
    const share = (100 * count) / numbers;
    return uneven ? share / Math.log2(edges[place + 1] / edges[place]) : share;
  });
}

function stripsOption(chart, scale, heights, colours) {
  const highest = Math.max(...heights.flat());
  const last = chart.groups.length - 1;
  const top = (place) => place * (STRIP.label + STRIP.plot + STRIP.gap) + STRIP.label;
  return {
    title: chart.groups.map((group, place) => stripTitle(group, top(place) - STRIP.label, colours)),
    grid: chart.groups.map((_, place) => ({
      left: STRIP.side,
      right: STRIP.side,
      top: top(place),
      height: STRIP.plot,
    })),
    xAxis: chart.groups.map((_, place) =>
      scale.axis(colours, {
        gridIndex: place,
        axisTick: { show: place === last, customValues: chart.axis.ticks.map(scale.to) },
        axisLabel: { show: place === last },
        axisLine: { show: true, lineStyle: { color: colours.line }, onZero: false },
      }),
    ),
    yAxis: chart.groups.map((_, place) => ({ gridIndex: place, show: false, min: 0, max: highest * 1.04 })),
    axisPointer: {
      link: [{ xAxisIndex: "all" }],
      lineStyle: { color: colours.soft, type: "solid" },
      label: { show: false },
    },
    tooltip: {
      ...chartTooltip(colours),
      trigger: "axis",
      formatter: ([{ axisValue }]) => stripTooltip(chart, scale.bin(Number(axisValue))),
    },
    series: chart.groups.flatMap((group, place) => [
      ...(place > 0 ? [outline(chart.groups[0], heights[0], place, scale, colours)] : []),
      strip(group, heights[place], place, scale, colours),
    ]),
  };
}

function stripTitle(group, top, colours) {
  const name = colours[group.name] ?? colours.accent;
  return {
    text: `{square|■} {name|${group.name}} {soft|median ${group.median_text}}`,
    left: STRIP.side,
    top,
    padding: 0,
    textStyle: {
      rich: {
        square: { color: name, fontSize: 12 },
        name: { color: colours.ink, fontSize: 12, fontWeight: 600 },
        soft: { color: colours.soft, fontSize: 12 },
      },
    },
  };
}

// Steps from border to border.
function steps(heights, scale) {
  const { drawn } = scale;
  const [first, last] = [drawn[0], drawn.at(-1)];
  return [[first, 0], ...heights.map((height, place) => [drawn[place], height]), [last, heights.at(-1)], [last, 0]];
}

function strip(group, heights, place, scale, colours) {
  const colour = colours[group.name] ?? colours.accent;
  return {
    ...stripLine(heights, place, scale),
    name: group.name,
    lineStyle: { color: colour, width: 1.6 },
    itemStyle: { color: colour },
    areaStyle: { color: colour, opacity: 0.28, origin: "start" },
    z: 3,
    markLine: medianLine(scale.to(group.median), { color: colour, width: 2, type: "solid" }),
  };
}

function outline(group, heights, place, scale, colours) {
  return {
    ...stripLine(heights, place, scale),
    lineStyle: { color: colours.original, width: 1.2, type: [4, 3] },
    areaStyle: { color: colours.original, opacity: 0.13, origin: "start" },
    z: 2,
    markLine: medianLine(scale.to(group.median), { color: colours.original, width: 1.5, type: [2, 3] }),
  };
}

function stripLine(heights, place, scale) {
  return {
    type: "line",
    xAxisIndex: place,
    yAxisIndex: place,
    data: steps(heights, scale),
    step: "end",
    symbol: "none",
    silent: true,
  };
}

function medianLine(place, lineStyle) {
  return { silent: true, symbol: "none", label: { show: false }, lineStyle, data: [{ xAxis: place }] };
}

function stripTooltip(chart, bin) {
  if (bin < 0 || bin >= chart.axis.edges.length - 1) return "";
  const lines = chart.groups.map((group) => [
    group.name,
    `${chartCount(group.counts[bin])} (${chartPercent(group.counts[bin], group.numbers)})`,
  ]);
  return tooltipOf(`${chart.label} ${binText(chart, bin)}`, lines);
}

// The first and the last number of a bin; borders of whole numbers lie between them (and -0 is 0).
function binRange({ axis: { edges }, whole }, bin) {
  const [low, high] = [edges[bin], edges[bin + 1]];
  return whole ? [Math.ceil(low) + 0, Math.floor(high)] : [low, high];
}

function binText(chart, bin) {
  const [first, last] = binRange(chart, bin).map(chartNumber);
  return first === last ? first : `${first} to ${last}`;
}

function listenToStrips(instance, chart, scale, navigate) {
  if (!chart.listed) return;
  const paper = instance.getZr();
  const found = ({ offsetX, offsetY }) => {
    const place = chart.groups.findIndex((_, gridIndex) => instance.containPixel({ gridIndex }, [offsetX, offsetY]));
    if (place < 0) return null;
    const bin = scale.bin(instance.convertFromPixel({ xAxisIndex: place }, offsetX));
    const group = chart.groups[place];
    return bin < 0 || !group.counts[bin] ? null : { group, bin };
  };
  paper.on("mousemove", (event) => paper.setCursorStyle(found(event) ? "pointer" : "default"));
  paper.on("click", (event) => {
    const hit = found(event);
    if (hit) navigate(scoreHash(hit.group.name, chart.key, ...binRange(chart, hit.bin)));
  });
}
