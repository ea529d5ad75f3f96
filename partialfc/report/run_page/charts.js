// Draws the charts of a report with uPlot, from the JSON that stands in each figure. Asks nothing of a network.
"use strict";
(() => {
  const all = new Map(); // by the id of the figure: {figure, spec, plot, width, whole, hidden}
  const picked = new Set(); // places of the runs that are shown alone; none: all are
  let pointed = null; // the run whose name the pointer is on
  const root = document.documentElement;
  const variable = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const colourOf = (number) => variable(number < 0 ? "--other" : `--c${number % 8}`);
  const DASHES = [[], [6, 4], [2, 3], [9, 3, 2, 3], [14, 4], [14, 4, 2, 4], [14, 4, 2, 4, 2, 4], [4, 2]];
  const dashOf = (each) => DASHES[(each.dash + 4 * Math.floor(Math.max(each.run, 0) / 8)) % 8];
  const byRun = (spec) => spec.series.some((each) => each.run !== null);
  const isShown = (chart, each) => !chart.hidden.has(each.kind) && (each.run === null || !picked.size || picked.has(each.run));
  const isLit = (chart, each) => pointed === null || each.run === null ? isShown(chart, each) : each.run === pointed;
  const MOST_BANDS = 3; // runs whose bands are told apart
  const hasBand = (chart, each) => each.low !== null && isLit(chart, each)
    && new Set(chart.spec.series.filter((other) => isLit(chart, other)).map((other) => other.run)).size <= MOST_BANDS;

  const PAPER = 330; // pixels of a chart's width on paper, where two stand side by side

  const short = (value, axis) => {
    if (value === null || value === undefined) return "";
    if (axis.percent) return `${Number((100 * value).toPrecision(4))} %`;
    if (axis.log) {
      const power = Math.log10(value);
      if (Math.abs(power - Math.round(power)) < 1e-9 && (power < -2 || power > 3)) return `1e${Math.round(power)}`;
    }
    const size = Math.abs(value);
    if (size >= 1e9 || (size > 0 && size < 1e-4)) return value.toExponential(2).replace("e+", "e");
    return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(4)));
  };

  const ticked = (value, axis) => {
    if (value === null || value === undefined) return "";
    if (!axis.log && Math.abs(value) >= 1e4) {
      const [unit, letter] = Math.abs(value) >= 1e9 ? [1e9, "G"] : Math.abs(value) >= 1e6 ? [1e6, "M"] : [1e3, "k"];
      return `${Number((value / unit).toPrecision(4))}${letter}`;
    }
    return short(value, axis);
  };

  // A range that is not empty, with the ends that the axis asks for.
  const rangeOf = (axis, air, view) => (plot, min, max) => {
    if (min === null || max === null) [min, max] = axis.log ? [0.1, 1] : [0, 1];
    const seen = view() || [min, max];
    if (Math.max(min, seen[0]) < Math.min(max, seen[1])) [min, max] = [Math.max(min, seen[0]), Math.min(max, seen[1])];
    let ends;
    if (axis.log) ends = air ? uPlot.rangeLog(min, max, 10, false) : [min, max];
    else if (air) ends = uPlot.rangeNum(min, max, 0.1, true);
    else ends = [min, max];
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
  const axisOf = (axis, side) => ({
    label: axis.label, labelSize: 20, labelFont: fontOf(), font: fontOf(),
    stroke: variable("--muted"), grid: { stroke: variable("--line"), width: 1 }, ticks: { stroke: variable("--line"), size: 4 },
    values: (plot, splits) => splits.map((value) => ticked(value, axis)),
    ...(side === "y" ? { size: 56 } : { space: 56, size: 34 }),
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
      ctx.fillText(mark.name, x + (after ? 4 : -4) * devicePixelRatio, bbox.top + (12 + 13 * (number % 3)) * devicePixelRatio);
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

  // What was drawn, for those who read the page by program.
  const told = (chart) => chart.plot.series.slice(1).flatMap((series, index) => {
    if (series.band) return [];
    const ys = chart.plot.data[index + 1], places = [...ys.keys()].filter((at) => ys[at] !== null && ys[at] !== undefined);
    const shown = places.map((at) => ys[at]), pair = (at) => at === undefined ? null : [chart.plot.data[0][at], ys[at]];
    return [{ name: series.label, points: places.length, first: pair(places[0]), last: pair(places.at(-1)), least: shown.length ? shown.reduce((a, b) => Math.min(a, b)) : null, greatest: shown.length ? shown.reduce((a, b) => Math.max(a, b)) : null }];
  });

  // What stands at the cursor: on a card, the lines that are nearest to it in the order of their values, and in words.
  const ROWS = 9;
  const read = (chart) => {
    const { plot, spec, figure } = chart, { idx, idxs, left, top } = plot.cursor;
    const line = figure.querySelector(".reading"), box = figure.querySelector(".plot");
    const rows = idx === null || idx === undefined || !box.matches(":hover, :focus") ? [] : spec.series.flatMap((each, number) => {
      const column = plot.series.findIndex((series) => series.number === number), value = plot.data[column][idxs[column]];
      return isLit(chart, each) && value !== null && value !== undefined ? [{ each, value, away: Math.abs(plot.valToPos(value, "y") - top) }] : [];
    });
    const shown = rows.sort((a, b) => a.away - b.away).slice(0, ROWS).sort((a, b) => b.value - a.value);
    if (!shown.length) {
      line.textContent = "";
      return cardOf(plot, false);
    }
    const where = `${spec.x.label} ${short(plot.data[0][idx], spec.x)}`;
    line.textContent = `${where}: ${shown.map(({ each, value }) => `${each.name} ${short(value, spec.y)}`).join(", ")}`;
    const names = shown.map(({ each, value }) => {
      const row = document.createElement("span"), number = document.createElement("b");
      number.textContent = short(value, spec.y);
      row.append(swatchOf(each), each.name, number);
      return row;
    });
    const card = cardOf(plot, true), right = left > plot.over.clientWidth / 2;
    card.replaceChildren(where, ...names);
    card.style.left = `${Math.max(0, right ? left - card.offsetWidth - 10 : left + 10)}px`;
    card.style.top = top > plot.over.clientHeight / 2 ? "2px" : `${Math.max(2, plot.over.clientHeight - card.offsetHeight - 2)}px`;
  };

  const cardOf = (plot, wanted) => {
    const card = plot.over.querySelector(".card") || document.createElement("div");
    card.className = "card";
    wanted ? plot.over.append(card) : card.remove();
    return card;
  };

  const swatchOf = (each, plain) => {
    const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg"), line = document.createElementNS(swatch.namespaceURI, "line");
    swatch.setAttribute("class", "swatch");
    for (const [name, value] of Object.entries({ x1: 0, x2: 26, y1: 4, y2: 4, stroke: plain ? variable("--muted") : colourOf(each.colour), "stroke-width": 3, "stroke-dasharray": dashOf(each).join(" ") }))
      line.setAttribute(name, value);
    swatch.append(line);
    return swatch;
  };

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

  const heightOf = (spec, width) => {
    if (root.classList.contains("paper")) return isMap(spec) ? 300 : 190;
    return isMap(spec) ? Math.min(width, 460) : Math.min(280, 150 + width / 4);
  };

  const draw = (chart) => {
    const { figure, spec } = chart, box = figure.querySelector(".plot");
    if (chart.plot) chart.plot.destroy();
    const [series, bands] = seriesOf(chart), whole = () => null;
    const width = root.classList.contains("paper") ? PAPER : Math.max(box.clientWidth, 200);
    chart.plot = new uPlot({
      width, height: heightOf(spec, width), series, bands,
      legend: { show: false },
      scales: {
        x: { time: false, distr: spec.x.log ? 3 : 1, range: rangeOf(spec.x, isMap(spec) || spec.series.some((each) => each.look === "whiskers"), whole) },
        y: { distr: spec.y.log ? 3 : 1, range: rangeOf(spec.y, true, () => chart.whole ? null : spec.view) },
      },
      axes: [axisOf(spec.x, "x"), axisOf(spec.y, "y")],
      cursor: {
        drag: { x: !isMap(spec), y: false }, points: { show: !isMap(spec) }, x: !isMap(spec), y: false,
        hover: { prox: 24 },
        ...(spec.x.label === "step" ? { sync: { key: "step" } } : {}),
      },
      hooks: {
        init: [(plot) => light(Object.assign(chart, { plot }), false)],
        draw: [marked(spec), whiskered(chart)], setCursor: [() => isMap(spec) ? hover(chart) : read(chart)],
      },
    }, columnsOf(spec), box);
    chart.width = width;
    figure.dataset.drawn = JSON.stringify(told(chart));
  };

  // On a map: the point that is nearest to the pointer, with its image.
  const hover = (chart) => {
    const { plot, spec } = chart, { left, top } = plot.cursor;
    let best = null, least = 20;
    if (left >= 0) spec.rows.forEach((row, at) => {
      const column = plot.series.findIndex((series) => series.number === row.number);
      if (!plot.series[column].show) return;
      const away = Math.hypot(plot.valToPos(row.x, "x") - left, plot.valToPos(row.y, "y") - top);
      if (away < least) [best, least] = [at, away];
    });
    show(chart, best);
  };

  const show = (chart, at) => {
    const { plot, spec, figure } = chart;
    if (at === null) return cardOf(plot, false);
    const card = cardOf(plot, true);
    const row = spec.rows[at], point = spec.points[row.number][row.k], name = document.createElement("span");
    name.textContent = point.name;
    card.replaceChildren(name);
    if (point.image) {
      const image = new Image();
      image.src = point.image;
      image.alt = "";
      card.prepend(image);
    }
    const x = plot.valToPos(row.x, "x"), y = plot.valToPos(row.y, "y");
    card.style.left = `${Math.min(x + 10, plot.over.clientWidth - card.offsetWidth - 2)}px`;
    card.style.top = `${Math.max(0, Math.min(y + 10, plot.over.clientHeight - card.offsetHeight - 2))}px`;
    figure.querySelector(".reading").textContent = point.name;
  };

  // Arrow keys, Home and End move along the points; Escape leaves them.
  const steer = (chart) => {
    const box = chart.figure.querySelector(".plot"), line = chart.figure.querySelector(".reading");
    let at = 0;
    box.addEventListener("focus", () => line.setAttribute("aria-live", "polite"));
    box.addEventListener("blur", () => {
      line.removeAttribute("aria-live");
      isMap(chart.spec) ? show(chart, null) : read(chart);
    });
    box.addEventListener("keydown", (event) => {
      const last = chart.plot.data[0].length - 1;
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last, Escape: -1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const left = event.key === "Escape";
      at = left ? 0 : Math.max(0, Math.min(last, to));
      if (isMap(chart.spec)) return show(chart, left ? null : at);
      chart.plot.setCursor(left ? { left: -10, top: -10 } : { left: chart.plot.valToPos(chart.plot.data[0][at], "x"), top: 1 });
    });
  };

  const redraw = () => {
    swatches();
    all.forEach((chart) => { keys(chart); draw(chart); });
  };

  // The legend of a page of several runs: a tap picks a run, a second tap drops it; to point at it shows it for a moment.
  const bar = document.querySelector(".runs");
  const pick = () => {
    for (const key of bar.querySelectorAll("[data-pick]")) key.setAttribute("aria-pressed", String(key.dataset.pick === "all" ? !picked.size : picked.has(+key.dataset.pick)));
    for (const box of document.querySelectorAll("[data-run]")) box.hidden = picked.size > 0 && !picked.has(+box.dataset.run);
    for (const chart of all.values()) if (byRun(chart.spec)) {
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
  swatches();
  if (bar) bar.querySelector("[data-pick=all]").setAttribute("aria-pressed", "true");
  for (const figure of document.querySelectorAll("figure.chart")) {
    const chart = { figure, spec: JSON.parse(figure.querySelector("script").textContent), plot: null, width: 0, whole: false, hidden: new Set() };
    all.set(figure.id, chart);
    chart.spec.series.forEach((each) => each.kind ||= byRun(chart.spec) ? "" : each.name);
    tools(chart);
    keys(chart);
    draw(chart);
    steer(chart);
    new ResizeObserver(() => {
      const width = figure.querySelector(".plot").clientWidth;
      if (width > 0 && Math.abs(width - chart.width) > 1 && !root.classList.contains("paper")) draw(chart);
    }).observe(figure.querySelector(".plot"));
  }
  root.classList.add("drawn");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("beforeprint", () => { root.classList.add("paper"); redraw(); });
  addEventListener("afterprint", () => { root.classList.remove("paper"); redraw(); });
  globalThis.reportCharts = all;
})();
