// The page: what arrives is drawn once for each picture of the screen; what the user does is ordered or drawn at once.

import { COLOURS, colourTable } from "./colours.js";
import { Connection } from "./connection.js";
import { Controls, fileName } from "./controls.js";
import { Frequency } from "./frequency.js";
import { PLAYBACK, RECORDED, received, withPlanes } from "./message.js";
import { Panel, hasGraphicsCard } from "./panel.js";
import { Trace, drawHistogram } from "./plots.js";
import { listen } from "./pointing.js";
import { savePicture } from "./snapshot.js";
import { inWords } from "./words.js";

const SLOW_PERIOD = 100; // ms between two looks at what changes faster than it can be read
// Images/s that are asked for: of those recorded some more than the usual screen shows, so that none of its pictures
// goes without a new one.
const [RECORDED_RATE, RESTORED_RATE] = [72, 30];
const LOWEST = 0.005;
const HIGHEST = 0.998;
const DECADES = 1e3; // that logarithmic colours span at most

const byId = (id) => document.getElementById(id);
const chosen = new URLSearchParams(location.search).get("draw"); // for tests: "webgl" or "canvas"
const webgl = chosen === null ? hasGraphicsCard() : chosen === "webgl";
const panels = ["recorded", "restored", "uncertainty"].map((id) => new Panel(byId(id), { webgl }));
const places = panels.map(({ canvas }) => {
  const [frame, mark] = ["frame", "mark"].map((name) => Object.assign(document.createElement("div"), { className: name, hidden: true }));
  canvas.after(frame, mark);
  return { frame, mark };
});
const trace = new Trace(byId("trace"));
const dark = matchMedia("(prefers-color-scheme: dark)");
const view = { x: 0.5, y: 0.5, zoom: 1 };
const tone = { low: 1, high: 1, logarithmic: false, table: colourTable("viridis"), empty: [0, 0, 0], set: false };
const newest = [null, null]; // the newest image of each kind
const waiting = [null, null]; // arrived and not drawn yet
const shown = [new Frequency(), new Frequency()]; // of each kind
const fresh = new Set(); // panels with a picture that is not drawn yet
let cursor = null; // a place in the field
let region = null; // {x, y, width, height}, shares of the field
let state = null;
let network = null; // what the restored picture was restored by
let slowly = null; // the timer of what is drawn slowly
let dirty = true; // all is to be drawn anew

const connection = new Connection({
  open: () => look(),
  lost: (ended) => controls.lost(ended),
  state(now, page) {
    state = now;
    network ??= now.display.network;
    if (newest[1] && !(now.display.restoring && now.display.network === network)) forgetRestored();
    controls.show(now, page, shown.map((each) => each.rate()));
  },
  image(buffer) {
    const image = received(buffer);
    const overtaken = waiting[image.kind];
    if (overtaken) connection.say({ do: "drawn", serial: overtaken.serial, drawn: false });
    waiting[image.kind] = image;
  },
});

const controls = new Controls(connection, {
  contrast: () => setContrast(),
  snapshot: () => savePicture(panels, view, tone, legend()),
  tone(changes) {
    const { colours, ...rest } = changes;
    if (colours) tone.table = colourTable(colours);
    Object.assign(tone, rest);
    dirty = true;
  },
  zoom: (factor) => zoom(factor),
  move: (x, y) => move(x, y),
  reset() {
    Object.assign(view, { x: 0.5, y: 0.5, zoom: 1 });
    dirty = true;
  },
  clearRegion() {
    region = null;
    trace.clear();
    dirty = true;
  },
  forget() {
    newest[0] = newest[1] = null;
    panels.forEach((panel) => panel.clear());
    trace.clear();
    dirty = true;
  },
});

function drawAll() {
  dirty = true;
}

/** Shows no restored picture until the next one: nothing is restored now, or by another network. */
function forgetRestored() {
  newest[1] = null;
  panels.slice(1).forEach((panel) => panel.clear());
  dirty = true;
}

/** Says how fast images are wanted: none while nobody sees the page. */
function look() {
  connection.say({ do: "look", hidden: document.hidden, recorded: RECORDED_RATE, restored: RESTORED_RATE });
  dirty = true;
}

