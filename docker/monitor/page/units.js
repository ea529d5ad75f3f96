// Numbers as a reader wants them, by the names that Grafana has for units.

const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const DURATIONS = [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 432000, 864000];
const SHORT = ["", "k", "M", "G", "T"];

/** The number with about three digits that count, or with exactly `decimals` behind the point. */
function digits(value, decimals) {
  if (decimals !== undefined) return value.toFixed(decimals);
  const size = Math.abs(value);
  if (size !== 0 && size < 1e-3) return value.toExponential(1).replace("e-", "e−");
  return String(Number(value.toPrecision(size >= 100 ? 4 : 3)));
}

function scaled(value, base, names, decimals) {
  let power = 0;
  while (Math.abs(value) >= base && power < names.length - 1) {
    value /= base;
    power += 1;
  }
  const name = names[power];
  return digits(value, decimals) + (name.length > 1 || name === "B" ? " " + name : name);
}

function duration(seconds, decimals) {
  const size = Math.abs(seconds);
  if (size === 0) return "0 s";
  if (size < 1e-3) return digits(seconds * 1e6, decimals) + " µs";
  if (size < 1) return digits(seconds * 1e3, decimals) + " ms";
  if (size < 90) return digits(seconds, decimals) + " s";
  if (size < 5400) return digits(seconds / 60, decimals) + " min";
  if (size < 172800) return digits(seconds / 3600, decimals) + " h";
  return digits(seconds / 86400, decimals) + " d";
}

/** `value` in the unit, such as format(0.25, "percentunit") -> "25 %". */
export function format(value, unit, decimals) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  switch (unit) {
    case "percentunit":
      return digits(value * 100, decimals) + " %";
    case "s":
      return duration(value, decimals);
    case "bytes":
      return scaled(value, 1024, BYTES, decimals);
    case "Bps":
      return scaled(value, 1024, BYTES, decimals) + "/s";
    case "degree":
      return digits(value, decimals) + "°";
    case "none":
      return digits(value, decimals);
    default:
      return Math.abs(value) >= 1e4 ? scaled(value, 1000, SHORT, decimals) : digits(value, decimals);
  }
}

/** Steps between the marks of an axis, from small to large: round in the unit's own way. */
export function increments(unit) {
  if (unit === "degree") return [5, 15, 30, 45, 90];
  if (unit === "s") return [...decimal(-6, 1, [1, 2, 5]).filter((size) => size < 15), ...DURATIONS];
  if (unit === "bytes" || unit === "Bps") {
    const whole = BYTES.flatMap((_, power) => decimal(0, 2, [1, 2, 5]).map((size) => size * 1024 ** power));
    return [...decimal(-3, -1, [1, 2, 5]), ...whole];
  }
  return decimal(-9, 12, [1, 2, 2.5, 5]);
}

/** `factors` times each power of ten from one exponent to the other. */
function decimal(from, to, factors) {
  const powers = Array.from({ length: to - from + 1 }, (_, index) => from + index);
  return powers.flatMap((power) => factors.map((factor) => Number(`${factor}e${power}`)));
}
