/** Stream count in the PUBLISH_DONE of a publisher that does not know it (MoQT-18 §10.11). */
const STREAM_COUNT_UNKNOWN = (1n << 62n) - 1n;

/**
 * How much of a media track is still on its way. PUBLISH_DONE comes on the stream of the request and may overtake data
 * sent before it, so a track has come whole when the streams that it counts, and the joining fetch, are over too.
 */
export class TrackReception {
  #fetching = true;
  #opened = 0n;
  #closed = 0n;
  #streamCount: bigint | undefined;

  streamOpened(): void {
    this.#opened += 1n;
  }

  streamClosed(): void {
    this.#closed += 1n;
  }

  fetchEnded(): void {
    this.#fetching = false;
  }

  /** The publisher opened `streamCount` streams and has nothing more to say. */
  end(streamCount: bigint): void {
    this.#streamCount = streamCount;
  }

  get ended(): boolean {
    return this.#streamCount !== undefined;
  }

  get whole(): boolean {
    const count = this.#streamCount;
    const allOpened = count !== undefined && (count >= STREAM_COUNT_UNKNOWN || this.#opened >= count);
    return allOpened && this.#closed === this.#opened && !this.#fetching;
  }
}
