import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../../src/viewer/backoff.ts";

test("attempts come quickly first, then more slowly, never later than three seconds", () => {
  const backoff = new Backoff(() => 1);
  const delays = Array.from({ length: 20 }, () => backoff.next());
  assert.ok((delays[0] ?? Infinity) < 300);
  assert.ok(delays.every((delay, i) => i === 0 || delay >= (delays[i - 1] ?? 0)));
  assert.ok(Math.max(...delays) <= 3000);
});

test("after a success the delays begin anew", () => {
  const backoff = new Backoff(() => 0.5);
  const first = backoff.next();
  backoff.next();
  backoff.reset();
  assert.equal(backoff.next(), first);
});

test("delays are spread, so that viewers do not come back all at once", () => {
  assert.ok(new Backoff(() => 0).next() < new Backoff(() => 1).next());
});

test("a server that goes away is left after half a second at least, and later each time it asks again", () => {
  const soonest = new Backoff(() => 0);
  const latest = new Backoff(() => 1);
  assert.deepEqual([soonest.leave(60_000), soonest.leave(900), soonest.leave(900)], [500, 1000, 1000]);
  assert.deepEqual([latest.leave(60_000), latest.leave(900), latest.leave(900)], [1500, 3000, 3000]);
  assert.equal(soonest.leave(60_000), 500);
});
