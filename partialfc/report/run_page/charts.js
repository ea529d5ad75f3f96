// Draws the charts of a report with uPlot, from the JSON that stands in each figure. Asks nothing of a network.
"use strict";
(() => {
  const all = new Map(); // by the id of the figure: {figure, spec, plot, width}
  const root = document.documentElement;
  const variable = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const colourOf = (number) => variable(number < 0 ? "--other" : `--c${number % 10}`);
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
  const rangeOf = (axis, air) => (plot, min, max) => {
    if (min === null || max === null) [min, max] = axis.log ? [0.1, 1] : [0, 1];
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

  const seriesOf = (spec) => {
    const found = [{}], bands = [];
    spec.series.forEach((each, number) => {
      const colour = colourOf(each.colour);
      const line = {
        label: each.name, number, stroke: colour, width: 2, value: each.name,
        points: { show: each.look === "points" || each.x.length < 30 && each.look !== "steps", size: each.look === "points" ? 8 : 6, fill: colour, stroke: colour },
      };
      if (each.dashed) line.dash = [6, 4];
      if (each.look === "steps") line.paths = uPlot.paths.stepped({ align: 1 });
      if (each.look === "points") line.paths = () => null;
      if (each.shade) line.fill = `${colour}2e`;
      found.push(line);
      if (each.low) {
        for (const _ of [0, 1]) found.push({ label: "", number, band: true, stroke: "transparent", width: 0, points: { show: false } });
        if (each.look !== "whiskers") bands.push({ series: [found.length - 1, found.length - 2], fill: `${colour}33` });
      }
    });
    return [found, bands];
  };

  const axisOf = (axis, side) => ({
    label: axis.label, labelSize: 20, labelFont: "12px system-ui, sans-serif", font: "12px system-ui, sans-serif",
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

  const whiskered = (spec) => (plot) => {
    const { ctx } = plot;
    spec.series.forEach((each, number) => {
      if (each.look !== "whiskers" || !each.low || !plot.series.find((series) => series.number === number).show) return;
      ctx.save();
      ctx.strokeStyle = colourOf(each.colour);
      ctx.lineWidth = 2 * devicePixelRatio;
      ctx.beginPath();
      each.x.forEach((value, at) => {
        if (each.low[at] === null || each.high[at] === null) return;
        const x = plot.valToPos(value, "x", true), ends = [each.low[at], each.high[at]].map((end) => plot.valToPos(end, "y", true));
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

  const read = (chart, at) => {
    const { plot, spec, figure } = chart;
    const values = figure.querySelectorAll(".keys b");
    if (isMap(spec)) return;
    spec.series.forEach((each, number) => {
      const column = plot.series.findIndex((series) => series.number === number && !series.band);
      const value = at === null || at === undefined ? null : plot.data[column][at];
      values[number].textContent = short(value, spec.y);
    });
    const there = at === null || at === undefined ? "" : `${spec.x.label} ${short(plot.data[0][at], spec.x)}`;
    const line = figure.querySelector(".reading");
    if (line.textContent !== there) line.textContent = there;
  };

  const keys = (chart) => {
    const box = chart.figure.querySelector(".keys");
    box.replaceChildren(...chart.spec.series.map((each, number) => {
      const key = document.createElement("button"), swatch = document.createElement("i");
      key.type = "button";
      key.setAttribute("aria-pressed", "true");
      swatch.style.borderColor = colourOf(each.colour);
      if (each.dashed) swatch.style.borderTopStyle = "dashed";
      key.append(swatch, each.name, document.createElement("b"));
      key.addEventListener("click", () => {
        const shown = key.getAttribute("aria-pressed") !== "true";
        key.setAttribute("aria-pressed", String(shown));
        chart.plot.batch(() => chart.plot.series.forEach((series, column) => {
          if (column && series.number === number) chart.plot.setSeries(column, { show: shown });
        }));
      });
      return key;
    }));
  };

  const draw = (chart) => {
    const { figure, spec } = chart, box = figure.querySelector(".plot");
    if (chart.plot) chart.plot.destroy();
    const [series, bands] = seriesOf(spec);
    const width = root.classList.contains("paper") ? PAPER : Math.max(box.clientWidth, 200);
    chart.plot = new uPlot({
      width, height: isMap(spec) ? Math.min(width, 460) : Math.min(280, 150 + width / 4), series, bands,
      legend: { show: false },
      scales: {
        x: { time: false, distr: spec.x.log ? 3 : 1, range: rangeOf(spec.x, isMap(spec) || spec.series.some((each) => each.look === "whiskers")) },
        y: { distr: spec.y.log ? 3 : 1, range: rangeOf(spec.y, true) },
      },
      axes: [axisOf(spec.x, "x"), axisOf(spec.y, "y")],
      cursor: {
        drag: { x: !isMap(spec), y: false }, points: { show: !isMap(spec) }, x: !isMap(spec), y: false,
        ...(spec.x.label === "step" ? { sync: { key: "step" } } : {}),
      },
      hooks: { draw: [marked(spec), whiskered(spec)], setCursor: [(plot) => isMap(spec) ? hover(chart) : read(chart, plot.cursor.idx)] },
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
    let card = plot.over.querySelector(".card");
    if (at === null) return card && card.remove();
    if (!card) {
      card = document.createElement("div");
      card.className = "card";
      plot.over.append(card);
    }
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
    box.addEventListener("blur", () => line.removeAttribute("aria-live"));
    box.addEventListener("keydown", (event) => {
      const last = chart.plot.data[0].length - 1;
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last, Escape: -1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const left = event.key === "Escape";
      at = left ? 0 : Math.max(0, Math.min(last, to));
      if (isMap(chart.spec)) return show(chart, left ? null : at);
      chart.plot.setCursor(left ? { left: -10, top: -10 } : { left: chart.plot.valToPos(chart.plot.data[0][at], "x"), top: 1 });
      read(chart, left ? null : at);
    });
  };

  const redraw = () => all.forEach((chart) => { keys(chart); draw(chart); });
  for (const figure of document.querySelectorAll("figure.chart")) {
    const chart = { figure, spec: JSON.parse(figure.querySelector("script").textContent), plot: null, width: 0 };
    all.set(figure.id, chart);
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
