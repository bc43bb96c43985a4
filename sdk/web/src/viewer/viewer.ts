import type { Selection } from "../media/catalog.ts";
import { Playback, type PlaybackEvents } from "../media/playback.ts";
import { openWebTransport } from "../session/transport.ts";
import { Attempt } from "./attempt.ts";
import { Backoff } from "./backoff.ts";
import { debug } from "./debug.ts";
import { Emitter } from "./emitter.ts";
import { namespaceHint } from "./namespace-hint.ts";
import { RateMeter } from "./rate-meter.ts";
import type { ViewerError, ViewerEvents, ViewerOptions, ViewerState, ViewerStats } from "./types.ts";

const STATS_EVERY_MS = 250;
const POLL_EVERY_MS = 40;
/** What is buffered at the end of a broadcast has this long to play out. */
const PLAY_OUT_MS_MAX = 3000;

/** Why this browser cannot play, or undefined when it can. */
export function unsupportedReason(): string | undefined {
  if (typeof WebTransport === "undefined") {
    return "this browser has no WebTransport";
  }
  if (typeof MediaSource === "undefined") {
    return "this browser has no Media Source Extensions";
  }
  return undefined;
}

/**
 * Plays a live broadcast in a video element, and keeps doing so: it waits for a broadcast that has not begun, comes
 * back after a lost connection, and stops when the token is refused or the broadcast is over.
 *
 *     const viewer = new BroadcastViewer({ url, video });
 *     viewer.on("state", (state) => …);
 *     viewer.start();
 */
export class BroadcastViewer {
  readonly #options: ViewerOptions;
  readonly #events = new Emitter<ViewerEvents>();
  readonly #backoff = new Backoff();
  readonly #rate = new RateMeter();
  #state: ViewerState = "idle";
  #attempt: Attempt | undefined;
  #playback: Playback | undefined;
  #selection: Selection | undefined;
  #timers: ReturnType<typeof setInterval>[] = [];
  #retry: ReturnType<typeof setTimeout> | undefined;
  /** The server is going away: `#retry` is the time to connect anew, whatever becomes of the session until then. */
  #leaving = false;
  #connectedAt = 0;
  #joinMs: number | undefined;
  #reconnects = 0;
  /** Counts of connections that are over. */
  #past = { stalls: 0, jumps: 0, dropped: 0 };

  constructor(options: ViewerOptions) {
    this.#options = options;
  }

  /** Listens for `state`, `stats` (four times a second), `error` or `blocked`; returns what ends it. */
  on<K extends keyof ViewerEvents>(name: K, listener: (value: ViewerEvents[K]) => void): () => void {
    return this.#events.on(name, listener);
  }

  get state(): ViewerState {
    return this.#state;
  }

  /** Connects and plays; again after `ended` or `failed` too. */
  start(): void {
    this.stop();
    const reason = this.#options.connect === undefined ? unsupportedReason() : undefined;
    if (reason !== undefined) {
      this.#fail({ kind: "unsupported", message: reason });
      return;
    }
    this.#backoff.reset();
    this.#timers = [
      setInterval(() => this.#events.emit("stats", this.stats()), STATS_EVERY_MS),
      setInterval(() => this.#attempt?.poll(), POLL_EVERY_MS),
    ];
    this.#setState("connecting");
    this.#connect();
  }

  /** Leaves the broadcast; the video element is empty then. */
  stop(): void {
    this.#halt();
    this.#playback?.destroy();
    this.#playback = undefined;
    this.#setState("idle");
  }

  /** Plays after a click, when the browser did not want to by itself (`blocked`). */
  async play(): Promise<void> {
    await this.#options.video.play();
  }

  stats(): ViewerStats {
    const playback = this.#playback;
    const video = this.#options.video;
    this.#rate.sample(performance.now(), this.#attempt?.bytesReceived ?? 0);
    return {
      latency_ms: playback?.latencyMs,
      target_ms: playback?.targetMs,
      bitrate_bps: this.#rate.bitsPerSecond(),
      buffer_ms: playback?.bufferMs ?? 0,
      dropped: this.#past.dropped + (this.#attempt?.groupsDropped ?? 0),
      dropped_frames: video.getVideoPlaybackQuality().droppedVideoFrames,
      rendition: (this.#selection?.video ?? this.#selection?.audio)?.name,
      width: video.videoWidth,
      height: video.videoHeight,
      join_ms: this.#joinMs,
      stalls: this.#past.stalls + (this.#attempt?.playback?.stalls ?? 0),
      jumps: this.#past.jumps + (this.#attempt?.playback?.jumps ?? 0),
      reconnects: this.#reconnects,
    };
  }

  #connect(): void {
    const { url, certificateHashes = [], connect = openWebTransport, rendition } = this.#options;
    this.#leaving = false;
    this.#connectedAt = performance.now();
    this.#joinMs = undefined;
    debug("connecting");
    let attempt: Attempt;
    try {
      attempt = new Attempt(connect(url, certificateHashes), rendition, (events) => this.#newPlayback(events), {
        connected: () => undefined,
        waiting: () => this.#onWaiting(),
        joining: (selection) => this.#onJoining(selection),
        started: () => this.#onStarted(),
        stalled: () => this.#setState("stalled"),
        resumed: () => this.#setState("playing"),
        keyFrameMissing: (missing) => this.#onKeyFrameMissing(missing),
        blocked: () => this.#events.emit("blocked", undefined),
        failed: (message) => this.#onLost(message, false),
        goingAway: (message) => this.#onGoingAway(message),
        fatal: (error) => this.#onFatal(error),
        lost: (message, atOnce) => this.#onLost(message, atOnce),
      });
    } catch (error) {
      // The constructor of WebTransport refuses addresses that are none.
      this.#fail({ kind: "network", message: String(error) });
      return;
    }
    this.#attempt = attempt;
    attempt.start(namespaceHint(url));
  }

