import { encodeGroupHeader, encodeNextObject } from "../wire/subgroup.ts";
import type { Transport } from "./transport.ts";

/**
 * A group on its way out: objects in the order of their ids, on a stream of their own. What the link has not taken yet is
 * counted, so that the caller can see that it is too slow.
 */
export class GroupStream {
  readonly #writer: Promise<WritableStreamDefaultWriter<Uint8Array>>;
  /** Length and time of what was written and not taken, oldest first. */
  readonly #waiting: { readonly length: number; readonly since: number }[] = [];
  #queuedBytes = 0;
  #over = false;

  constructor(transport: Transport, place: { readonly alias: bigint; readonly group: number; readonly priority: number }) {
    // A stream of a lower priority number goes first.
    const sendOrder = -place.priority;
    this.#writer = transport.createUnidirectionalStream({ sendOrder }).then((stream) => stream.getWriter());
    this.#write(encodeGroupHeader(place.alias, place.group, place.priority));
  }

  /** Bytes that the link has not taken yet. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Milliseconds that the oldest of them has waited at `now`, on the clock of `performance.now()`. */
  waitedMs(now: number): number {
    const oldest = this.#waiting[0];
    return oldest === undefined ? 0 : now - oldest.since;
  }

  object(payload: Uint8Array): void {
    this.#write(encodeNextObject(payload));
  }

  /** Every object of the group was sent. */
  end(): void {
    this.#over = true;
    // The end of the session is told by the session.
    this.#writer.then((writer) => writer.close()).catch(() => undefined);
  }

  /** Gives the group up: what has not left is dropped. */
  drop(): void {
    this.#over = true;
    this.#waiting.length = 0;
    this.#queuedBytes = 0;
    this.#writer.then((writer) => writer.abort("dropped")).catch(() => undefined);
  }

  get isIdle(): boolean {
    return this.#over && this.#waiting.length === 0;
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
