const WINDOW_MS = 2000;

/** Bits a second out of a byte count that only grows. */
export class RateMeter {
  readonly #samples: { readonly at: number; readonly bytes: number }[] = [];

  /** `bytes` were received in all up to `now` (milliseconds). */
  sample(now: number, bytes: number): void {
    if (bytes < (this.#samples.at(-1)?.bytes ?? 0)) {
      // A new connection counts from zero.
      this.#samples.length = 0;
    }
    this.#samples.push({ at: now, bytes });
    while (now - (this.#samples[1]?.at ?? now) >= WINDOW_MS) {
      this.#samples.shift();
    }
  }

  bitsPerSecond(): number {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.at <= first.at) {
      return 0;
    }
    return ((last.bytes - first.bytes) * 8000) / (last.at - first.at);
  }
}
