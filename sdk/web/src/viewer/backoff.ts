/**
 * Delays between attempts to connect, milliseconds. The longest one, with its jitter, a failed attempt and a join, has
 * to stay under the five seconds in which a viewer is to play again after a server's restart.
 */
const DELAYS_MS = [200, 400, 800, 1000, 1500, 2500] as const;

/** Spread of a delay: many viewers must not come back in the same moment. */
const JITTER = 0.2;

/**
 * Delay before a server that is going away is left, milliseconds: half of it to one and a half, so that its viewers do
 * not come to the next one as one crowd. It doubles when a server asks again, up to what a failure may take at most.
 */
const LEAVE_MS = 1000;
const LEAVE_MS_MAX = 2000;
/** Asked to go so soon after it connected, a viewer has most likely come to the same server again. */
const SAME_SERVER_MS = 10_000;

/** Waiting times of one viewer's attempts. */
export class Backoff {
  readonly #random: () => number;
  #failures = 0;
  #askedToLeave = 0;

  /** `random`: 0…1, as Math.random. */
  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** Delay before the next attempt, after one more failure. */
  next(): number {
    const delay = DELAYS_MS[Math.min(this.#failures, DELAYS_MS.length - 1)] ?? 0;
    this.#failures += 1;
    return delay * (1 + JITTER * (2 * this.#random() - 1));
  }

  /** Delay before a session is left because its server is going away; it has lasted for `sessionMs`. */
  leave(sessionMs: number): number {
    if (sessionMs > SAME_SERVER_MS) {
      this.#askedToLeave = 0;
    }
    const delay = Math.min(LEAVE_MS * 2 ** this.#askedToLeave, LEAVE_MS_MAX);
    this.#askedToLeave += 1;
    return delay * (0.5 + this.#random());
  }

  /** An attempt succeeded. */
  reset(): void {
    this.#failures = 0;
  }
}
