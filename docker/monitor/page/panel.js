// One panel of the dashboard as an element of the page.

import { Chart, clock, seriesColour, valueAt } from "./chart.js";
import { fill, legend, window } from "./dashboard.js";
import { queryRange } from "./prometheus.js";
import { format } from "./units.js";

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

export class Panel {
  /** `model`: the panel in the dashboard's JSON. */
  constructor(model) {
    this.model = model;
    this.defaults = model.fieldConfig.defaults;
    this.series = [];
    this.root = element("section", `panel ${model.type}`);
    this.root.title = model.description;
    this.root.dataset.title = model.title;
    this.root.style.setProperty("--w", model.gridPos.w);
    this.root.style.setProperty("--h", model.gridPos.h);
    const heading = element("h3", "", model.title);
    this.root.append(heading);
    if (model.type === "stat") {
      this.value = element("div", "value", "–");
      this.root.append(this.value);
      return;
    }
    this.moment = element("time", "");
    heading.append(this.moment);
    this.plot = element("div", "plot");
    this.plot.tabIndex = 0;
    this.plot.setAttribute("role", "img");
    this.plot.setAttribute("aria-label", `${model.title}. Arrow keys choose a moment, Escape the last one.`);
    this.plot.addEventListener("keydown", (event) => this.#key(event));
    this.note = element("div", "note", "no data yet");
    this.legend = element("div", "legend");
    this.root.append(this.plot, this.note, this.legend);
    this.chart = new Chart(this.plot, this.#kind(), () => this.#showLegend());
  }

  /** Asks Prometheus for the panel's series; marks the element as drawn, empty or error. */
  async load(run, { range, scrape, now }) {
    this.window = window(this.model, { range, scrape, points: 180, now });
    try {
      const answers = await Promise.all(
        this.model.targets.map(async ({ expr, legendFormat }) => {
          const found = await queryRange(fill(expr, { run, step: this.window.step, scrape }), this.window);
          return found.map((series) => ({ ...series, name: legend(legendFormat, series.labels) }));
        }),
      );
      this.series = answers.flat().filter((series) => series.values.some(Number.isFinite));
      this.root.dataset.state = this.series.length ? "drawn" : "empty";
    } catch (error) {
      this.root.dataset.state = "error";
      if (this.note) this.note.textContent = error.message;
      throw error;
    }
  }

  /** The time of the first sample, in seconds; Infinity without one. */
  get first() {
    return Math.min(Infinity, ...this.series.map((series) => series.times[0]));
  }

  /** Draws from the time `from` on; the legend has the values at the moment pointed to, or the last ones. */
  draw(from) {
    const { unit, decimals } = this.defaults;
    if (this.model.type === "stat") {
      this.value.textContent = format(this.series[0]?.values.findLast(Number.isFinite), unit, decimals);
      return;
    }
    this.note.hidden = this.series.length > 0;
    this.plot.hidden = !this.series.length;
    this.#showLegend(); // before the chart: it takes of its height
    if (!this.series.length) return;
    const { end, step } = this.window;
    this.chart.show(this.series, { from: Math.min(from, end - step), to: end, step });
  }

  #kind() {
    const { custom, min, max, thresholds, unit } = this.defaults;
    if (this.model.type === "heatmap") return { heatmap: true, unit: this.model.options.yAxis.unit };
    const stacked = custom.stacking.mode === "normal";
    return { unit, min, max, stacked, threshold: custom.thresholdsStyle && thresholds.steps.at(-1).value };
  }

  #showLegend() {
    const { moment } = this.chart;
    this.moment.textContent = moment === null ? "" : clock(moment, 1);
    this.moment.dateTime = moment === null ? "" : new Date(moment * 1000).toISOString();
    const named = this.model.type === "heatmap" ? [] : this.series;
    this.legend.replaceChildren(...named.map((series, index) => this.#entry(series, index, moment)));
  }

  #entry(series, index, moment) {
    const value = moment === null ? series.values.findLast(Number.isFinite) : valueAt(series, moment, this.window.step);
    const entry = element("span", "");
    const colour = element("i", "");
    colour.style.background = seriesColour(index);
    entry.append(colour, `${series.name} `, element("b", "", format(value, this.defaults.unit, this.defaults.decimals)));
    return entry;
  }

  #key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity, Escape: null }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    this.chart.move(by);
  }
}
