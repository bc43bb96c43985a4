/**
 * Delays between attempts to connect, milliseconds. The longest one, with its jitter, a failed attempt and a join, has
 * to stay under the five seconds in which a viewer is to play again after a server's restart.
 */
const DELAYS_MS = [200, 400, 800, 1000, 1500, 2500] as const;

/** Spread of a delay: many viewers must not come back in the same moment. */
const JITTER = 0.2;

/** Waiting times of one viewer's attempts. */
export class Backoff {
  readonly #random: () => number;
  #failures = 0;

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

  /** An attempt succeeded. */
  reset(): void {
    this.#failures = 0;
  }
}
