import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCatalog } from "../../src/media/catalog.ts";
import { parseChunk } from "../../src/media/cmaf.ts";
import type { Output } from "../../src/publish/output.ts";
import { Packager, type PackagerOptions } from "../../src/publish/packager.ts";

const AVCC = Uint8Array.of(1, 0x42, 0xe0, 0x1f, 0xff, 0xe1, 0, 0, 1, 0, 0);
const CONFIGURATION = { avcc: AVCC, width: 1280, height: 720 };
const NOW_MS = 1_795_333_333_000;

class Broadcast {
  readonly outputs: Output[] = [];
  readonly packager: Packager;

  constructor(options: Partial<PackagerOptions> = {}) {
    const usual = { video: true, audio: true, framerate: 30, videoBitrate: 2e6, audioBitrate: 96e3 };
    this.packager = new Packager({ ...usual, ...options }, (output) => this.outputs.push(output));
    this.packager.configureAudio({ channels: 2, head: undefined });
  }

  picture(ms: number, key: boolean, configuration?: typeof CONFIGURATION): void {
    const picture = { timeUs: ms * 1000, key, data: Uint8Array.of(1) };
    this.packager.picture(NOW_MS + ms, configuration === undefined ? picture : { ...picture, configuration });
  }

  sound(fromMs: number, toMs: number): void {
    for (let ms = fromMs; ms < toMs; ms += 20) {
      this.packager.packet(NOW_MS + ms, { timeUs: ms * 1000, durationUs: 20_000, data: Uint8Array.of(2) });
    }
  }

  of<K extends Output["kind"]>(kind: K, track: string): Extract<Output, { kind: K }>[] {
    return this.outputs.filter(
      (output): output is Extract<Output, { kind: K }> => output.kind === kind && output.track === track,
    );
  }
}

test("a group begins at each key frame, and the sound after it goes to the group of the same id", () => {
  const broadcast = new Broadcast();
  broadcast.sound(0, 100);
  broadcast.picture(100, true, CONFIGURATION);
  broadcast.picture(133, false);
  broadcast.sound(140, 400);
  broadcast.picture(2100, true);
  broadcast.sound(2120, 2200);
  const groups = broadcast.of("object", "video/720p").map(({ group, object }) => [group - NOW_MS, object]);
  assert.deepEqual(groups, [[100, 0], [100, 1], [2100, 0]]);
  const sounds = broadcast.of("object", "audio").map(({ group, object }) => [group - NOW_MS, object]);
  assert.deepEqual(sounds, [[100, 0], [100, 1], [100, 2], [100, 3], [100, 4], [2100, 0]]);
  assert.deepEqual(
    broadcast.of("group_end", "audio").map(({ group }) => group - NOW_MS),
    [100],
    "the sound before the first picture goes nowhere",
  );
});

test("the catalog comes once both tracks are there, and again when the picture's size changes", () => {
  const broadcast = new Broadcast();
  broadcast.picture(0, true, CONFIGURATION);
  assert.equal(broadcast.of("pinned", ".catalog").length, 0);
  broadcast.sound(10, 40);
  broadcast.picture(2000, true, { ...CONFIGURATION, width: 640, height: 360 });
  const catalogs = broadcast.of("pinned", ".catalog").map(({ payload }) => parseCatalog(payload));
  assert.deepEqual(
    catalogs.map(({ tracks }) => tracks.map(({ name, height }) => [name, height])),
    [
      [["video/720p", 720], ["audio", undefined]],
      [["video/720p", 360], ["audio", undefined]],
    ],
  );
  assert.equal(catalogs[0]?.tracks[0]?.codec, "avc1.42E01F");
  assert.equal(catalogs[1]?.tracks[0]?.initGroup, NOW_MS + 2000);
  assert.equal(broadcast.of("pinned", "video/720p.init").length, 2);
});

test("a microphone that gives nothing delays the catalog for half a second", () => {
  const broadcast = new Broadcast();
  for (let ms = 0; ms <= 520; ms += 40) {
    broadcast.picture(ms, ms === 0, ms === 0 ? CONFIGURATION : undefined);
  }
  assert.equal(broadcast.of("pinned", ".catalog").length, 1);
});

test("sound alone makes groups of two seconds", () => {
  const broadcast = new Broadcast({ video: false });
  broadcast.sound(0, 4100);
  const groups = new Set(broadcast.of("object", "audio").map(({ group }) => group - NOW_MS));
  assert.deepEqual([...groups], [0, 2000, 4000]);
});

test("sound is counted in samples, follows a gap, and is left out while its clock goes back", () => {
  const broadcast = new Broadcast({ video: false });
  broadcast.sound(3, 60);
  broadcast.sound(300, 360);
  broadcast.sound(100, 160);
  const track = { timescale: 48_000, defaultSampleDuration: 0, defaultSampleFlags: 0 };
  const starts = broadcast.of("object", "audio").map(({ payload }) => parseChunk(payload, track)?.start);
  assert.deepEqual(starts, [0.003, 0.3]);
});