function legend() {
  const image = newest[RECORDED];
  const parts = [
    newest[1] ? `Restored by a network: ${fileName(network)}` : "",
    state?.camera.name,
    image ? `to image ${image.last.toLocaleString("en")}, N = ${image.cycles.toLocaleString("en")}` : "",
    `colours from ${inWords(tone.low)} to ${inWords(tone.high)} counts/s`,
  ];
  return parts.filter(Boolean).join(" · ");
}

function frame() {
  const images = waiting.filter(Boolean);
  waiting.fill(null);
  images.forEach((image) => take(withPlanes(image)));
  draw();
  for (const { serial, kind, hostTime } of images) {
    shown[kind].note();
    connection.say({ do: "drawn", serial, drawn: true, kind, age: Date.now() / 1000 - hostTime });
  }
  requestAnimationFrame(frame);
}

function take(image) {
  newest[image.kind] = image;
  if (image.kind === RECORDED) {
    show(panels[0], image.rate, image, image);
    if (!tone.set) setContrast();
    trace.add(performance.now() / 1000, mean(image.rate, image, null), region && mean(image.rate, image, region));
  } else if (newest[RECORDED]) {
    network = state?.display.network ?? null;
    show(panels[1], image.rate, image, newest[RECORDED]);
    show(panels[2], image.uncertainty, image, newest[RECORDED]);
  }
}

/** Loads a picture into a panel; `native` has the rows and columns of the sensor. */
function show(panel, values, { rows, columns }, native) {
  const before = panel.picture;
  dirty ||= before?.nativeRows !== native.rows || before.nativeColumns !== native.columns;
  panel.load(values, rows, columns, native.rows, native.columns);
  fresh.add(panel);
}

/** Mean of the values in a region of the picture, or in all of it; values that are not finite are left out. */
function mean(values, { rows, columns }, part) {
  const { x, y, width, height } = part ?? { x: 0, y: 0, width: 1, height: 1 };
  let [sum, number] = [0, 0];
  for (let row = Math.floor(y * rows); row < Math.min(rows, Math.ceil((y + height) * rows)); row++) {
    for (let column = Math.floor(x * columns); column < Math.min(columns, Math.ceil((x + width) * columns)); column++) {
      const value = values[row * columns + column];
      if (Number.isFinite(value)) {
        sum += value;
        number += 1;
      }
    }
  }
  return number ? sum / number : null;
}

/** Limits that hold from now on: percentiles of what is seen now, the restored picture if there is one. */
function setContrast() {
  const values = Float32Array.from((newest[1] ?? newest[0])?.rate ?? []).filter(Number.isFinite).sort();
  if (!values.length) return;
  const at = (share) => values[Math.round(share * (values.length - 1))];
  tone.high = Math.max(at(HIGHEST), 1e-3);
  tone.low = tone.logarithmic ? Math.max(at(LOWEST), tone.high / DECADES) : Math.min(at(LOWEST), 0.99 * tone.high);
  tone.set = true;
  controls.showTone(tone);
  dirty = true;
}

/** Draws what is new: each panel with its own picture, and all of the page where more than pictures changed. */
function draw() {
  if (!dirty && !fresh.size) return;
  if (dirty) {
    tone.empty = dark.matches ? [10, 13, 18] : [228, 231, 236];
    panels.forEach((panel) => fresh.add(panel));
    drawScaleBar();
    showPlaces();
  }
  fresh.forEach((panel) => panel.draw(view, tone));
  fresh.clear();
  dirty = false;
  showCursor();
  slowly ??= setTimeout(drawSlowly, SLOW_PERIOD);
}

function drawSlowly() {
  slowly = null;
  const image = newest[RECORDED];
  if (image) drawHistogram(byId("histogram"), image.counts, state ? state.settings.saturation_value * image.images : Infinity);
  trace.draw();
  write("by", legend());
}

