// The controls: they show what the camera has applied, and offer only what it says it has.

import { inBytes, inSeconds, inWords, secondsFrom } from "./words.js";

const byId = (id) => document.getElementById(id);
const TIMES = ["count_time", "frame_time"];
const SETTINGS = ["count_time", "cycles", "counter_bits", "frame_time"];

export class Controls {
  /** `act` does what needs no server: tone, zoom, move, reset, contrast, snapshot, clearRegion, forget. */
  constructor(connection, act) {
    this.connection = connection;
    this.act = act;
    this.editing = new Set();
    this.draws = false; // whether the next drag draws a region
    for (const name of SETTINGS) this.onChange(name, () => this.expose());
    this.onChange("images", () => this.order("sum", { images: Number(byId("images").value) }));
    this.onChange("scale", () => this.order("restore", { scale: Number(byId("scale").value) }));
    this.onChange("weights", () => this.order("restore", { weights: byId("weights").value }));
    this.onChange("subtract", () => this.order("correct", { subtract: byId("subtract").checked }));
    this.onChange("mask", () => this.order("correct", { mask: byId("mask").checked }));
    this.onChange("recordings", () => this.play());
    this.onChange("low", () => this.limits());
    this.onChange("high", () => this.limits());
    byId("time").addEventListener("input", () => this.seek());
    byId("resume").addEventListener("click", () => (this.state.playback?.playing ? this.seek() : this.order("resume")));
    byId("colours").addEventListener("change", () => act.tone({ colours: byId("colours").value }));
    byId("logarithmic").addEventListener("change", () => {
      act.tone({ logarithmic: byId("logarithmic").checked });
      act.contrast();
    });
    byId("contrast").addEventListener("click", () => act.contrast());
    byId("run").addEventListener("click", () => this.run());
    byId("snapshot").addEventListener("click", () => this.snapshot());
    byId("dark").addEventListener("click", () => this.order("dark"));
    byId("find").addEventListener("click", () => this.order("find_hot"));
    byId("record").addEventListener("click", () => this.record());
    byId("closer").addEventListener("click", () => act.zoom(1.25));
    byId("further").addEventListener("click", () => act.zoom(0.8));
    byId("all").addEventListener("click", () => act.reset());
    byId("draw").addEventListener("click", () => this.draw(!this.draws));
    document.addEventListener("keydown", (event) => this.key(event));
    byId("side").addEventListener("submit", (event) => event.preventDefault());
  }

  onChange(id, act) {
    const input = byId(id);
    for (const began of ["focus", "input"]) input.addEventListener(began, () => this.editing.add(id));
    input.addEventListener("blur", () => this.editing.delete(id));
    input.addEventListener("change", () => {
      this.editing.delete(id);
      act();
    });
  }

  /** Orders something, and says why not where it is refused. */
  async order(name, what = {}) {
    byId("refused").textContent = "";
    try {
      return await this.connection.order(name, what);
    } catch (error) {
      byId("refused").textContent = error.message;
      return null;
    }
  }

  expose() {
    const asked = {};
    for (const name of SETTINGS) {
      const text = byId(name).value.trim();
      if (text !== "") asked[name] = TIMES.includes(name) ? secondsFrom(text) : Number(text);
      if (Number.isNaN(asked[name])) {
        byId("refused").textContent = `${text}: expected a number${TIMES.includes(name) ? " with a unit, as 10.4 us" : ""}`;
        return;
      }
    }
    this.order("expose", asked);
  }

  limits() {
    const [low, high] = ["low", "high"].map((id) => Number(byId(id).value));
    if (high > low) this.act.tone({ low, high });
    else byId("refused").textContent = `from ${low} to ${high}: expected a smaller and a larger rate`;
  }

  /** Makes the next drag draw a region, or not. */
  draw(draws) {
    this.draws = draws;
    byId("draw").classList.toggle("on", draws);
    byId("draw").setAttribute("aria-pressed", draws);
  }

  run() {
    this.order(this.state?.camera.running ? "stop" : "start");
  }

  async snapshot() {
    this.act.snapshot();
    const taken = await this.order("snapshot");
    if (taken?.name) save(`snapshot/${taken.name}`, taken.name);
  }

  record() {
    if (this.state?.recording?.running) this.order("end");
    else {
      const text = byId("seconds").value.trim();
      const seconds = text === "" ? null : secondsFrom(text);
      if (Number.isNaN(seconds)) byId("refused").textContent = `${text}: expected a number of seconds`;
      else this.order("record", { name: byId("name").value.trim(), seconds, kind: Number(byId("kind").value) });
    }
  }

