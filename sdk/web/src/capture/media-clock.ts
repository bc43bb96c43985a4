/** Clocks of two tracks that differ by no more than this are the same clock. */
const SAME_CLOCK_US = 300_000;

/**
 * Times of captured media to the broadcast's time. Browsers stamp pictures and sound by clocks that may have nothing to do
 * with each other. Where they agree, both tracks keep their distance; otherwise each one is laid where its first piece arrived.
 */
export class MediaClock {
  readonly #beganUs: number;
  #first: number | undefined;

  /** `nowUs`: the broadcast's zero. */
  constructor(nowUs: number) {
    this.#beganUs = nowUs;
  }

  /** What has to be added to the timestamps of a track whose first piece, stamped so, arrived at `nowUs`. */
  offset(timestampUs: number, nowUs: number): number {
    const own = nowUs - this.#beganUs - timestampUs;
    this.#first ??= own;
    return Math.abs(own - this.#first) <= SAME_CLOCK_US ? this.#first : own;
  }
}
