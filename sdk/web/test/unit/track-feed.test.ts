import assert from "node:assert/strict";
import { test } from "node:test";
import type { CatalogTrack } from "../../src/media/catalog.ts";
import { TrackFeed } from "../../src/media/track-feed.ts";
import { LEADING, NON_SYNC, chunk, initSegment } from "../support/boxes.ts";

const TRACK: CatalogTrack = { name: "video/720p", kind: "video", codec: "avc1.42E01F", initGroup: 0 };

/** A feed, and what it appended: `init 0`, `7/0`… */
function feed(track: CatalogTrack, decoding = true): { readonly feed: TrackFeed; readonly appended: string[] } {
  const appended: string[] = [];
  const sink = {
    decoding,
    init: ({ group }: { group: number }) => void appended.push(`init ${group}`),
    chunk: (_: Uint8Array, timing: { start: number } | undefined, starts: boolean) =>
      void appended.push(`${timing?.start}${starts ? " first" : ""}`),
  };
  return { feed: new TrackFeed(track, false, sink), appended };
}

function give(to: TrackFeed, group: number, object: number, start: number, flags = 0): void {
  to.object(0, { group, object, payload: chunk(BigInt(start), [1], 1, flags) });
}

/** A group whose two leading pictures need the group before it. */
function giveOpenGop(to: TrackFeed, group: number, start: number): void {
  to.streamOpened(group);
  give(to, group, 0, start);
  give(to, group, 1, start + 1, LEADING | NON_SYNC);
  give(to, group, 2, start + 2, LEADING | NON_SYNC);
  give(to, group, 3, start + 3, NON_SYNC);
  to.streamClosed(0, group, true);
}

test("the catalog's init segment goes before the first group, once", () => {
  const { feed: to, appended } = feed({ ...TRACK, init: initSegment(1, 1) });
  give(to, 7, 0, 70);
  give(to, 7, 1, 71);
  to.streamOpened(7);
  to.streamClosed(0, 7, true);
  give(to, 8, 0, 80);
  assert.deepEqual(appended, ["init 0", "70 first", "71", "80 first"]);
});

test("media waits for an init segment that covers it", () => {
  const { feed: to, appended } = feed(TRACK);
  give(to, 7, 0, 70);
  to.addInit(8, initSegment(1, 1));
  assert.deepEqual(appended, []);
  to.addInit(7, initSegment(1, 1));
  give(to, 7, 1, 71);
  assert.deepEqual(appended, ["init 7", "70 first", "71"]);
});

test("a newer init segment is appended before its group, not before", () => {
  const { feed: to, appended } = feed({ ...TRACK, init: initSegment(1, 1) });
  give(to, 7, 0, 70);
  to.addInit(8, initSegment(1, 1));
  give(to, 7, 1, 71);
  to.streamOpened(7);
  to.streamClosed(0, 7, true);
  give(to, 8, 0, 80);
  assert.deepEqual(appended, ["init 0", "70 first", "71", "init 8", "80 first"]);
});

test("an init segment that comes after its group began has the group appended again", () => {
  const { feed: to, appended } = feed({ ...TRACK, init: initSegment(1, 1) });
  give(to, 8, 0, 80);
  give(to, 8, 1, 81);
  to.addInit(8, initSegment(1, 1));
  assert.deepEqual(appended, ["init 0", "80 first", "81", "init 8", "80 first", "81"]);
});

test("who joins at an open GOP leaves its leading pictures out, and shows those of the next one", () => {
  const { feed: to, appended } = feed({ ...TRACK, init: initSegment(1, 1) });
  giveOpenGop(to, 7, 70);
  giveOpenGop(to, 8, 80);
  assert.deepEqual(appended, ["init 0", "70 first", "73", "80 first", "81", "82", "83"]);
});

test("before a decoder is at work, leading pictures of every group are left out, for it may start at any of them", () => {
  const { feed: to, appended } = feed({ ...TRACK, init: initSegment(1, 1) }, false);
  giveOpenGop(to, 7, 70);
  giveOpenGop(to, 8, 80);
  assert.deepEqual(appended, ["init 0", "70 first", "73", "80 first", "83"]);
});

test("a jump to an open GOP leaves its leading pictures out too", () => {
  const { feed: to, appended } = feed({ ...TRACK, init: initSegment(1, 1) });
  to.streamOpened(7);
  give(to, 7, 0, 70);
  give(to, 7, 2, 72);
  giveOpenGop(to, 8, 80);
  to.poll(1000);
  assert.deepEqual(appended, ["init 0", "70 first", "80 first", "83"]);
});

test("a group without a key frame in front is no start, also by what the init segment says of its samples", () => {
  const init = initSegment(1, 1, NON_SYNC);
  const { feed: to, appended } = feed({ ...TRACK, init });
  to.object(5, { group: 7, object: 0, payload: chunk(70n, [], 1) });
  assert.equal(to.startlessSince, 5);
  to.poll(1500);
  assert.equal(to.startlessSince, 5);
  to.streamOpened(8);
  give(to, 8, 0, 80);
  assert.equal(to.startlessSince, undefined);
  to.streamClosed(0, 8, true);
  // It goes on through such a group, which is no place to cut at.
  to.object(0, { group: 9, object: 0, payload: chunk(90n, [], 1) });
  assert.deepEqual(appended, ["init 0", "80 first", "90"]);
});

test("sound starts anywhere", () => {
  const { feed: to, appended } = feed({ ...TRACK, kind: "audio", init: initSegment(1, 1) });
  give(to, 7, 0, 70, NON_SYNC);
  assert.equal(appended.length, 2);
});