/** Writes a text where it is not there already: the page is laid out anew for each that is written. */
function write(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

/** A bar of a round number of native pixels below the first panel. */
function drawScaleBar() {
  const canvas = byId("scale-bar");
  const ratio = window.devicePixelRatio || 1;
  Object.assign(canvas, { width: canvas.clientWidth * ratio, height: canvas.clientHeight * ratio });
  if (!panels[0].picture) return;
  const plain = canvas.getContext("2d");
  const size = panels[0].magnification(view);
  const pixels = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((number) => number * size > 60 * ratio) ?? 500;
  plain.fillStyle = getComputedStyle(document.body).color;
  plain.fillRect(2, canvas.height / 2, pixels * size, 3 * ratio);
  plain.font = `${12 * ratio}px system-ui, sans-serif`;
  plain.textBaseline = "middle";
  plain.fillText(`${pixels} native pixel${pixels > 1 ? "s" : ""}`, pixels * size + 10 * ratio, canvas.height / 2);
}

/** A frame around the region, and a mark at the cursor, in each panel. */
function showPlaces() {
  panels.forEach((panel, index) => {
    const { frame, mark } = places[index];
    const picture = panel.picture;
    frame.hidden = !(picture && region);
    mark.hidden = !(picture && cursor);
    if (!frame.hidden) put(panel, frame, region);
    if (!mark.hidden) put(panel, mark, { ...cursor, width: 0, height: 0 });
  });
}

function put(panel, element, { x, y, width, height }) {
  const { canvas } = panel;
  const [left, top, across, down] = panel.part(view);
  const [scaleX, scaleY] = [canvas.clientWidth / across, canvas.clientHeight / down];
  Object.assign(element.style, {
    left: `${canvas.offsetLeft + (x - left) * scaleX}px`,
    top: `${canvas.offsetTop + (y - top) * scaleY}px`,
    width: `${width * scaleX}px`,
    height: `${height * scaleY}px`,
  });
}

function showCursor() {
  const values = cursor ? panels.map((panel) => panel.value(cursor)) : [null, null, null];
  values.forEach((value, index) => {
    write(`value${index}`, value === null ? "" : `${inWords(value)} counts/s`);
  });
  const image = newest[RECORDED];
  if (values[0] === null || !image) {
    write("cursor", "");
    return;
  }
  const [row, column] = [Math.floor(cursor.y * image.rows), Math.floor(cursor.x * image.columns)];
  const counts = image.counts[row * image.columns + column];
  const restored = values[1] === null ? "" : `, restored ${inWords(values[1])} ± ${inWords(values[2])} counts/s`;
  write("cursor", `row ${row}, column ${column}: ${inWords(counts)} counts, ${inWords(values[0])} counts/s${restored}`);
}

function zoom(factor, place = { x: view.x, y: view.y }) {
  const before = view.zoom;
  view.zoom = Math.min(Math.max(view.zoom * factor, 0.5), 64);
  const share = 1 - before / view.zoom;
  view.x += (place.x - view.x) * share;
  view.y += (place.y - view.y) * share;
  dirty = true;
}

function move(x, y) {
  view.x = Math.min(Math.max(view.x + x / view.zoom, 0), 1);
  view.y = Math.min(Math.max(view.y + y / view.zoom, 0), 1);
  dirty = true;
}

function shift(x, y) {
  view.x += x;
  view.y += y;
  dirty = true;
}

/** Draws the region between two places of the field. */
function drawRegion(from, to) {
  const [x, y] = [Math.max(0, Math.min(from.x, to.x)), Math.max(0, Math.min(from.y, to.y))];
  const [right, bottom] = [Math.min(1, Math.max(from.x, to.x)), Math.min(1, Math.max(from.y, to.y))];
  region = right > x && bottom > y ? { x, y, width: right - x, height: bottom - y } : null;
  dirty = true;
}

for (const panel of panels) {
  listen(panel, view, {
    draws: (event) => event.shiftKey || controls.draws,
    draw: drawRegion,
    drawn: () => controls.draw(false),
    zoom,
    shift,
    point(place) {
      cursor = place;
      dirty = true;
    },
  });
  panel.canvas.addEventListener("webglcontextrestored", drawAll);
}

document.addEventListener("visibilitychange", look);
dark.addEventListener("change", drawAll);
const sizes = new ResizeObserver(drawAll);
[...panels.map(({ canvas }) => canvas), byId("scale-bar")].forEach((canvas) => sizes.observe(canvas));
controls.showColours(COLOURS);
requestAnimationFrame(frame);

/** For tests of this page in a browser. */
window.spadsr = { panels, view, tone, newest, connection, trace, PLAYBACK };
