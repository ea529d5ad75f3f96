// Numbers as a reader wants them, by the names that Grafana has for units.

const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const DURATIONS = [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200]; // seconds, round in minutes or hours
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

/** About `count` round numbers from `low` to `high`: round in the unit's own way. */
export function ticks(low, high, count, unit) {
  const step = roundStep((high - low) / count, unit, high);
  const found = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index += 1) {
    found.push(index * step);
  }
  return found;
}

function roundStep(rough, unit, high) {
  if (unit === "degree") return [5, 15, 30, 45, 90].find((size) => size >= rough) ?? 180;
  if (unit === "s" && high >= 90) return DURATIONS.find((size) => size >= rough) ?? 86400 * Math.ceil(rough / 86400);
  const binary = (unit === "bytes" || unit === "Bps") && high >= 1;
  const base = binary ? 1024 ** Math.floor(Math.log(high) / Math.log(1024)) : 1;
  const power = 10 ** Math.floor(Math.log10(rough / base));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * power * base).find((size) => size >= rough * 0.999);
}
