import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteQueue } from "../../src/wire/byte-queue.ts";
import { VI64_MAX, decodeVi64, encodeVi64, vi64Length } from "../../src/wire/vi64.ts";
import { hex, toHex } from "../support/bytes.ts";

/** Example encodings of MoQT-18 §1.4.1. */
const EXAMPLES: readonly [string, bigint][] = [
  ["25", 37n],
  ["8025", 37n],
  ["bbbd", 15293n],
  ["ed7f3e7d", 226442877n],
  ["faa1a0e403d8", 2893212287960n],
  ["fc8998abc66bc0", 151288809941952n],
  ["fefa318fa8e3ca11", 70423237261249041n],
  ["ffffffffffffffffff", VI64_MAX],
];

test("the draft's examples decode to their values", () => {
  for (const [bytes, value] of EXAMPLES) {
    assert.equal(decodeVi64(hex(bytes), 0), value, bytes);
    assert.equal(vi64Length(hex(bytes)[0] ?? 0), bytes.length / 2);
  }
});

test("values are written in the shortest form", () => {
  for (const [bytes, value] of EXAMPLES.filter(([bytes]) => bytes !== "8025")) {
    assert.equal(toHex(encodeVi64(value)), bytes);
  }
});

test("every length's smallest and largest value survives the way there and back", () => {
  for (let length = 1; length <= 9; length += 1) {
    const largest = length === 9 ? VI64_MAX : (1n << BigInt(7 * length)) - 1n;
    const smallest = length === 1 ? 0n : 1n << BigInt(7 * (length - 1));
    for (const value of [smallest, largest]) {
      const bytes = encodeVi64(value);
      assert.equal(bytes.length, length, `length of ${value}`);
      assert.equal(decodeVi64(bytes, 0), value);
    }
  }
});

test("a value outside 64 bits is refused", () => {
  assert.throws(() => encodeVi64(VI64_MAX + 1n), RangeError);
  assert.throws(() => encodeVi64(-1), RangeError);
});

test("a queue gives an integer only when its last byte is there", () => {
  for (const [bytes, value] of EXAMPLES) {
    const queue = new ByteQueue();
    const all = hex(bytes);
    for (const byte of all.subarray(0, -1)) {
      queue.push(Uint8Array.of(byte));
      assert.equal(queue.vi64(), undefined);
    }
    queue.push(all.subarray(-1));
    assert.equal(queue.vi64(), value);
    assert.equal(queue.available, 0);
  }
});
