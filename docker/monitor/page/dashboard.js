// Reads a Grafana dashboard: its panels, and its queries with Grafana's variables filled in.

const LEAST_RATE_SECONDS = 20;

export async function loadDashboard(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
  return response.json();
}

/** The metric and label that the variable `name` lists, of "label_values(metric, label)". */
export function variableSource(dashboard, name) {
  const variable = dashboard.templating.list.find((each) => each.name === name);
  const [, metric, label] = /label_values\((\w+), *(\w+)\)/.exec(variable.definition);
  return { metric, label };
}

/** Start, end and step in seconds of a panel's queries, as Grafana chooses them: times are multiples of the step. */
export function window(panel, { range, scrape, points, now }) {
  const least = panel.interval ? seconds(panel.interval) : scrape;
  const step = Math.max(Math.ceil(range / points), least);
  return { start: Math.floor((now - range) / step) * step, end: Math.floor(now / step) * step, step };
}

/** A query with $run and $__rate_interval filled in: Grafana's interval, and room for some steps of the run. */
export function fill(expr, { run, step, scrape }) {
  const rate = Math.ceil(Math.max(step + scrape, 4 * scrape, LEAST_RATE_SECONDS));
  return expr.replaceAll("$__rate_interval", `${rate}s`).replaceAll("$run", run.replace(/["\\]/g, "\\$&"));
}

/** A series' name: the format's {{label}}s filled in. */
export function legend(format, labels) {
  return format.replace(/\{\{ *(\w+) *\}\}/g, (_, label) => labels[label] ?? "");
}

function seconds(text) {
  const [, number, unit] = /^(\d+)(s|m|h)$/.exec(text);
  return Number(number) * { s: 1, m: 60, h: 3600 }[unit];
}
