// One panel of the dashboard as an element of the page.

import { fill, legend, window } from "./dashboard.js";
import { COLOURS, drawHeatmap, drawSeries, valueAt } from "./plot.js";
import { queryRange } from "./prometheus.js";
import { format } from "./units.js";

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

export class Panel {
  /** `model`: the panel in the dashboard's JSON; `onCursor(time or null)`: the pointer is over that time. */
  constructor(model, onCursor) {
    this.model = model;
    this.defaults = model.fieldConfig.defaults;
    this.series = [];
    this.root = element("section", `panel ${model.type}`);
    this.root.title = model.description;
    this.root.dataset.title = model.title;
    this.root.style.setProperty("--w", model.gridPos.w);
    this.root.style.setProperty("--h", model.gridPos.h);
    this.root.append(element("h3", "", model.title));
    if (model.type === "stat") {
      this.value = element("div", "value", "–");
      this.root.append(this.value);
      return;
    }
    this.canvas = element("canvas", "");
    this.canvas.setAttribute("role", "img");
    this.note = element("div", "note", "no data yet");
    this.plot = element("div", "plot");
    this.plot.append(this.canvas, this.note);
    this.legend = element("div", "legend");
    this.root.append(this.plot, this.legend);
    this.plot.addEventListener("pointermove", (event) => onCursor(this.#timeAt(event)));
    this.plot.addEventListener("pointerleave", () => onCursor(null));
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

  /** Draws from `from` on; with the values at `cursor` in the legend, or the last ones if it is null. */
  draw(from, cursor) {
    const { unit, decimals } = this.defaults;
    if (this.model.type === "stat") {
      this.value.textContent = format(this.series[0]?.values.findLast(Number.isFinite), unit, decimals);
      return;
    }
    this.note.hidden = this.series.length > 0;
    this.canvas.hidden = !this.series.length;
    const named = this.model.type === "heatmap" ? [] : this.series; // the legend first: it takes of the plot's height
    this.legend.replaceChildren(...named.map((series, index) => this.#entry(series, index, cursor)));
    if (!this.series.length) return;
    const view = { from: Math.min(from, this.window.end - this.window.step), to: this.window.end, step: this.window.step, cursor };
    if (this.model.type === "heatmap") {
      this.drawn = { ...view, ...drawHeatmap(this.canvas, this.series, { ...view, unit: this.model.options.yAxis.unit }) };
      return;
    }
    const { custom, min, max, thresholds } = this.defaults;
    this.drawn = {
      ...view,
      ...drawSeries(this.canvas, this.series, {
        ...view,
        ...{ unit, min, max },
        stacked: custom.stacking.mode === "normal",
        threshold: custom.thresholdsStyle && thresholds.steps.at(-1).value,
      }),
    };
  }

  #entry(series, index, cursor) {
    const value = cursor === null ? series.values.findLast(Number.isFinite) : valueAt(series, cursor, this.window.step);
    const entry = element("span", "");
    const colour = element("i", "");
    colour.style.background = COLOURS[index % COLOURS.length];
    entry.append(colour, `${series.name} `, element("b", "", format(value, this.defaults.unit, this.defaults.decimals)));
    return entry;
  }

  #timeAt(event) {
    if (!this.drawn) return null;
    const { from, to, left, width } = this.drawn;
    return from + ((event.offsetX - left) / (width - left - 4)) * (to - from);
  }
}