  /** Shows the image at the time bar; while that is on its way, only the newest place of the bar waits. */
  async seek() {
    this.sought = Number(byId("time").value);
    if (this.seeking) return;
    this.seeking = true;
    while (this.sought !== null) {
      const image = this.sought;
      this.sought = null;
      await this.order("seek", { image });
    }
    this.seeking = false;
  }

  async play() {
    this.act.forget();
    await this.order("play", { name: byId("recordings").value });
  }

  key(event) {
    if (event.target.matches("input:not([type=checkbox]):not([type=range]), select") || event.ctrlKey || event.metaKey || event.altKey) return;
    const { act } = this;
    const step = 0.1;
    const keys = {
      " ": () => this.run(),
      s: () => this.snapshot(),
      r: () => this.record(),
      a: () => act.contrast(),
      l: () => byId("logarithmic").click(),
      c: () => this.nextColours(),
      "+": () => act.zoom(1.25),
      "-": () => act.zoom(0.8),
      0: () => act.reset(),
      ArrowLeft: () => act.move(-step, 0),
      ArrowRight: () => act.move(step, 0),
      ArrowUp: () => act.move(0, -step),
      ArrowDown: () => act.move(0, step),
      Escape: () => {
        this.draw(false);
        act.clearRegion();
      },
    };
    if (!keys[event.key] || (event.key === " " && event.target.matches("button"))) return;
    event.preventDefault();
    keys[event.key]();
  }

  nextColours() {
    const select = byId("colours");
    select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
    select.dispatchEvent(new Event("change"));
  }

  showColours(names) {
    byId("colours").replaceChildren(...names.map((name) => new Option(name, name, name === "viridis", name === "viridis")));
  }

  showTone({ low, high }) {
    byId("low").value = Number(low.toPrecision(3));
    byId("high").value = Number(high.toPrecision(3));
  }

  /** Says that the server ended, or does not answer. */
  lost(ended) {
    const line = ended ? "spadsr has ended; start it again, and open the address that it prints" : "no connection to spadsr; it is tried again";
    banners([{ bad: true, line }]);
  }

  /** Shows the state of the server, and this page's part in it; `shown` are the pictures a second of each kind. */
  show(state, page, shown) {
    this.state = state;
    byId("camera").textContent = `${state.camera.name}: ${state.camera.shape.join(" x ")} pixels`;
    numbers(state, page, shown);
    this.showSettings(state);
    this.showDisplay(state);
    this.showRecording(state);
    this.showControl(page);
    const lines = state.banners.map((banner) => ({ ...banner }));
    banners(lines, (name) => this.order(name));
    for (const input of byId("side").elements) {
      const mine = ["colours", "low", "high", "logarithmic", "contrast", "snapshot"].includes(input.id);
      if (!mine && input.tagName !== "FIELDSET") input.disabled = !page.controls || (state.choices[input.id] === null && SETTINGS.includes(input.id));
    }
  }

  showSettings({ settings, choices, camera }) {
    for (const name of SETTINGS) {
      const choice = choices[name];
      const input = this.offered(name, choice?.values ?? []);
      input.title = choice ? inChoice(choice, TIMES.includes(name)) : "this camera does not let it be chosen";
      if (this.editing.has(name)) continue;
      const value = settings[name === "frame_time" ? "asked_frame_time" : name];
      input.value = value === null ? "" : TIMES.includes(name) ? inSeconds(value) : value;
    }
    byId("frame_time").placeholder = settings.frame_time ? inSeconds(settings.frame_time) : "shortest";
    byId("applied").textContent = `applied: ${inSeconds(settings.count_time)} x ${settings.cycles}, ${settings.counter_bits} bit${settings.counter_bits > 1 ? "s" : ""}`;
    byId("run").textContent = camera.running ? "Stop" : "Start";
    byId("run").classList.toggle("on", !camera.running);
  }

  /** What a setting is chosen with: a list where the camera has few values for it, else a text. */
  offered(name, values) {
    const input = byId(name);
    const list = values.join("/");
    if ((input.dataset.list ?? "") === list) return input;
    const said = TIMES.includes(name) ? inSeconds : String;
    const other = document.createElement(list ? "select" : "input");
    Object.assign(other, { id: name }).dataset.list = list;
    if (list) other.append(...values.map((value) => new Option(said(value))));
    input.replaceWith(other);
    this.onChange(name, () => this.expose());
    return other;
  }

