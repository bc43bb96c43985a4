import assert from "node:assert/strict";
import { test } from "node:test";
import { LIVE_EDGE_LIMITS, LiveEdge } from "../../src/media/live-edge.ts";

const FRAME_S = 0.04;

/** Numbers 0…1 that are the same on every run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

/** `seconds` of frames whose path takes `pathS` plus what `jitter` gives. Media time is the clock's. */
function feed(edge: LiveEdge, from: number, seconds: number, pathS: number, jitter: () => number): void {
  for (let t = from; t < from + seconds; t += FRAME_S) {
    edge.arrived("video", t + FRAME_S + pathS + jitter(), t + FRAME_S, FRAME_S, false);
  }
}

test("the edge is what the fastest arrivals make it", () => {
  const edge = new LiveEdge({ video: 0.02, audio: 0.13 });
  feed(edge, 0, 4, 0.1, () => 0);
  assert.ok(Math.abs((edge.edge(5) ?? 0) - 4.9) < 1e-6);
  assert.ok(Math.abs((edge.delay(5, 4.5) ?? 0) - 0.4) < 1e-6);
});

test("an even path asks for the least delay, an uneven one for its jitter", () => {
  const even = new LiveEdge({ video: 0.02, audio: 0.13 });
  feed(even, 0, 4, 0.1, () => 0);
  assert.equal(even.target(4), LIVE_EDGE_LIMITS.targetMin);

  const uneven = new LiveEdge({ video: 0.02, audio: 0.13 });
  const next = random(7);
  feed(uneven, 0, 6, 0.1, () => next() * 0.08);
  const target = uneven.target(6);
  assert.ok(target > 0.12 && target < 0.16, `target ${target}`);
});

test("the old objects of the joining fetch do not count as jitter", () => {
  const edge = new LiveEdge({ video: 0.02, audio: 0.13 });
  for (let t = 0; t < 2; t += FRAME_S) {
    edge.arrived("video", 2.1, t + FRAME_S, FRAME_S, true);
  }
  assert.equal(edge.target(2.1), LIVE_EDGE_LIMITS.targetMin);
  assert.ok(Math.abs((edge.edge(2.1) ?? 0) - 2) < FRAME_S + 1e-6);
});

test("the later of two tracks is the edge, and the longer chunks set the target", () => {
  const edge = new LiveEdge({ video: 0.02, audio: 0.13 });
  feed(edge, 0, 4, 0.1, () => 0);
  for (let t = 0; t < 4; t += 0.064) {
    edge.arrived("audio", t + 0.064 + 0.15, t + 0.064, 0.064, false);
  }
  assert.ok(Math.abs((edge.edge(5) ?? 0) - 4.85) < 1e-6);
  assert.ok(Math.abs(edge.target(4) - 0.194) < 1e-6);
});

test("a stall widens the delay at once, and it comes back slowly", () => {
  const edge = new LiveEdge({ video: 0.02, audio: 0.13 });
  feed(edge, 0, 4, 0.1, () => 0);
  const before = edge.target(4);
  edge.stalled(4);
  assert.ok(Math.abs(edge.target(4) - before - 0.1) < 1e-6);
  edge.resumed(4.05);
  assert.ok(edge.target(30) < before + 1e-6);
});

test("the second stall doubles what the first one added, a longer one counts with its length, an outage does not", () => {
  const edge = new LiveEdge({ video: 0.02, audio: 0.13 });
  feed(edge, 0, 4, 0.1, () => 0);
  const before = edge.target(4);
  edge.stalled(4);
  edge.resumed(4.02);
  edge.stalled(4.02);
  edge.resumed(4.04);
  assert.ok(Math.abs(edge.target(4.04) - before - 0.2) < 0.001);

  const long = new LiveEdge({ video: 0.02, audio: 0.13 });
  feed(long, 0, 4, 0.1, () => 0);
  long.stalled(4);
  long.resumed(4.35);
  assert.ok(Math.abs(long.target(4.35) - before - 0.35) < 1e-6);

  const outage = new LiveEdge({ video: 0.02, audio: 0.13 });
  feed(outage, 0, 4, 0.1, () => 0);
  outage.stalled(4);
  outage.resumed(8);
  assert.ok(outage.target(8) < before + 0.1 + 1e-6, "no delay could have covered it");
});

