// A panel: one picture in counts/s, drawn by WebGL2 on a graphics card, or by the plain canvas without one.

const VERTEX = `#version 300 es
in vec2 corner;
out vec2 at;
void main() {
  at = vec2(corner.x, 1.0 - corner.y);
  gl_Position = vec4(2.0 * corner - 1.0, 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp sampler2D;
uniform sampler2D picture;
uniform sampler2D colours;
uniform vec2 limits;
uniform bool logarithmic;
uniform vec4 part;
uniform vec4 empty;
in vec2 at;
out vec4 colour;
void main() {
  vec2 place = part.xy + at * part.zw;
  if (any(lessThan(place, vec2(0.0))) || any(greaterThanEqual(place, vec2(1.0)))) {
    colour = empty;
    return;
  }
  float value = texelFetch(picture, ivec2(place * vec2(textureSize(picture, 0))), 0).r;
  if (isnan(value)) {
    colour = empty;
    return;
  }
  float share = logarithmic
    ? log(max(value, limits.x) / limits.x) / log(limits.y / limits.x)
    : (value - limits.x) / (limits.y - limits.x);
  colour = texelFetch(colours, ivec2(int(clamp(share, 0.0, 1.0) * 255.0 + 0.5), 0), 0);
}`;

/** What a context need not have: each costs time. */
const PLAIN = { alpha: false, antialias: false, depth: false };
/** Programs that stand in for a graphics card; the plain canvas takes a quarter of their time. */
const NO_CARD = /swiftshader|llvmpipe|softpipe|software|basic render/i;

/** Whether there is a graphics card, and WebGL2 to draw with it. */
export function hasGraphicsCard() {
  const gl = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  const told = gl?.getExtension("WEBGL_debug_renderer_info");
  const name = told ? gl.getParameter(told.UNMASKED_RENDERER_WEBGL) : "";
  gl?.getExtension("WEBGL_lose_context")?.loseContext();
  return gl !== null && !NO_CARD.test(name);
}

/** One picture on a canvas.
 *
 * `view` {x, y, zoom}: the centre of what is seen, as shares of the field, and how many times it is magnified beyond
 * the size that fits. It is shared by all panels, so that they show the same place.
 */
export class Panel {
  constructor(canvas, { webgl }) {
    this.canvas = canvas;
    this.name = canvas.closest("figure").querySelector("figcaption").firstChild.textContent.trim();
    this.picture = null;
    const gl = webgl ? canvas.getContext("webgl2", PLAIN) : null;
    this.painter = gl ? new GlPainter(gl) : new CanvasPainter(canvas);
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.painter = new GlPainter(canvas.getContext("webgl2", PLAIN));
      if (this.picture) this.painter.load(this.picture);
    });
  }

  /** Takes a picture: `values` (rows x columns), and the native pixels that it spans. */
  load(values, rows, columns, nativeRows, nativeColumns) {
    this.picture = { values, rows, columns, nativeRows, nativeColumns };
    this.painter.load(this.picture);
  }

  /** Forgets the picture. */
  clear() {
    this.picture = null;
  }

  /** Draws what `view` shows; `tone` {low, high, logarithmic, table, empty}. */
  draw(view, tone) {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight].map((side) => Math.max(1, Math.round(side * ratio)));
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.painter.draw(this.picture ? this.part(view) : null, tone);
  }

  /** Canvas pixels a native pixel takes. */
  magnification(view) {
    const { nativeRows, nativeColumns } = this.picture;
    return view.zoom * Math.min(this.canvas.width / nativeColumns, this.canvas.height / nativeRows);
  }

  /** What part of the picture the canvas shows: x, y of its corner, width and height, as shares of the field. */
  part(view) {
    const size = this.magnification(view);
    const width = this.canvas.width / (size * this.picture.nativeColumns);
    const height = this.canvas.height / (size * this.picture.nativeRows);
    return [view.x - width / 2, view.y - height / 2, width, height];
  }

  /** The place in the field, as shares, under a place on the page. */
  place(view, clientX, clientY) {
    const box = this.canvas.getBoundingClientRect();
    const [x, y, width, height] = this.part(view);
    return { x: x + (width * (clientX - box.left)) / box.width, y: y + (height * (clientY - box.top)) / box.height };
  }

  /** The value at a place in the field; null outside. */
  value(place) {
    if (!this.picture || !(place.x >= 0 && place.x < 1 && place.y >= 0 && place.y < 1)) return null;
    const { values, rows, columns } = this.picture;
    return values[Math.floor(place.y * rows) * columns + Math.floor(place.x * columns)];
  }
}

