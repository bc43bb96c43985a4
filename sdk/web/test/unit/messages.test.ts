import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteQueue } from "../../src/wire/byte-queue.ts";
import { utf8 } from "../../src/wire/bytes.ts";
import { readMessage } from "../../src/wire/decode.ts";
import { encodeMessage } from "../../src/wire/encode.ts";
import { WireError } from "../../src/wire/errors.ts";
import type { Message } from "../../src/wire/messages.ts";
import { hex, toHex } from "../support/bytes.ts";

/** Messages and their bytes, written by hand from the draft's rules. */
const VECTORS: readonly { readonly name: string; readonly message: Message; readonly bytes: string }[] = [
  {
    name: "SETUP with an implementation option (type 7, odd: length and bytes)",
    message: { kind: "setup", options: [{ type: 7n, value: utf8("ab") }] },
    bytes: "af00 0004 07 02 6162",
  },
  {
    name: "SETUP with two options: types as differences",
    message: {
      kind: "setup",
      options: [
        { type: 4n, value: 300n },
        { type: 7n, value: utf8("x") },
      ],
    },
    bytes: "af00 0006 04 812c 03 01 78",
  },
  {
    name: "SUBSCRIBE with a priority",
    message: {
      kind: "subscribe",
      requestId: 2,
      namespace: ["stream", "org", "lv_1"],
      track: ".catalog",
      parameters: { subscriberPriority: 16 },
    },
    bytes: "03 001e 02 03 06 73747265616d 03 6f7267 04 6c765f31 08 2e636174616c6f67 01 20 10",
  },
  {
    name: "SUBSCRIBE with several parameters in ascending order: FORWARD 0x10, PRIORITY 0x20, GROUP_ORDER 0x22",
    message: {
      kind: "subscribe",
      requestId: 0,
      namespace: ["n"],
      track: "t",
      parameters: { groupOrder: 1, forward: 1, subscriberPriority: 255 },
    },
    bytes: "03 000d 00 01 01 6e 01 74 03 10 01 10 ff 02 01",
  },
  {
    name: "PUBLISH of a track by alias 3",
    message: {
      kind: "publish",
      requestId: 2,
      namespace: ["n"],
      track: "t",
      trackAlias: 3n,
      parameters: {},
      properties: [],
    },
    bytes: "1d 0008 02 01 01 6e 01 74 03 00",
  },
  {
    name: "SUBSCRIBE_OK with EXPIRES and LARGEST_OBJECT, and a track property",
    message: {
      kind: "subscribe_ok",
      trackAlias: 5n,
      parameters: { expiresMs: 1000, largestObject: { group: 1795333333000, object: 7 } },
      properties: [{ type: 0x0en, value: 128n }],
    },
    bytes: "04 0010 05 02 08 83e8 01 f9a20234a008 07 0e 8080",
  },
  {
    name: "relative joining FETCH",
    message: { kind: "fetch", requestId: 4, joiningRequestId: 2, start: 0, parameters: {} },
    bytes: "16 0005 04 02 02 00 00",
  },
  {
    name: "FETCH_OK",
    message: { kind: "fetch_ok", endOfTrack: false, end: { group: 9, object: 3 }, parameters: {}, properties: [] },
    bytes: "18 0004 00 09 03 00",
  },
  {
    name: "REQUEST_OK",
    message: { kind: "request_ok", parameters: {}, properties: [] },
    bytes: "07 0001 00",
  },
  {
    name: "REQUEST_ERROR, to be sent again after 1000 ms (one more on the wire)",
    message: { kind: "request_error", code: 0x10, retryAfterMs: 1000, reason: "no" },
    bytes: "05 0006 10 83e9 02 6e6f",
  },
  {
    name: "REQUEST_ERROR, never to be sent again",
    message: { kind: "request_error", code: 1, reason: "" },
    bytes: "05 0003 01 00 00",
  },
  {
    name: "REQUEST_ERROR with REDIRECT",
    message: { kind: "request_error", code: 0x34, reason: "", redirect: { uri: "u", namespace: ["n"], track: "t" } },
    bytes: "05 000a 34 00 00 01 75 01 01 6e 01 74",
  },
  {
    name: "PUBLISH_NAMESPACE",
    message: { kind: "publish_namespace", requestId: 1, namespace: ["stream", "o"], parameters: {} },
    bytes: "06 000c 01 02 06 73747265616d 01 6f 00",
  },
  {
    name: "PUBLISH_DONE with an unknown number of streams (2^62-1)",
    message: { kind: "publish_done", status: 2, streamCount: (1n << 62n) - 1n, reason: "end" },
    bytes: "0b 000e 02 ff3fffffffffffffff 03 656e64",
  },
  {
    name: "GOAWAY on the control stream",
    message: { kind: "goaway", uri: "", timeoutMs: 500, requestId: 8 },
    bytes: "10 0004 00 81f4 08",
  },
  {
    name: "GOAWAY on a request stream",
    message: { kind: "goaway", uri: "u", timeoutMs: 0 },
    bytes: "10 0003 01 75 00",
  },
  {
    name: "REQUEST_UPDATE with a token",
    message: { kind: "request_update", requestId: 6, parameters: { authorizationToken: hex("0300aa") } },
    bytes: "02 0007 06 01 03 03 0300aa",
  },
  {
    name: "TRACK_STATUS",
    message: { kind: "track_status", requestId: 6, namespace: ["n"], track: "t", parameters: {} },
    bytes: "0d 0007 06 01 01 6e 01 74 00",
  },
];

