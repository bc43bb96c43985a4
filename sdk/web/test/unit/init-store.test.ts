import assert from "node:assert/strict";
import { test } from "node:test";
import { InitStore } from "../../src/media/init-store.ts";

function segment(group: number): { group: number; mime: string; bytes: Uint8Array } {
  return { group, mime: "video/mp4", bytes: Uint8Array.of(group & 0xff) };
}

test("a group gets the init segment with the largest group not above it", () => {
  const store = new InitStore();
  [30, 10, 20].forEach((group) => store.add(segment(group)));
  assert.equal(store.select(9), undefined);
  assert.equal(store.select(10)?.group, 10);
  assert.equal(store.select(29)?.group, 20);
  assert.equal(store.select(1000)?.group, 30);
});

test("the same segment from the catalog and from the init track counts once", () => {
  const store = new InitStore();
  assert.equal(store.add(segment(10)), true);
  assert.equal(store.add(segment(10)), false);
});

test("only the newest segments are kept", () => {
  const store = new InitStore();
  for (let group = 1; group <= 20; group += 1) {
    store.add(segment(group));
  }
  assert.equal(store.select(12), undefined);
  assert.equal(store.select(13)?.group, 13);
});
