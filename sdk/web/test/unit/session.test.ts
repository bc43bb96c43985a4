import assert from "node:assert/strict";
import { test } from "node:test";
import { MoqSession, type SessionEnd } from "../../src/session/session.ts";
import type { TrackHandlers } from "../../src/session/subscription.ts";
import { SetupOption } from "../../src/wire/messages.ts";
import type { Namespace } from "../../src/wire/names.ts";
import { FakeRelay, type FakeRelayOptions } from "../support/fake-relay.ts";

const NAMESPACE = ["stream", "org", "lv_1"];

interface Heard {
  readonly log: string[];
  /** Resolves when the log holds `entry`. */
  until(entry: string): Promise<void>;
}

function hearing(): Heard & { add(entry: string): void } {
  const log: string[] = [];
  const waiting: { readonly entry: string; readonly resolve: () => void }[] = [];
  return {
    log,
    add(entry) {
      log.push(entry);
      waiting.filter((one) => one.entry === entry).forEach((one) => one.resolve());
    },
    until: (entry) =>
      log.includes(entry) ? Promise.resolve() : new Promise((resolve) => waiting.push({ entry, resolve })),
  };
}

function open(options: Partial<FakeRelayOptions> = {}) {
  const relay = new FakeRelay({ namespace: NAMESPACE, ...options });
  const heard = hearing();
  const session = new MoqSession(relay.connect(), {
    namespace: (namespace: Namespace) => heard.add(`namespace ${namespace.join("/")}`),
    goaway: () => heard.add("goaway"),
    ended: (end: SessionEnd) => heard.add(`ended ${end.kind} ${"reason" in end ? end.reason : end.message}`),
  });
  session.start();
  return { relay, session, heard };
}

function handlers(heard: ReturnType<typeof hearing>): TrackHandlers {
  return {
    established: ({ parameters }) =>
      heard.add(`ok ${parameters.largestObject?.group}/${parameters.largestObject?.object}`),
    object: ({ group, object }, fetched) => heard.add(`${group}/${object}${fetched ? " fetched" : ""}`),
    groupClosed: (group, complete) => heard.add(`group ${group} ${complete ? "whole" : "cut"}`),
    fetched: (complete) => heard.add(`fetch ${complete ? "whole" : "refused"}`),
    refused: ({ code, reason }) => heard.add(`refused ${code} ${reason}`),
    done: ({ status }) => heard.add(`done ${status}`),
  };
}

test("setup goes out without path or authority, and the namespace comes in", async () => {
  const { relay, heard } = open();
  await heard.until("namespace stream/org/lv_1");
  const setup = relay.sessions[0]?.received.find((message) => message.kind === "setup");
  assert.ok(setup?.kind === "setup");
  assert.deepEqual(
    setup.options.map(({ type }) => type),
    [SetupOption.Implementation],
  );
});

test("a viewer that joins in the middle of a group gets its start by fetch and its rest by subscription", async () => {
  const { relay, session, heard } = open();
  const track = relay.track("video");
  track.publish(7, Uint8Array.of(0));
  track.publish(7, Uint8Array.of(1));
  session.subscribe(NAMESPACE, "video", true, {}, handlers(heard));
  await heard.until("fetch whole");
  track.publish(7, Uint8Array.of(2));
  track.endGroup(7);
  track.publish(8, Uint8Array.of(3));
  await heard.until("8/0");
  assert.deepEqual(
    heard.log.filter((entry) => /^\d/.test(entry)),
    ["7/0 fetched", "7/1 fetched", "7/2", "8/0"],
  );
  assert.ok(heard.log.includes("ok 7/1"));
  await heard.until("group 7 whole");
});

test("data that overtakes the answer to its subscription is kept for it", async () => {
  const { relay, session, heard } = open({ answerDelayMs: 60 });
  const track = relay.track("video");
  session.subscribe(NAMESPACE, "video", false, {}, handlers(heard));
  await new Promise((resolve) => setTimeout(resolve, 20));
  track.publish(7, Uint8Array.of(0));
  track.publish(7, Uint8Array.of(1));
  await heard.until("7/1");
  assert.deepEqual(heard.log.slice(-3), ["ok undefined/undefined", "7/0", "7/1"]);
});

test("request ids are even and go up by two", async () => {
  const { relay, session, heard } = open();
  relay.track("a").publish(1, Uint8Array.of(0));
  session.subscribe(NAMESPACE, "a", true, {}, handlers(heard));
  session.subscribe(NAMESPACE, "b", false, {}, handlers(heard));
  await heard.until("refused 16 no such track");
  await session.probe(NAMESPACE, "a");
  const ids = relay.sessions[0]?.received.flatMap((message) => ("requestId" in message ? [message.requestId] : []));
  assert.deepEqual(ids?.sort(), [0, 2, 4, 6]);
});

test("a fetch of a track without objects is refused, and the subscription goes on", async () => {
  const { relay, session, heard } = open();
  const track = relay.track("video");
  session.subscribe(NAMESPACE, "video", true, {}, handlers(heard));
  await heard.until("fetch refused");
  track.publish(1, Uint8Array.of(0));
  await heard.until("1/0");
});

test("the end of a track and the end of a session are told apart", async () => {
  const { relay, session, heard } = open();
  const track = relay.track("video");
  session.subscribe(NAMESPACE, "video", false, {}, handlers(heard));
  await heard.until("ok undefined/undefined");
  track.done(2, "");
  await heard.until("done 2");
  relay.crash();
  await heard.until("ended lost Error: connection reset");
});

test("the reason of a close reaches the caller, even though the streams end first", async () => {
  const { session, heard } = open({ closeWith: { closeCode: 2, reason: "auth_failed: token expired" } });
  session.subscribe(NAMESPACE, "video", false, {}, handlers(heard));
  await heard.until("ended closed auth_failed: token expired");
});

test("nothing comes any more of a subscription that was cancelled", async () => {
  const { relay, session, heard } = open();
  const track = relay.track("video");
  const subscription = session.subscribe(NAMESPACE, "video", false, {}, handlers(heard));
  await heard.until("ok undefined/undefined");
  subscription.cancel();
  track.publish(1, Uint8Array.of(0));
  relay.track("other").publish(1, Uint8Array.of(0));
  session.subscribe(NAMESPACE, "other", true, {}, { ...handlers(heard), object: () => heard.add("other") });
  await heard.until("other");
  assert.ok(!heard.log.includes("1/0"));
});

test("requests that were answered give their streams back", async () => {
  const { relay, session, heard } = open({ requestsMax: 2 });
  const ended = relay.track("ended");
  for (let i = 0; i < 3; i += 1) {
    await session.probe(NAMESPACE, "video");
    const told: TrackHandlers = {
      established: () => heard.add(`following ${i}`),
      object: () => undefined,
      fetched: () => heard.add(`fetched ${i}`),
      refused: () => heard.add(`refused ${i}`),
      done: () => heard.add(`over ${i}`),
    };
    session.subscribe(NAMESPACE, "none", false, {}, told);
    await heard.until(`refused ${i}`);
    session.subscribe(NAMESPACE, "ended", true, {}, told);
    await heard.until(`following ${i}`);
    await heard.until(`fetched ${i}`);
    ended.publish(i, Uint8Array.of(0));
    ended.done(2, "");
    await heard.until(`over ${i}`);
  }
});
