// What a reader points at, or moves to with keys: its values on a card, and in words.
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
    row.append(swatchOf(each), each.run === null ? each.name : nameOf(each.run), number);
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

const images = JSON.parse(document.querySelector("#images")?.textContent ?? "[]");
const show = (chart, at) => {
  const { plot, spec, figure } = chart;
  if (at === null) return cardOf(plot, false);
  const card = cardOf(plot, true);
  const row = spec.rows[at], point = spec.points[row.number][row.k], name = document.createElement("span");
  name.textContent = point.name;
  card.replaceChildren(name);
  if (point.image !== undefined) {
    const image = new Image();
    image.src = images[point.image];
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