  showDisplay({ display }) {
    if (!this.editing.has("images")) byId("images").value = display.images;
    if (!this.editing.has("scale")) byId("scale").value = display.scale;
    const weights = byId("weights");
    if (weights.options.length !== display.networks.length) {
      weights.replaceChildren(...display.networks.map((name) => new Option(name === "none" ? "none (raw)" : fileName(name), name)));
    }
    if (!this.editing.has("weights")) weights.value = display.network;
    byId("subtract").checked = display.subtract;
    byId("mask").checked = display.mask;
    const told = [];
    if (display.dark_images) told.push(`dark of ${display.dark_images} images`);
    if (display.masked) told.push(`${display.masked} hot pixel${display.masked > 1 ? "s" : ""}`);
    else if (display.mask) told.push("no hot pixels");
    byId("corrections").textContent = told.join(", ");
  }

  showRecording({ recording, recordings, playback, bytes_per_second: bytes }) {
    const button = byId("record");
    const running = recording?.running ?? false;
    button.textContent = running ? "End" : "Record";
    button.classList.toggle("recording", running);
    const seconds = secondsFrom(byId("seconds").value);
    byId("size").textContent = running
      ? `${recording.images.toLocaleString("en")} images, ${recording.lost} lost`
      : seconds > 0 ? `about ${inBytes(bytes * seconds)}` : `${inBytes(bytes)}/s`;
    const select = byId("recordings");
    if (select.dataset.names !== recordings.join("/")) {
      select.dataset.names = recordings.join("/");
      select.replaceChildren(new Option("the camera", ""), ...recordings.map((name) => new Option(name, name)));
    }
    if (!this.editing.has("recordings")) select.value = playback?.name ?? "";
    const bar = byId("time");
    byId("player").hidden = !playback;
    byId("place").textContent = playback ? `${(playback.image + 1).toLocaleString("en")} of ${playback.images.toLocaleString("en")}` : "";
    if (playback) {
      byId("resume").textContent = playback.playing ? "Pause" : "Play";
      bar.max = Math.max(0, playback.images - 1);
      if (playback.playing) bar.value = playback.image;
    }
  }

  showControl({ controls, pages }) {
    const place = byId("control");
    const others = pages > 1 ? `${pages} pages look on` : "";
    if (place.dataset.said === `${controls} ${others}`) return;
    place.dataset.said = `${controls} ${others}`;
    place.replaceChildren(others);
    if (!controls) {
      const button = Object.assign(document.createElement("button"), { textContent: "Take control", id: "take" });
      button.addEventListener("click", () => this.order("control"));
      place.replaceChildren(`another of ${pages} pages controls`, button);
    }
  }
}

/** The name of a file without its folder and ending. */
export function fileName(path) {
  return path.split(/[\\/]/).pop().replace(/\.safetensors$/, "");
}

/** The numbers at the top: what came in, what was written, restored and drawn, and that they add up. */
function numbers(state, page, shown) {
  const { acquired, restored, recording, disk } = state;
  const whole = (value) => Math.round(value).toLocaleString("en");
  const rows = [
    ["acquired", `${whole(acquired.images)} (${inWords(acquired.rate)}/s)`],
    ["lost", acquired.unknown ? `${whole(acquired.lost)} + ${acquired.unknown} gaps` : whole(acquired.lost)],
    ["shown", `${inWords(shown[0])}/s`],
    ["restored", `${whole(restored.images)} (${inWords(restored.rate)}/s)`],
    ["skipped", whole(restored.skipped)],
    ["restoring takes", restored.milliseconds ? `${inWords(restored.milliseconds)} ms` : "–"],
    ["drawn", `${whole(page.drawn)} of ${whole(page.sent)}, ${whole(page.dropped)} dropped`],
    ["written", recording ? `${whole(recording.images)} of ${whole(recording.acquired)}, ${whole(recording.lost)} lost` : "–"],
    ["disk", `${inBytes(disk)} left`],
  ];
  byId("numbers").replaceChildren(
    ...rows.map(([name, value]) => {
      const pair = document.createElement("div");
      pair.append(Object.assign(document.createElement("dt"), { textContent: name }));
      pair.append(Object.assign(document.createElement("dd"), { textContent: value, id: `n-${name.replace(" ", "-")}` }));
      return pair;
    }),
  );
}

let shownBanners = "";

function banners(lines, order) {
  const said = JSON.stringify(lines);
  if (said === shownBanners) return;
  shownBanners = said;
  byId("banners").replaceChildren(
    ...lines.map(({ line, bad, action }) => {
      const row = Object.assign(document.createElement("p"), { textContent: line, className: bad ? "bad" : "" });
      if (action && order) {
        const button = Object.assign(document.createElement("button"), { textContent: action.text, id: action.name });
        button.addEventListener("click", () => order(action.name));
        row.append(button);
      }
      return row;
    }),
  );
}

function inChoice({ values, low, high }, time) {
  const said = time ? inSeconds : String;
  return values ? `one of ${values.map(said).join(", ")}` : `${said(low)} to ${said(high)}`;
}

function save(address, name) {
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}
