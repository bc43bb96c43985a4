import assert from "node:assert/strict";
import { test } from "node:test";
import type { CatalogTrack } from "../../src/media/catalog.ts";
import { TrackFeed } from "../../src/media/track-feed.ts";
import { chunk, initSegment } from "../support/boxes.ts";

const TRACK: CatalogTrack = { name: "video/720p", kind: "video", codec: "avc1.42E01F", initGroup: 0 };

/** A feed, and what it appended: `init 0`, `7/0`… */
function feed(track: CatalogTrack): { readonly feed: TrackFeed; readonly appended: string[] } {
  const appended: string[] = [];
  const sink = {
    init: ({ group }: { group: number }) => void appended.push(`init ${group}`),
    chunk: (_: Uint8Array, timing: { start: number } | undefined, first: boolean) =>
      void appended.push(`${timing?.start}${first ? " first" : ""}`),
  };
  return { feed: new TrackFeed(track, false, sink), appended };
}

function give(to: TrackFeed, group: number, object: number, start: number): void {
  to.object(0, { group, object, payload: chunk(BigInt(start), [1]) });
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
