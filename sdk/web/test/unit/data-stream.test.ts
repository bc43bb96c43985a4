import assert from "node:assert/strict";
import { test } from "node:test";
import type { DataEvent } from "../../src/wire/data-events.ts";
import { DataStreamParser } from "../../src/wire/data-stream.ts";
import { WireError } from "../../src/wire/errors.ts";
import { hex, toHex } from "../support/bytes.ts";

/** Events of a stream whose bytes come in the given pieces; payloads as hexadecimal digits. */
function parse(...pieces: Uint8Array[]): unknown[] {
  const parser = new DataStreamParser();
  const events = pieces.flatMap((piece) => parser.push(piece));
  parser.finish();
  return events.map((event: DataEvent) => ("payload" in event ? { ...event, payload: toHex(event.payload) } : event));
}

/** Every way to cut `bytes` in two, and one byte at a time. */
function everySplit(bytes: Uint8Array): Uint8Array[][] {
  const halves = Array.from(bytes, (_, at) => [bytes.subarray(0, at), bytes.subarray(at)]);
  return [...halves, Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))];
}

function object(group: number, id: number, payload: string): unknown {
  return { kind: "object", group, object: id, payload };
}

const STREAMS: readonly { readonly name: string; readonly bytes: string; readonly events: unknown[] }[] = [
  {
    name: "the draft's example: explicit subgroup id and priority",
    bytes: "14 02 00 00 00  00 04 61626364  00 04 65666768",
    events: [
      { kind: "subgroup", trackAlias: 2n, group: 0, endOfGroup: false },
      object(0, 0, "61626364"),
      object(0, 1, "65666768"),
    ],
  },
  {
    name: "objects with properties, priority by default",
    bytes: "35 02 05 00  00 03 04 8001 01 aa  00 00 01 bb",
    events: [{ kind: "subgroup", trackAlias: 2n, group: 5, endOfGroup: false }, object(5, 0, "aa"), object(5, 1, "bb")],
  },
  {
    name: "a subgroup joined in its middle, with a gap: deltas count from the object before plus one",
    bytes: "78 07 0a  05 01 aa  00 01 bb  02 01 cc",
    events: [
      { kind: "subgroup", trackAlias: 7n, group: 10, endOfGroup: true },
      object(10, 5, "aa"),
      object(10, 6, "bb"),
      object(10, 9, "cc"),
    ],
  },
  {
    name: "end of group as a status, and an empty object",
    bytes: "30 01 03  00 00 00  00 00 03",
    events: [
      { kind: "subgroup", trackAlias: 1n, group: 3, endOfGroup: false },
      object(3, 0, ""),
      { kind: "group_end", group: 3 },
    ],
  },
  {
    name: "a fetch over two groups: group delta counts plus one, object delta starts anew with it",
    bytes: "05 04  1c 09 00 80 01 aa  00 01 bb  0c 01 00 01 cc  00 01 dd",
    events: [
      { kind: "fetch", requestId: 4 },
      object(9, 0, "aa"),
      object(9, 1, "bb"),
      object(11, 0, "cc"),
      object(11, 1, "dd"),
    ],
  },
  {
    name: "a fetch with every field: subgroup, object delta without plus one, properties",
    bytes: "05 00  1f 09 03 02 80 01 aa  35 02 80 02 04 01 01 bb",
    events: [{ kind: "fetch", requestId: 0 }, object(9, 2, "aa"), object(9, 4, "bb")],
  },
  {
    name: "a fetch with ranges that do not exist or are unknown: their places are absolute, with no payload length",
    bytes: "05 00  1c 09 00 80 01 aa  808c 0a 03  00 01 bb  810c 0b 00",
    events: [{ kind: "fetch", requestId: 0 }, object(9, 0, "aa"), object(10, 4, "bb")],
  },
  {
    name: "a fetch that begins with a range that is unknown, within the group of its first object",
    bytes: "05 00  810c 09 05  10 80 01 aa  00 01 bb",
    events: [{ kind: "fetch", requestId: 0 }, object(9, 6, "aa"), object(9, 7, "bb")],
  },
  { name: "padding", bytes: "f0 132b3e28 ffffffffffff", events: [{ kind: "padding" }] },
];

for (const { name, bytes, events } of STREAMS) {
  test(`${name}: the same however its bytes are cut`, () => {
    assert.deepEqual(parse(hex(bytes)), events);
    for (const pieces of everySplit(hex(bytes))) {
      assert.deepEqual(parse(...pieces), events, pieces.map(toHex).join(" | "));
    }
  });
}

test("a SETUP stream is recognised and left unread for the control reader", () => {
  const parser = new DataStreamParser();
  assert.deepEqual(parser.push(hex("af00 00")), [{ kind: "setup" }]);
  parser.push(hex("00"));
  assert.equal(parser.rest.available, 4);
});

const BROKEN: readonly [string, string][] = [
  ["an unknown stream type", "08 00"],
  ["a reserved subgroup id mode", "16 00 00"],
  ["an object over 16 MiB", "30 01 00  00 e1000001"],
  ["a status nobody defined", "30 01 00  00 00 01"],
  ["an object id over 2^53", "30 01 00  ffffffffffffffffff 00 00"],
  ["a fetch whose first object has no group", "05 00  14 00 80 01 aa"],
  ["a fetch whose first object takes its priority from one before", "05 00  0c 09 00 01 aa"],
  ["fetch flags nobody defined", "05 00  1c 09 00 80 00  8080"],
];

for (const [what, bytes] of BROKEN) {
  test(`${what} is a protocol violation`, () => {
    assert.throws(() => parse(hex(bytes)), WireError);
  });
}

test("a stream that ends in the middle of an object is a protocol violation", () => {
  assert.throws(() => parse(hex("30 01 00  00 04 aabb")), WireError);
});
