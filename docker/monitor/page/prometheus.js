// The few calls of Prometheus's HTTP API that the page needs. The page is served by that Prometheus itself.

async function call(path, parameters = {}) {
  const response = await fetch(`/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const answer = await response.json();
  if (answer.status !== "success") throw new Error(answer.error);
  return answer.data;
}

/** Matching series as [{labels, times: [s], values: [number]}]. */
export async function queryRange(expr, { start, end, step }) {
  const data = await call("query_range", { query: expr, start, end, step });
  return data.result.map(({ metric, values }) => ({
    labels: metric,
    times: values.map(([time]) => time),
    values: values.map(([, value]) => Number(value)),
  }));
}

/** Every value that a label of the metric has had since `start`, as a sorted list. */
export async function labelValues(metric, label, start) {
  const values = await call(`label/${label}/values`, { "match[]": metric, start });
  return values.sort();
}

/** Alerts that fire: [{labels, annotations}]. */
export async function firingAlerts() {
  const { alerts } = await call("alerts");
  return alerts.filter((alert) => alert.state === "firing");
}

/** Seconds between two scrapes, of the server's own settings. */
export async function scrapeInterval() {
  const { yaml } = await call("status/config");
  const [, number, unit] = /scrape_interval: (\d+)(ms|s|m)\b/.exec(yaml);
  return Number(number) * { ms: 0.001, s: 1, m: 60 }[unit];
}
