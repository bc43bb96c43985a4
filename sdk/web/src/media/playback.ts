import type { CatalogTrack, Selection } from "./catalog.ts";
import { mimeType } from "./catalog.ts";
import { LiveEdge } from "./live-edge.ts";
import { type Range, TrackBuffer } from "./track-buffer.ts";
import type { FeedSink } from "./track-feed.ts";

/** What the owner of a playback learns. */
export interface PlaybackEvents {
  /** The first picture (or, without video, the first sound) is out. */
  started(): void;
  stalled(): void;
  resumed(): void;
  /** The browser refuses to play without a click. */
  blocked(): void;
  failed(message: string): void;
}

export type TrackKind = CatalogTrack["kind"];

/** Decisions are made this often, milliseconds. */
const TICK_MS = 40;
/** Media kept behind the playing position, seconds. */
const KEEP_BEHIND_S = 4;
const REMOVE_EVERY_MS = 2000;
/** A position this close before a range counts as inside it, seconds: times are rounded to the timescale. */
const RANGE_SLACK_S = 0.05;
/** With less than this before a hole, playing will not reach its end: the browser wants some media ahead, seconds. */
const HOLE_LEAVE_S = 0.04;
/**
 * Playing begins when what is buffered ends this close to the live edge (seconds), or when the browser has all that came
 * for this long, or after the longest wait: a join into a long group brings many seconds of it.
 */
const CAUGHT_UP_S = 0.15;
const CATCH_UP_MS = 200;
const CATCH_UP_MS_MAX = 2000;
/**
 * Media that a track's renderer wants ahead of it, seconds. Measured in Chromium: with less than about 100 ms of sound
 * ahead it stops when the rate changes, and then wants far more before it goes on. A picture is taken when it is due.
 */
const MARGINS_S: Readonly<Record<TrackKind, number>> = { audio: 0.13, video: 0.02 };
/** The first picture takes about this long to decode, seconds: meanwhile media goes on coming. */
const START_UP_S = 0.06;

/**
 * Plays one broadcast in a video element by Media Source Extensions: one SourceBuffer a track, close behind the live
 * edge. It begins near the end of what the joining fetch brought, nudges the rate, and jumps over holes.
 */
export class Playback {
  readonly #video: HTMLVideoElement;
  readonly #events: PlaybackEvents;
  readonly #source: MediaSource;
  readonly #tracks = new Map<TrackKind, TrackBuffer>();
  readonly #listeners = new AbortController();
  readonly #edge = new LiveEdge(MARGINS_S);
  #ready: () => boolean = () => true;
  readonly #url: string;
  #timer: ReturnType<typeof setInterval> | undefined;
  #removedAt = 0;
  #firstMediaAt: number | undefined;
  #positioned = false;
  #started = false;
  #stalled = false;
  #ending = false;
  stalls = 0;
  jumps = 0;

  constructor(video: HTMLVideoElement, events: PlaybackEvents) {
    this.#video = video;
    this.#events = events;
    this.#source = new MediaSource();
    this.#url = URL.createObjectURL(this.#source);
    video.src = this.#url;
    this.#listen();
  }

