import {
  type Catalog,
  CatalogError,
  type CatalogTrack,
  type Selection,
  parseCatalog,
  selectTracks,
} from "../media/catalog.ts";
import { Playback, type PlaybackEvents } from "../media/playback.ts";
import { TrackFeed } from "../media/track-feed.ts";
import { MoqSession, type SessionEnd } from "../session/session.ts";
import type { TrackHandlers } from "../session/subscription.ts";
import type { Transport } from "../session/transport.ts";
import { SessionCode } from "../wire/errors.ts";
import { DoneStatus, type PublishDone, type RequestError, RequestErrorCode } from "../wire/messages.ts";
import { type Namespace, sameNamespace } from "../wire/names.ts";
import { debug } from "./debug.ts";
import { TrackReception } from "./track-reception.ts";
import type { ViewerError } from "./types.ts";

const CATALOG_TRACK = ".catalog";

/** A session closed with one of these was refused for its token: another session would be too. */
const AUTH_CODES: readonly number[] = [
  SessionCode.Unauthorized,
  SessionCode.MalformedAuthToken,
  SessionCode.ExpiredAuthToken,
];

/** A handshake that takes longer is given up and tried anew. */
const CONNECT_MS_MAX = 3000;
/** How often to ask again for a broadcast that has not begun. */
const RETRY_MS = 1000;
/** Silence after which the server is asked whether it is there, and how long it may take to answer. */
const SILENCE_MS = 1200;
const PROBE_MS_MAX = 1500;
const WATCH_EVERY_MS = 300;
/** What is on its way when a broadcast ends is waited for until nothing came for so long: a lost packet's repair. */
const REST_SILENCE_MS = 1500;

/** Pictures that come without a key frame to start with are told of after this time. */
const KEY_FRAME_MS = 1000;

/** Lower goes first (MoQT-18 §7): nothing plays without catalog and init, and a hole in sound is the worse one. */
const PRIORITY = { catalog: 0, init: 0, audio: 16, video: 32 } as const;

export interface AttemptEvents extends PlaybackEvents {
  /** The server answered. */
  connected(): void;
  /** Nobody broadcasts yet. */
  waiting(): void;
  /** The catalog is there, media is on its way. */
  joining(selection: Selection): void;
  /** Pictures come, and whether one of them is a key frame to start with. */
  keyFrameMissing(missing: boolean): void;
  /** The server wants to be left; until it closes the session, or that is lost, media goes on coming. */
  goingAway(message: string): void;
  /** Over for good. */
  fatal(error: ViewerError): void;
  /** The connection is of no use any more; another one may be. `atOnce`: nothing is wrong with the server. */
  lost(message: string, atOnce: boolean): void;
}

/** One connection: session, catalog, tracks. It tells its end once, by `fatal` or `lost`, and is then to be closed. */
export class Attempt {
  readonly #events: AttemptEvents;
  readonly #session: MoqSession;
  readonly #transport: Transport;
  readonly #rendition: string | undefined;
  readonly #newPlayback: (events: PlaybackEvents) => Playback;
  readonly #feeds = new Map<CatalogTrack["kind"], TrackFeed>();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #namespace: Namespace | undefined;
  /** A subscription to the catalog is open or under way. */
  #catalogAsked = false;
  #catalogRetry: ReturnType<typeof setTimeout> | undefined;
  #selection: Selection | undefined;
  #playback: Playback | undefined;
  #ready = false;
  #over = false;
  #goingAway = false;
  /** Of the media tracks that are subscribed. */
  readonly #receptions: TrackReception[] = [];
  /** Why the broadcast is over, while the rest of its media is on its way. */
  #ending: string | undefined;
  #heard = { bytes: 0, at: performance.now() };
  #probing = false;
  #keyFrameMissing = false;

