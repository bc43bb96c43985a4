import assert from "node:assert/strict";
import { test } from "node:test";
import { TrackBuffer } from "../../src/media/track-buffer.ts";

/** A browser's buffer that has taken `end` seconds of media, and does at once what it is told. */
class FakeSourceBuffer extends EventTarget {
  readonly updating = false;
  readonly removed: number[] = [];
  end = 0;

  get buffered(): { length: number; start(): number; end(): number } {
    return { length: 1, start: () => this.removed.at(-1) ?? 0, end: () => this.end };
  }

  remove(_: number, until: number): void {
    this.removed.push(until);
  }
}

function buffer() {
  const media = new FakeSourceBuffer();
  const failures: string[] = [];
  const track = new TrackBuffer(
    "video/mp4",
    () => undefined,
    (message) => void failures.push(message),
  );
  track.attach({ addSourceBuffer: () => media } as unknown as MediaSource);
  track.start();
  return { track, media, failures };
}

/** Groups of `length` seconds each, from the media time `from` up to `to`. */
function groups(track: TrackBuffer, from: number, to: number, length: number): void {
  for (let i = 0; from + i * length < to; i += 1) {
    track.groupStarts(from + i * length);
  }
}

test("media behind the playing position goes when every frame is a group of its own", () => {
  const { track, media } = buffer();
  groups(track, 0, 60, 1 / 120);
  media.end = 60;
  track.removeBefore(50);
  const [until = 0] = media.removed;
  assert.ok(until > 49 && until <= 50, `removed until ${until}`);
});

test("media is cut where a group starts, never inside one", () => {
  const { track, media } = buffer();
  groups(track, 0, 60, 10);
  media.end = 60;
  track.removeBefore(38);
  assert.deepEqual(media.removed, [30]);
  track.removeBefore(39);
  assert.deepEqual(media.removed, [30]);
});

test("a group that does not end keeps its media, since a cut would take the live edge too", () => {
  const { track, media, failures } = buffer();
  track.groupStarts(0);
  media.end = 600;
  track.removeBefore(596);
  assert.deepEqual(media.removed, []);
  assert.deepEqual(failures, []);
});

test("a timeline that begins anew is cut by its own group starts", () => {
  const { track, media } = buffer();
  groups(track, 100, 200, 2);
  groups(track, 0, 20, 2);
  media.end = 20;
  track.removeBefore(15);
  assert.deepEqual(media.removed, [14]);
});
