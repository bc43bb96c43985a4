import type { Transport } from "../session/transport.ts";

/**
 * Where a publisher is:
 *
 *     idle -> connecting -> live -> ended (the source ended, or `stop`)
 *                 ^          |
 *                 +-- reconnecting <-- any loss        failed: a refusal that trying again does not change
 */
export type PublisherState = "idle" | "connecting" | "live" | "reconnecting" | "ended" | "failed";

/** What went wrong, by what can be done about it. */
export interface PublisherError {
  /**
   * - `auth_failed`: the key is wrong, or was changed, or the input is gone; the publisher stops
   * - `other_kind`: the input takes another protocol; the publisher stops
   * - `disabled`: the input is switched off; the publisher stops
   * - `replaced`: another encoder took over with the same key; the publisher stops
   * - `unreachable`: no connection, or it was lost; the publisher goes on trying
   * - `unsupported`: this browser cannot publish; the publisher stops
   * - `media`: the source cannot be encoded; the publisher stops
   */
  readonly kind: "auth_failed" | "other_kind" | "disabled" | "replaced" | "unreachable" | "unsupported" | "media";
  readonly message: string;
}

/** Figures of the running broadcast. */
export interface PublisherStats {
  /** What left, bits a second over the last two seconds. */
  readonly bitrate_bps: number;
  /** What the encoder of the pictures aims at now. */
  readonly target_bps: number;
  /** How long the oldest of what the server does not have yet has waited; a round trip is usual at the end of each group. */
  readonly behind_ms: number;
  readonly width: number;
  readonly height: number;
  /** Pictures encoded, a second over the last two seconds. */
  readonly framerate: number;
  /** Pictures left out because the encoder is too slow. */
  readonly dropped_frames: number;
  /** Groups left out because the link is too slow. */
  readonly dropped_groups: number;
  readonly reconnects: number;
  /** Since the server took the broadcast for the first time. */
  readonly live_ms: number;
}

export interface PublisherOptions {
  /** `https://HOST:PORT/publish/<id>?sk=<key>` */
  readonly url: string;
  /** Camera, screen or canvas; its first track of each kind is published. */
  readonly media: MediaStream;
  /** SHA-256 digests of the server's certificate, when no public authority signed it. */
  readonly certificateHashes?: readonly Uint8Array[];
  /** Bits a second of the pictures on a good link; by their size unless said otherwise. */
  readonly videoBitrate?: number;
  readonly audioBitrate?: number;
  /** Opens the transport; WebTransport unless said otherwise. */
  readonly connect?: (url: string, certificateHashes: readonly Uint8Array[]) => Transport;
}

export interface PublisherEvents {
  state: PublisherState;
  stats: PublisherStats;
  error: PublisherError;
}
