import type { GroupStream } from "../session/group-stream.ts";
import type { Publication } from "../session/publication.ts";
import type { MoqSession } from "../session/session.ts";
import { DoneStatus, type RequestError } from "../wire/messages.ts";
import type { Namespace } from "../wire/names.ts";
import type { Output } from "./output.ts";

/** A group is given up when something of it has waited for so long. */
const GROUP_LATE_MS = 2000;
/** And when so much waits in all: two seconds at 16 Mbit/s. */
const QUEUED_BYTES_MAX = 4 << 20;

export interface OutboxHandlers {
  /** The server has taken every track: media go out from the next key frame on. */
  ready(): void;
  refused(error: RequestError): void;
}

/** The part of a session that publishes. */
type Offering = Pick<MoqSession, "publish">;

interface Track {
  readonly name: string;
  readonly priority: number;
  /** The newest object that every session begins with. */
  pinned: { readonly group: number; readonly payload: Uint8Array } | undefined;
  /** In the session that there is now. */
  publication: Publication | undefined;
  accepted: boolean;
  /** The group whose objects are being sent. */
  open: { readonly group: number; readonly stream: GroupStream } | undefined;
  /** Streams that the server does not have whole, the open one included. */
  streams: GroupStream[];
}

/**
 * What a packager gives, on its way into one session after the other. Catalog and init segments are sent at the start of each;
 * pictures and sound from the start of a group on. A group that waits too long for the link is given up as a whole.
 */
export class Outbox {
  readonly #handlers: OutboxHandlers;
  readonly #tracks: Track[] = [];
  #session: { readonly session: Offering; readonly namespace: Namespace } | undefined;
  #ready = false;
  sentBytes = 0;
  droppedGroups = 0;

  constructor(handlers: OutboxHandlers) {
    this.#handlers = handlers;
  }

  /** A session that may publish `namespace` takes over: every track is offered again. */
  attach(session: Offering, namespace: Namespace): void {
    this.detach();
    this.#session = { session, namespace };
    this.#tracks.forEach((track, i) => this.#offer(track, i));
  }

  /** The session is over. */
  detach(): void {
    this.#session = undefined;
    this.#ready = false;
    for (const track of this.#tracks) {
      track.publication = undefined;
      track.accepted = false;
      track.open = undefined;
      track.streams = [];
    }
  }

  push(output: Output): void {
    switch (output.kind) {
      case "pinned":
        this.#pin(output);
        break;
      case "track":
        this.#track(output.track, output.priority);
        break;
      case "object":
        this.#object(output);
        break;
      case "group_end":
        this.#endGroup(output.track, output.group);
        break;
    }
  }

  /** How long the oldest of what has not left has waited at `now`. */
  waitedMs(now: number): number {
    return Math.max(0, ...this.#streams().map((stream) => stream.waitedMs(now)));
  }

  /** What the link has not taken yet. */
  get queuedBytes(): number {
    return this.#streams().reduce((sum, stream) => sum + stream.queuedBytes, 0);
  }

  /** Gives up groups that are too late at `now`; true when one of them still had something to come. */
  dropLate(now: number): boolean {
    const crowded = this.queuedBytes > QUEUED_BYTES_MAX;
    let cut = false;
    for (const track of this.#tracks) {
      // Without catalog and init segments nobody could watch what comes later.
      const media = track.pinned === undefined ? track.streams : [];
      const late = media.filter((stream) => crowded || stream.waitedMs(now) > GROUP_LATE_MS);
      for (const stream of late) {
        stream.drop();
        this.droppedGroups += 1;
        if (track.open?.stream === stream) {
          track.open = undefined;
          cut = true;
        }
      }
      track.streams = track.streams.filter((stream) => !stream.isOver);
    }
    return cut;
  }

  /** The broadcast is over: says so of every track. Resolves when the server has read it. */
  async finish(): Promise<void> {
    const publications = this.#tracks.map(({ publication }) => publication?.done(DoneStatus.TrackEnded, ""));
    await Promise.all(publications);
  }

  #streams(): GroupStream[] {
    return this.#tracks.flatMap(({ streams }) => streams);
  }

  #track(name: string, priority: number): Track {
    const known = this.#tracks.find((track) => track.name === name);
    if (known !== undefined) {
      return known;
    }
    const nothing = { pinned: undefined, publication: undefined, accepted: false, open: undefined };
    const track: Track = { name, priority, ...nothing, streams: [] };
    this.#tracks.push(track);
    this.#ready = false;
    this.#offer(track, this.#tracks.length - 1);
    return track;
  }

  #offer(track: Track, alias: number): void {
    if (this.#session === undefined) {
      return;
    }
    const { session, namespace } = this.#session;
    const publication = session.publish(namespace, track.name, BigInt(alias), {
      accepted: () => {
        if (track.publication === publication) {
          this.#accepted(track);
        }
      },
      refused: (error) => {
        if (track.publication === publication) {
          this.#handlers.refused(error);
        }
      },
    });
    track.publication = publication;
  }

  #accepted(track: Track): void {
    track.accepted = true;
    this.#sendPinned(track);
    if (!this.#ready && this.#tracks.every(({ accepted }) => accepted)) {
      this.#ready = true;
      this.#handlers.ready();
    }
  }

  #pin({ track: name, priority, group, payload }: Extract<Output, { kind: "pinned" }>): void {
    const track = this.#track(name, priority);
    track.pinned = { group, payload };
    this.#sendPinned(track);
  }

  #sendPinned(track: Track): void {
    if (track.pinned === undefined || !track.accepted || track.publication === undefined) {
      return;
    }
    const stream = track.publication.openGroup(track.pinned.group, track.priority);
    stream.object(track.pinned.payload);
    stream.end();
    track.streams.push(stream);
    this.sentBytes += track.pinned.payload.length;
  }

  #object({ track: name, group, object, payload }: Extract<Output, { kind: "object" }>): void {
    const track = this.#tracks.find((known) => known.name === name);
    if (track?.publication === undefined) {
      return;
    }
    if (object === 0 && this.#ready) {
      track.open = { group, stream: track.publication.openGroup(group, track.priority) };
      track.streams.push(track.open.stream);
    }
    // Otherwise its beginning went to another session, or was given up.
    if (track.open?.group === group) {
      track.open.stream.object(payload);
      this.sentBytes += payload.length;
    }
  }

  #endGroup(name: string, group: number): void {
    const track = this.#tracks.find((known) => known.name === name);
    if (track?.open?.group === group) {
      track.open.stream.end();
      track.open = undefined;
    }
  }
}