  /** The picture of the connection before stays until the new one has media. */
  #newPlayback(events: PlaybackEvents): Playback {
    this.#playback?.destroy();
    this.#playback = new Playback(this.#options.video, events);
    return this.#playback;
  }

  #onWaiting(): void {
    this.#backoff.reset();
    if (this.#state !== "waiting") {
      this.#setState("waiting");
      this.#events.emit("error", { kind: "no_stream", message: "waiting for the broadcaster" });
    }
  }

  #onJoining(selection: Selection): void {
    this.#selection = selection;
    this.#setState("buffering");
  }

  #onKeyFrameMissing(missing: boolean): void {
    if (missing && (this.#state === "buffering" || this.#state === "stalled")) {
      this.#setState("no_key_frame");
      this.#events.emit("error", { kind: "no_key_frame", message: "waiting for a key frame" });
    } else if (!missing && this.#state === "no_key_frame") {
      this.#setState(this.#joinMs === undefined ? "buffering" : "stalled");
    }
  }

  #onStarted(): void {
    this.#backoff.reset();
    this.#joinMs = performance.now() - this.#connectedAt;
    debug("first picture", `${this.#joinMs.toFixed(0)} ms`);
    this.#setState("playing");
  }

  #onGoingAway(message: string): void {
    debug("leaving", message);
    this.#leaving = true;
    this.#retry = setTimeout(
      () => {
        if (this.#attempt !== undefined) {
          this.#lose(message);
        }
        this.#connect();
      },
      this.#backoff.leave(performance.now() - this.#connectedAt),
    );
  }

  #onLost(message: string, atOnce: boolean): void {
    this.#lose(message);
    if (!this.#leaving) {
      this.#retry = setTimeout(() => this.#connect(), atOnce ? 0 : this.#backoff.next());
    }
  }

  #lose(message: string): void {
    debug("connection lost", message);
    this.#closeAttempt();
    this.#reconnects += 1;
    // Who waits for a broadcast need not see that the server closes idle connections now and then.
    if (this.#state !== "waiting") {
      this.#setState("reconnecting");
      this.#events.emit("error", { kind: "network", message });
    }
  }

  #onFatal(error: ViewerError): void {
    debug("over", error.kind, error.message);
    // The last media may have come in the moment in which the broadcast ended.
    const has = this.#state === "buffering" || this.#state === "playing" || this.#state === "stalled";
    if (error.kind !== "ended" || this.#playback === undefined || !has) {
      this.#fail(error);
      return;
    }
    const playback = this.#playback;
    const { video } = this.#options;
    playback.finish();
    const done = (): void => {
      video.removeEventListener("ended", done);
      if (this.#playback === playback && this.#state !== "ended") {
        this.#fail(error);
      }
    };
    video.addEventListener("ended", done);
    this.#retry = setTimeout(done, PLAY_OUT_MS_MAX);
  }

  #fail(error: ViewerError): void {
    this.#halt();
    this.#setState(error.kind === "ended" ? "ended" : "failed");
    this.#events.emit("error", error);
  }

  #halt(): void {
    clearTimeout(this.#retry);
    this.#timers.forEach(clearInterval);
    this.#timers = [];
    this.#closeAttempt();
  }

  #closeAttempt(): void {
    const attempt = this.#attempt;
    if (attempt === undefined) {
      return;
    }
    this.#attempt = undefined;
    this.#past = {
      stalls: this.#past.stalls + (attempt.playback?.stalls ?? 0),
      jumps: this.#past.jumps + (attempt.playback?.jumps ?? 0),
      dropped: this.#past.dropped + attempt.groupsDropped,
    };
    attempt.close();
  }

  #setState(state: ViewerState): void {
    if (this.#state !== state) {
      debug("state", state);
      this.#state = state;
      this.#events.emit("state", state);
    }
  }
}
