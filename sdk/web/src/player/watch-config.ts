import { decodeBase64 } from "../media/catalog.ts";

/** What the page has to know of the place it was served from. */
export interface WatchConfig {
  /** `https://HOST:PORT` of the WebTransport endpoint. */
  readonly webtransportBase: string;
  /** SHA-256 digests of its certificate; empty when a public authority signed it. */
  readonly certificateHashes: readonly Uint8Array[];
}

/** Fetches `watch-config.json`, which lies beside the `watch` folder. Throws Error with words for the page. */
export async function loadWatchConfig(page: string): Promise<WatchConfig> {
  const response = await fetch(new URL("../watch-config.json", page), { cache: "no-store" });
  if (!response.ok) {
    throw new Error(`The server answered ${response.status} for the player's settings.`);
  }
  const config: unknown = await response.json();
  if (
    typeof config !== "object" ||
    config === null ||
    !("webtransport_base" in config) ||
    typeof config.webtransport_base !== "string"
  ) {
    throw new Error("The server's settings for the player name no address.");
  }
  const hashes =
    "certificate_hashes" in config && Array.isArray(config.certificate_hashes) ? config.certificate_hashes : [];
  return {
    webtransportBase: config.webtransport_base,
    certificateHashes: hashes
      .filter((hash) => typeof hash === "string")
      .map((hash) => decodeBase64(hash, "certificate hash")),
  };
}

/** What a page can keep for its own reload: `sessionStorage`, which throws where it is not allowed. */
export type Storage = Pick<globalThis.Storage, "getItem" | "setItem">;

/**
 * Broadcast id and token of the page's own address, `…/watch/<id>?tok=<jwt>`. The token is a secret: it goes from the
 * address bar, its history and what is copied from there into the tab's `storage`, and comes from there on a reload.
 * `replace` gives the page another address. Without a storage the address stays, since a reload needs the token.
 */
export function takeAddress(
  page: string,
  storage: () => Storage,
  replace: (address: string) => void,
): { readonly id: string; readonly token: string | undefined } {
  const address = new URL(page);
  const id = decodeURIComponent(address.pathname.split("/").at(-1) ?? "");
  const key = `streams.token.${id}`;
  const token = address.searchParams.get("tok") ?? "";
  try {
    if (token === "") {
      return { id, token: storage().getItem(key) ?? undefined };
    }
    storage().setItem(key, token);
  } catch {
    return { id, token: token === "" ? undefined : token };
  }
  address.searchParams.delete("tok");
  replace(address.href);
  return { id, token };
}

/** Where the session of broadcast `id` is opened. */
export function playbackUrl(base: string, id: string, token: string): string {
  const url = new URL(`/playback/${encodeURIComponent(id)}`, base);
  url.searchParams.set("tok", token);
  return url.href;
}
