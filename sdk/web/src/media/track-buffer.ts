import { concat } from "../wire/bytes.ts";
import type { InitSegment } from "./init-store.ts";

/** A stretch of media time, seconds. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

type Step =
  | { readonly kind: "append"; readonly bytes: Uint8Array }
  | { readonly kind: "type"; readonly mime: string }
  | { readonly kind: "remove"; readonly until: number };

/** Appends are joined up to this length: one call of the browser takes about as long for one frame as for fifty. */
const APPEND_LEN_MAX = 4 * 1024 * 1024;

/** Bytes that wait for the browser; more means that it does not keep up at all. */
const QUEUE_LEN_MAX = 48 * 1024 * 1024;

/**
 * Group starts remembered, to know where media may be cut: by time, since a group may be one frame. A cut needs none
 * that is closer than the spacing to another; the span is many times what is kept behind the playing position.
 */
const GROUP_START_SPACING_S = 0.5;
const GROUP_STARTS_SPAN_S = 120;

/** One SourceBuffer with its queue: it takes one thing at a time, media comes when it comes. */
export class TrackBuffer {
  #buffer: SourceBuffer | undefined;
  readonly #changed: () => void;
  readonly #failed: (message: string) => void;
  readonly #steps: Step[] = [];
  /** Ascending; the last one is the newest group's, whatever its distance. */
  #groupStarts: number[] = [];
  #queuedBytes = 0;
  #mime: string;
  #started = false;
  #quotaHit = false;

  /** `changed`: what is buffered changed. */
  constructor(mime: string, changed: () => void, failed: (message: string) => void) {
    this.#mime = mime;
    this.#changed = changed;
    this.#failed = failed;
  }

  /** Makes the SourceBuffer in an open media source; what came before has waited. Throws what the browser throws. */
  attach(source: MediaSource): void {
    const buffer = source.addSourceBuffer(this.#mime);
    buffer.addEventListener("updateend", () => {
      this.#changed();
      this.#pump();
    });
    buffer.addEventListener("error", () => this.#failed(`the browser could not parse media of type ${this.#mime}`));
    this.#buffer = buffer;
  }

  /** Begins to append. All buffers of a media source have to be attached before the first init segment goes in. */
  start(): void {
    this.#started = true;
    this.#pump();
  }

  init(segment: InitSegment): void {
    if (segment.mime !== this.#mime) {
      this.#mime = segment.mime;
      this.#steps.push({ kind: "type", mime: segment.mime });
    }
    this.append(segment.bytes);
  }

  append(bytes: Uint8Array): void {
    this.#queuedBytes += bytes.length;
    if (this.#queuedBytes > QUEUE_LEN_MAX) {
      this.#failed(`${this.#queuedBytes} bytes wait for the browser's media buffer`);
      return;
    }
    this.#steps.push({ kind: "append", bytes });
    this.#pump();
  }

  /** A group begins at media time `start`: from here on media can be decoded without what was before. */
  groupStarts(start: number): void {
    // Starts that are not before this one belong to a timeline that began anew.
    const starts = this.#groupStarts.filter((known) => known < start && start - known <= GROUP_STARTS_SPAN_S);
    if (start - (starts.at(-2) ?? -Infinity) < GROUP_START_SPACING_S) {
      starts.pop();
    }
    starts.push(start);
    this.#groupStarts = starts;
  }

  /**
   * Removes media that ended before `position`, whole groups only. A cut inside the newest group would take the live
   * edge with it: what is removed reaches to the next key frame behind the cut, or to the end of all there is, and what
   * comes after is dropped until there is one (Media Source Extensions, coded frame removal). So a group without an end
   * stays until the browser is full.
   */
  removeBefore(position: number): void {
    const until = this.#groupStarts.findLast((start) => start <= position);
    const first = this.ranges()[0];
    if (until !== undefined && first !== undefined && first.start < until - 1) {
      this.#steps.push({ kind: "remove", until });
      this.#pump();
    }
  }

  ranges(): Range[] {
    const ranges: Range[] = [];
    try {
      const buffered = this.#buffer?.buffered;
      for (let i = 0; buffered !== undefined && i < buffered.length; i += 1) {
        ranges.push({ start: buffered.start(i), end: buffered.end(i) });
      }
    } catch {
      // Detached by the end of the media source: nothing is buffered any more.
    }
    return ranges;
  }

  /** Whether the browser has everything that was given. */
  get idle(): boolean {
    return this.#steps.length === 0 && this.#buffer?.updating === false;
  }

  #pump(): void {
    const buffer = this.#buffer;
    const step = this.#steps[0];
    if (!this.#started || buffer === undefined || step === undefined || buffer.updating) {
      return;
    }
    try {
      if (step.kind === "append") {
        this.#append(buffer);
        return;
      }
      this.#steps.shift();
      if (step.kind === "type") {
        buffer.changeType(step.mime);
        this.#pump();
      } else {
        buffer.remove(0, step.until);
      }
    } catch (error) {
      this.#failed(`media buffer: ${String(error)}`);
    }
  }

  #append(buffer: SourceBuffer): void {
    let count = 0;
    let length = 0;
    for (const step of this.#steps) {
      if (step.kind !== "append" || (count > 0 && length + step.bytes.length > APPEND_LEN_MAX)) {
        break;
      }
      count += 1;
      length += step.bytes.length;
    }
    const parts = this.#steps.slice(0, count).flatMap((step) => (step.kind === "append" ? [step.bytes] : []));
    try {
      buffer.appendBuffer(concat(parts) as Uint8Array<ArrayBuffer>);
    } catch (error) {
      this.#makeRoom(buffer, error);
      return;
    }
    this.#quotaHit = false;
    this.#steps.splice(0, count);
    this.#queuedBytes -= length;
  }

  /** The browser's buffer is full: the oldest groups go, once; full again right after, one group alone is too much. */
  #makeRoom(buffer: SourceBuffer, error: unknown): void {
    const newest = this.#groupStarts.at(-1);
    const full = error instanceof DOMException && error.name === "QuotaExceededError";
    if (!full || this.#quotaHit || newest === undefined || newest <= 0) {
      throw error;
    }
    this.#quotaHit = true;
    buffer.remove(0, newest);
  }
}