  constructor(
    transport: Transport,
    rendition: string | undefined,
    newPlayback: (events: PlaybackEvents) => Playback,
    events: AttemptEvents,
  ) {
    this.#transport = transport;
    this.#rendition = rendition;
    this.#newPlayback = newPlayback;
    this.#events = events;
    this.#session = new MoqSession(transport, {
      namespace: (namespace) => this.#onNamespace(namespace),
      goaway: ({ timeoutMs }) => this.#onGoaway(`the server is going away within ${timeoutMs} ms`),
      ended: (end) => this.#onSessionEnd(end),
    });
  }

  /** `hint`: the namespace the server will most likely announce. */
  start(hint: Namespace | undefined): void {
    this.#session.start();
    this.#after(CONNECT_MS_MAX, () => this.#connectTimedOut());
    this.#transport.ready.then(
      () => this.#onReady(),
      (error: unknown) => this.#lost(`no connection: ${String(error)}`, false),
    );
    if (hint !== undefined) {
      this.#useNamespace(hint);
    }
  }

  close(): void {
    this.#over = true;
    for (const timer of this.#timers) {
      clearTimeout(timer);
    }
    this.#session.close();
  }

  get playback(): Playback | undefined {
    return this.#playback;
  }

  get bytesReceived(): number {
    return this.#session.bytesReceived;
  }

  get groupsDropped(): number {
    return [...this.#feeds.values()].reduce((sum, feed) => sum + feed.groupsDropped, 0);
  }

  /** What only time brings: groups given up waiting for. */
  poll(): void {
    const now = performance.now();
    for (const feed of this.#feeds.values()) {
      feed.poll(now);
    }
    const since = this.#feeds.get("video")?.startlessSince;
    const missing = since !== undefined && now - since >= KEY_FRAME_MS;
    if (missing !== this.#keyFrameMissing && !this.#over) {
      this.#keyFrameMissing = missing;
      debug("key frame", missing ? "missing" : "there");
      this.#events.keyFrameMissing(missing);
    }
  }

  #onReady(): void {
    debug("connected");
    this.#ready = true;
    this.#heard.at = performance.now();
    this.#events.connected();
    this.#after(WATCH_EVERY_MS, () => this.#watch());
  }

  #connectTimedOut(): void {
    if (!this.#ready) {
      this.#lost(`no connection within ${CONNECT_MS_MAX} ms`, false);
    }
  }

  #onNamespace(namespace: Namespace): void {
    debug("namespace announced", namespace.join("/"));
    this.#useNamespace(namespace);
  }

  #useNamespace(namespace: Namespace): void {
    if (this.#namespace === undefined || !sameNamespace(this.#namespace, namespace)) {
      this.#namespace = namespace;
      this.#catalogAsked = false;
    }
    this.#openCatalog();
  }

  #openCatalog(): void {
    const namespace = this.#namespace;
    if (this.#over || this.#goingAway || this.#catalogAsked || namespace === undefined) {
      return;
    }
    this.#catalogAsked = true;
    clearTimeout(this.#catalogRetry);
    const current = (): boolean => !this.#over && this.#namespace === namespace;
    this.#session.subscribe(
      namespace,
      CATALOG_TRACK,
      true,
      { subscriberPriority: PRIORITY.catalog },
      {
        object: ({ payload }) => (current() ? this.#onCatalog(payload) : undefined),
        refused: (error) => (current() ? this.#onCatalogRefused(error) : undefined),
        done: (done) => (current() ? this.#onDone(done, undefined) : undefined),
      },
    );
  }

  #onCatalogRefused(error: RequestError): void {
    debug("catalog refused", error.code, error.reason);
    if (error.code === RequestErrorCode.DoesNotExist) {
      this.#catalogAsked = false;
      this.#events.waiting();
      this.#catalogRetry = this.#after(RETRY_MS, () => this.#openCatalog());
    } else {
      this.#onRefused(error);
    }
  }

  #onRefused(error: RequestError): void {
    switch (error.code) {
      case RequestErrorCode.Unauthorized:
      case RequestErrorCode.MalformedAuthToken:
      case RequestErrorCode.ExpiredAuthToken:
        this.#fatal({ kind: "auth", message: error.reason });
        break;
      case RequestErrorCode.GoingAway:
        this.#onGoaway(error.reason);
        break;
      default:
        this.#lost(`refused with code 0x${error.code.toString(16)}: ${error.reason}`, false);
    }
  }

  #onCatalog(payload: Uint8Array): void {
    try {
      this.#applyCatalog(parseCatalog(payload));
    } catch (error) {
      if (!(error instanceof CatalogError)) {
        throw error;
      }
      this.#fatal({ kind: "unsupported", message: error.message });
    }
  }

  #applyCatalog(catalog: Catalog): void {
    const selection = selectTracks(catalog, this.#rendition, (mime) => MediaSource.isTypeSupported(mime));
    const chosen = tracksOf(selection);
    debug(
      "catalog",
      catalog.tracks.map(({ name, codec }) => `${name} ${codec}`),
    );
    if (this.#selection !== undefined) {
      this.#updateTracks(this.#selection, selection);
    } else if (chosen.length > 0) {
      this.#selection = selection;
      this.#join(selection);
    } else if (catalog.tracks.length > 0) {
      const codecs = catalog.tracks.map(({ codec }) => codec).join(", ");
      this.#fatal({ kind: "unsupported", message: `this browser plays none of ${codecs}` });
    } else {
      this.#events.waiting();
    }
  }

  /** A newer catalog: the same tracks may have new init segments; other tracks need a new media source. */
  #updateTracks(before: Selection, now: Selection): void {
    if (before.video?.name !== now.video?.name || before.audio?.name !== now.audio?.name) {
      this.#lost("the broadcast's tracks changed", true);
      return;
    }
    for (const track of tracksOf(now)) {
      this.#feeds.get(track.kind)?.describe(track);
    }
  }

  #join(selection: Selection): void {
    this.#events.joining(selection);
    const playback = this.#newPlayback(this.#events);
    this.#playback = playback;
    const tracks = tracksOf(selection);
    playback.setTracks(selection, () => [...this.#feeds.values()].every((feed) => feed.joined));
    for (const track of tracks) {
      this.#feeds.set(track.kind, new TrackFeed(track, true, playback.sink(track.kind)));
    }
    for (const track of tracks) {
      this.#subscribeTrack(track);
    }
  }

  #subscribeTrack(track: CatalogTrack): void {
    const namespace = this.#namespace ?? [];
    const feed = this.#feeds.get(track.kind);
    if (feed === undefined) {
      return;
    }
    const parameters = { subscriberPriority: PRIORITY[track.kind] };
    this.#session.subscribe(namespace, track.name, true, parameters, this.#mediaHandlers(feed));
    if (track.initTrack !== undefined) {
      // With an init in the catalog only later ones are of use; without, the newest has to be fetched.
      const handlers = this.#initHandlers(feed);
      this.#session.subscribe(
        namespace,
        track.initTrack,
        track.init === undefined,
        { subscriberPriority: PRIORITY.init },
        handlers,
      );
    }
  }

  #mediaHandlers(feed: TrackFeed): TrackHandlers {
    const now = () => performance.now();
    const reception = new TrackReception();
    this.#receptions.push(reception);
    return {
      object: (object) => this.#unlessOver(() => feed.object(now(), object)),
      groupOpened: (group) => {
        reception.streamOpened();
        feed.streamOpened(group);
      },
      groupClosed: (group, complete) => {
        reception.streamClosed();
        this.#unlessOver(() => feed.streamClosed(now(), group, complete));
        this.#endIfWhole();
      },
      fetched: (complete) => {
        debug("joining fetch over", complete);
        reception.fetchEnded();
        this.#unlessOver(() => feed.fetchEnded(now()));
        this.#endIfWhole();
      },
      refused: (error) => this.#unlessOver(() => this.#onRefused(error)),
      done: (done) => this.#unlessOver(() => this.#onDone(done, reception)),
    };
  }

  #initHandlers(feed: TrackFeed): TrackHandlers {
    return {
      object: ({ group, payload }) => this.#unlessOver(() => feed.addInit(group, payload)),
      // Inits also come in catalogs: to go without this track is no failure.
      refused: (error) => debug("init track refused", error.code, error.reason),
      done: (done) => debug("init track done", done.status),
    };
  }

  /** `media`: the track's reception, or undefined for the catalog. */
  #onDone(done: PublishDone, media: TrackReception | undefined): void {
    debug("track done", done.status, done.reason);
    if (done.status === DoneStatus.TrackEnded) {
      media?.end(done.streamCount);
      if (this.#ending === undefined && (media === undefined || this.#receptions.every(({ ended }) => ended))) {
        this.#ending = done.reason === "" ? "the broadcast is over" : done.reason;
        this.#awaitRest();
      }
      this.#endIfWhole();
    } else if (done.status === DoneStatus.Unauthorized || done.status === DoneStatus.Expired) {
      this.#fatal({ kind: "auth", message: done.reason });
    } else {
      this.#lost(`subscription over with status 0x${done.status.toString(16)}: ${done.reason}`, false);
    }
  }

  /** The end itself may come long before the last picture, on a path with a queue. */
  #awaitRest(): void {
    const before = this.#session.bytesReceived;
    this.#after(REST_SILENCE_MS, () => {
      if (this.#session.bytesReceived === before) {
        this.#end();
      } else {
        this.#awaitRest();
      }
    });
  }

  #endIfWhole(): void {
    if (this.#ending !== undefined && this.#receptions.every(({ whole }) => whole)) {
      this.#end();
    }
  }

  #end(): void {
    if (this.#goingAway) {
      // A server that stops ends its tracks; the broadcast goes on as soon as its encoder has found the next server.
      this.#lost("the server went away", false);
    } else {
      this.#fatal({ kind: "ended", message: this.#ending ?? "" });
    }
  }

  /** Told by the control stream, by a request's stream, and by refusing new requests (MoQT-18 §10.4). */
  #onGoaway(message: string): void {
    if (!this.#over && !this.#goingAway) {
      this.#goingAway = true;
      this.#events.goingAway(message);
    }
  }

  #onSessionEnd(end: SessionEnd): void {
    debug("session over", end);
    if (end.kind === "closed" && AUTH_CODES.includes(end.code)) {
      this.#fatal({ kind: "auth", message: end.reason });
    } else if (end.kind === "closed") {
      this.#lost(`closed by the server with code ${end.code}: ${end.reason}`, false);
    } else {
      this.#lost(end.message, false);
    }
  }

  /** A dead server sends nothing, not even the end of its connections: silence is answered by a question. */
  #watch(): void {
    this.#after(WATCH_EVERY_MS, () => this.#watch());
    const now = performance.now();
    if (this.#session.bytesReceived !== this.#heard.bytes) {
      this.#heard = { bytes: this.#session.bytesReceived, at: now };
    } else if (now - this.#heard.at > SILENCE_MS) {
      void this.#probe();
    }
  }

  async #probe(): Promise<void> {
    const namespace = this.#namespace;
    // A server that is being left anyway gets no new requests.
    if (this.#probing || this.#goingAway || namespace === undefined) {
      return;
    }
    this.#probing = true;
    const late = this.#after(PROBE_MS_MAX, () => this.#lost(`no answer within ${PROBE_MS_MAX} ms`, false));
    // A session that ends meanwhile tells so by itself.
    await this.#session.probe(namespace, CATALOG_TRACK).catch(() => undefined);
    clearTimeout(late);
    this.#heard.at = performance.now();
    this.#probing = false;
  }

  #after(ms: number, then: () => void): ReturnType<typeof setTimeout> {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#unlessOver(then);
    }, ms);
    this.#timers.add(timer);
    return timer;
  }

  #unlessOver(then: () => void): void {
    if (!this.#over) {
      then();
    }
  }

  #fatal(error: ViewerError): void {
    if (!this.#over) {
      this.#over = true;
      this.#events.fatal(error);
    }
  }

  #lost(message: string, atOnce: boolean): void {
    if (!this.#over) {
      this.#over = true;
      this.#events.lost(message, atOnce);
    }
  }
}

function tracksOf({ video, audio }: Selection): CatalogTrack[] {
  return [video, audio].filter((track) => track !== undefined);
}
