import assert from "node:assert/strict";
import { test } from "node:test";
import { type TrackTiming, parseChunk, parseInit } from "../../src/media/cmaf.ts";
import { concat } from "../../src/wire/bytes.ts";
import { LEADING, NON_SYNC, box, chunk, initSegment, u32 } from "../support/boxes.ts";

function track(timescale: number, defaultSampleDuration: number, defaultSampleFlags = 0): TrackTiming {
  return { timescale, defaultSampleDuration, defaultSampleFlags };
}

/** A chunk that a decoder can start with. */
const START = { sync: true, leading: false };

test("an init segment tells timescale, default duration and default flags", () => {
  assert.deepEqual(parseInit(initSegment(90000, 3000, NON_SYNC)), track(90000, 3000, NON_SYNC));
});

test("an init segment without a timescale is none", () => {
  assert.equal(parseInit(box("ftyp", u32(0))), undefined);
  assert.equal(parseInit(initSegment(0, 1)), undefined);
});

test("a chunk's duration is the sum of its samples' durations", () => {
  const timing = parseChunk(chunk(900_000n, [3000, 3600]), track(90000, 1));
  assert.deepEqual(timing, { start: 10, duration: 6600 / 90000, ...START });
});

test("samples without a duration take the default one", () => {
  const timing = parseChunk(chunk(48000n, [], 3), track(48000, 1024));
  assert.deepEqual(timing, { start: 1, duration: 3072 / 48000, ...START });
});

test("a fragment's own default duration goes before the track's", () => {
  const tfhd = box("tfhd", u32(0x020008, 1, 500));
  const traf = box("traf", tfhd, box("tfdt", u32(0, 1000)), box("trun", u32(0, 2)));
  assert.deepEqual(parseChunk(box("moof", traf), track(1000, 1)), {
    start: 1,
    duration: 1,
    ...START,
  });
});

test("several chunks in one object count together", () => {
  const object = concat([chunk(0n, [10]), chunk(10n, [20])]);
  assert.deepEqual(parseChunk(object, track(10, 0)), { start: 0, duration: 3, ...START });
});

test("cut or lying boxes end the reading and nothing else", () => {
  const whole = chunk(5n, [10, 10]);
  for (let length = 0; length < whole.length; length += 1) {
    parseChunk(whole.subarray(0, length), track(10, 0));
  }
  const lying = box("moof", box("traf", box("tfdt", u32(0, 5)), box("trun", u32(0x000100, 0xffffffff, 7))));
  assert.deepEqual(parseChunk(lying, track(1, 0)), { start: 5, duration: 7, ...START });
});

test("a sample has the flags of the nearest box that says some", () => {
  const fragment = (tfhd: Uint8Array, trun: Uint8Array): Uint8Array =>
    box("moof", box("traf", box("tfhd", tfhd), box("tfdt", u32(0, 0)), box("trun", trun)));
  const nowhere = fragment(u32(0x020000, 1), u32(0x000100, 1, 40));
  const said = (flags: number): Uint8Array[] => [
    chunk(0n, [40], 1, flags),
    fragment(u32(0x020000, 1), u32(0x000501, 1, 100, 40, flags)),
    fragment(u32(0x020038, 1, 9, 9, flags), u32(0x000101, 1, 100, 40)),
  ];
  const seen = (payload: Uint8Array, defaults: number): unknown => {
    const timing = parseChunk(payload, track(1000, 0, defaults));
    return { sync: timing?.sync, leading: timing?.leading };
  };
  assert.deepEqual(seen(nowhere, 0), START);
  assert.deepEqual(seen(nowhere, NON_SYNC), { sync: false, leading: false });
  for (const payload of said(0)) {
    assert.deepEqual(seen(payload, NON_SYNC | LEADING), START);
  }
  for (const payload of said(NON_SYNC | LEADING)) {
    assert.deepEqual(seen(payload, 0), { sync: false, leading: true });
  }
  // Values 2 and 3: no leading picture, and one that can be decoded.
  for (const payload of [...said(2 * LEADING), ...said(3 * LEADING)]) {
    assert.deepEqual(seen(payload, 0), START);
  }
});
