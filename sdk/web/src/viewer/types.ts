import type { Transport } from "../session/transport.ts";

/**
 * Where a viewer is:
 *
 *     idle -> connecting -> waiting (nobody broadcasts yet) -> buffering -> playing <-> stalled
 *                  ^                                                          |
 *                  +------------------- reconnecting <-----------------------+--> ended | failed
 *
 * `buffering` and `stalled` become `no_key_frame` while pictures come and none of them is a key frame to start with.
 */
export type ViewerState =
  | "idle"
  | "connecting"
  | "waiting"
  | "buffering"
  | "playing"
  | "stalled"
  | "no_key_frame"
  | "reconnecting"
  | "ended"
  | "failed";

/** What went wrong, by what can be done about it. */
export interface ViewerError {
  /**
   * - `auth`: the token is bad, expired or revoked; trying again is of no use (the viewer stops)
   * - `ended`: the broadcast is over (the viewer stops)
   * - `no_stream`: nobody broadcasts yet; the viewer keeps looking
   * - `no_key_frame`: the broadcast is on, and nobody can join it before its next key frame; the viewer waits for it
   * - `network`: no connection; the viewer keeps trying
   * - `unsupported`: this browser cannot play it (the viewer stops)
   */
  readonly kind: "auth" | "ended" | "no_stream" | "no_key_frame" | "network" | "unsupported";
  readonly message: string;
}

/** Figures of the running playback; a figure that is not known yet is undefined. */
export interface ViewerStats {
  /** Milliseconds from the arrival of a moment's media to its picture: buffer and jitter, no encoder, no network. */
  readonly latency_ms: number | undefined;
  /** The distance from the live edge that the player aims at, milliseconds. */
  readonly target_ms: number | undefined;
  /** Media received, bits a second over the last two seconds. */
  readonly bitrate_bps: number;
  /** Media ahead of the playing position, milliseconds. */
  readonly buffer_ms: number;
  /** Groups left out because they came too late or not whole, and pictures the decoder dropped. */
  readonly dropped: number;
  readonly dropped_frames: number;
  readonly rendition: string | undefined;
  readonly width: number;
  readonly height: number;
  /** From the call to connect to the first picture, milliseconds; of the newest connection. */
  readonly join_ms: number | undefined;
  /** Times that the picture stood still for want of media. */
  readonly stalls: number;
  /** Times that the player jumped in the timeline. */
  readonly jumps: number;
  readonly reconnects: number;
}

export interface ViewerOptions {
  /** `https://HOST:PORT/playback/<id>?tok=<jwt>` */
  readonly url: string;
  readonly video: HTMLVideoElement;
  /** SHA-256 digests of the server's certificate, when no public authority signed it. */
  readonly certificateHashes?: readonly Uint8Array[];
  /** Video rendition to play, by its name in the catalog; the best one otherwise. */
  readonly rendition?: string;
  /** Opens the transport; WebTransport unless said otherwise. */
  readonly connect?: (url: string, certificateHashes: readonly Uint8Array[]) => Transport;
}

export interface ViewerEvents {
  state: ViewerState;
  stats: ViewerStats;
  error: ViewerError;
  /** The browser wants a click before it plays: call `play()` from its handler. */
  blocked: undefined;
}
