import type { ByteQueue } from "../wire/byte-queue.ts";
import { utf8 } from "../wire/bytes.ts";
import { DataStreamParser } from "../wire/data-stream.ts";
import { encodeMessage } from "../wire/encode.ts";
import { SessionCode, WireError } from "../wire/errors.ts";
import { type Goaway, type Message, RequestErrorCode, type Setup, SetupOption } from "../wire/messages.ts";
import type { Namespace } from "../wire/names.ts";
import type { Parameters } from "../wire/params.ts";
import { AliasTable } from "./alias-table.ts";
import { DataSink } from "./data-sink.ts";
import { type Publication, type PublicationHandlers, TrackPublication } from "./publication.ts";
import { RequestStream, messages } from "./request-stream.ts";
import type { Subscription, TrackHandlers, TrackState } from "./subscription.ts";
import type { BidirectionalStream, CloseInfo, Transport } from "./transport.ts";

const IMPLEMENTATION = "streams-web/0.1";

/** How long the reason of a close may come after the streams ended. */
const CLOSE_GRACE_MS = 500;

/** Why a session is over. */
export type SessionEnd =
  /** The server closed it and said why. */
  | { readonly kind: "closed"; readonly code: number; readonly reason: string }
  /** The connection failed, timed out or was reset. */
  | { readonly kind: "lost"; readonly message: string }
  /** The server broke the protocol, and we closed. */
  | { readonly kind: "violation"; readonly message: string };

export interface SessionHandlers {
  /** The server announced the namespace that this session may subscribe to, or publish. */
  namespace(namespace: Namespace): void;
  goaway(goaway: Goaway): void;
  /** Exactly once; nothing is called after it. */
  ended(end: SessionEnd): void;
}

/**
 * The client's side of a MoQT draft-18 session over `transport`: it subscribes, or it publishes.
 *
 *     control stream out: SETUP            control stream in: SETUP, GOAWAY
 *     request streams out: SUBSCRIBE, FETCH, TRACK_STATUS, PUBLISH   request streams in: PUBLISH_NAMESPACE
 *     data streams in: subgroups by track alias, fetches by request id
 *     data streams out: one a group of a published track
 *
 * Nothing waits for the server's SETUP: requests are sent as soon as the caller makes them.
 */
export class MoqSession {
  readonly #transport: Transport;
  readonly #handlers: SessionHandlers;
  readonly #aliases = new AliasTable<TrackState>();
  readonly #fetches = new Map<number, TrackState>();
  #nextRequestId = 0;
  #setupSeen = false;
  #goawaySeen = false;
  #ended = false;
  /** Bytes of all streams, for the bit rate and to see that the server is alive. */
  bytesReceived = 0;

  constructor(transport: Transport, handlers: SessionHandlers) {
    this.#transport = transport;
    this.#handlers = handlers;
  }

