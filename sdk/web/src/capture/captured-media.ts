/** Raw pictures or sound of a track, one after another. Not in TypeScript's library, for only some browsers have it. */
declare class MediaStreamTrackProcessor<T> {
  constructor(init: { track: MediaStreamTrack; maxBufferSize?: number });
  readonly readable: ReadableStream<T>;
}

/** What is not read at once is dropped by the browser: late pictures are worth nothing. */
const BUFFERED_FRAMES_MAX = 2;
/** Sound comes in pieces of about 10 ms, and a hole is heard. */
const BUFFERED_SOUNDS_MAX = 50;

/** Why this browser cannot publish, or undefined when it can. */
export function publishUnsupportedReason(): string | undefined {
  if (typeof WebTransport === "undefined") {
    return "this browser has no WebTransport";
  }
  if (typeof VideoEncoder === "undefined" || typeof AudioEncoder === "undefined") {
    return "this browser has no WebCodecs";
  }
  if (typeof MediaStreamTrackProcessor === "undefined") {
    return "this browser gives pages no raw pictures of a camera (MediaStreamTrackProcessor)";
  }
  return undefined;
}

/** Reads a track until it ends or `cancel` is called. `take` owns what it gets and closes it. */
export class CapturedTrack<T extends VideoFrame | AudioData> {
  readonly #reader: ReadableStreamDefaultReader<T>;

  constructor(track: MediaStreamTrack) {
    const maxBufferSize = track.kind === "video" ? BUFFERED_FRAMES_MAX : BUFFERED_SOUNDS_MAX;
    this.#reader = new MediaStreamTrackProcessor<T>({ track, maxBufferSize }).readable.getReader();
  }

  /** Resolves at the end of the track. */
  async read(take: (piece: T) => void): Promise<void> {
    for (;;) {
      const { value, done } = await this.#reader.read();
      if (done) {
        return;
      }
      take(value);
    }
  }

  cancel(): void {
    this.#reader.cancel().catch(() => undefined);
  }
}

/** A copy of an encoder's description, which may be a buffer or a part of one. */
export function bytesOf(source: AllowSharedBufferSource): Uint8Array {
  const whole = ArrayBuffer.isView(source)
    ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
    : new Uint8Array(source);
  return whole.slice();
}
