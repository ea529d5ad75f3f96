// Draws one panel's curves, stacked areas or heatmap on a canvas.

import { format, ticks } from "./units.js";

export const COLOURS = ["#3b6fb6", "#e08a2e", "#3f9f74", "#cf5564", "#8466bd", "#49a5b8", "#b07d4f", "#d46fa4", "#7d8b99"];
const GRID = "#e9edf1";
const TEXT = "#7a8694";
const FONT = "11px system-ui, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif";
const LIMIT = "#cf5564";
const BOTTOM = 18;
const TOP = 6;

/** A canvas of the element's size in its own pixels, cleared: {context, width, height}. */
function prepare(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const ratio = globalThis.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.font = FONT;
  return { context, width, height };
}

/** Axes, grid and labels; returns the functions that place a time and a value. */
function axes({ context, width, height }, { from, to, low, high, unit }) {
  const marks = ticks(low, high, Math.max(2, Math.floor(height / 42)), unit);
  const labels = marks.map((mark) => format(mark, unit));
  const left = Math.max(...labels.map((label) => context.measureText(label).width)) + 8;
  const x = (time) => left + ((time - from) / (to - from)) * (width - left - 4);
  const y = (value) => height - BOTTOM - ((value - low) / (high - low)) * (height - BOTTOM - TOP);
  context.fillStyle = TEXT;
  context.strokeStyle = GRID;
  context.lineWidth = 1;
  context.textBaseline = "middle";
  context.textAlign = "right";
  marks.forEach((mark, index) => {
    const at = Math.round(y(mark)) + 0.5;
    context.beginPath();
    context.moveTo(left, at);
    context.lineTo(width, at);
    context.stroke();
    context.fillText(labels[index], left - 7, at);
  });
  context.textBaseline = "alphabetic";
  context.textAlign = "center";
  for (const time of timeTicks(from, to, Math.max(2, Math.floor(width / 90)))) {
    context.fillText(clock(time, to - from), Math.min(Math.max(x(time), left + 16), width - 24), height - 3);
  }
  return { x, y, left };
}

function timeTicks(from, to, count) {
  const steps = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
  const step = steps.find((size) => (to - from) / size <= count) ?? steps.at(-1);
  const offset = new Date(from * 1000).getTimezoneOffset() * 60;
  const found = [];
  for (let time = Math.ceil((from - offset) / step) * step + offset; time <= to; time += step) found.push(time);
  return found;
}

function clock(time, span) {
  const parts = { hour: "2-digit", minute: "2-digit", hour12: false };
  if (span < 300) parts.second = "2-digit";
  return new Date(time * 1000).toLocaleTimeString("en-GB", parts);
}

/** The series' values at the sample nearest before `time`, null where there is none within two steps. */
export function valueAt(series, time, step) {
  let index = series.times.length - 1;
  while (index >= 0 && series.times[index] > time) index -= 1;
  return index >= 0 && time - series.times[index] <= 2 * step ? series.values[index] : null;
}

/** Each series on top of those before it: adds `floor` and `ceiling` lists to every one. */
function stack(series) {
  const sums = new Map();
  return series.map((each) => {
    const floor = each.times.map((time) => sums.get(time) ?? 0);
    const ceiling = each.values.map((value, index) => floor[index] + (Number.isFinite(value) ? value : 0));
    each.times.forEach((time, index) => sums.set(time, ceiling[index]));
    return { ...each, floor, ceiling };
  });
}

function bounds(values, { min, max }) {
  let low = min ?? Math.min(...values);
  let high = Math.max(max ?? -Infinity, ...values);
  if (min !== undefined) low = Math.min(low, ...values);
  if (high - low < Math.abs(high) * 1e-6 || high === low) {
    const room = Math.abs(high) * 0.1 || 1;
    high += room;
    if (min === undefined) low -= room;
  }
  const room = (high - low) * 0.06;
  return { low: min === undefined ? low - room : low, high: max !== undefined && high <= max ? max : high + room };
}

/** Runs of samples without a hole, as lists of indices. */
function pieces(series, step) {
  const found = [];
  series.times.forEach((time, index) => {
    if (!Number.isFinite(series.values[index])) return;
    const last = found.at(-1)?.at(-1);
    if (last !== undefined && last === index - 1 && time - series.times[last] <= 1.5 * step) found.at(-1).push(index);
    else found.push([index]);
  });
  return found;
}

