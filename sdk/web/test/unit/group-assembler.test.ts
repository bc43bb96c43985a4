import assert from "node:assert/strict";
import { test } from "node:test";
import { ASSEMBLER_LIMITS, GroupAssembler } from "../../src/media/group-assembler.ts";

const PAYLOAD = Uint8Array.of(1);
/** A picture that no decoder can start with. */
const DELTA = Uint8Array.of(0);
const isStart = (payload: Uint8Array): boolean => payload[0] === 1;

/** `group/object` of everything that can be played at `now`. */
function play(assembler: GroupAssembler, now = 0): string[] {
  return assembler.poll(now).map(({ group, object }) => `${group}/${object}`);
}

function give(assembler: GroupAssembler, now: number, ...ids: string[]): void {
  for (const id of ids) {
    const [group = 0, object = 0] = id.split("/").map(Number);
    assembler.object(now, { group, object, payload: PAYLOAD });
  }
}

test("what the subscription brings waits for the joining fetch before it", () => {
  const assembler = new GroupAssembler(true);
  give(assembler, 0, "7/3", "7/4");
  assert.deepEqual(play(assembler), []);
  give(assembler, 0, "7/0", "7/1", "7/2");
  assert.deepEqual(play(assembler), ["7/0", "7/1", "7/2", "7/3", "7/4"]);
});

test("objects that both fetch and subscription bring are played once", () => {
  const assembler = new GroupAssembler(true);
  give(assembler, 0, "7/0", "7/1");
  assert.deepEqual(play(assembler), ["7/0", "7/1"]);
  give(assembler, 0, "7/1", "7/2", "7/2");
  assert.deepEqual(play(assembler), ["7/2"]);
  assert.equal(assembler.duplicates, 2);
});

test("the next group begins when the one before is whole, not earlier", () => {
  const assembler = new GroupAssembler(false);
  assembler.streamOpened(7);
  give(assembler, 0, "7/0", "8/0");
  assert.deepEqual(play(assembler), ["7/0"]);
  give(assembler, 0, "7/1");
  assembler.streamClosed(7, true);
  assert.deepEqual(play(assembler), ["7/1", "8/0"]);
  assert.equal(assembler.groupsDropped, 0);
});

test("an empty rest of the joined group does not end it while the fetch still brings its objects", () => {
  const assembler = new GroupAssembler(true);
  give(assembler, 0, "7/0");
  assembler.streamOpened(7);
  assembler.streamClosed(7, true);
  give(assembler, 0, "8/0");
  assert.deepEqual(play(assembler), ["7/0"]);
  give(assembler, 0, "7/1");
  assembler.fetchEnded();
  assert.deepEqual(play(assembler), ["7/1", "8/0"]);
  assert.equal(assembler.groupsDropped, 0);
});

test("a group that does not go on is left for the newest one after a while", () => {
  const assembler = new GroupAssembler(false);
  assembler.streamOpened(7);
  give(assembler, 0, "7/0", "7/2", "8/0", "9/0");
  assert.deepEqual(play(assembler, 0), ["7/0"]);
  assert.deepEqual(play(assembler, ASSEMBLER_LIMITS.patienceMs - 1), []);
  assert.deepEqual(play(assembler, ASSEMBLER_LIMITS.patienceMs), ["9/0"]);
  assert.equal(assembler.groupsDropped, 2);
});

test("what comes of a group that was left is not played", () => {
  const assembler = new GroupAssembler(false);
  give(assembler, 0, "7/0", "9/0");
  assert.deepEqual(play(assembler, ASSEMBLER_LIMITS.patienceMs), ["7/0", "9/0"]);
  give(assembler, 0, "7/1", "8/0", "9/1");
  assert.deepEqual(play(assembler, 1000), ["9/1"]);
});

test("without the fetch, a group joined in its middle is skipped as soon as another begins", () => {
  const assembler = new GroupAssembler(true);
  give(assembler, 0, "7/5", "7/6");
  assembler.fetchEnded();
  assert.deepEqual(play(assembler), []);
  give(assembler, 0, "8/0");
  assert.deepEqual(play(assembler), ["8/0"]);
});