  /** Sends SETUP and begins to listen. */
  start(): void {
    this.#transport.closed.then(
      (info: CloseInfo) => this.#end({ kind: "closed", code: info.closeCode ?? 0, reason: info.reason ?? "" }),
      (error: unknown) => this.#end({ kind: "lost", message: String(error) }),
    );
    this.#guard(this.#sendSetup());
    this.#guard(this.#accept(this.#transport.incomingUnidirectionalStreams, (stream) => this.#readData(stream)));
    this.#guard(this.#accept(this.#transport.incomingBidirectionalStreams, (stream) => this.#serve(stream)));
  }

  /** Closes without an `ended` call. */
  close(): void {
    this.#ended = true;
    this.#aliases.clear();
    try {
      this.#transport.close({ closeCode: SessionCode.NoError, reason: "" });
    } catch {
      // Closed already, or never connected: there is nothing to close.
    }
  }

  /**
   * Subscribes to a track. With `join`, the current group is fetched from its start too (relative joining fetch of 0),
   * so that a decoder can begin at once.
   */
  subscribe(
    namespace: Namespace,
    track: string,
    join: boolean,
    parameters: Parameters,
    handlers: TrackHandlers,
  ): Subscription {
    const state: TrackState = { handlers, requestId: this.#takeRequestId(), cancelled: false };
    const open: RequestStream[] = [];
    const request = { kind: "subscribe", requestId: state.requestId, namespace, track, parameters } as const;
    this.#guard(this.#request(request, open, (answers) => this.#followSubscription(state, answers)));
    if (join) {
      const requestId = this.#takeRequestId();
      this.#fetches.set(requestId, state);
      // What was before the join goes by the same priority as what comes after it.
      const priority = parameters.subscriberPriority;
      const fetchParameters = priority === undefined ? {} : { subscriberPriority: priority };
      const joining = { joiningRequestId: state.requestId, start: 0 };
      const fetch = { kind: "fetch", requestId, ...joining, parameters: fetchParameters } as const;
      this.#guard(this.#request(fetch, open, (answers) => this.#followFetch(state, requestId, answers)));
    }
    return { requestId: state.requestId, cancel: () => this.#cancel(state, open) };
  }

  /** Offers a track. `trackAlias` is the caller's choice, another one for each track of a session. */
  publish(namespace: Namespace, track: string, trackAlias: bigint, handlers: PublicationHandlers): Publication {
    const publication = new TrackPublication(this.#transport, trackAlias);
    const requestId = this.#takeRequestId();
    const offer = { kind: "publish", requestId, namespace, track, trackAlias, parameters: {}, properties: [] } as const;
    this.#guard(
      this.#request(offer, [], (answers, request) => publication.follow(answers, request, handlers)),
    );
    return publication;
  }

  /** Resolves when the server answers anything at all: it is there and processes requests. */
  async probe(namespace: Namespace, track: string): Promise<void> {
    const request = {
      kind: "track_status",
      requestId: this.#takeRequestId(),
      namespace,
      track,
      parameters: {},
    } as const;
    await this.#request(request, [], async (answers) => void (await answers.next()));
  }

  #takeRequestId(): number {
    // Even ids are the client's (MoQT-18 §10.1).
    const id = this.#nextRequestId;
    this.#nextRequestId += 2;
    return id;
  }

  #cancel(state: TrackState, open: readonly RequestStream[]): void {
    state.cancelled = true;
    for (const stream of open) {
      stream.cancel();
    }
  }

  async #sendSetup(): Promise<void> {
    // PATH and AUTHORITY are forbidden on WebTransport: the URL said both (MoQT-18 §10.3.1).
    const setup = encodeMessage({
      kind: "setup",
      options: [{ type: SetupOption.Implementation, value: utf8(IMPLEMENTATION) }],
    });
    // Browsers open no stream before this; a failure to connect is told by `closed` too.
    await this.#transport.ready;
    const stream = await this.#transport.createUnidirectionalStream();
    await stream.getWriter().write(setup);
  }

  async #request(
    message: Message,
    open: RequestStream[],
    follow: (answers: AsyncGenerator<Message>, request: RequestStream) => Promise<void>,
  ): Promise<void> {
    await this.#transport.ready;
    const stream = new RequestStream(await this.#transport.createBidirectionalStream());
    open.push(stream);
    void stream.send(message);
    try {
      await follow(stream.answers(), stream);
    } catch (error) {
      if (error instanceof WireError || !stream.cancelled) {
        throw error;
      }
    } finally {
      void stream.finish();
    }
  }

  async #followSubscription(state: TrackState, answers: AsyncGenerator<Message>): Promise<void> {
    for await (const message of answers) {
      if (state.cancelled) {
        return;
      }
      switch (message.kind) {
        case "subscribe_ok":
          this.#establish(state, message.trackAlias);
          state.handlers.established?.(message);
          break;
        case "request_error":
          state.handlers.refused(message);
          return;
        case "publish_done":
          state.handlers.done(message);
          break;
        case "goaway":
          this.#handlers.goaway(message);
          break;
        default:
          throw new WireError(`${message.kind} in answer to SUBSCRIBE`);
      }
    }
  }

  #establish(state: TrackState, alias: bigint): void {
    if (this.#aliases.has(alias)) {
      throw new WireError(`track alias ${alias} is given twice`);
    }
    this.#aliases.set(alias, state);
  }

  async #followFetch(state: TrackState, requestId: number, answers: AsyncGenerator<Message>): Promise<void> {
    for await (const message of answers) {
      if (message.kind === "request_error") {
        this.#fetches.delete(requestId);
        if (!state.cancelled) {
          state.handlers.fetched?.(false);
        }
        return;
      }
      if (message.kind !== "fetch_ok" && message.kind !== "goaway") {
        throw new WireError(`${message.kind} in answer to FETCH`);
      }
    }
  }

  async #accept<T>(incoming: ReadableStream<T>, handle: (stream: T) => Promise<void>): Promise<void> {
    const reader = incoming.getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done || this.#ended) {
        return;
      }
      this.#guard(handle(value));
    }
  }

  /** A request stream of the server's: only its announcements are of use to a viewer. */
  async #serve(stream: BidirectionalStream): Promise<void> {
    const request = new RequestStream(stream);
    for await (const message of request.answers()) {
      if (message.kind === "publish_namespace") {
        void request.send({ kind: "request_ok", parameters: {}, properties: [] });
        if (!this.#ended) {
          this.#handlers.namespace(message.namespace);
        }
      } else {
        const reason = "this client takes announcements only";
        void request.send({ kind: "request_error", code: RequestErrorCode.NotSupported, reason });
        void request.finish();
        return;
      }
    }
  }

  async #readData(stream: ReadableStream<Uint8Array>): Promise<void> {
    const parser = new DataStreamParser();
    const reader = stream.getReader();
    const sink = new DataSink(this.#aliases, this.#fetches);
    for (;;) {
      // A reset stream: what it still had is lost, the subscription goes on (MoQT-18 §11.4.1).
      const read = await reader.read().catch(() => undefined);
      if (this.#ended || read === undefined) {
        sink.close(false);
        return;
      }
      if (read.done) {
        parser.finish();
        sink.close(true);
        return;
      }
      this.bytesReceived += read.value.length;
      for (const event of parser.push(read.value)) {
        if (event.kind === "setup") {
          return await this.#readControl(reader, parser.rest);
        }
        if (!(await sink.accept(event))) {
          reader.cancel("not wanted").catch(() => undefined);
          return;
        }
      }
    }
  }

  async #readControl(reader: ReadableStreamDefaultReader<Uint8Array>, first: ByteQueue): Promise<void> {
    for await (const message of messages(reader, first)) {
      if (message.kind === "setup" && !this.#setupSeen) {
        this.#setupSeen = true;
        checkSetup(message);
      } else if (message.kind === "goaway" && this.#setupSeen && !this.#goawaySeen) {
        this.#goawaySeen = true;
        this.#handlers.goaway(message);
      } else {
        throw new WireError(`${message.kind} out of place on the control stream`);
      }
    }
    // The end of the whole session may show here first: `closed` then says why, and this is no violation.
    await Promise.race([this.#transport.closed, new Promise((resolve) => setTimeout(resolve, CLOSE_GRACE_MS))]);
    throw new WireError("the server closed its control stream");
  }

  /** A broken rule closes the session; a broken connection is told by `closed`, with its reason. */
  #guard(work: Promise<void>): void {
    work.catch((error: unknown) => {
      if (!(error instanceof WireError) || this.#ended) {
        return;
      }
      this.#end({ kind: "violation", message: error.message });
      try {
        this.#transport.close({ closeCode: error.code, reason: error.message.slice(0, 256) });
      } catch {
        // Already closed.
      }
    });
  }

  #end(end: SessionEnd): void {
    if (!this.#ended) {
      this.#ended = true;
      this.#aliases.clear();
      this.#handlers.ended(end);
    }
  }
}

/** PATH and AUTHORITY are the client's alone, and not for WebTransport (MoQT-18 §10.3.1). */
function checkSetup({ options }: Setup): void {
  for (const { type } of options) {
    if (type === SetupOption.Path) {
      throw new WireError("the server's SETUP has a PATH", SessionCode.InvalidPath);
    }
    if (type === SetupOption.Authority) {
      throw new WireError("the server's SETUP has an AUTHORITY", SessionCode.InvalidAuthority);
    }
  }
}
