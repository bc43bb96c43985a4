import assert from "node:assert/strict";
import { test } from "node:test";
import { publishUrl, takeKey } from "../../src/go-live/address.ts";

const PAGE = "http://127.0.0.1:8080/go-live/lv_1";

/** A tab: its address, and what it keeps. */
class Tab {
  address: string;
  readonly kept = new Map<string, string>();

  constructor(address: string) {
    this.address = address;
  }

  open(): { id: string; key: string } {
    const storage = {
      getItem: (name: string) => this.kept.get(name) ?? null,
      setItem: (name: string, value: string) => void this.kept.set(name, value),
    };
    return takeKey(this.address, () => storage, (address) => (this.address = address));
  }
}

test("the key goes from the fragment out of the address bar and is there again on a reload", () => {
  const tab = new Tab(`${PAGE}#sk=sk_secret`);
  assert.deepEqual(tab.open(), { id: "lv_1", key: "sk_secret" });
  assert.equal(tab.address, PAGE);
  assert.deepEqual(tab.open(), { id: "lv_1", key: "sk_secret" });
});

test("a page without a key asks for it, and a key in the query is none", () => {
  assert.deepEqual(new Tab(PAGE).open(), { id: "lv_1", key: "" });
  assert.deepEqual(new Tab(`${PAGE}?sk=sk_secret`).open(), { id: "lv_1", key: "" });
});

test("the session's address names input and key", () => {
  assert.equal(publishUrl("https://host:4433", "lv_1", "a b&c"), "https://host:4433/publish/lv_1?sk=a+b%26c");
});