function readAll(bytes: Uint8Array): Message | undefined {
  const queue = new ByteQueue();
  queue.push(bytes);
  return readMessage(queue);
}

for (const { name, message, bytes } of VECTORS) {
  test(`${name} is written as the draft says`, () => {
    assert.equal(toHex(encodeMessage(message)), toHex(hex(bytes)));
  });

  test(`${name} is read back, also when it arrives byte by byte`, () => {
    const queue = new ByteQueue();
    const all = hex(bytes);
    for (const byte of all.subarray(0, -1)) {
      queue.push(Uint8Array.of(byte));
      assert.equal(readMessage(queue), undefined);
    }
    queue.push(all.subarray(-1));
    assert.deepEqual(normal(readMessage(queue)), normal(message));
  });
}

/** Views into larger buffers compare as plain arrays. */
function normal(message: Message | undefined): unknown {
  return JSON.parse(
    JSON.stringify(message, (_, value: unknown) =>
      typeof value === "bigint" ? `${value}n` : value instanceof Uint8Array ? toHex(value) : value,
    ),
  );
}

test("two messages in one piece come out one after the other", () => {
  const queue = new ByteQueue();
  queue.push(hex("07 0001 00 18 0004 00 09 03 00"));
  assert.equal(readMessage(queue)?.kind, "request_ok");
  assert.equal(readMessage(queue)?.kind, "fetch_ok");
  assert.equal(readMessage(queue), undefined);
});

const BROKEN: readonly [string, string][] = [
  ["a message type nobody defined", "3f 0000"],
  ["a body longer than its fields", "07 0002 00 00 00"],
  ["a body shorter than its fields", "0b 0002 02 00"],
  ["a parameter nobody defined", "04 0004 05 01 07 00"],
  ["a parameter in the wrong message", "04 0004 05 01 20 01"],
  ["a repeated parameter", "04 0006 05 02 08 01 00 01"],
  ["a reason over 1024 bytes", "05 0005 01 00 8401 00"],
  ["a namespace of 33 fields", "06 0003 01 21 00"],
  ["an empty namespace field", "06 0004 01 01 00 00"],
  ["a track property whose type passes 2^64-1", "07 000c 00 02 00 ffffffffffffffffff 00"],
  ["a group id over 2^53", "18 000c 00 ffffffffffffffffff 00 00"],
];

for (const [what, bytes] of BROKEN) {
  test(`${what} is a protocol violation`, () => {
    assert.throws(() => readAll(hex(bytes)), WireError);
  });
}
