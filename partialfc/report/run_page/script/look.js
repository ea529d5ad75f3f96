// How numbers, colours and dashes look.
const root = document.documentElement;
const variable = (name) => getComputedStyle(root).getPropertyValue(name).trim();
const colourOf = (number) => variable(number < 0 ? "--other" : `--c${number % 8}`);
const DASHES = [[], [6, 4], [2, 3], [9, 3, 2, 3], [14, 4], [14, 4, 2, 4], [14, 4, 2, 4, 2, 4], [4, 2]];
const dashOf = (each) => DASHES[(each.dash + 4 * Math.floor(Math.max(each.run, 0) / 8)) % 8];
const swatchOf = (each, plain) => {
  const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg"), line = document.createElementNS(swatch.namespaceURI, "line");
  swatch.setAttribute("class", "swatch");
  for (const [name, value] of Object.entries({ x1: 0, x2: 26, y1: 4, y2: 4, stroke: plain ? variable("--muted") : colourOf(each.colour), "stroke-width": 3, "stroke-dasharray": dashOf(each).join(" ") }))
    line.setAttribute(name, value);
  swatch.append(line);
  return swatch;
};

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
