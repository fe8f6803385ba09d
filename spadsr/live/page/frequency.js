// How often something happens.

/** The rate of what is noted, 1/s, as a mean over the last `seconds`. */
export class Frequency {
  constructor(seconds = 2) {
    this.seconds = seconds;
    this.times = [];
  }

  note(now = performance.now() / 1000) {
    this.times.push(now);
    this.forget(now);
  }

  rate(now = performance.now() / 1000) {
    this.forget(now);
    return this.times.length / this.seconds;
  }

  forget(now) {
    while (this.times.length && this.times[0] < now - this.seconds) this.times.shift();
  }
}
