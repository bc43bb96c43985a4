import type { SessionEnd } from "../session/session.ts";
import type { PublisherError } from "./types.ts";

/** Reasons by which the server closes a session, and what they mean for who publishes. */
const REFUSALS: readonly { readonly reason: RegExp; readonly kind: PublisherError["kind"] }[] = [
  { reason: /^this live input takes /, kind: "other_kind" },
  { reason: /\bdisabled\b/, kind: "disabled" },
  { reason: /\bthe newest wins\b/, kind: "replaced" },
  { reason: /^auth_failed\b/, kind: "auth_failed" },
];

/** Why a session is over. Only what the server says for good is a refusal; everything else may be better next time. */
export function explain(end: SessionEnd): PublisherError {
  if (end.kind !== "closed") {
    return { kind: "unreachable", message: end.message };
  }
  const message = end.reason === "" ? `the server closed the session (code ${end.code})` : end.reason;
  const refusal = REFUSALS.find(({ reason }) => reason.test(end.reason));
  return { kind: refusal?.kind ?? "unreachable", message };
}
