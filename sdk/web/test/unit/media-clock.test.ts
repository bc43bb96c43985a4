import assert from "node:assert/strict";
import { test } from "node:test";
import { MediaClock } from "../../src/capture/media-clock.ts";
import { encodedSize, encoderCandidates } from "../../src/capture/video-configuration.ts";

test("tracks of one clock keep their distance, whatever they were delayed", () => {
  const clock = new MediaClock(1_000_000);
  const video = clock.offset(5_000_000, 1_080_000);
  const audio = clock.offset(5_050_000, 1_090_000);
  assert.equal(video, audio);
  assert.equal(5_000_000 + video, 80_000);
});

test("tracks of different clocks are laid where they arrived", () => {
  const clock = new MediaClock(1_000_000);
  assert.equal(20_867_610_500 + clock.offset(20_867_610_500, 1_080_000), 80_000);
  assert.equal(689_799 + clock.offset(689_799, 1_100_000), 100_000);
});

test("pictures are encoded in even sizes within Full HD, upright ones too", () => {
  assert.deepEqual(encodedSize({ width: 1280, height: 720 }), { width: 1280, height: 720 });
  assert.deepEqual(encodedSize({ width: 1367, height: 769 }), { width: 1366, height: 768 });
  assert.deepEqual(encodedSize({ width: 3840, height: 2160 }), { width: 1920, height: 1080 });
  assert.deepEqual(encodedSize({ width: 1080, height: 1920 }), { width: 1080, height: 1920 });
});

test("hardware is asked for first, and the level has room for the pictures", () => {
  const candidates = encoderCandidates({ width: 1920, height: 1080 }, 30, 5e6);
  assert.equal(candidates[0]?.hardwareAcceleration, "prefer-hardware");
  assert.deepEqual(
    candidates.map(({ codec }) => codec),
    ["avc1.640028", "avc1.4D4028", "avc1.42E028", "avc1.42E028"],
  );
  assert.equal(encoderCandidates({ width: 1280, height: 720 }, 30, 2e6)[0]?.codec, "avc1.64001F");
});
