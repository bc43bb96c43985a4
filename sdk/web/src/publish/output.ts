/** Publisher priorities, as every publisher of this system gives them: what a viewer begins with goes first. */
export const PRIORITY_CATALOG = 0;
export const PRIORITY_INIT = 0;
export const PRIORITY_AUDIO = 64;
export const PRIORITY_VIDEO = 128;

interface Payload {
  readonly group: number;
  readonly payload: Uint8Array;
}

/** What a packager gives, in the order in which it is to be sent. */
export type Output =
  /** A group of one object that every session begins with: a catalog or an init segment. */
  | ({ readonly kind: "pinned"; readonly track: string; readonly priority: number } & Payload)
  /** There is such a track from now on. */
  | { readonly kind: "track"; readonly track: string; readonly priority: number }
  | ({ readonly kind: "object"; readonly track: string; readonly object: number } & Payload)
  | { readonly kind: "group_end"; readonly track: string; readonly group: number };