/** Curves, or areas on top of each other; `panel` is {unit, min, max, stacked, threshold}. */
export function drawSeries(canvas, all, { from, to, step, cursor, ...panel }) {
  const surface = prepare(canvas);
  const { context, height, width } = surface;
  const drawn = panel.stacked ? stack(all) : all;
  const shown = drawn.flatMap((each) => each.ceiling ?? each.values).filter(Number.isFinite);
  const { x, y, left } = axes(surface, { from, to, unit: panel.unit, ...bounds(shown, panel) });
  context.save();
  context.beginPath();
  context.rect(left, 0, width - left, height - BOTTOM + 1);
  context.clip();
  drawn.forEach((each, index) => {
    const colour = COLOURS[index % COLOURS.length];
    const top = each.ceiling ?? each.values;
    for (const piece of pieces(each, step)) {
      const line = new Path2D();
      piece.forEach((at) => line.lineTo(x(each.times[at]), y(top[at])));
      const area = new Path2D(line);
      if (each.floor) piece.toReversed().forEach((at) => area.lineTo(x(each.times[at]), y(each.floor[at])));
      else {
        area.lineTo(x(each.times[piece.at(-1)]), height - BOTTOM);
        area.lineTo(x(each.times[piece[0]]), height - BOTTOM);
      }
      context.fillStyle = colour + (each.floor ? "b8" : drawn.length === 1 ? "1c" : "00");
      context.fill(area);
      context.strokeStyle = colour;
      context.lineWidth = each.floor ? 1 : 1.8;
      context.lineJoin = "round";
      context.stroke(line);
      if (piece.length === 1) dot(context, x(each.times[piece[0]]), y(top[piece[0]]), colour);
    }
  });
  if (panel.threshold !== undefined) dashed(context, left, y(panel.threshold), width, y(panel.threshold), LIMIT);
  if (cursor !== null && cursor >= from) dashed(context, x(cursor), 0, x(cursor), height - BOTTOM, TEXT);
  context.restore();
  return { left, width };
}

/** Columns of buckets, darker with more in them; `series` are cumulative, labelled by their upper bound `le`. */
export function drawHeatmap(canvas, series, { from, to, step, cursor, unit }) {
  const buckets = series
    .map((each) => ({ ...each, upper: Number(each.labels.le) }))
    .filter((each) => Number.isFinite(each.upper))
    .sort((a, b) => a.upper - b.upper);
  const surface = prepare(canvas);
  const { context, width, height } = surface;
  const low = 0;
  const high = buckets.at(-1).upper;
  const { x, y, left } = axes(surface, { from, to, low, high, unit });
  const below = new Map();
  const cells = [];
  let most = 0;
  buckets.forEach((bucket, index) => {
    const lower = index ? buckets[index - 1].upper : low;
    bucket.times.forEach((time, at) => {
      const count = bucket.values[at] - (below.get(time) ?? 0);
      below.set(time, bucket.values[at]);
      if (count > 0 && time >= from) cells.push({ time, lower, upper: bucket.upper, count });
      most = Math.max(most, count);
    });
  });
  for (const { time, lower, upper, count } of cells) {
    const strength = Math.sqrt(count / most);
    context.fillStyle = `hsl(${212 - 8 * strength} ${50 + 15 * strength}% ${96 - 58 * strength}%)`;
    const start = Math.max(x(time - step), left);
    context.fillRect(start, y(upper), Math.max(x(time) - start, 1) + 0.5, y(lower) - y(upper) + 0.5);
  }
  if (cursor !== null && cursor >= from) dashed(context, x(cursor), 0, x(cursor), height - BOTTOM, TEXT);
  return { left, width };
}

function dot(context, x, y, colour) {
  context.fillStyle = colour;
  context.beginPath();
  context.arc(x, y, 2, 0, 2 * Math.PI);
  context.fill();
}

function dashed(context, fromX, fromY, toX, toY, colour) {
  context.beginPath();
  context.setLineDash([4, 4]);
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.moveTo(fromX, fromY);
  context.lineTo(toX, toY);
  context.stroke();
  context.setLineDash([]);
}
