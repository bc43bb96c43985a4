import type { KeyValue } from "./kvp.ts";
import type { Location, Namespace } from "./names.ts";
import type { Parameters } from "./params.ts";

/** Code points of the control messages that a viewer or a publisher meets (MoQT-18 §10, table of message types). */
export const MessageType = {
  RequestUpdate: 0x2,
  Subscribe: 0x3,
  SubscribeOk: 0x4,
  RequestError: 0x5,
  PublishNamespace: 0x6,
  RequestOk: 0x7,
  PublishDone: 0xb,
  TrackStatus: 0xd,
  Goaway: 0x10,
  Fetch: 0x16,
  FetchOk: 0x18,
  Publish: 0x1d,
  Setup: 0x2f00,
} as const;

/** Setup options (MoQT-18 §10.3.1). */
export const SetupOption = {
  Path: 0x01n,
  Authority: 0x05n,
  Implementation: 0x07n,
} as const;

/** REQUEST_ERROR codes that change what a viewer does (MoQT-18 §10.6). */
export const RequestErrorCode = {
  Unauthorized: 0x1,
  NotSupported: 0x3,
  MalformedAuthToken: 0x4,
  ExpiredAuthToken: 0x5,
  GoingAway: 0x6,
  DoesNotExist: 0x10,
  InvalidRange: 0x11,
  Redirect: 0x34,
} as const;

/** PUBLISH_DONE status codes that a viewer decides by or a publisher sends (MoQT-18 §10.11). */
export const DoneStatus = {
  Unauthorized: 0x1,
  TrackEnded: 0x2,
  Expired: 0x6,
} as const;

export interface Setup {
  readonly kind: "setup";
  readonly options: readonly KeyValue[];
}

export interface Goaway {
  readonly kind: "goaway";
  /** Where to go on; empty: the same address. */
  readonly uri: string;
  /** Milliseconds until the sender closes; 0: no particular time. */
  readonly timeoutMs: number;
  /** Smallest request not processed; only on the control stream. */
  readonly requestId?: number;
}

export interface Subscribe {
  readonly kind: "subscribe";
  readonly requestId: number;
  readonly namespace: Namespace;
  readonly track: string;
  readonly parameters: Parameters;
}

/** SUBSCRIBE's body, but it only asks for what SUBSCRIBE_OK would say (MoQT-18 §10.14). */
export interface TrackStatus {
  readonly kind: "track_status";
  readonly requestId: number;
  readonly namespace: Namespace;
  readonly track: string;
  readonly parameters: Parameters;
}

export interface SubscribeOk {
  readonly kind: "subscribe_ok";
  /** Any 64-bit value, hence not a number. */
  readonly trackAlias: bigint;
  readonly parameters: Parameters;
  readonly properties: readonly KeyValue[];
}

export interface RequestUpdate {
  readonly kind: "request_update";
  readonly requestId: number;
  readonly parameters: Parameters;
}

export interface RequestOk {
  readonly kind: "request_ok";
  readonly parameters: Parameters;
  readonly properties: readonly KeyValue[];
}

export interface RequestError {
  readonly kind: "request_error";
  readonly code: number;
  /** Milliseconds after which the same request may be sent again; undefined: never. */
  readonly retryAfterMs?: number;
  readonly reason: string;
  /** Only with code REDIRECT. */
  readonly redirect?: { readonly uri: string; readonly namespace: Namespace; readonly track: string };
}

/** A relative joining fetch: the groups from `start` before the subscription's joining location up to it. */
export interface Fetch {
  readonly kind: "fetch";
  readonly requestId: number;
  readonly joiningRequestId: number;
  readonly start: number;
  readonly parameters: Parameters;
}

export interface FetchOk {
  readonly kind: "fetch_ok";
  readonly endOfTrack: boolean;
  /** Last object's location, its object id plus one; object 0 means the whole group. */
  readonly end: Location;
  readonly parameters: Parameters;
  readonly properties: readonly KeyValue[];
}

export interface PublishNamespace {
  readonly kind: "publish_namespace";
  readonly requestId: number;
  readonly namespace: Namespace;
  readonly parameters: Parameters;
}

/** Offers a track; its objects come on streams with `trackAlias`. REQUEST_OK takes it (MoQT-18 §10.10). */
export interface Publish {
  readonly kind: "publish";
  readonly requestId: number;
  readonly namespace: Namespace;
  readonly track: string;
  readonly trackAlias: bigint;
  readonly parameters: Parameters;
  readonly properties: readonly KeyValue[];
}

export interface PublishDone {
  readonly kind: "publish_done";
  readonly status: number;
  /** Data streams opened for the subscription; 2^62-1 when the publisher does not know. */
  readonly streamCount: bigint;
  readonly reason: string;
}

export type Message =
  | Setup
  | Goaway
  | Subscribe
  | TrackStatus
  | SubscribeOk
  | RequestUpdate
  | RequestOk
  | RequestError
  | Fetch
  | FetchOk
  | PublishNamespace
  | Publish
  | PublishDone;
