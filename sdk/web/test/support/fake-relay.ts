import type { BidirectionalStream, CloseInfo, Transport } from "../../src/session/transport.ts";
import { ByteQueue } from "../../src/wire/byte-queue.ts";
import { ByteWriter } from "../../src/wire/bytes.ts";
import { readMessage } from "../../src/wire/decode.ts";
import { encodeMessage } from "../../src/wire/encode.ts";
import { type Message, RequestErrorCode } from "../../src/wire/messages.ts";
import type { Namespace } from "../../src/wire/names.ts";

type Writer = WritableStreamDefaultWriter<Uint8Array>;

/** Answers a request for good. */
function answerLast(answers: Writer, message: Message): void {
  void answers.write(encodeMessage(message)).catch(() => undefined);
  void answers.close().catch(() => undefined);
}

/** A bidirectional pipe: what one end writes, the other reads. */
function pipePair(): [BidirectionalStream, BidirectionalStream] {
  const there = new TransformStream<Uint8Array, Uint8Array>({}, { highWaterMark: 64 }, { highWaterMark: 64 });
  const back = new TransformStream<Uint8Array, Uint8Array>({}, { highWaterMark: 64 }, { highWaterMark: 64 });
  return [
    { readable: back.readable, writable: there.writable },
    { readable: there.readable, writable: back.writable },
  ];
}

/** A track of the relay: its groups so far, and who follows it. */
export class FakeTrack {
  readonly groups = new Map<number, Uint8Array[]>();
  readonly subscribers = new Set<FakeSubscriber>();

  publish(group: number, payload: Uint8Array): void {
    const objects = this.groups.get(group) ?? [];
    this.groups.set(group, objects);
    objects.push(payload);
    for (const subscriber of this.subscribers) {
      subscriber.object(group, objects.length - 1, payload);
    }
  }

  endGroup(group: number): void {
    for (const subscriber of this.subscribers) {
      subscriber.endGroup(group);
    }
  }

  /** Leaves out the rest of a group: its streams are reset. */
  skip(group: number): void {
    for (const subscriber of this.subscribers) {
      subscriber.resetGroup(group);
    }
  }

  /** Ends the track for everybody. */
  done(status: number, reason: string): void {
    for (const subscriber of this.subscribers) {
      subscriber.done(status, reason);
      subscriber.endGroups();
    }
    this.subscribers.clear();
  }

  /** The end of the track overtakes its last objects: they come by `publish`, on `streamsLeft` more streams. */
  doneAhead(status: number, streamsLeft: number): void {
    for (const subscriber of this.subscribers) {
      subscriber.done(status, "", streamsLeft);
    }
  }

  get largest(): { group: number; object: number } | undefined {
    const group = [...this.groups.keys()].at(-1);
    return group === undefined ? undefined : { group, object: (this.groups.get(group)?.length ?? 1) - 1 };
  }
}

class FakeSubscriber {
  readonly #session: FakeSession;
  readonly #answers: Writer;
  readonly #alias: number;
  readonly #cut = new Set<number>();
  readonly #streams = new Map<number, { writer: Writer; next: number }>();
  #opened = 0;

  constructor(session: FakeSession, answers: Writer, alias: number) {
    this.#session = session;
    this.#answers = answers;
    this.#alias = alias;
  }

