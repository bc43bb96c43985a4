import { encodeGroupHeader, encodeNextObject } from "../wire/subgroup.ts";
import type { Transport } from "./transport.ts";

interface GroupPlace {
  readonly alias: bigint;
  readonly group: number;
  readonly priority: number;
}

/**
 * A group on its way out: objects in the order of their ids, on a stream of their own.
 *
 * How far it is behind shows in two ways. What the browser does not even take waits here. But a browser holds some 100 kB of a
 * stream itself before that, so a group that has ended also counts as waiting until the server has acknowledged all of it, which
 * is when the closing of its stream is done.
 */
export class GroupStream {
  readonly #writer: Promise<WritableStreamDefaultWriter<Uint8Array>>;
  /** Length and time of what was written and not taken, oldest first. */
  readonly #waiting: { readonly length: number; readonly since: number }[] = [];
  #queuedBytes = 0;
  #endedAt: number | undefined;
  #over = false;

  constructor(transport: Transport, place: GroupPlace) {
    // A stream of a lower priority number goes first.
    const sendOrder = -place.priority;
    this.#writer = transport.createUnidirectionalStream({ sendOrder }).then((stream) => stream.getWriter());
    this.#write(encodeGroupHeader(place.alias, place.group, place.priority));
  }

  /** Bytes that the browser has not taken yet. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Milliseconds that the oldest of what has not left has waited at `now`, on the clock of `performance.now()`. */
  waitedMs(now: number): number {
    const since = this.#waiting[0]?.since ?? this.#endedAt;
    return since === undefined || this.#over ? 0 : now - since;
  }

  object(payload: Uint8Array): void {
    this.#write(encodeNextObject(payload));
  }

  /** Every object of the group was sent. */
  end(): void {
    this.#endedAt = performance.now();
    // The end of the session is told by the session.
    const over = (): void => void (this.#over = true);
    this.#writer.then((writer) => writer.close()).then(over, over);
  }

  /** Gives the group up: what has not left is dropped. */
  drop(): void {
    this.#over = true;
    this.#waiting.length = 0;
    this.#queuedBytes = 0;
    this.#writer.then((writer) => writer.abort("dropped")).catch(() => undefined);
  }

  /** The server has all of it, or it was given up. */
  get isOver(): boolean {
    return this.#over;
  }

  #write(bytes: Uint8Array): void {
    this.#waiting.push({ length: bytes.length, since: performance.now() });
    this.#queuedBytes += bytes.length;
    const taken = (): void => {
      const first = this.#waiting.shift();
      this.#queuedBytes -= first?.length ?? 0;
    };
    this.#writer.then((writer) => writer.write(bytes)).then(taken, taken);
  }
}
