// The legend of a page of several runs: which of them are meant, in all charts.
const picked = new Set(); // places of the runs that are shown alone; none: all are
let pointed = null; // the run whose name the pointer is on
const byRun = (spec) => spec.series.some((each) => each.run !== null);
const isShown = (chart, each) => !chart.hidden.has(each.kind) && (each.run === null || !picked.size || picked.has(each.run));
const isLit = (chart, each) => pointed === null || each.run === null ? isShown(chart, each) : each.run === pointed;
const MOST_BANDS = 3; // runs whose bands are told apart
const hasBand = (chart, each) => each.low !== null && isLit(chart, each)
  && new Set(chart.spec.series.filter((other) => isLit(chart, other)).map((other) => other.run)).size <= MOST_BANDS;

// Lines of runs that are not meant are pale; the axis is that of the runs that are picked.
const light = (chart, again) => {
  const { plot, spec } = chart;
  plot.series.forEach((line, column) => {
    if (!column) return;
    const each = spec.series[line.number];
    line.show = !chart.hidden.has(each.kind);
    line.alpha = isLit(chart, each) ? 1 : 0.13;
    line.auto = isShown(chart, each);
  });
  if (again) plot.redraw();
};

// The legend of a page of several runs: a tap picks a run, a second tap drops it; to point at it shows it for a moment.
const bar = document.querySelector(".runs");
const pick = () => {
  for (const key of bar.querySelectorAll("[data-pick]")) key.setAttribute("aria-pressed", String(key.dataset.pick === "all" ? !picked.size : picked.has(+key.dataset.pick)));
  for (const box of document.querySelectorAll("[data-run]")) box.hidden = picked.size > 0 && !picked.has(+box.dataset.run);
  for (const chart of all.values()) if (byRun(chart.spec)) {
    chart.figure.hidden = picked.size > 0 && chart.spec.series.every((each) => each.run !== null && !picked.has(each.run));
    keys(chart);
    light(chart, true);
  }
};
const point = (run) => {
  pointed = run;
  for (const chart of all.values()) if (byRun(chart.spec)) light(chart, true);
};
const swatches = () => bar && bar.querySelectorAll("[data-pick]:not([data-pick=all])").forEach((key) => {
  const run = +key.dataset.pick;
  key.querySelector("i").replaceChildren(swatchOf({ colour: run, dash: 0, run }));
});
if (bar) {
  bar.addEventListener("click", (event) => {
    const key = event.target.closest("[data-pick]");
    if (!key) return;
    const run = +key.dataset.pick;
    if (key.dataset.pick === "all") picked.clear();
    else if (!picked.delete(run)) picked.add(run);
    pointed = null;
    pick();
  });
  for (const key of bar.querySelectorAll("[data-pick]:not([data-pick=all])")) {
    key.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && point(+key.dataset.pick));
    key.addEventListener("pointerleave", () => pointed !== null && point(null));
  }
}
