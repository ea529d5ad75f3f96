// Draws each chart from the JSON that stands in its figure, anew where the window or the light changes.
const all = new Map(); // by the id of the figure: {figure, spec, plot, width, whole, hidden}
const PAPER = 330; // pixels of a chart's width on paper, where two stand side by side

const heightOf = (spec, width) => {
  if (root.classList.contains("paper")) return isMap(spec) ? 300 : 190;
  return isMap(spec) ? Math.min(width, 460) : Math.min(280, 150 + width / 4);
};

const draw = (chart) => {
  const { figure, spec } = chart, box = figure.querySelector(".plot");
  if (chart.plot) chart.plot.destroy();
  const [series, bands] = seriesOf(chart), whole = () => null;
  const width = root.classList.contains("paper") ? PAPER : Math.max(box.clientWidth, 200);
  chart.plot = new uPlot({
    width, height: heightOf(spec, width), series, bands,
    legend: { show: false },
    scales: {
      x: { time: false, distr: spec.x.log ? 3 : 1, range: rangeOf(spec.x, isMap(spec) || spec.series.some((each) => each.look === "whiskers"), whole) },
      y: { distr: spec.y.log ? 3 : 1, range: rangeOf(spec.y, true, () => chart.whole ? null : spec.view) },
    },
    axes: [axisOf(spec.x, "x"), axisOf(spec.y, "y")],
    cursor: {
      drag: { x: !isMap(spec), y: false }, points: { show: !isMap(spec) }, x: !isMap(spec), y: false,
      hover: { prox: 24 },
      ...(spec.x.label === "step" ? { sync: { key: "step" } } : {}),
    },
    hooks: {
      init: [(plot) => light(Object.assign(chart, { plot }), false)],
      draw: [marked(spec), whiskered(chart)], setCursor: [() => isMap(spec) ? hover(chart) : read(chart)],
    },
  }, columnsOf(spec), box);
  chart.width = width;
  figure.dataset.drawn = JSON.stringify(told(chart));
};

// What was drawn, for those who read the page by program.
const told = (chart) => chart.plot.series.slice(1).flatMap((series, index) => {
  if (series.band) return [];
  const ys = chart.plot.data[index + 1], places = [...ys.keys()].filter((at) => ys[at] !== null && ys[at] !== undefined);
  const shown = places.map((at) => ys[at]), pair = (at) => at === undefined ? null : [chart.plot.data[0][at], ys[at]];
  return [{ name: series.label, points: places.length, first: pair(places[0]), last: pair(places.at(-1)), least: shown.length ? shown.reduce((a, b) => Math.min(a, b)) : null, greatest: shown.length ? shown.reduce((a, b) => Math.max(a, b)) : null }];
});

const redraw = () => {
  swatches();
  all.forEach((chart) => { keys(chart); draw(chart); });
};

swatches();
if (bar) bar.querySelector("[data-pick=all]").setAttribute("aria-pressed", "true");
for (const figure of document.querySelectorAll("figure.chart")) {
  const chart = { figure, spec: JSON.parse(figure.querySelector("script").textContent), plot: null, width: 0, whole: false, hidden: new Set() };
  all.set(figure.id, chart);
  chart.spec.series.forEach((each) => each.kind ||= byRun(chart.spec) ? "" : each.name);
  tools(chart);
  keys(chart);
  draw(chart);
  steer(chart);
  new ResizeObserver(() => {
    const width = figure.querySelector(".plot").clientWidth;
    if (width > 0 && Math.abs(width - chart.width) > 1 && !root.classList.contains("paper")) draw(chart);
  }).observe(figure.querySelector(".plot"));
}
root.classList.add("drawn");
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("beforeprint", () => { root.classList.add("paper"); redraw(); });
addEventListener("afterprint", () => { root.classList.remove("paper"); redraw(); });
globalThis.reportCharts = all;
