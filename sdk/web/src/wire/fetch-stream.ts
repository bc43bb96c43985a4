import type { ByteQueue } from "./byte-queue.ts";
import { safeNumber } from "./bytes.ts";
import { type DataEvent, OBJECT_LEN_MAX } from "./data-events.ts";
import { WireError } from "./errors.ts";

/** Stream type of a FETCH_HEADER (MoQT-18 §11.4.4). */
export const FETCH_HEADER_TYPE = 0x05;

/** Serialization flags of an object on a fetch stream (MoQT-18 §11.4.4.1). */
const SUBGROUP_MODE = 0x03;
const SUBGROUP_PRESENT = 0x03;
const OBJECT_DELTA = 0x04;
const GROUP_DELTA = 0x08;
const PRIORITY = 0x10;
const PROPERTIES = 0x20;
const DATAGRAM = 0x40;
const FLAGS_END = 0x80;
/**
 * Values above the flags (MoQT-18 §11.4.4.2): all objects up to the location that follows do not exist, or are unknown. The
 * location is absolute, and nothing stands behind it.
 */
const END_OF_NON_EXISTENT_RANGE = 0x8c;
const END_OF_UNKNOWN_RANGE = 0x10c;

const PROPERTIES_LEN_MAX = 0xffff;

/** The fields of a fetch stream after its type, in pieces of any size; groups in ascending order. */
export class FetchParser {
  #started = false;
  #prior: { group: bigint; object: bigint } | undefined;
  /** Whether an object (not just a range) came: subgroup and priority of "the prior object" refer to it. */
  #priorObject = false;

  parse(stream: ByteQueue, events: DataEvent[]): void {
    for (;;) {
      const mark = stream.mark();
      if (!(this.#started ? this.#object(stream, events) : this.#header(stream, events))) {
        stream.rewind(mark);
        return;
      }
      stream.commit();
    }
  }

  #header(stream: ByteQueue, events: DataEvent[]): boolean {
    const requestId = stream.number("request id");
    if (requestId === undefined) {
      return false;
    }
    this.#started = true;
    events.push({ kind: "fetch", requestId });
    return true;
  }

  #object(stream: ByteQueue, events: DataEvent[]): boolean {
    const flags = stream.number("serialization flags");
    if (flags === undefined) {
      return false;
    }
    if (flags === END_OF_NON_EXISTENT_RANGE || flags === END_OF_UNKNOWN_RANGE) {
      return this.#range(stream);
    }
    this.#check(flags);
    const groupDelta = (flags & GROUP_DELTA) === 0 ? null : stream.vi64();
    const explicitSubgroup = (flags & DATAGRAM) === 0 && (flags & SUBGROUP_MODE) === SUBGROUP_PRESENT;
    const subgroup = explicitSubgroup ? stream.vi64() : 0n;
    const objectDelta = (flags & OBJECT_DELTA) === 0 ? null : stream.vi64();
    const priority = (flags & PRIORITY) === 0 ? 0 : stream.u8();
    const propertiesLength = (flags & PROPERTIES) === 0 ? 0 : stream.number("properties length", PROPERTIES_LEN_MAX);
    const properties = propertiesLength === undefined ? undefined : stream.take(propertiesLength);
    const length = properties === undefined ? undefined : stream.number("object payload length", OBJECT_LEN_MAX);
    const payload = length === undefined ? undefined : stream.take(length);
    if (
      groupDelta === undefined ||
      subgroup === undefined ||
      objectDelta === undefined ||
      priority === undefined ||
      payload === undefined
    ) {
      return false;
    }
    const { group, object } = this.#locate(groupDelta, objectDelta);
    this.#priorObject = true;
    events.push({ kind: "object", group, object, payload });
    return true;
  }

  #range(stream: ByteQueue): boolean {
    const group = stream.vi64();
    const object = stream.vi64();
    if (group === undefined || object === undefined) {
      return false;
    }
    this.#prior = { group, object };
    return true;
  }

  #check(flags: number): void {
    if (flags >= FLAGS_END) {
      throw new WireError(`serialization flags 0x${flags.toString(16)} are not defined`);
    }
    if (this.#prior === undefined && (flags & (GROUP_DELTA | OBJECT_DELTA)) !== (GROUP_DELTA | OBJECT_DELTA)) {
      throw new WireError("first object of a fetch refers to an object before it");
    }
    const mode = (flags & DATAGRAM) === 0 ? flags & SUBGROUP_MODE : 0;
    if (!this.#priorObject && ((flags & PRIORITY) === 0 || mode === 1 || mode === 2)) {
      throw new WireError("first object of a fetch takes subgroup or priority from an object before it");
    }
  }

  /** MoQT-18 §11.4.4.1: without a group delta the object delta counts from the prior object, with no plus one. */
  #locate(groupDelta: bigint | null, objectDelta: bigint | null): { group: number; object: number } {
    const prior = this.#prior;
    let group = groupDelta ?? 0n;
    let object = objectDelta ?? 0n;
    if (prior !== undefined) {
      group = groupDelta === null ? prior.group : prior.group + groupDelta + 1n;
      if (objectDelta === null) {
        object = prior.object + 1n;
      } else if (groupDelta === null) {
        object = prior.object + objectDelta;
      }
    }
    this.#prior = { group, object };
    return { group: safeNumber(group, "group id"), object: safeNumber(object, "object id") };
  }
}