  /** Makes the buffers of `selection`. `ready` tells when what was there at the join has been given. */
  setTracks(selection: Selection, ready: () => boolean): void {
    this.#ready = ready;
    for (const track of [selection.video, selection.audio]) {
      if (track !== undefined) {
        const fail = (message: string) => this.#fail(message);
        this.#tracks.set(track.kind, new TrackBuffer(mimeType(track), () => this.#tick(), fail));
      }
    }
    if (this.#source.readyState === "open") {
      this.#attach();
    } else {
      this.#source.addEventListener("sourceopen", () => this.#attach(), { once: true });
    }
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  #attach(): void {
    if (this.#listeners.signal.aborted) {
      return;
    }
    const tracks = [...this.#tracks.values()];
    try {
      tracks.forEach((track) => track.attach(this.#source));
      tracks.forEach((track) => track.start());
    } catch (error) {
      this.#fail(`media source: ${String(error)}`);
    }
  }

  /** Where the media of `kind` goes; `setTracks` has to be done. */
  sink(kind: TrackKind): FeedSink {
    const buffer = this.#tracks.get(kind);
    const decoding = () => this.#positioned;
    return {
      get decoding() {
        return decoding();
      },
      init: (segment) => buffer?.init(segment),
      chunk: (payload, timing, starts, counts) => {
        if (timing !== undefined) {
          this.#edge.arrived(kind, nowS(), timing.start + timing.duration, timing.duration, !counts);
          if (starts) {
            buffer?.groupStarts(timing.start);
          }
        }
        buffer?.append(payload);
      },
    };
  }

  /** No more media comes: plays out what is there. */
  finish(): void {
    this.#ending = true;
  }

  destroy(): void {
    clearInterval(this.#timer);
    this.#listeners.abort();
    URL.revokeObjectURL(this.#url);
    if (this.#video.src === this.#url) {
      this.#video.removeAttribute("src");
      this.#video.load();
    }
  }

  /** Milliseconds from the arrival of a moment's media at its fastest to its picture. */
  get latencyMs(): number | undefined {
    const delay = this.#started ? this.#edge.delay(nowS(), this.#video.currentTime) : undefined;
    return delay === undefined ? undefined : Math.max(0, delay * 1000);
  }

  get targetMs(): number {
    return this.#edge.target(nowS()) * 1000;
  }

  /** Milliseconds of media ahead of the playing position. */
  get bufferMs(): number {
    return Math.max(0, (this.#range()?.end ?? this.#video.currentTime) - this.#video.currentTime) * 1000;
  }

  #listen(): void {
    const { signal } = this.#listeners;
    this.#video.addEventListener("waiting", () => this.#onWaiting(), { signal });
    this.#video.addEventListener("playing", () => this.#onPlaying(), { signal });
    this.#video.addEventListener("error", () => this.#fail(this.#video.error?.message ?? "media error"), { signal });
  }

  #fail(message: string): void {
    if (!this.#listeners.signal.aborted) {
      this.#events.failed(message);
    }
  }

  #onWaiting(): void {
    if (!this.#started || this.#stalled || this.#video.seeking || this.#ending) {
      return;
    }
    this.#stalled = true;
    this.stalls += 1;
    this.#edge.stalled(nowS());
    this.#events.stalled();
  }

  #onPlaying(): void {
    if (this.#stalled) {
      this.#stalled = false;
      this.#edge.resumed(nowS());
      this.#events.resumed();
    }
    if (!this.#started && !this.#tracks.has("video")) {
      this.#markStarted();
    }
  }

  #markStarted(): void {
    if (!this.#started && !this.#listeners.signal.aborted) {
      this.#started = true;
      this.#events.started();
    }
  }

  #tick(): void {
    if (this.#listeners.signal.aborted) {
      return;
    }
    if (!this.#positioned) {
      this.#position();
      return;
    }
    this.#follow();
    this.#cleanUp();
    this.#endIfDone();
  }

  /** Begins to play: near the live edge, as soon as every track has media there. */
  #position(): void {
    const range = this.#ranges().at(-1);
    if (range === undefined || !this.#ready() || !this.#caughtUp(range)) {
      return;
    }
    this.#positioned = true;
    this.#video.requestVideoFrameCallback(() => this.#markStarted());
    this.#video.currentTime = this.#place(nowS() + START_UP_S, range);
    this.#video.play().catch((error: unknown) => {
      if (error instanceof DOMException && error.name === "NotAllowedError") {
        this.#events.blocked();
      }
    });
  }

  /** Whether the browser has most of what came: appending what the join brought takes several steps. */
  #caughtUp(range: Range): boolean {
    this.#firstMediaAt ??= performance.now();
    const edge = this.#edge.edge(nowS()) ?? range.end;
    const waited = performance.now() - this.#firstMediaAt;
    return range.end > edge - CAUGHT_UP_S || (waited > CATCH_UP_MS && this.#idle) || waited > CATCH_UP_MS_MAX;
  }

  #follow(): void {
    const video = this.#video;
    if (video.seeking || video.paused || this.#ending) {
      return;
    }
    const now = nowS();
    const position = video.currentTime;
    const ranges = this.#ranges();
    const next = ranges.find(({ start }) => start > position);
    const end = this.#range()?.end;
    if (next !== undefined && (end === undefined || end - position < HOLE_LEAVE_S)) {
      // A group was left out: its hole is jumped over when playing comes to it.
      this.#jump(this.#place(now, next));
      return;
    }
    const last = ranges.at(-1);
    if (end === undefined || last === undefined) {
      return;
    }
    const action = this.#edge.decide(now, position, last.end);
    if (action.kind === "seek") {
      this.#jump(action.to <= end ? action.to : this.#place(now, last));
    } else if (video.playbackRate !== action.rate) {
      video.playbackRate = action.rate;
    }
  }

  /** Where to play in `range`: at the target distance from the live edge, or as near to that as it has media. */
  #place(now: number, range: Range): number {
    const wanted = (this.#edge.edge(now) ?? range.end) - this.#edge.target(now);
    return Math.max(range.start, Math.min(wanted, range.end - RANGE_SLACK_S));
  }

  #jump(to: number): void {
    this.jumps += 1;
    this.#video.playbackRate = 1;
    this.#video.currentTime = to;
  }

  #cleanUp(): void {
    if (performance.now() - this.#removedAt > REMOVE_EVERY_MS) {
      this.#removedAt = performance.now();
      for (const track of this.#tracks.values()) {
        track.removeBefore(this.#video.currentTime - KEEP_BEHIND_S);
      }
    }
  }

  #endIfDone(): void {
    if (this.#ending && this.#idle && this.#source.readyState === "open") {
      this.#video.playbackRate = 1;
      this.#source.endOfStream();
    }
  }

  /** Whether the browser has everything that was given. */
  get #idle(): boolean {
    return [...this.#tracks.values()].every((track) => track.idle);
  }

  /** Stretches that every track has. */
  #ranges(): Range[] {
    const [first, ...others] = [...this.#tracks.values()].map((track) => track.ranges());
    return others.reduce<Range[]>((common, ranges) => intersect(common, ranges), first ?? []);
  }

  /** The stretch that is playing. */
  #range(): Range | undefined {
    const position = this.#video.currentTime;
    return this.#ranges().find(({ start, end }) => start - RANGE_SLACK_S <= position && position <= end);
  }
}

/** Parts of `a` that are also in `b`; both in ascending order. */
export function intersect(a: readonly Range[], b: readonly Range[]): Range[] {
  return a.flatMap((x) =>
    b.flatMap((y) => {
      const range = { start: Math.max(x.start, y.start), end: Math.min(x.end, y.end) };
      return range.start < range.end ? [range] : [];
    }),
  );
}

function nowS(): number {
  return performance.now() / 1000;
}
