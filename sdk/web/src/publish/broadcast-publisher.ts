import { publishUnsupportedReason } from "../capture/captured-media.ts";
import { MoqSession, type SessionEnd } from "../session/session.ts";
import { openWebTransport } from "../session/transport.ts";
import { Backoff } from "../viewer/backoff.ts";
import { debug } from "../viewer/debug.ts";
import { Emitter } from "../viewer/emitter.ts";
import { RateMeter } from "../viewer/rate-meter.ts";
import type { RequestError } from "../wire/messages.ts";
import type { Namespace } from "../wire/names.ts";
import { EncodedMedia } from "./encoded-media.ts";
import { Outbox } from "./outbox.ts";
import { RateControl } from "./rate-control.ts";
import { explain } from "./refusal.ts";
import type { PublisherError, PublisherEvents, PublisherOptions, PublisherState, PublisherStats } from "./types.ts";

const STATS_EVERY_MS = 250;
/** How long the server may take from the call to connect until it says what may be published. */
const START_MS_MAX = 10_000;
/** How long it may take to read that the broadcast is over. */
const FINISH_MS_MAX = 1000;

/**
 * Publishes a MediaStream, and keeps doing so: it comes back after a lost connection with group ids that go on, and stops when
 * the server refuses it for good or the source ends.
 *
 *     const publisher = new BroadcastPublisher({ url, media });
 *     publisher.on("state", (state) => …);
 *     publisher.start();
 */
