import assert from "node:assert/strict";
import { test } from "node:test";
import { type Storage, takeAddress } from "../../src/player/watch-config.ts";

const PAGE = "https://host:4433/watch/lv_1";

/** A tab: its storage, and the addresses that the page gave itself. */
function tab() {
  const kept = new Map<string, string>();
  const addresses: string[] = [];
  const storage: Storage = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
  };
  const open = (page: string) => takeAddress(page, () => storage, (address) => void addresses.push(address));
  return { open, addresses };
}

test("the token goes from the address bar and is there again on a reload", () => {
  const { open, addresses } = tab();
  assert.deepEqual(open(`${PAGE}?a=1&tok=x.y.z#t`), { id: "lv_1", token: "x.y.z" });
  assert.deepEqual(addresses, [`${PAGE}?a=1#t`]);
  assert.deepEqual(open(addresses[0] ?? ""), { id: "lv_1", token: "x.y.z" });
  assert.equal(addresses.length, 1);
});

test("a newer link takes the place of the token before, and another broadcast has its own", () => {
  const { open } = tab();
  open(`${PAGE}?tok=old`);
  assert.equal(open(`${PAGE}?tok=new`).token, "new");
  assert.equal(open(PAGE).token, "new");
  assert.equal(open("https://host:4433/watch/lv_2").token, undefined);
});

test("a link without a token has none", () => {
  assert.equal(tab().open(PAGE).token, undefined);
  assert.equal(tab().open(`${PAGE}?tok=`).token, undefined);
});

test("where nothing can be kept the address stays as it is", () => {
  const forbidden = (): never => {
    throw new Error("denied");
  };
  const replaced = () => assert.fail("a reload needs the token");
  assert.equal(takeAddress(`${PAGE}?tok=x`, forbidden, replaced).token, "x");
  assert.equal(takeAddress(PAGE, forbidden, replaced).token, undefined);
});
