import { ByteQueue } from "./byte-queue.ts";
import type { DataEvent } from "./data-events.ts";
import { WireError } from "./errors.ts";
import { FETCH_HEADER_TYPE, FetchParser } from "./fetch-stream.ts";
import { MessageType } from "./messages.ts";
import { SubgroupParser, isSubgroupType } from "./subgroup.ts";

/** Padding stream (MoQT-18 §11.5): its bytes mean nothing. */
const PADDING_TYPE = 0x132b3e28;

/**
 * Any unidirectional stream from the server: bytes in, events out. A SETUP stream is only recognised; its bytes,
 * the type included, stay in `rest` for the control reader.
 */
export class DataStreamParser {
  readonly rest = new ByteQueue();
  #parser: SubgroupParser | FetchParser | "setup" | "padding" | undefined;

  push(bytes: Uint8Array): DataEvent[] {
    this.rest.push(bytes);
    const events: DataEvent[] = [];
    if (this.#parser === undefined && !this.#start(events)) {
      return events;
    }
    if (this.#parser === "padding") {
      this.rest.take(this.rest.available);
      this.rest.commit();
    } else if (typeof this.#parser === "object") {
      this.#parser.parse(this.rest, events);
    }
    return events;
  }

  /** The stream ended with FIN: in the middle of an object that is a protocol violation (MoQT-18 §11.4). */
  finish(): void {
    if (this.rest.available > 0 && typeof this.#parser === "object") {
      throw new WireError(`stream ended ${this.rest.available} bytes into an object`);
    }
  }

  #start(events: DataEvent[]): boolean {
    const mark = this.rest.mark();
    const type = this.rest.number("stream type");
    if (type === undefined) {
      return false;
    }
    if (type === MessageType.Setup) {
      this.rest.rewind(mark);
      this.#parser = "setup";
      events.push({ kind: "setup" });
    } else if (type === PADDING_TYPE) {
      this.#parser = "padding";
      events.push({ kind: "padding" });
    } else if (type === FETCH_HEADER_TYPE) {
      this.#parser = new FetchParser();
    } else if (isSubgroupType(type)) {
      this.#parser = new SubgroupParser(type);
    } else {
      throw new WireError(`unidirectional stream of type 0x${type.toString(16)}`);
    }
    return true;
  }
}
