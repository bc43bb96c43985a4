import assert from "node:assert/strict";
import { test } from "node:test";
import { RateControl } from "../../src/publish/rate-control.ts";

const MAX = 2_000_000;

test("a link that keeps up gets the whole bitrate, whatever its round trip", () => {
  const control = new RateControl(MAX);
  for (let now = 0; now < 60_000; now += 250) {
    control.sample(now, now % 2000 < 500 ? 300 : 0, MAX);
  }
  assert.equal(control.bitrate, MAX);
});

test("a crowded link gets less at once, and from what is really sent", () => {
  const control = new RateControl(MAX);
  control.sample(0, 600, 1_000_000);
  assert.equal(control.bitrate, 700_000);
});

test("a step down has time to show before the next", () => {
  const control = new RateControl(MAX);
  for (let now = 0; now < 2000; now += 250) {
    control.sample(now, 600, MAX);
  }
  assert.equal(control.bitrate, 0.7 * MAX);
  control.sample(2000, 600, MAX);
  assert.equal(control.bitrate, 0.49 * MAX);
});

test("the bitrate has a floor and comes back slowly", () => {
  const control = new RateControl(MAX);
  for (let now = 0; now < 60_000; now += 250) {
    control.sample(now, 3000, 100_000);
  }
  assert.equal(control.bitrate, 150_000);
  for (let now = 60_000; now <= 64_000; now += 250) {
    control.sample(now, 0, 100_000);
  }
  assert.equal(control.bitrate, 180_000);
  for (let now = 64_250; now <= 200_000; now += 250) {
    control.sample(now, 0, MAX);
  }
  assert.equal(control.bitrate, MAX);
});
