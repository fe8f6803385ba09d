// The binary message in which an image arrives; docs/live.md describes it.

const HEADER_BYTES = 64;
export const VERSION = 1;
export const RECORDED = 0;
export const RESTORED = 1;
export const SATURATED = 1;
export const PLAYBACK = 2;

const HALF = halfTable();

/** What the header of the message in `buffer` says; `withPlanes` adds the pixels. */
export function received(buffer) {
  const view = new DataView(buffer);
  const magic = String.fromCharCode(...new Uint8Array(buffer, 0, 4));
  if (magic !== "SPAD" || view.getUint8(4) !== VERSION) {
    throw new Error(`message of version ${view.getUint8(4)}; this page knows ${VERSION}: load it anew`);
  }
  return {
    buffer,
    kind: view.getUint8(5),
    stored: view.getUint8(6),
    flags: view.getUint8(7),
    serial: Number(view.getBigUint64(8, true)),
    last: Number(view.getBigUint64(16, true)),
    hostTime: view.getFloat64(24, true),
    rows: view.getUint32(32, true),
    columns: view.getUint32(36, true),
    images: view.getUint32(40, true),
    cycles: view.getUint32(44, true),
    unit: view.getFloat64(48, true),
    milliseconds: view.getFloat64(56, true),
  };
}

/** The image with its planes as Float32Array: counts and rate, or rate and uncertainty; rates in counts/s. */
export function withPlanes({ buffer, ...image }) {
  const pixels = image.rows * image.columns;
  const rate = (at) => rates(new Uint16Array(buffer, at, pixels), image.unit);
  if (image.kind !== RECORDED) {
    return { ...image, rate: rate(HEADER_BYTES), uncertainty: rate(HEADER_BYTES + 2 * pixels) };
  }
  const Stored = [Uint16Array, Uint32Array][image.stored];
  const counts = new Float32Array(new Stored(buffer, HEADER_BYTES, pixels));
  return { ...image, counts, rate: rate(HEADER_BYTES + Stored.BYTES_PER_ELEMENT * pixels) };
}

function rates(halves, unit) {
  const values = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) values[i] = HALF[halves[i]] * unit;
  return values;
}

/** The value of each of the 65,536 numbers of IEEE 754 binary16. */
function halfTable() {
  const table = new Float32Array(1 << 16);
  for (let bits = 0; bits < 1 << 16; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 0x1f;
    const fraction = bits & 0x3ff;
    if (exponent === 0) table[bits] = sign * fraction * 2 ** -24;
    else if (exponent === 31) table[bits] = fraction ? NaN : sign * Infinity;
    else table[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return table;
}
