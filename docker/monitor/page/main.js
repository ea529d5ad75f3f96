// Draws the dashboard's panels from this Prometheus, again every few seconds.
// The address takes ?run=NAME&range=SECONDS, which the two choices at the top write.

import { loadDashboard, variableSource } from "./dashboard.js";
import { Panel } from "./panel.js";
import { firingAlerts, labelValues, scrapeInterval } from "./prometheus.js";
import { format } from "./units.js";

const REFRESH_MS = 3000;
const LEAST_RANGE = 120; // seconds
const MOST_RANGE = 366 * 86400;
const place = (id) => document.getElementById(id);
const chosen = new URLSearchParams(location.search);

function build(dashboard) {
  const panels = [];
  for (const model of dashboard.panels) {
    if (model.type === "row") {
      const heading = document.createElement("h2");
      heading.textContent = model.title;
      place("panels").append(heading);
    } else {
      const panel = new Panel(model);
      place("panels").append(panel.root);
      panels.push(panel);
    }
  }
  return panels;
}

/** Takes the range that the address asks for, which need not be one of the choices; what is no range is not taken. */
function takeRange() {
  const asked = Number(chosen.get("range"));
  if (!(asked > 0)) return;
  const seconds = Math.round(Math.min(Math.max(asked, LEAST_RANGE), MOST_RANGE));
  const select = place("range");
  const options = [...select.options];
  if (!options.some((each) => Number(each.value) === seconds)) {
    const after = options.find((each) => Number(each.value) > seconds);
    select.insertBefore(new Option(format(seconds, "s"), seconds), after ?? null);
  }
  select.value = seconds;
}

/** Fills the choice of runs; the one chosen is kept, or the last of the alphabet taken. Gives its name, if it is there. */
async function listRuns({ metric, label }, range) {
  const names = await labelValues(metric, label, Math.floor(Date.now() / 1000 - range));
  const select = place("run");
  const current = select.value || chosen.get("run") || names.at(-1);
  const listed = current && !names.includes(current) ? [...names, current] : names;
  select.replaceChildren(...listed.map((name) => new Option(name, name)));
  if (current) select.value = current;
  return names.includes(current) ? current : null;
}

async function showAlerts() {
  const alerts = await firingAlerts();
  place("alerts").replaceChildren(
    ...alerts.map(({ labels, annotations }) => {
      const item = document.createElement("li");
      item.className = labels.severity;
      item.textContent = annotations.summary;
      item.title = annotations.description;
      return item;
    }),
  );
}

function say(state, text) {
  place("status").dataset.state = state;
  place("status").textContent = text;
}

function waiting(range) {
  const run = place("run").value;
  if (!run) return "waiting for a run to report; the first step of a large model takes a while";
  return `no run ${run} in the last ${format(range, "s")}; the first step of a large model takes a while`;
}

async function start() {
  const dashboard = await loadDashboard("dashboard.json");
  const source = variableSource(dashboard, "run");
  const scrape = await scrapeInterval();
  let from = 0;
  const panels = build(dashboard);
  place("title").textContent = document.title = dashboard.title;
  takeRange();

  async function refresh() {
    const asked = Number(place("range").value);
    const now = Date.now() / 1000;
    const run = await listRuns(source, asked);
    if (!run) return say("waiting", waiting(asked));
    const range = Math.min(asked, Math.max(now - from, LEAST_RANGE)); // a young run fills the width
    await Promise.all([showAlerts(), ...panels.map((panel) => panel.load(run, { range, scrape, now }))]);
    from = Math.max(now - asked, Math.min(...panels.map((panel) => panel.first)));
    panels.forEach((panel) => panel.draw(from));
    return say("live", `live, every ${REFRESH_MS / 1000} s; as of ${new Date(now * 1000).toLocaleTimeString("en-GB")}`);
  }

  async function keepFresh() {
    try {
      if (!document.hidden) await refresh();
    } catch (error) {
      say("lost", `Prometheus: ${error.message}; the curves stand still`);
    }
    setTimeout(keepFresh, REFRESH_MS);
  }

  for (const id of ["run", "range"]) {
    place(id).addEventListener("change", () => {
      chosen.set(id, place(id).value);
      history.replaceState(null, "", `?${chosen}`);
      from = 0;
      refresh().catch((error) => say("lost", error.message));
    });
  }
  await keepFresh();
}

start().catch((error) => say("lost", error.message));
