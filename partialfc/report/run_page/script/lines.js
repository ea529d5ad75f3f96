// A chart's numbers as what uPlot takes: columns, lines, bands, axes, and what is drawn over them.
// A range that is not empty, with the ends that the axis asks for.
const rangeOf = (axis, air, view) => (plot, min, max) => {
  if (min === null || max === null) [min, max] = axis.log ? [0.1, 1] : [0, 1];
  const seen = view() || [min, max];
  if (Math.max(min, seen[0]) < Math.min(max, seen[1])) [min, max] = [Math.max(min, seen[0]), Math.min(max, seen[1])];
  let ends;
  if (axis.log) ends = air ? uPlot.rangeLog(min, max, 10, false) : [min, max];
  else if (air) ends = uPlot.rangeNum(min, max, 0.1, true);
  else ends = [min, max];
  if (axis.percent) ends = [min < 0 ? ends[0] : Math.max(ends[0], 0), max > 1 ? ends[1] : Math.min(ends[1], 1)];
  if (axis.least !== null) ends[0] = axis.least;
  if (axis.most !== null) ends[1] = axis.most;
  if (!(ends[0] < ends[1])) ends = axis.log ? [ends[0] / 2, ends[0] * 2] : [ends[0] - 1, ends[0] + 1];
  return ends;
};

const isMap = (spec) => spec.points.length > 0;

// uPlot's columns; and of each the number of the series whose line it is, or whose band it ends.
const columnsOf = (spec) => {
  if (isMap(spec)) return mapColumns(spec);
  const tables = spec.series.map((each) => [each.x, each.y, ...(each.low ? [each.low, each.high] : [])]);
  return uPlot.join(tables);
};

const mapColumns = (spec) => {
  const rows = spec.series.flatMap((each, number) => each.x.map((x, k) => ({ x, y: each.y[k], number, k })));
  rows.sort((a, b) => a.x - b.x);
  spec.rows = rows;
  return [rows.map((row) => row.x), ...spec.series.map((_, n) => rows.map((row) => (row.number === n ? row.y : null)))];
};

const seriesOf = (chart) => {
  const { spec } = chart, found = [{}], bands = [];
  spec.series.forEach((each, number) => {
    const colour = colourOf(each.colour);
    const line = {
      label: each.name, number, stroke: colour, width: 2, value: each.name,
      points: { show: each.look === "points" || each.x.length < 30 && each.look !== "steps", size: each.look === "points" ? 8 : 6, fill: colour, stroke: colour },
    };
    if (dashOf(each).length) line.dash = dashOf(each);
    if (each.look === "steps") line.paths = uPlot.paths.stepped({ align: 1 });
    if (each.look === "points") line.paths = () => null;
    if (each.shade) line.fill = `${colour}2e`;
    found.push(line);
    if (each.low) {
      for (const _ of [0, 1]) found.push({ label: "", number, band: true, stroke: "transparent", width: 0, points: { show: false } });
      if (each.look !== "whiskers") bands.push({ series: [found.length - 1, found.length - 2], fill: () => hasBand(chart, each) ? `${colour}33` : "transparent" });
    }
  });
  return [found, bands];
};

const fontOf = () => `${root.classList.contains("paper") ? 9 : 12}px system-ui, sans-serif`;
const WHOLE = [...Array(12).keys()].flatMap((power) => [1, 2, 2.5, 5].map((digit) => digit * 10 ** power)).filter(Number.isInteger);
// As wide as the longest number beside the axis, so that its label stands clear of them.
const widest = ({ ctx }, values) => {
  ctx.save();
  ctx.font = fontOf();
  const widths = (values || []).map((value) => ctx.measureText(value || "").width);
  ctx.restore();
  return Math.max(56, Math.ceil(Math.max(0, ...widths)) + 17);
};
const axisOf = (axis, side) => ({
  label: axis.label, labelSize: 20, labelFont: fontOf(), font: fontOf(),
  stroke: variable("--muted"), grid: { stroke: variable("--line"), width: 1 }, ticks: { stroke: variable("--line"), size: 4 },
  values: (plot, splits) => splits.map((value) => ticked(value, axis)),
  ...(axis.label === "step" ? { incrs: WHOLE } : {}),
  ...(side === "y" ? { size: widest } : { space: 44, size: 34 }),
});

const marked = (spec) => (plot) => {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = variable("--muted");
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  spec.marks.forEach((mark, number) => {
    const x = plot.valToPos(mark.at, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) return;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    const after = x < bbox.left + bbox.width / 2;
    ctx.textAlign = after ? "left" : "right";
    const place = [mark.name, x + (after ? 4 : -4) * devicePixelRatio, bbox.top + (12 + 13 * (number % 3)) * devicePixelRatio];
    ctx.save(); // the curves end before the letters
    ctx.setLineDash([]);
    ctx.strokeStyle = variable("--panel");
    ctx.lineWidth = 4 * devicePixelRatio;
    ctx.strokeText(...place);
    ctx.restore();
    ctx.fillText(...place);
  });
  ctx.restore();
};

const whiskered = (chart) => (plot) => {
  const { ctx } = plot, drawn = chart.spec.series.filter((each) => each.look === "whiskers" && hasBand(chart, each));
  drawn.forEach((each, place) => {
    ctx.save();
    ctx.strokeStyle = colourOf(each.colour);
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.beginPath();
    each.x.forEach((value, at) => {
      if (each.low[at] === null || each.high[at] === null) return;
      const x = plot.valToPos(value, "x", true) + (place - (drawn.length - 1) / 2) * 4 * devicePixelRatio, ends = [each.low[at], each.high[at]].map((end) => plot.valToPos(end, "y", true));
      ctx.moveTo(x, ends[0]);
      ctx.lineTo(x, ends[1]);
      for (const y of ends) {
        ctx.moveTo(x - 5 * devicePixelRatio, y);
        ctx.lineTo(x + 5 * devicePixelRatio, y);
      }
    });
    ctx.stroke();
    ctx.restore();
  });
};
