// The buttons of a chart.
const button = (words, pressed, act) => {
  const made = document.createElement("button");
  made.type = "button";
  made.append(...words);
  made.setAttribute("aria-pressed", String(pressed));
  made.addEventListener("click", () => {
    made.setAttribute("aria-pressed", String(made.getAttribute("aria-pressed") !== "true"));
    act(made.getAttribute("aria-pressed") === "true");
  });
  return made;
};

// Below a chart a button for each of its lines, or of each kind where the lines are those of several runs; and the
// runs themselves, which are shown on paper alone.
const keys = (chart) => {
  const { spec, figure } = chart, several = byRun(spec);
  const kinds = [...new Map(spec.series.map((each) => [each.kind, each])).values()];
  const made = kinds.length < 2 ? [] : kinds.map((each) => button(
    [swatchOf({ ...each, run: null }, several), several ? each.kind : each.name], !chart.hidden.has(each.kind), (on) => {
      on ? chart.hidden.delete(each.kind) : chart.hidden.add(each.kind);
      light(chart, true);
    }));
  const runs = !several ? [] : [...new Map(spec.series.filter((each) => isShown(chart, each)).map((each) => [each.run, each])).values()].map((each) => {
    const name = document.createElement("span");
    name.append(swatchOf({ ...each, dash: 0 }), nameOf(each.run));
    return name;
  });
  figure.querySelector(".keys").replaceChildren(...runs, ...made);
};

const nameOf = (run) => document.querySelector(`[data-pick="${run}"]`).textContent;

// Beside a chart's title: its other scale, and what its axis leaves out.
const tools = (chart) => {
  const { spec, figure } = chart, box = document.createElement("div");
  box.className = "tools";
  const values = spec.series.flatMap((each) => each.y).filter((y) => y !== null);
  const least = spec.y.least;
  if (spec.y.either && values.length && values.every((y) => y > 0))
    box.append(button(["log"], spec.y.log, (on) => {
      Object.assign(spec.y, { log: on, least: on ? null : least });
      draw(chart);
    }));
  if (spec.view) box.append(button(["all values"], false, (on) => {
    chart.whole = on;
    light(chart, true);
  }));
  if (box.children.length) figure.querySelector("figcaption").prepend(box);
};