class GlPainter {
  constructor(gl) {
    this.gl = gl;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, 0, 1, 0, 0, 1, 1, 1]), gl.STATIC_DRAW);
    const corner = gl.getAttribLocation(program, "corner");
    gl.enableVertexAttribArray(corner);
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
    const uniform = (name) => gl.getUniformLocation(program, name);
    this.uniforms = Object.fromEntries(["limits", "logarithmic", "part", "empty"].map((name) => [name, uniform(name)]));
    gl.uniform1i(uniform("picture"), 0);
    gl.uniform1i(uniform("colours"), 1);
    this.textures = [this.texture(0), this.texture(1)];
    this.table = null;
  }

  texture(unit) {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    for (const [name, value] of [["MIN_FILTER", "NEAREST"], ["MAG_FILTER", "NEAREST"], ["WRAP_S", "CLAMP_TO_EDGE"], ["WRAP_T", "CLAMP_TO_EDGE"]]) {
      gl.texParameteri(gl.TEXTURE_2D, gl[`TEXTURE_${name}`], gl[value]);
    }
    return texture;
  }

  load({ values, rows, columns }) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R32F, columns, rows, 0, gl.RED, gl.FLOAT, values);
  }

  draw(part, tone) {
    const { gl, uniforms } = this;
    gl.viewport(0, 0, gl.canvas.width, gl.canvas.height);
    if (!part) {
      gl.clearColor(...tone.empty.map((part) => part / 255), 1);
      gl.clear(gl.COLOR_BUFFER_BIT);
      return;
    }
    if (this.table !== tone.table) {
      gl.activeTexture(gl.TEXTURE1);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, tone.table);
      this.table = tone.table;
    }
    gl.uniform2f(uniforms.limits, tone.low, tone.high);
    gl.uniform1i(uniforms.logarithmic, tone.logarithmic);
    gl.uniform4f(uniforms.part, ...part);
    gl.uniform4f(uniforms.empty, ...tone.empty.map((part) => part / 255), 1);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }
}

class CanvasPainter {
  constructor(canvas) {
    this.canvas = canvas;
    this.plain = canvas.getContext("2d", { alpha: false });
    this.off = document.createElement("canvas");
    this.pixels = null;
  }

  load(picture) {
    const { rows, columns } = picture;
    if (this.off.width !== columns || this.off.height !== rows || !this.pixels) {
      Object.assign(this.off, { width: columns, height: rows });
      this.pixels = new ImageData(columns, rows);
    }
    this.picture = picture;
  }

  draw(part, tone) {
    const { canvas, plain, off } = this;
    plain.fillStyle = `rgb(${tone.empty.join(" ")})`;
    plain.fillRect(0, 0, canvas.width, canvas.height);
    if (!part) return;
    const { values } = this.picture;
    const [colours, drawn] = [new Uint32Array(tone.table.buffer), new Uint32Array(this.pixels.data.buffer)];
    for (let i = 0; i < values.length; i++) drawn[i] = Number.isNaN(values[i]) ? 0 : colours[level(values[i], tone)];
    off.getContext("2d").putImageData(this.pixels, 0, 0);
    const [x, y, width, height] = part;
    const [across, down] = [canvas.width / width, canvas.height / height];
    plain.imageSmoothingEnabled = false;
    plain.drawImage(off, -x * across, -y * down, across, down);
  }
}

/** Which of 256 colours a value has. */
export function level(value, { low, high, logarithmic }) {
  const share = logarithmic ? Math.log(Math.max(value, low) / low) / Math.log(high / low) : (value - low) / (high - low);
  return Math.floor(Math.min(Math.max(share, 0), 1) * 255 + 0.5);
}