  object(group: number, object: number, payload: Uint8Array): void {
    if (this.#cut.has(group)) {
      return;
    }
    let stream = this.#streams.get(group);
    const fields = new ByteWriter();
    if (stream === undefined) {
      stream = { writer: this.#session.openUni(), next: 0 };
      this.#streams.set(group, stream);
      this.#opened += 1;
      // No properties, subgroup 0, priority by default, end of group known by FIN.
      fields.vi64(0x38).vi64(this.#alias).vi64(group);
    }
    fields.vi64(object - stream.next).prefixed(payload);
    stream.next = object + 1;
    void stream.writer.write(fields.finish()).catch(() => undefined);
  }

  endGroup(group: number): void {
    void this.#streams
      .get(group)
      ?.writer.close()
      .catch(() => undefined);
    this.#streams.delete(group);
  }

  endGroups(): void {
    [...this.#streams.keys()].forEach((group) => this.endGroup(group));
  }

  resetGroup(group: number): void {
    void this.#streams
      .get(group)
      ?.writer.abort("reset")
      .catch(() => undefined);
    this.#cut.add(group);
    this.#streams.delete(group);
  }

  done(status: number, reason: string, streamsLeft = 0): void {
    const streamCount = BigInt(this.#opened + streamsLeft);
    answerLast(this.#answers, { kind: "publish_done", status, streamCount, reason });
  }
}

export interface FakeRelayOptions {
  readonly namespace: Namespace;
  /** Milliseconds before a SUBSCRIBE is answered, while data already flows. */
  readonly answerDelayMs?: number;
  /** Closes every session so, as soon as it subscribes. */
  readonly closeWith?: CloseInfo;
  /** Request streams that a session may have open at a time; one counts until both sides ended it. */
  readonly requestsMax?: number;
}

/** A relay of one broadcast in memory, with the other side's view of draft-18. */
export class FakeRelay {
  readonly tracks = new Map<string, FakeTrack>();
  readonly sessions: FakeSession[] = [];
  readonly options: FakeRelayOptions;

  constructor(options: FakeRelayOptions) {
    this.options = options;
  }

  track(name: string): FakeTrack {
    const track = this.tracks.get(name) ?? new FakeTrack();
    this.tracks.set(name, track);
    return track;
  }

  connect(): Transport {
    const session = new FakeSession(this);
    this.sessions.push(session);
    return session;
  }

  /** Asks every session to go elsewhere. */
  goaway(timeoutMs: number): void {
    this.sessions.forEach((session) => session.goaway(timeoutMs));
  }

  /** Every connection is lost, without a word. */
  crash(): void {
    this.sessions.splice(0).forEach((session) => session.fail("connection reset"));
  }
}

class FakeSession implements Transport {
  readonly ready = Promise.resolve();
  readonly closed: Promise<CloseInfo>;
  readonly incomingUnidirectionalStreams: ReadableStream<ReadableStream<Uint8Array>>;
  readonly incomingBidirectionalStreams: ReadableStream<BidirectionalStream>;
  readonly received: Message[] = [];
  readonly #relay: FakeRelay;
  readonly #control: Writer;
  readonly #subscriptions = new Map<number, FakeTrack>();
  #uni: ReadableStreamDefaultController<ReadableStream<Uint8Array>> | undefined;
  #resolveClosed: (info: CloseInfo) => void = () => undefined;
  #rejectClosed: (error: Error) => void = () => undefined;
  #aliases = 0;
  #over = false;
  #requestsLeft: number;
  readonly #wanted: (() => void)[] = [];

  constructor(relay: FakeRelay) {
    this.#relay = relay;
    this.#requestsLeft = relay.options.requestsMax ?? Infinity;
    this.closed = new Promise((resolve, reject) => {
      this.#resolveClosed = resolve;
      this.#rejectClosed = reject;
    });
    this.closed.catch(() => undefined);
    this.incomingUnidirectionalStreams = new ReadableStream({ start: (controller) => void (this.#uni = controller) });
    const [mine, theirs] = pipePair();
    this.incomingBidirectionalStreams = new ReadableStream({ start: (controller) => controller.enqueue(theirs) });
    this.#control = this.openUni();
    void this.#control.write(encodeMessage({ kind: "setup", options: [] }));
    const announce = {
      kind: "publish_namespace",
      requestId: 1,
      namespace: relay.options.namespace,
      parameters: {},
    } as const;
    void mine.writable.getWriter().write(encodeMessage(announce));
    void this.#read(mine.readable, () => undefined);
  }

  openUni(): Writer {
    const pipe = new TransformStream<Uint8Array, Uint8Array>({}, { highWaterMark: 1024 }, { highWaterMark: 1024 });
    if (!this.#over) {
      this.#uni?.enqueue(pipe.readable);
    }
    return pipe.writable.getWriter();
  }

  async createUnidirectionalStream(): Promise<WritableStream<Uint8Array>> {
    const pipe = new TransformStream<Uint8Array, Uint8Array>();
    void this.#read(pipe.readable, () => undefined);
    return pipe.writable;
  }

  async createBidirectionalStream(): Promise<BidirectionalStream> {
    if (this.#requestsLeft === 0) {
      await new Promise<void>((resolve) => void this.#wanted.push(resolve));
    }
    this.#requestsLeft -= 1;
    const [mine, theirs] = pipePair();
    const answers = theirs.writable.getWriter();
    const asked = this.#read(theirs.readable, (message) => this.#handle(message, answers));
    void Promise.all([asked, answers.closed.catch(() => undefined)]).then(() => {
      this.#requestsLeft += 1;
      this.#wanted.shift()?.();
    });
    return mine;
  }

  goaway(timeoutMs: number): void {
    void this.#control.write(encodeMessage({ kind: "goaway", uri: "", timeoutMs })).catch(() => undefined);
  }

  close(info: CloseInfo = {}): void {
    this.#finish(() => this.#resolveClosed(info));
  }

  fail(message: string): void {
    this.#finish(() => this.#rejectClosed(new Error(message)));
  }

  #finish(tell: () => void): void {
    if (!this.#over) {
      this.#over = true;
      this.#relay.tracks.forEach((track) => track.subscribers.clear());
      this.#uni?.error(new Error("session over"));
      tell();
    }
  }

  async #read(readable: ReadableStream<Uint8Array>, handle: (message: Message) => void): Promise<void> {
    const reader = readable.getReader();
    const queue = new ByteQueue();
    for (;;) {
      const read = await reader.read().catch(() => undefined);
      if (read === undefined || read.done) {
        return;
      }
      queue.push(read.value);
      for (let message = readMessage(queue); message !== undefined; message = readMessage(queue)) {
        this.received.push(message);
        handle(message);
      }
    }
  }

  #handle(message: Message, answers: Writer): void {
    if (this.#relay.options.closeWith !== undefined) {
      this.close(this.#relay.options.closeWith);
    } else if (message.kind === "subscribe") {
      this.#subscribe(message.requestId, message.track, answers);
    } else if (message.kind === "fetch") {
      this.#fetch(message.requestId, message.joiningRequestId, answers);
    } else if (message.kind === "track_status") {
      answerLast(answers, { kind: "request_ok", parameters: {}, properties: [] });
    }
  }

  #subscribe(requestId: number, name: string, answers: Writer): void {
    const track = this.#relay.tracks.get(name);
    if (track === undefined) {
      const code = RequestErrorCode.DoesNotExist;
      answerLast(answers, { kind: "request_error", code, retryAfterMs: 1000, reason: "no such track" });
      return;
    }
    this.#aliases += 1;
    const alias = this.#aliases;
    this.#subscriptions.set(requestId, track);
    track.subscribers.add(new FakeSubscriber(this, answers, alias));
    const { largest } = track;
    const parameters = largest === undefined ? {} : { largestObject: largest };
    const ok = encodeMessage({ kind: "subscribe_ok", trackAlias: BigInt(alias), parameters, properties: [] });
    const answer = (): void => void answers.write(ok).catch(() => undefined);
    const { answerDelayMs } = this.#relay.options;
    if (answerDelayMs === undefined) {
      answer();
    } else {
      setTimeout(answer, answerDelayMs);
    }
  }

  #fetch(requestId: number, joiningRequestId: number, answers: Writer): void {
    const track = this.#subscriptions.get(joiningRequestId);
    const largest = track?.largest;
    if (track === undefined || largest === undefined) {
      const code = RequestErrorCode.InvalidRange;
      answerLast(answers, { kind: "request_error", code, reason: "nothing published" });
      return;
    }
    const end = { group: largest.group, object: largest.object + 1 };
    answerLast(answers, { kind: "fetch_ok", endOfTrack: false, end, parameters: {}, properties: [] });
    const stream = this.openUni();
    const out = new ByteWriter().vi64(0x05).vi64(requestId);
    (track.groups.get(largest.group) ?? []).forEach((payload, object) => {
      if (object === 0) {
        // Group, object and priority are given; later objects are the next ones of the same group.
        out.vi64(0x1c).vi64(largest.group).vi64(0).u8(128).prefixed(payload);
      } else {
        out.vi64(0x00).prefixed(payload);
      }
    });
    void stream.write(out.finish()).catch(() => undefined);
    void stream.close().catch(() => undefined);
  }
}
