// The connection to the server: images, states, orders and their answers; it comes back by itself.

const FIRST_WAIT = 250;
const LONGEST_WAIT = 5000;
const SILENCE = 10000; // ms after which a connection is given up: the server says something four times a second
// Why a connection is closed (RFC 6455, 7.4; IANA's register of close codes).
const [NO_ANSWER, SERVER_ENDS] = [1006, 1012];

export class Connection {
  /** `on` {image(buffer), state(state), open(), lost(ended)}: `ended` where the server said that it ends. */
  constructor(on) {
    this.on = on;
    this.wait = FIRST_WAIT;
    this.pending = new Map();
    this.number = 0;
    this.connect();
    setInterval(() => this.watch(), SILENCE / 10);
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/images`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.wait = FIRST_WAIT;
      this.heard = performance.now();
      this.on.open();
    };
    this.socket.onmessage = ({ data }) => {
      this.heard = performance.now();
      if (typeof data === "string") this.hear(JSON.parse(data));
      else this.on.image(data);
    };
    this.socket.onclose = ({ code }) => this.lose(code);
  }

  /** Gives a connection up on which nothing comes any more, as after a computer slept: nobody would say that it is gone. */
  watch() {
    if (this.socket.readyState !== WebSocket.OPEN || performance.now() - this.heard < SILENCE) return;
    const { socket } = this;
    socket.onclose = socket.onmessage = null;
    socket.close();
    this.lose(NO_ANSWER);
  }

  lose(code) {
    this.pending.forEach(({ reject }) => reject(new Error("the connection was lost")));
    this.pending.clear();
    this.ended = code === SERVER_ENDS || (this.ended && code === NO_ANSWER);
    this.on.lost(this.ended);
    setTimeout(() => this.connect(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
  }

  hear(said) {
    if (said.state) {
      this.on.state(said.state, said.page);
      return;
    }
    const { resolve, reject } = this.pending.get(said.answer) ?? {};
    this.pending.delete(said.answer);
    if (said.error) reject?.(new Error(said.error));
    else resolve?.(said);
  }

  /** Says something that has no answer. */
  say(what) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(what));
  }

  /** Orders something; the promise is kept when it is done, or broken with the reason. */
  order(name, what = {}) {
    return new Promise((resolve, reject) => {
      if (this.socket.readyState !== WebSocket.OPEN) {
        reject(new Error("there is no connection"));
        return;
      }
      this.number += 1;
      this.pending.set(this.number, { resolve, reject });
      this.say({ do: name, id: this.number, ...what });
    });
  }
}
