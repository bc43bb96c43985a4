import assert from "node:assert/strict";
import { test } from "node:test";
import { namespaceHint } from "../../src/viewer/namespace-hint.ts";

function url(id: string, claims: unknown): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `https://host:4433/playback/${id}?tok=${part({ alg: "EdDSA" })}.${part(claims)}.c2ln`;
}

test("the namespace follows from the token's issuer and the path's id", () => {
  assert.deepEqual(namespaceHint(url("lv_01J", { iss: "org_ä?>" })), ["stream", "org_ä?>", "lv_01J"]);
});

test("a playback id, a broken token or none give no hint", () => {
  assert.equal(namespaceHint(url("pb_01J", { iss: "org" })), undefined);
  assert.equal(namespaceHint(url("lv_01J", { sub: "x" })), undefined);
  assert.equal(namespaceHint("https://host/playback/lv_1?tok=garbage"), undefined);
  assert.equal(namespaceHint("https://host/playback/lv_1"), undefined);
});