test("objects of one group in any order come out in order", () => {
  const assembler = new GroupAssembler(false);
  give(assembler, 0, "7/2", "7/0", "7/3", "7/1");
  assert.deepEqual(play(assembler), ["7/0", "7/1", "7/2", "7/3"]);
});

test("what is held is bounded in groups and in bytes", () => {
  const byGroups = new GroupAssembler(true, undefined, { ...ASSEMBLER_LIMITS, groupsMax: 4 });
  for (let group = 0; group < 100; group += 1) {
    give(byGroups, 0, `${group}/1`);
  }
  assert.equal(byGroups.groupsDropped, 96);

  const byBytes = new GroupAssembler(true, undefined, { ...ASSEMBLER_LIMITS, bytesMax: 10 });
  for (let group = 0; group < 8; group += 1) {
    byBytes.object(0, { group, object: 0, payload: new Uint8Array(6) });
  }
  assert.deepEqual(play(byBytes), ["7/0"]);
});

test("streams that open without an object count as groups too", () => {
  const assembler = new GroupAssembler(false, undefined, { ...ASSEMBLER_LIMITS, groupsMax: 4 });
  for (let group = 0; group < 100; group += 1) {
    assembler.streamOpened(group);
  }
  assert.equal(assembler.groupsDropped, 96);
});

test("a single group that waits too long for an object is given up, and the next one plays", () => {
  const assembler = new GroupAssembler(true, undefined, { ...ASSEMBLER_LIMITS, bytesMax: 10 });
  for (let object = 1; object <= 100; object += 1) {
    assembler.object(0, { group: 7, object, payload: new Uint8Array(6) });
  }
  assert.equal(assembler.groupsDropped, 1);
  give(assembler, 0, "7/0", "7/1");
  assert.deepEqual(play(assembler), []);
  give(assembler, 0, "9/0");
  assert.deepEqual(play(assembler), ["9/0"]);
});

test("a group that no decoder can start with is waited past by who joins, and played by who was there", () => {
  const assembler = new GroupAssembler(true, isStart);
  assembler.object(0, { group: 7, object: 0, payload: DELTA });
  assembler.object(0, { group: 7, object: 1, payload: DELTA });
  assert.deepEqual(play(assembler), []);
  assert.equal(assembler.startless, false, "the joining fetch is under way");
  assembler.fetchEnded();
  assert.deepEqual(play(assembler), []);
  assert.equal(assembler.startless, true);
  assembler.streamOpened(8);
  give(assembler, 0, "8/0");
  assert.deepEqual(play(assembler), ["8/0"]);
  assert.equal(assembler.startless, false);
  assembler.streamClosed(8, true);
  assembler.object(0, { group: 9, object: 0, payload: DELTA });
  assert.deepEqual(play(assembler), ["9/0"]);
});

test("after a loss only a group that a decoder can start with goes on", () => {
  const assembler = new GroupAssembler(false, isStart);
  assembler.streamOpened(7);
  give(assembler, 0, "7/0", "7/2");
  assembler.object(0, { group: 8, object: 0, payload: DELTA });
  assert.deepEqual(play(assembler), ["7/0"]);
  const later = 2 * ASSEMBLER_LIMITS.patienceMs;
  assert.deepEqual(play(assembler, later), []);
  assert.equal(assembler.startless, true);
  give(assembler, later, "9/0");
  assert.deepEqual(play(assembler, later + ASSEMBLER_LIMITS.patienceMs), ["9/0"]);
  assert.equal(assembler.startless, false);
});

test("a group says whether its decoder starts with it or goes on", () => {
  const assembler = new GroupAssembler(false, isStart);
  assembler.streamOpened(7);
  give(assembler, 0, "7/0");
  assembler.streamClosed(7, true);
  assembler.streamOpened(8);
  give(assembler, 0, "8/0", "8/2", "10/0");
  const fresh = (now: number): boolean[] => assembler.poll(now).map((delivery) => delivery.fresh);
  assert.deepEqual(fresh(0), [true, false]);
  assert.deepEqual(fresh(ASSEMBLER_LIMITS.patienceMs), [true]);
});
