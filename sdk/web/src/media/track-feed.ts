import type { StreamObject } from "../wire/data-events.ts";
import type { CatalogTrack } from "./catalog.ts";
import { mimeType } from "./catalog.ts";
import { type ChunkTiming, type TrackTiming, parseChunk, parseInit } from "./cmaf.ts";
import { DecodeTimes } from "./decode-times.ts";
import { type Delivery, GroupAssembler } from "./group-assembler.ts";
import { type InitSegment, InitStore } from "./init-store.ts";

/** Where a feed's media goes. */
export interface FeedSink {
  init(segment: InitSegment): void;
  /** A decoder is at work: until then it may start at any group that was given. */
  readonly decoding: boolean;
  /**
   * A chunk in order. `starts`: a group begins with it, and a decoder can. `counts`: it came live, so its arrival tells
   * about the path.
   */
  chunk(payload: Uint8Array, timing: ChunkTiming | undefined, starts: boolean, counts: boolean): void;
}

/** Bytes of the open group kept for a late init segment; a longer group is not repeated. */
const REPEAT_LEN_MAX = 8 * 1024 * 1024;

/** For a chunk whose init segment is not there yet. */
const NO_DEFAULTS: TrackTiming = { timescale: 1, defaultSampleDuration: 0, defaultSampleFlags: 0 };

/** One rendition on its way from streams to the media buffer: objects in order, each group after its init segment. */
export class TrackFeed {
  readonly #sink: FeedSink;
  readonly #assembler: GroupAssembler;
  readonly #inits = new InitStore();
  readonly #decodeTimes = new DecodeTimes();
  #mime: string;
  #appended: InitSegment | undefined;
  /** Of the init segment that was appended, and of the first one that came. */
  #timing: TrackTiming | undefined;
  #firstTiming: TrackTiming | undefined;
  /** The open group, from its first object: to be repeated, or waiting for its init segment. */
  #open: Delivery[] = [];
  #openBytes = 0;
  #fetching: boolean;
  /** A decoder may start at the open group, so its leading pictures are left out, all of them. */
  #mayStart = false;
  #startlessSince: number | undefined;

  constructor(track: CatalogTrack, fetching: boolean, sink: FeedSink) {
    this.#sink = sink;
    this.#mime = mimeType(track);
    this.#fetching = fetching;
    this.#assembler = new GroupAssembler(fetching, (payload) => track.kind !== "video" || this.#isSync(payload));
    this.describe(track);
  }

  /** Whether media has come by the subscription, or all of the joining fetch. */
  get joined(): boolean {
    return !this.#fetching;
  }

  get groupsDropped(): number {
    return this.#assembler.groupsDropped;
  }

  /** Since when (`now` of the calls) objects come without one that a decoder could start with. */
  get startlessSince(): number | undefined {
    return this.#startlessSince;
  }

  /** Takes the track's entry of a newer catalog. */
  describe(track: CatalogTrack): void {
    this.#mime = mimeType(track);
    if (track.init !== undefined) {
      this.addInit(track.initGroup, track.init);
    }
  }

  /** An init segment for media from group `group` on; one that comes late has the open group appended again. */
  addInit(group: number, bytes: Uint8Array): void {
    if (!this.#inits.add({ group, mime: this.#mime, bytes })) {
      return;
    }
    this.#firstTiming ??= parseInit(bytes);
    const open = this.#open[0];
    if (open !== undefined && this.#inits.select(open.group) !== this.#appended) {
      this.#startGroup(open.group);
      for (const delivery of this.#appended === undefined ? [] : this.#open) {
        this.#append(delivery);
      }
    }
  }

  object(now: number, object: StreamObject): void {
    this.#assembler.object(now, object);
    this.poll(now);
  }

  streamOpened(group: number): void {
    this.#assembler.streamOpened(group);
  }

  streamClosed(now: number, group: number, complete: boolean): void {
    this.#assembler.streamClosed(group, complete);
    this.poll(now);
  }

  fetchEnded(now: number): void {
    this.#assembler.fetchEnded();
    this.poll(now);
    this.#fetching = false;
  }

  /** Passes on what can be played; also to be called as time goes by. */
  poll(now: number): void {
    for (const delivery of this.#assembler.poll(now)) {
      if (delivery.first) {
        this.#open = [];
        this.#openBytes = 0;
        this.#startGroup(delivery.group);
      }
      this.#remember(delivery);
      if (this.#appended !== undefined) {
        this.#append(delivery);
      }
    }
    this.#startlessSince = this.#assembler.startless ? (this.#startlessSince ?? now) : undefined;
  }

  #startGroup(group: number): void {
    const segment = this.#inits.select(group);
    if (segment === undefined || segment === this.#appended) {
      return;
    }
    this.#appended = segment;
    this.#timing = parseInit(segment.bytes);
    this.#sink.init(segment);
  }

  #remember(delivery: Delivery): void {
    this.#openBytes += delivery.payload.length;
    if (this.#openBytes <= REPEAT_LEN_MAX) {
      this.#open.push(delivery);
    } else {
      this.#open = [];
    }
  }

  #append({ payload, first, fresh }: Delivery): void {
    const timing = this.#read(payload);
    if (first) {
      this.#mayStart = fresh || !this.#sink.decoding;
    }
    if (timing?.leading === true && (fresh || this.#mayStart)) {
      return;
    }
    const near =
      timing === undefined || this.#timing === undefined
        ? payload
        : this.#decodeTimes.near(payload, timing, this.#timing);
    this.#sink.chunk(near, timing, first && timing?.sync !== false, !this.#fetching);
  }

  /** Before an init segment is there, only flags that the chunk has itself count. */
  #isSync(payload: Uint8Array): boolean {
    const timing = parseChunk(payload, this.#timing ?? this.#firstTiming ?? NO_DEFAULTS);
    return timing?.sync !== false;
  }

  /** Timing of a chunk; undefined without an init segment that tells its units. */
  #read(payload: Uint8Array): ChunkTiming | undefined {
    return this.#timing === undefined ? undefined : parseChunk(payload, this.#timing);
  }
}
