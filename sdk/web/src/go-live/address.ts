import type { Storage } from "../player/watch-config.ts";

/**
 * Input id and stream key of the page's own address, `…/go-live/<id>#sk=<key>`. A fragment never leaves the browser. The key is
 * a secret all the same: it goes from the address bar and its history into the tab's `storage`, for a reload. `replace` gives the
 * page another address. Without a storage the address stays.
 */
export function takeKey(
  page: string,
  storage: () => Storage,
  replace: (address: string) => void,
): { readonly id: string; readonly key: string } {
  const address = new URL(page);
  const id = decodeURIComponent(address.pathname.split("/").at(-1) ?? "");
  const name = `streams.key.${id}`;
  const key = new URLSearchParams(address.hash.slice(1)).get("sk") ?? "";
  try {
    if (key === "") {
      return { id, key: storage().getItem(name) ?? "" };
    }
    storage().setItem(name, key);
  } catch {
    return { id, key };
  }
  address.hash = "";
  replace(address.href);
  return { id, key };
}

/** Where the session that publishes input `id` is opened. */
export function publishUrl(base: string, id: string, key: string): string {
  const url = new URL(`/publish/${encodeURIComponent(id)}`, base);
  url.searchParams.set("sk", key);
  return url.href;
}
