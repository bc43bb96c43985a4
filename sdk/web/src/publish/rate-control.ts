/** What has waited for so long says that the link is too slow; a round trip of any usual link is shorter. */
const CROWDED_MS = 500;
/** How a crowded link lowers the bitrate, and how a clear one raises it again. */
const LOWER = 0.7;
const RAISE = 1.2;
/** Time between two steps down, for the first one to show at the end of a group, and how long the link is clear before one up. */
const LOWER_EVERY_MS = 2000;
const RAISE_EVERY_MS = 4000;
/** Pictures of fewer bits a second are not worth sending. */
const BITRATE_MIN = 150_000;

/** Chooses the bitrate of the pictures by how far the link is behind: down at once, up again slowly. */
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

  /**
   * At `now` (milliseconds) something has waited for `waitedMs`, while `sentBps` bits a second were sent: an easy picture needs
   * less than the bitrate, and the step down begins there. Call it some times a second.
   */
  sample(now: number, waitedMs: number, sentBps: number): void {
    if (waitedMs > CROWDED_MS) {
      this.#clearSince = undefined;
      if (now - this.#loweredAt >= LOWER_EVERY_MS) {
        this.#loweredAt = now;
        const lowest = Math.min(BITRATE_MIN, this.#max);
        this.#bitrate = Math.max(lowest, Math.min(this.#bitrate, sentBps) * LOWER);
      }
      return;
    }
    this.#clearSince ??= now;
    if (now - this.#clearSince >= RAISE_EVERY_MS) {
      this.#clearSince = now;
      this.#bitrate = Math.min(this.#max, this.#bitrate * RAISE);
    }
  }
}
