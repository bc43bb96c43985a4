import assert from "node:assert/strict";
import { test } from "node:test";
import { Outbox } from "../../src/publish/outbox.ts";
import { type PublicationHandlers, TrackPublication } from "../../src/session/publication.ts";
import type { MoqSession } from "../../src/session/session.ts";
import type { Transport } from "../../src/session/transport.ts";
import type { DataEvent } from "../../src/wire/data-events.ts";
import { DataStreamParser } from "../../src/wire/data-stream.ts";

/** A session whose streams take nothing while it is `blocked`; the other side reads what they took. */
class Session {
  readonly events: DataEvent[] = [];
  readonly offered = new Map<string, PublicationHandlers>();
  resets = 0;
  blocked = false;

  readonly publish: MoqSession["publish"] = (_namespace, track, alias, handlers) => {
    this.offered.set(track, handlers);
    return new TrackPublication(this as unknown as Transport, alias);
  };

  accept(): void {
    this.offered.forEach((track) => track.accepted());
  }

  async createUnidirectionalStream(): Promise<WritableStream<Uint8Array>> {
    const parser = new DataStreamParser();
    return new WritableStream({
      // As a browser's streams do: a write that waits does not hold the reset back.
      start: ({ signal }) => signal.addEventListener("abort", () => void (this.resets += 1)),
      write: (bytes) => {
        this.events.push(...parser.push(bytes));
        return this.blocked ? new Promise<void>(() => undefined) : undefined;
      },
    });
  }

  /** Group and object of everything that came. */
  objects(): number[][] {
    return this.events.flatMap((event) => (event.kind === "object" ? [[event.group, event.object]] : []));
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));
const payload = Uint8Array.of(1);

function start(): { outbox: Outbox; session: Session; ready: () => number } {
  let ready = 0;
  const outbox = new Outbox({ ready: () => void (ready += 1), refused: () => undefined });
  const session = new Session();
  outbox.attach(session, ["stream", "org", "lv_1"]);
  outbox.push({ kind: "track", track: "video/720p", priority: 128 });
  outbox.push({ kind: "pinned", track: "video/720p.init", priority: 0, group: 100, payload });
  return { outbox, session, ready: () => ready };
}

function picture(outbox: Outbox, group: number, object: number): void {
  outbox.push({ kind: "object", track: "video/720p", group, object, payload });
}

test("init segments go out once their track is taken, and pictures from the first group after every track is", async () => {
  const { outbox, session, ready } = start();
  picture(outbox, 100, 0);
  session.accept();
  assert.equal(ready(), 1);
  picture(outbox, 100, 1);
  picture(outbox, 200, 0);
  picture(outbox, 200, 1);
  await settled();
  assert.deepEqual(session.objects(), [[100, 0], [200, 0], [200, 1]]);
});

test("another session gets the newest init segment and goes on at the next group", async () => {
  const { outbox, session } = start();
  session.accept();
  picture(outbox, 100, 0);
  outbox.detach();
  picture(outbox, 100, 1);
  const again = new Session();
  outbox.attach(again, ["stream", "org", "lv_1"]);
  again.accept();
  picture(outbox, 100, 2);
  picture(outbox, 200, 0);
  await settled();
  assert.deepEqual(again.objects(), [[100, 0], [200, 0]]);
});

test("a group that the link does not take is given up whole, and the next one is sent", async () => {
  const { outbox, session } = start();
  session.accept();
  await settled();
  session.blocked = true;
  picture(outbox, 200, 0);
  await settled();
  const now = performance.now();
  assert.equal(outbox.dropLate(now + 1000), false);
  assert.ok(outbox.waitedMs(now + 1000) > 900);
  assert.equal(outbox.dropLate(now + 2100), true, "more of this group was to come");
  assert.deepEqual([outbox.droppedGroups, outbox.queuedBytes, outbox.waitedMs(now)], [1, 0, 0]);
  session.blocked = false;
  picture(outbox, 200, 1);
  picture(outbox, 300, 0);
  await settled();
  assert.equal(session.resets, 1);
  assert.deepEqual(session.objects().slice(1), [[300, 0]]);
});

test("more than four megabytes are never held", async () => {
  const { outbox, session } = start();
  session.accept();
  await settled();
  session.blocked = true;
  const large = new Uint8Array(3 << 20);
  outbox.push({ kind: "object", track: "video/720p", group: 200, object: 0, payload: large });
  outbox.push({ kind: "object", track: "video/720p", group: 200, object: 1, payload: large });
  assert.equal(outbox.dropLate(performance.now()), true);
  assert.equal(outbox.queuedBytes, 0);
});
