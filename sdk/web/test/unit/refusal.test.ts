import assert from "node:assert/strict";
import { test } from "node:test";
import { explain } from "../../src/publish/refusal.ts";

const closed = (reason: string) => explain({ kind: "closed", code: 2, reason });

test("each refusal of the server has its kind, and its words are kept", () => {
  assert.deepEqual(closed("auth_failed: the publish key is not valid"), {
    kind: "auth_failed",
    message: "auth_failed: the publish key is not valid",
  });
  assert.equal(closed("auth_failed: the publish key is no longer valid").kind, "auth_failed");
  assert.equal(closed("this live input takes rtmp and not moqt").kind, "other_kind");
  assert.equal(closed("this live input is disabled").kind, "disabled");
  assert.equal(closed("another encoder started with the same stream key; the newest wins").kind, "replaced");
});

test("what may be better next time is no refusal", () => {
  assert.equal(closed("the server is shutting down").kind, "unreachable");
  assert.equal(closed("").message, "the server closed the session (code 2)");
  assert.equal(explain({ kind: "lost", message: "Connection lost." }).kind, "unreachable");
  assert.equal(explain({ kind: "violation", message: "x" }).kind, "unreachable");
});
