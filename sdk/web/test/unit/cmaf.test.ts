import assert from "node:assert/strict";
import { test } from "node:test";
import { parseChunk, parseInit } from "../../src/media/cmaf.ts";
import { concat } from "../../src/wire/bytes.ts";
import { box, chunk, initSegment, u32 } from "../support/boxes.ts";

test("an init segment tells timescale and default duration", () => {
  assert.deepEqual(parseInit(initSegment(90000, 3000)), { timescale: 90000, defaultSampleDuration: 3000 });
});

test("an init segment without a timescale is none", () => {
  assert.equal(parseInit(box("ftyp", u32(0))), undefined);
  assert.equal(parseInit(initSegment(0, 1)), undefined);
});

test("a chunk's duration is the sum of its samples' durations", () => {
  const timing = parseChunk(chunk(900_000n, [3000, 3600]), { timescale: 90000, defaultSampleDuration: 1 });
  assert.deepEqual(timing, { start: 10, duration: 6600 / 90000 });
});

test("samples without a duration take the default one", () => {
  const timing = parseChunk(chunk(48000n, [], 3), { timescale: 48000, defaultSampleDuration: 1024 });
  assert.deepEqual(timing, { start: 1, duration: 3072 / 48000 });
});

test("a fragment's own default duration goes before the track's", () => {
  const tfhd = box("tfhd", u32(0x020008, 1, 500));
  const traf = box("traf", tfhd, box("tfdt", u32(0, 1000)), box("trun", u32(0, 2)));
  assert.deepEqual(parseChunk(box("moof", traf), { timescale: 1000, defaultSampleDuration: 1 }), {
    start: 1,
    duration: 1,
  });
});

test("several chunks in one object count together", () => {
  const object = concat([chunk(0n, [10]), chunk(10n, [20])]);
  assert.deepEqual(parseChunk(object, { timescale: 10, defaultSampleDuration: 0 }), { start: 0, duration: 3 });
});

test("cut or lying boxes end the reading and nothing else", () => {
  const whole = chunk(5n, [10, 10]);
  for (let length = 0; length < whole.length; length += 1) {
    parseChunk(whole.subarray(0, length), { timescale: 10, defaultSampleDuration: 0 });
  }
  const lying = box("moof", box("traf", box("tfdt", u32(0, 5)), box("trun", u32(0x000100, 0xffffffff, 7))));
  assert.deepEqual(parseChunk(lying, { timescale: 1, defaultSampleDuration: 0 }), { start: 5, duration: 7 });
});
