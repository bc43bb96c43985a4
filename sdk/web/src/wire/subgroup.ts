import type { ByteQueue } from "./byte-queue.ts";
import { ByteWriter, safeNumber } from "./bytes.ts";
import { type DataEvent, OBJECT_LEN_MAX } from "./data-events.ts";
import { WireError } from "./errors.ts";

/** Bits of the SUBGROUP_HEADER type (MoQT-18 §11.4.2). */
const PROPERTIES = 0x01;
const SUBGROUP_ID_MODE = 0x06;
const SUBGROUP_ID_PRESENT = 0x04;
const END_OF_GROUP = 0x08;
const ALWAYS = 0x10;
const DEFAULT_PRIORITY = 0x20;
const FIRST_OBJECT = 0x40;

/** Object status values, sent in place of an empty payload (MoQT-18 §11.2.1.1). */
const STATUS_NORMAL = 0x0;
const STATUS_END_OF_GROUP = 0x3;
const STATUS_END_OF_TRACK = 0x4;

const PROPERTIES_LEN_MAX = 0xffff;

/** Whether `type` has the form of a SUBGROUP_HEADER and no reserved subgroup id mode. */
export function isSubgroupType(type: number): boolean {
  const known = PROPERTIES | SUBGROUP_ID_MODE | END_OF_GROUP | ALWAYS | DEFAULT_PRIORITY | FIRST_OBJECT;
  return (
    type <= 0x7f && (type & ALWAYS) !== 0 && (type & ~known) === 0 && (type & SUBGROUP_ID_MODE) !== SUBGROUP_ID_MODE
  );
}

/** The fields of a subgroup stream after its type, in pieces of any size. */
export class SubgroupParser {
  readonly #type: number;
  #group: number | undefined;
  #lastObject: number | undefined;

  constructor(type: number) {
    this.#type = type;
  }

  /** Takes all whole fields off `stream`. */
  parse(stream: ByteQueue, events: DataEvent[]): void {
    for (;;) {
      const mark = stream.mark();
      const done = this.#group === undefined ? this.#header(stream, events) : this.#object(stream, this.#group, events);
      if (!done) {
        stream.rewind(mark);
        return;
      }
      stream.commit();
    }
  }

  #header(stream: ByteQueue, events: DataEvent[]): boolean {
    const trackAlias = stream.vi64();
    const group = stream.number("group id");
    const hasId = (this.#type & SUBGROUP_ID_MODE) === SUBGROUP_ID_PRESENT;
    const subgroup = hasId ? stream.vi64() : 0n;
    const priority = (this.#type & DEFAULT_PRIORITY) === 0 ? stream.u8() : 0;
    if (trackAlias === undefined || group === undefined || subgroup === undefined || priority === undefined) {
      return false;
    }
    this.#group = group;
    events.push({ kind: "subgroup", trackAlias, group, endOfGroup: (this.#type & END_OF_GROUP) !== 0 });
    return true;
  }

  #object(stream: ByteQueue, group: number, events: DataEvent[]): boolean {
    const delta = stream.vi64();
    if (delta === undefined || !this.#skipProperties(stream)) {
      return false;
    }
    const length = stream.number("object payload length", OBJECT_LEN_MAX);
    const status = length === 0 ? stream.number("object status") : STATUS_NORMAL;
    const payload = length === undefined || status === undefined ? undefined : stream.take(length);
    if (payload === undefined) {
      return false;
    }
    const object = this.#lastObject === undefined ? delta : BigInt(this.#lastObject) + delta + 1n;
    this.#lastObject = safeNumber(object, "object id");
    events.push(this.#event(group, this.#lastObject, payload, status ?? STATUS_NORMAL));
    return true;
  }

  #skipProperties(stream: ByteQueue): boolean {
    if ((this.#type & PROPERTIES) === 0) {
      return true;
    }
    const length = stream.number("object properties length", PROPERTIES_LEN_MAX);
    return length !== undefined && stream.take(length) !== undefined;
  }

  #event(group: number, object: number, payload: Uint8Array, status: number): DataEvent {
    switch (status) {
      case STATUS_NORMAL:
        return { kind: "object", group, object, payload };
      case STATUS_END_OF_GROUP:
        return { kind: "group_end", group };
      case STATUS_END_OF_TRACK:
        return { kind: "track_end" };
      default:
        throw new WireError(`object status 0x${status.toString(16)} is not defined`);
    }
  }
}

/**
 * The front of a stream that carries a whole group, its first object included: subgroup 0, no properties, and the FIN ends
 * the group.
 */
export function encodeGroupHeader(trackAlias: bigint, group: number, priority: number): Uint8Array {
  const type = ALWAYS | END_OF_GROUP | FIRST_OBJECT;
  return new ByteWriter().vi64(type).vi64(trackAlias).vi64(group).u8(priority).finish();
}

/** An object whose id is one more than its predecessor's on the stream, or 0 on a new one; `payload` is not empty. */
export function encodeNextObject(payload: Uint8Array): Uint8Array {
  return new ByteWriter().vi64(0).prefixed(payload).finish();
}
