// The two plots below the panels: how often each count occurs, and the rate against time.

import { inWords } from "./words.js";

/** Prepares a canvas for drawing in page pixels; returns its context and size. */
function prepared(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
  }
  const plain = canvas.getContext("2d");
  plain.setTransform(ratio, 0, 0, ratio, 0, 0);
  plain.clearRect(0, 0, width, height);
  plain.font = "11px system-ui, sans-serif";
  return { plain, width, height };
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const MOST_BINS = 64;

/** Histogram of counts up to the saturation value; the last bin holds the saturated pixels alone. */
export function drawHistogram(canvas, counts, saturation) {
  const { plain, width, height } = prepared(canvas);
  const [left, bottom, top] = [8, 16, 14];
  let most = 1;
  for (const count of counts) if (count < saturation && count > most) most = count;
  const wide = Math.ceil((most + 1) / MOST_BINS); // counts in a bin: whole, so that all are alike
  const bins = Math.ceil((most + 1) / wide);
  const numbers = new Uint32Array(bins + 1);
  for (const count of counts) numbers[count >= saturation ? bins : Math.floor(count / wide)] += 1;
  const tallest = Math.max(1, ...numbers);
  const step = (width - 2 * left) / (bins + 2);
  const tall = (number) => (number ? Math.max(1, (Math.log1p(number) / Math.log1p(tallest)) * (height - bottom - top)) : 0);
  for (let bin = 0; bin <= bins; bin++) {
    plain.fillStyle = bin === bins ? colour("--warn") : colour("--accent");
    const x = left + (bin === bins ? bins + 1 : bin) * step;
    plain.fillRect(x, height - bottom - tall(numbers[bin]), Math.max(1, step - 1), tall(numbers[bin]));
  }
  plain.fillStyle = colour("--quiet");
  plain.fillText("0", left, height - 4);
  plain.textAlign = "right";
  plain.fillText(`${inWords(most)} counts`, left + bins * step, height - 4);
  const share = (100 * numbers[bins]) / Math.max(1, counts.length);
  plain.fillText(`saturated ${share.toFixed(share < 1 ? 2 : 0)} %`, width - left, 11);
  plain.textAlign = "left";
}

/** Rates against time: the whole field, and the region drawn into the panels, if there is one. */
export class Trace {
  constructor(canvas, seconds = 20) {
    this.canvas = canvas;
    this.seconds = seconds;
    this.points = [];
  }

  add(time, field, region) {
    this.points.push({ time, field, region });
    while (this.points.length && this.points[0].time < time - this.seconds) this.points.shift();
  }

  clear() {
    this.points = [];
  }

  draw() {
    const { plain, width, height } = prepared(this.canvas);
    if (this.points.length < 2) return;
    const [bottom, top] = [16, 16];
    const now = this.points.at(-1).time;
    const values = this.points.flatMap(({ field, region }) => (region === null ? [field] : [field, region]));
    let [low, high] = [Math.min(...values), Math.max(...values)];
    const slack = 0.05 * (high - low) || 0.05 * high || 1;
    [low, high] = [low - slack, high + slack];
    const x = (time) => width - 8 - ((now - time) / this.seconds) * (width - 16);
    const y = (value) => height - bottom - ((value - low) / (high - low)) * (height - bottom - top);
    for (const [name, of] of [["--accent", "field"], ["--region", "region"]]) {
      plain.strokeStyle = colour(name);
      plain.lineWidth = 1.5;
      plain.beginPath();
      let on = false;
      for (const point of this.points) {
        if (point[of] === null) on = false;
        else if (on) plain.lineTo(x(point.time), y(point[of]));
        else {
          plain.moveTo(x(point.time), y(point[of]));
          on = true;
        }
      }
      plain.stroke();
    }
    plain.fillStyle = colour("--quiet");
    const digits = Math.min(7, Math.max(3, 2 + Math.ceil(Math.log10(Math.abs(high) / (high - low))))); // tell them apart
    plain.fillText(`${inWords(high, digits)} counts/s`, 8, 11);
    plain.fillText(inWords(low, digits), 8, height - 4);
    plain.textAlign = "right";
    plain.fillText(`last ${this.seconds} s`, width - 8, height - 4);
    plain.textAlign = "left";
  }
}
