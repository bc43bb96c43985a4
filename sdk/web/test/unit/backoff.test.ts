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