export class BroadcastPublisher {
  readonly #options: PublisherOptions;
  readonly #events = new Emitter<PublisherEvents>();
  readonly #backoff = new Backoff();
  readonly #rate = new RateMeter();
  readonly #frames = new RateMeter();
  readonly #outbox: Outbox;
  #state: PublisherState = "idle";
  #media: EncodedMedia | undefined;
  #control: RateControl | undefined;
  #session: MoqSession | undefined;
  /** What became of the present session. */
  #offered = false;
  #sessionLive = false;
  #connectedAt = 0;
  #liveSince: number | undefined;
  #reconnects = 0;
  #poll: ReturnType<typeof setInterval> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#outbox = new Outbox({
      ready: () => this.#onReady(),
      refused: (error) => this.#onRefused(error),
    });
  }

  /** Listens for `state`, `stats` (four times a second) or `error`; returns what ends it. */
  on<K extends keyof PublisherEvents>(name: K, listener: (value: PublisherEvents[K]) => void): () => void {
    return this.#events.on(name, listener);
  }

  get state(): PublisherState {
    return this.#state;
  }

  /** Encodes, connects and publishes. A publisher is started once. */
  start(): void {
    const reason = this.#options.connect === undefined ? publishUnsupportedReason() : undefined;
    if (reason !== undefined) {
      this.#fail({ kind: "unsupported", message: reason });
      return;
    }
    const { media, videoBitrate, audioBitrate } = this.#options;
    try {
      this.#media = new EncodedMedia(
        { media, videoBitrate, audioBitrate },
        {
          output: (output) => this.#outbox.push(output),
          failed: (message) => this.#fail({ kind: "media", message }),
          ended: () => void this.stop(),
        },
      );
    } catch (error) {
      this.#fail({ kind: "media", message: error instanceof Error ? error.message : String(error) });
      return;
    }
    this.#control = new RateControl(this.#media.video?.usualBitrate ?? 1);
    this.#poll = setInterval(() => this.#onPoll(), STATS_EVERY_MS);
    this.#setState("connecting");
    this.#connect();
  }

  /** Ends the broadcast; resolves when the server knows. The source's tracks stay the caller's. */
  async stop(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    this.#haltMedia();
    this.#setState("ended");
    const late = new Promise((resolve) => setTimeout(resolve, FINISH_MS_MAX));
    await Promise.race([this.#outbox.finish(), late]);
    session?.close();
    this.#outbox.detach();
  }

  stats(): PublisherStats {
    const video = this.#media?.video;
    const now = performance.now();
    this.#rate.sample(now, this.#outbox.sentBytes - this.#outbox.queuedBytes);
    this.#frames.sample(now, video?.encodedFrames ?? 0);
    return {
      bitrate_bps: this.#rate.bitsPerSecond(),
      target_bps: this.#control?.bitrate ?? 0,
      behind_ms: this.#outbox.waitedMs(now),
      width: video?.size?.width ?? 0,
      height: video?.size?.height ?? 0,
      // The meter counts bits of bytes.
      framerate: this.#frames.bitsPerSecond() / 8,
      dropped_frames: video?.droppedFrames ?? 0,
      dropped_groups: this.#outbox.droppedGroups,
      reconnects: this.#reconnects,
      live_ms: this.#liveSince === undefined ? 0 : now - this.#liveSince,
    };
  }

  #connect(): void {
    const { url, certificateHashes = [], connect = openWebTransport } = this.#options;
    this.#connectedAt = performance.now();
    this.#offered = false;
    this.#sessionLive = false;
    debug("publisher connects");
    let session: MoqSession;
    try {
      session = new MoqSession(connect(url, certificateHashes), {
        namespace: (namespace) => this.#onNamespace(session, namespace),
        goaway: () => this.#onGoingAway(session),
        ended: (end) => this.#onEnded(session, end),
      });
    } catch (error) {
      // The constructor of WebTransport refuses addresses that are none.
      this.#fail({ kind: "unreachable", message: String(error) });
      return;
    }
    this.#session = session;
    session.start();
  }

  #onNamespace(session: MoqSession, namespace: Namespace): void {
    if (this.#session === session && !this.#offered) {
      this.#offered = true;
      this.#outbox.attach(session, namespace);
    }
  }

  /** The server has the tracks; it gets pictures from a key frame on, which is made at once. */
  #onReady(): void {
    debug("publisher is live");
    this.#sessionLive = true;
    this.#backoff.reset();
    this.#liveSince ??= performance.now();
    this.#media?.video?.requestKeyFrame();
    this.#setState("live");
  }

  #onRefused(error: RequestError): void {
    this.#lose({ kind: "unreachable", message: `the server refused a track: ${error.reason}` });
  }

  #onGoingAway(session: MoqSession): void {
    const after = this.#backoff.leave(performance.now() - this.#connectedAt);
    setTimeout(() => {
      if (this.#session === session) {
        this.#lose({ kind: "unreachable", message: "the server is about to leave" });
      }
    }, after);
  }

  #onEnded(session: MoqSession, end: SessionEnd): void {
    if (this.#session !== session) {
      return;
    }
    const error = explain(end);
    if (error.kind === "unreachable") {
      this.#lose(error);
    } else {
      this.#fail(error);
    }
  }

  /** This session is of no use any more, and another one may be. */
  #lose(error: PublisherError): void {
    debug("publisher lost its connection", error.message);
    this.#leave();
    this.#reconnects += this.#sessionLive ? 1 : 0;
    this.#setState("reconnecting");
    this.#events.emit("error", error);
    this.#retry = setTimeout(() => this.#connect(), this.#backoff.next());
  }

  #fail(error: PublisherError): void {
    debug("publisher gives up", error.kind, error.message);
    this.#leave();
    this.#haltMedia();
    this.#setState("failed");
    this.#events.emit("error", error);
  }

  #leave(): void {
    const session = this.#session;
    this.#session = undefined;
    this.#outbox.detach();
    session?.close();
  }

  #haltMedia(): void {
    clearInterval(this.#poll);
    clearTimeout(this.#retry);
    this.#media?.stop();
  }

  #onPoll(): void {
    const now = performance.now();
    if (this.#session !== undefined && !this.#offered && now - this.#connectedAt > START_MS_MAX) {
      this.#lose({ kind: "unreachable", message: `no answer within ${START_MS_MAX / 1000} s` });
    }
    const stats = this.stats();
    this.#control?.sample(now, this.#outbox.waitedMs(now), stats.bitrate_bps);
    if (this.#outbox.dropLate(now)) {
      debug("publisher gave a group up: the link is too slow");
      this.#media?.video?.requestKeyFrame();
    }
    this.#media?.video?.setBitrate(this.#control?.bitrate ?? 0);
    this.#events.emit("stats", stats);
  }

  #setState(state: PublisherState): void {
    if (this.#state !== state) {
      debug("publisher state", state);
      this.#state = state;
      this.#events.emit("state", state);
    }
  }
}
