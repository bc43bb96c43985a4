import assert from "node:assert/strict";
import { test } from "node:test";
import { type TrackTiming, parseChunk } from "../../src/media/cmaf.ts";
import { DecodeTimes } from "../../src/media/decode-times.ts";
import { concat } from "../../src/wire/bytes.ts";
import { NON_SYNC, box, chunk, u32, u64 } from "../support/boxes.ts";

const TRACK: TrackTiming = { timescale: 1, defaultSampleDuration: 1, defaultSampleFlags: 0 };

/** One sample with a composition offset. */
function frame(start: number, composition: number, flags = NON_SYNC): Uint8Array {
  const trun = u32(0x000f01, 1, 100, 1, 10, flags, composition);
  const tfdt = concat([u32(0x01000000), u64(BigInt(start))]);
  const traf = box("traf", box("tfhd", u32(0x020000, 1)), box("tfdt", tfdt), box("trun", trun));
  return concat([box("moof", traf), box("mdat", new Uint8Array(10))]);
}

function through(times: DecodeTimes, payload: Uint8Array): Uint8Array {
  const timing = parseChunk(payload, TRACK);
  assert.ok(timing !== undefined);
  return times.near(payload, timing, TRACK);
}

test("frames after a step of decode times are decoded earlier, until they have caught up, and shown when they were", () => {
  const times = new DecodeTimes();
  const given = [frame(10, 5, 0), frame(14, 6), frame(15, 1), frame(16, 0), frame(17, 2)];
  const got = given.map((payload) => through(times, payload));
  assert.deepEqual(got, [frame(10, 5, 0), frame(12, 8), frame(14, 2), frame(16, 0), frame(17, 2)]);
});

test("a sync sample stays where it is after any step, and so do frames that nothing was left out before", () => {
  const times = new DecodeTimes();
  for (const payload of [frame(10, 0, 0), frame(12, 1), frame(100, 0, 0), frame(101, -1)]) {
    assert.equal(through(times, payload), payload);
  }
});

test("a chunk that has no composition offsets is passed on as it is", () => {
  const times = new DecodeTimes();
  through(times, frame(10, 0, 0));
  const late = chunk(20n, [1], 1, NON_SYNC);
  assert.equal(through(times, late), late);
});
