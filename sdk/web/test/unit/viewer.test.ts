import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { BroadcastViewer } from "../../src/viewer/viewer.ts";
import { FakeRelay } from "../support/fake-relay.ts";

const viewers: BroadcastViewer[] = [];
afterEach(() => viewers.splice(0).forEach((viewer) => viewer.stop()));

/** A viewer that waits for a broadcast, and the times of its connections, milliseconds. */
async function waiting() {
  const relay = new FakeRelay({ namespace: ["stream", "org", "lv_1"] });
  const connects: number[] = [];
  let told = (): void => undefined;
  const video = { getVideoPlaybackQuality: () => ({ droppedVideoFrames: 0 }) } as unknown as HTMLVideoElement;
  const viewer = new BroadcastViewer({
    url: "https://relay/playback/lv_1",
    video,
    connect: () => {
      connects.push(performance.now());
      told();
      return relay.connect();
    },
  });
  const connected = async (count: number): Promise<void> => {
    while (connects.length < count) {
      await new Promise<void>((resolve) => void (told = resolve));
    }
  };
  const state = (wanted: string): Promise<void> =>
    viewer.state === wanted
      ? Promise.resolve()
      : new Promise((resolve) => void viewer.on("state", (now) => now === wanted && resolve()));
  viewers.push(viewer);
  viewer.start();
  await state("waiting");
  return { relay, connects, connected };
}

test("a viewer comes back to a server that goes away after a while, and not at once", async () => {
  const { relay, connects, connected } = await waiting();
  const before = performance.now();
  relay.goaway(5000);
  await connected(2);
  const waitedMs = (connects[1] ?? 0) - before;
  // Timers may fire a millisecond early.
  assert.ok(waitedMs > 490, `${waitedMs} ms`);
});

test("a session that is lost while its server goes away is not replaced earlier", async () => {
  const { relay, connects, connected } = await waiting();
  const before = performance.now();
  relay.goaway(5000);
  // What is in the pipes arrives before any timer or event.
  await new Promise((resolve) => setImmediate(resolve));
  relay.crash();
  await connected(2);
  const waitedMs = (connects[1] ?? 0) - before;
  assert.ok(waitedMs > 490, `${waitedMs} ms`);
});
