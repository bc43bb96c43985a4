import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import type { ChunkTiming } from "../../src/media/cmaf.ts";
import type { Playback } from "../../src/media/playback.ts";
import type { CloseInfo } from "../../src/session/transport.ts";
import { Attempt } from "../../src/viewer/attempt.ts";
import { utf8 } from "../../src/wire/bytes.ts";
import { chunk, initSegment } from "../support/boxes.ts";
import { FakeRelay } from "../support/fake-relay.ts";

const NAMESPACE = ["stream", "org", "lv_1"];
const TRACK_ENDED = 2;

// Which types a browser plays; node has no media.
Object.assign(globalThis, { MediaSource: { isTypeSupported: () => true } });

const closing: (() => void)[] = [];
afterEach(() => closing.splice(0).forEach((close) => close()));

/** An attempt at a relay with a catalog of one video track, and what it told: `70` for the chunk at media time 70. */
function open(closeWith?: CloseInfo) {
  const relay = new FakeRelay({ namespace: NAMESPACE, ...(closeWith === undefined ? {} : { closeWith }) });
  const init = btoa(String.fromCharCode(...initSegment(1, 1)));
  const tracks = [{ name: "video", kind: "video", codec: "avc1.42E01F", init }];
  relay.track(".catalog").publish(1, utf8(JSON.stringify({ version: 1, live: true, tracks })));
  const log: string[] = [];
  let wake = (): void => undefined;
  const add = (entry: string): void => {
    log.push(entry);
    wake();
  };
  const sink = {
    init: () => undefined,
    chunk: (_: Uint8Array, timing: ChunkTiming | undefined) => add(`${timing?.start}`),
  };
  const playback = { setTracks: () => undefined, sink: () => sink } as unknown as Playback;
  const ignore = (): void => undefined;
  const attempt = new Attempt(relay.connect(), undefined, () => playback, {
    connected: ignore,
    waiting: () => add("waiting"),
    joining: () => add("joining"),
    keyFrameMissing: ignore,
    started: ignore,
    stalled: ignore,
    resumed: ignore,
    blocked: ignore,
    failed: ignore,
    goingAway: () => add("going away"),
    fatal: ({ kind }) => add(kind),
    lost: (message) => add(`lost: ${message}`),
  });
  const polling = setInterval(() => attempt.poll(), 10);
  closing.push(() => {
    clearInterval(polling);
    attempt.close();
  });
  attempt.start(undefined);
  /** Resolves when the log holds `entry`; fails when the attempt is over without it. */
  const until = async (entry: string): Promise<void> => {
    while (!log.includes(entry)) {
      assert.ok(!log.includes("ended"), `no ${entry} in ${log.join()}`);
      await new Promise<void>((resolve) => void (wake = resolve));
    }
  };
  return { relay, log, until };
}

test("what was sent before the end of a broadcast is played, though it comes after it", async () => {
  const { relay, log, until } = open();
  const video = relay.track("video");
  video.publish(7, chunk(70n, [1]));
  await until("70");
  relay.track(".catalog").done(TRACK_ENDED, "");
  video.doneAhead(TRACK_ENDED, 2);
  video.publish(8, chunk(80n, [1]));
  video.endGroup(8);
  await until("80");
  video.publish(9, chunk(90n, [1]));
  await until("90");
  assert.ok(!log.includes("ended"), log.join());
  video.publish(9, chunk(91n, [1]));
  video.endGroup(9);
  await until("ended");
  assert.deepEqual(log, ["joining", "70", "80", "90", "91", "ended"]);
});

test("a broadcast that has come whole ends at once", async () => {
  const { relay, until } = open();
  const video = relay.track("video");
  video.publish(7, chunk(70n, [1]));
  await until("70");
  const before = performance.now();
  video.publish(7, chunk(71n, [1]));
  video.done(TRACK_ENDED, "");
  await until("ended");
  assert.ok(performance.now() - before < 1000);
});

test("a broadcast whose rest does not come ends all the same", async () => {
  const { relay, log, until } = open();
  relay.track("video").publish(7, chunk(70n, [1]));
  await until("70");
  relay.track(".catalog").done(TRACK_ENDED, "");
  await until("ended");
  assert.deepEqual(log, ["joining", "70", "ended"]);
});

test("a server that goes away is no end of the broadcast, and media comes for as long as it sends any", async () => {
  const { relay, log, until } = open();
  const video = relay.track("video");
  video.publish(7, chunk(70n, [1]));
  await until("70");
  relay.goaway(5000);
  await until("going away");
  video.publish(7, chunk(71n, [1]));
  await until("71");
  relay.track(".catalog").done(TRACK_ENDED, "");
  video.done(TRACK_ENDED, "");
  await until("lost: the server went away");
  assert.deepEqual(log, ["joining", "70", "going away", "71", "lost: the server went away"]);
});

test("the code of a closed session says whether its token was refused, whatever the words are", async () => {
  // UNAUTHORIZED, MALFORMED_AUTH_TOKEN and EXPIRED_AUTH_TOKEN (MoQT-18 §3.5).
  for (const closeCode of [0x2, 0x16, 0x18]) {
    const { log, until } = open({ closeCode, reason: "no, thank you" });
    await until("auth");
    assert.deepEqual(log, ["auth"]);
  }
  const { log, until } = open({ closeCode: 0, reason: "auth_failed, says somebody" });
  await until("lost: closed by the server with code 0: auth_failed, says somebody");
  assert.equal(log.length, 1);
});
