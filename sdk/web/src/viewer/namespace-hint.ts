import { decodeBase64 } from "../media/catalog.ts";
import { text } from "../wire/bytes.ts";
import type { Namespace } from "../wire/names.ts";

/** First field of every broadcast's namespace. */
const NAMESPACE_ROOT = "stream";

/** Ids that stand for themselves; a `pb_…` id is another name, and only the server knows for what. */
const CANONICAL_ID = /^(lv|as)_/;

/**
 * The namespace that a playback URL most likely leads to: (`stream`, org, id), the org from the token's issuer. It
 * spares a round trip at the join; the server's announcement is what counts. Undefined when the URL does not tell.
 */
export function namespaceHint(url: string): Namespace | undefined {
  const { pathname, searchParams } = new URL(url);
  const id = pathname.split("/").at(-1) ?? "";
  const org = issuer(searchParams.get("tok") ?? "");
  return org !== undefined && CANONICAL_ID.test(id) ? [NAMESPACE_ROOT, org, id] : undefined;
}

/** `iss` of a JWT; nothing is verified here. */
function issuer(token: string): string | undefined {
  try {
    const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const claims: unknown = JSON.parse(text(decodeBase64(payload, "token")));
    const iss = typeof claims === "object" && claims !== null && "iss" in claims ? claims.iss : undefined;
    return typeof iss === "string" && iss !== "" ? iss : undefined;
  } catch {
    return undefined;
  }
}