test("no jitter drives the delay over its bound", () => {
  const edge = new LiveEdge({ video: 0.02, audio: 0.13 });
  const next = random(3);
  feed(edge, 0, 6, 0.1, () => next() * 5);
  for (let i = 0; i < 100; i += 1) {
    edge.stalled(6);
  }
  assert.equal(edge.target(6), LIVE_EDGE_LIMITS.targetMax);
});

test("near the target the rate stays 1; behind it is a little faster, ahead a little slower", () => {
  const edge = new LiveEdge({ video: 0.02, audio: 0.13 });
  feed(edge, 0, 4, 0.1, () => 0);
  const target = edge.target(5);
  const at = (delay: number) => edge.decide(5, 4.9 - delay, 4.9);
  assert.deepEqual(at(target + 0.02), { kind: "rate", rate: 1 });
  const behind = at(target + 0.3);
  assert.ok(behind.kind === "rate" && behind.rate > 1.02 && behind.rate <= 1.12);
  const ahead = at(target - 0.07);
  assert.ok(ahead.kind === "rate" && ahead.rate < 1 && ahead.rate >= 0.95);
});

test("nudging goes on until the target is met, so that the rate does not flutter", () => {
  const edge = new LiveEdge({ video: 0.02, audio: 0.13 });
  feed(edge, 0, 4, 0.1, () => 0);
  const target = edge.target(5);
  const rate = (error: number) => {
    const action = edge.decide(5, 4.9 - target - error, 4.9);
    return action.kind === "rate" ? action.rate : undefined;
  };
  assert.equal(rate(0.03), 1);
  assert.notEqual(rate(0.06), 1);
  assert.notEqual(rate(0.03), 1);
  assert.equal(rate(0.005), 1);
  assert.equal(rate(0.03), 1);
});

test("far behind, the player jumps to the target distance, but not past what is buffered", () => {
  const edge = new LiveEdge({ video: 0.02, audio: 0.13 });
  feed(edge, 0, 4, 0.1, () => 0);
  const target = edge.target(5);
  const whole = edge.decide(5, 1, 4.9);
  assert.ok(whole.kind === "seek" && Math.abs(whole.to - (4.9 - target)) < 1e-6);
  assert.equal(edge.decide(5.1, 1, 4.9).kind, "rate", "one jump at a time");
  const part = edge.decide(8, 1, 3);
  assert.ok(part.kind === "seek" && part.to < 3 && part.to > 2.9);
  assert.equal(edge.decide(11, 1, 1.1).kind, "rate");
});

test("rate changes alone bring a player half a second from its target back to the target within eight seconds", () => {
  const edge = new LiveEdge({ video: 0.02, audio: 0.13 });
  let position = 0;
  let behindAtEnd = Infinity;
  for (let t = 0; t < 14; t += FRAME_S) {
    edge.arrived("video", t + FRAME_S + 0.1, t + FRAME_S, FRAME_S, false);
    const now = t + FRAME_S + 0.1;
    const end = edge.edge(now) ?? 0;
    if (t < 4) {
      position = end - 0.58;
      continue;
    }
    const action = edge.decide(now, position, end);
    assert.equal(action.kind, "rate");
    behindAtEnd = t < 12 ? Infinity : end - position - edge.target(now);
    position += FRAME_S * (action.kind === "rate" ? action.rate : 1);
  }
  assert.ok(Math.abs(behindAtEnd) < 0.02, `error at the end ${behindAtEnd}`);
});
