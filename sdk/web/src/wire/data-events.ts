/** Largest object taken, in bytes: a 4K key frame has about 2 MB; more than this is not this system's media. */
export const OBJECT_LEN_MAX = 16 * 1024 * 1024;

/** A media object with its payload. */
export interface StreamObject {
  readonly group: number;
  readonly object: number;
  readonly payload: Uint8Array;
}

/** What a unidirectional stream turned out to be, and what came on it. */
export type DataEvent =
  | { readonly kind: "subgroup"; readonly trackAlias: bigint; readonly group: number; readonly endOfGroup: boolean }
  | { readonly kind: "fetch"; readonly requestId: number }
  | { readonly kind: "setup" }
  | { readonly kind: "padding" }
  | ({ readonly kind: "object" } & StreamObject)
  | { readonly kind: "group_end"; readonly group: number }
  | { readonly kind: "track_end" };
