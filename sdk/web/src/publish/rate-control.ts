/** What waits for the link, in milliseconds of the present bitrate: from here on the bitrate goes down. */
const CROWDED_MS = 400;
/** Below this the link keeps up. */
const CLEAR_MS = 100;
/** How a crowded link lowers the bitrate, and how a clear one raises it again. */
const LOWER = 0.7;
const RAISE = 1.1;
/** Time between two steps down, for the first one to show, and how long the link is clear before a step up. */
const LOWER_EVERY_MS = 1000;
const RAISE_EVERY_MS = 4000;
/** Pictures of fewer bits a second are not worth sending. */
const BITRATE_MIN = 150_000;

/** Chooses the bitrate of the pictures by what waits for the link: down at once, up again slowly. */
export class RateControl {
  readonly #max: number;
  #bitrate: number;
  #loweredAt = -Infinity;
  #clearSince: number | undefined;

  /** `max`: bits a second on a good link. */
  constructor(max: number) {
    this.#max = max;
    this.#bitrate = max;
  }

  get bitrate(): number {
    return Math.round(this.#bitrate);
  }

  /** `queuedBytes` wait for the link at `now` (milliseconds); call it some times a second. */
  sample(now: number, queuedBytes: number): void {
    const waitingMs = (queuedBytes * 8000) / this.#bitrate;
    if (waitingMs > CROWDED_MS) {
      this.#clearSince = undefined;
      if (now - this.#loweredAt >= LOWER_EVERY_MS) {
        this.#lower(now, LOWER);
      }
    } else if (waitingMs > CLEAR_MS) {
      this.#clearSince = undefined;
    } else {
      this.#clearSince ??= now;
      if (now - this.#clearSince >= RAISE_EVERY_MS) {
        this.#clearSince = now;
        this.#bitrate = Math.min(this.#max, this.#bitrate * RAISE);
      }
    }
  }

  /** A group was given up: the link is far too slow. */
  dropped(now: number): void {
    this.#clearSince = undefined;
    this.#lower(now, 0.5);
  }

  #lower(now: number, factor: number): void {
    this.#loweredAt = now;
    this.#bitrate = Math.max(Math.min(BITRATE_MIN, this.#max), this.#bitrate * factor);
  }
}
