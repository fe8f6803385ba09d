// Numbers in words.

/** A number of that many digits with thousands, millions and so on as k, M, G. */
export function inWords(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return "∞";
  const size = Math.abs(value);
  for (const [least, unit] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (size >= least) return `${trimmed(value / (unit === "k" ? 1e3 : least), digits)} ${unit}`;
  }
  return trimmed(value, digits);
}

/** Bytes as kB, MB, GB. */
export function inBytes(value) {
  for (const [least, unit] of [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) {
    if (value >= least) return `${trimmed(value / least)} ${unit}`;
  }
  return `${Math.round(value)} bytes`;
}

function trimmed(value, digits = 3) {
  return String(Number(value.toPrecision(digits)));
}

const PREFIXES = [["", 1], ["m", 1e-3], ["u", 1e-6], ["n", 1e-9]];

/** Seconds with a prefix, as 10.4 us. */
export function inSeconds(value) {
  if (!value) return "0 s";
  for (const [prefix, size] of PREFIXES) if (value >= size) return `${Number((value / size).toPrecision(4))} ${prefix}s`;
  return `${Number((value / 1e-9).toPrecision(4))} ns`;
}

/** The seconds that a text such as "10.4 us", "10.4 µs", "5 s" or "1e-5" says; NaN where it says none. */
export function secondsFrom(text) {
  const parts = /^\s*([0-9.eE+-]+)\s*([munµμ]?)s?\s*$/.exec(text);
  if (!parts) return NaN;
  const size = { "": 1, m: 1e-3, u: 1e-6, "µ": 1e-6, "μ": 1e-6, n: 1e-9 }[parts[2]];
  return Number(parts[1]) * size;
}
