// One panel's curves, stacked areas or heatmap. uPlot, a script of its own (uPlot.iife.min.js), draws them.

import { format, increments } from "./units.js";

const COLOURS = 9; // --series-0 to --series-8 of style.css
const FONT = "11px system-ui, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif";
const AREA = { one: "1c", stacked: "b8" }; // how opaque, in hexadecimal
const MOMENT = "moment"; // all charts point to the same one

/** The colour of the n-th series as CSS, which follows the reader's choice of light or dark. */
export const seriesColour = (index) => `var(--series-${index % COLOURS})`;

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Chart {
  /** In `place`, for a panel {unit, min, max, stacked, threshold, heatmap}; `onMoment()`: the moment was moved. */
  constructor(place, panel, onMoment) {
    this.place = place;
    this.panel = panel;
    this.onMoment = onMoment;
    new ResizeObserver(() => this.plot?.setSize(this.#size())).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.plot?.redraw());
  }

  /** Draws `series` ([{name, times, values}]) from `from` to `to` in seconds; samples are `step` apart. */
  show(series, { from, to, step }) {
    this.view = { from, to, step };
    const times = moments(series, step);
    const aligned = series.map((each) => onto(times, each, step));
    this.cells = this.panel.heatmap ? cells(series, step) : null;
    const data = [times, ...(this.panel.heatmap ? [times.map(() => null)] : this.panel.stacked ? stack(aligned) : aligned)];
    const names = series.map((each) => each.name).join("\n");
    if (this.plot && this.names === names) return this.plot.setData(data);
    this.names = names;
    this.plot?.destroy();
    this.plot = new uPlot(this.#options(data.length - 1), data, this.place);
    return undefined;
  }

  /** The moment pointed to, in seconds; null if there is none. */
  get moment() {
    const index = this.plot?.cursor.idx ?? null;
    return index === null ? null : this.plot.data[0][index];
  }

  /** Points to the moment `by` samples after this one, Infinity: the last one; null: to none. */
  move(by) {
    const times = this.plot?.data[0];
    if (!times?.length) return;
    const index = this.plot.cursor.idx ?? (by < 0 ? times.length : -1);
    const next = by === null ? -10 : this.plot.valToPos(times[Math.min(Math.max(index + by, 0), times.length - 1)], "x");
    this.plot.setCursor({ left: next, top: by === null ? -10 : 0 }, true, true);
  }

  #size() {
    return { width: this.place.clientWidth, height: this.place.clientHeight };
  }

  #options(count) {
    const { unit, heatmap, stacked, threshold } = this.panel;
    const line = { stroke: () => style("--grid"), width: 1 };
    const axis = { stroke: () => style("--muted"), font: FONT, grid: line, ticks: { show: false } };
    return {
      ...this.#size(),
      padding: [8, 18, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 }, sync: { key: MOMENT, scales: ["x", null] } },
      scales: {
        x: { range: () => [this.view.from, this.view.to] },
        y: heatmap ? { auto: false, range: () => [0, this.cells.high] } : { range: (_, low, high) => bounds(low, high, this.panel) },
      },
      axes: [
        { ...axis, size: 22, gap: 3, space: 64, values: (_, times, __, ___, step) => times.map((time) => clock(time, step)) },
        {
          ...axis,
          size: (plot, labels) => widest(plot, labels) + 9,
          gap: 6,
          space: 32,
          incrs: increments(unit),
          values: (_, values) => values.map((value) => format(value, unit)),
        },
      ],
      series: [{}, ...Array.from({ length: count }, (_, index) => this.#curve(index, count))],
      bands: stacked ? Array.from({ length: count - 1 }, (_, index) => ({ series: [index + 2, index + 1] })) : [],
      hooks: {
        setCursor: [() => this.onMoment()],
        draw: [(plot) => heatmap && drawCells(plot, this.cells), (plot) => threshold !== undefined && drawLimit(plot, threshold)],
      },
    };
  }

  #curve(index, count) {
    const { stacked } = this.panel;
    const colour = () => style(`--series-${index % COLOURS}`);
    const filled = stacked || count === 1;
    return {
      stroke: colour,
      width: stacked ? 1 : 1.8,
      fill: filled ? () => colour() + (stacked ? AREA.stacked : AREA.one) : undefined,
      points: { show: true, size: 4, fill: colour, filter: (plot, at) => alone(plot.data[at]) },
    };
  }
}

/** The value of a series at `time`, null where it has none. */
export function valueAt({ times, values }, time, step) {
  const index = times.findIndex((each) => Math.abs(each - time) < step / 2);
  return index < 0 ? null : values[index];
}

/** Every time from the first sample of the series to the last, a step apart. */
function moments(series, step) {
  const first = Math.min(...series.map(({ times }) => times[0]));
  const last = Math.max(...series.map(({ times }) => times.at(-1)));
  return Array.from({ length: Math.round((last - first) / step) + 1 }, (_, index) => first + index * step);
}

/** A series' values at each of `moments`, null where it has none. */
function onto(moments, { times, values }, step) {
  const found = moments.map(() => null);
  times.forEach((time, index) => {
    if (Number.isFinite(values[index])) found[Math.round((time - moments[0]) / step)] = values[index];
  });
  return found;
}

/** Each series on top of those before it; null where none has a value. */
function stack(aligned) {
  const sums = aligned[0].map(() => null);
  return aligned.map((values) =>
    values.map((value, index) => {
      if (value !== null) sums[index] = (sums[index] ?? 0) + value;
      return sums[index];
    }),
  );
}

/** Indices of the samples without a neighbour, which a line does not show. */
function alone(values) {
  const missing = (index) => (values[index] ?? null) === null;
  return values.flatMap((_, index) => (!missing(index) && missing(index - 1) && missing(index + 1) ? [index] : []));
}

function bounds(lowest, highest, { min, max }) {
  let low = Math.min(min ?? Infinity, lowest ?? 0);
  let high = Math.max(max ?? -Infinity, highest ?? 1);
  if (high - low < Math.abs(high) * 1e-6 || high === low) {
    const room = Math.abs(high) * 0.1 || 1;
    high += room;
    if (min === undefined) low -= room;
  }
  const room = (high - low) * 0.06;
  return [min === undefined ? low - room : low, max !== undefined && high <= max ? max : high + room];
}

/** The time of day; with seconds where moments are less than a minute apart. */
export function clock(time, step) {
  const parts = { hour: "2-digit", minute: "2-digit", hour12: false };
  if (step < 60) parts.second = "2-digit";
  return new Date(time * 1000).toLocaleTimeString("en-GB", parts);
}

function widest({ ctx }, labels) {
  ctx.font = FONT;
  return Math.max(0, ...(labels ?? []).map((label) => ctx.measureText(label).width));
}

/** What a heatmap shows of cumulative buckets, labelled by their upper bound `le`. */
function cells(series, step) {
  const buckets = series
    .map((each) => ({ ...each, upper: Number(each.labels.le) }))
    .filter((each) => Number.isFinite(each.upper))
    .sort((a, b) => a.upper - b.upper);
  const below = new Map();
  const found = buckets.flatMap(({ upper, times, values }, index) =>
    times.map((time, at) => {
      const count = values[at] - (below.get(time) ?? 0);
      below.set(time, values[at]);
      return { start: time - step, time, lower: index ? buckets[index - 1].upper : 0, upper, count };
    }),
  );
  return { found, high: buckets.at(-1).upper, most: Math.max(...found.map(({ count }) => count)) };
}

/** Columns of buckets, stronger with more in them. */
function drawCells(plot, { found, most }) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.fillStyle = style("--series-0");
  for (const { start, time, lower, upper, count } of found) {
    if (!(count > 0)) continue;
    const [left, right] = [start, time].map((each) => Math.round(plot.valToPos(each, "x", true)));
    const [top, bottom] = [upper, lower].map((each) => Math.round(plot.valToPos(each, "y", true)));
    ctx.globalAlpha = 0.06 + 0.94 * Math.sqrt(count / most);
    ctx.fillRect(left, top, Math.max(right - left, 1), bottom - top);
  }
  ctx.restore();
}

function drawLimit(plot, limit) {
  const { ctx, bbox } = plot;
  const at = plot.valToPos(limit, "y", true);
  if (at < bbox.top) return;
  ctx.save();
  ctx.beginPath();
  ctx.setLineDash([5, 5]);
  ctx.strokeStyle = style("--bad");
  ctx.lineWidth = devicePixelRatio;
  ctx.moveTo(bbox.left, at);
  ctx.lineTo(bbox.left + bbox.width, at);
  ctx.stroke();
  ctx.restore();
}
