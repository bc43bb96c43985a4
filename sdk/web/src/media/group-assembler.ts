import type { StreamObject } from "../wire/data-events.ts";

/** Bounds of what is held while it cannot be played yet. */
export interface AssemblerLimits {
  /** Milliseconds for which the current group may keep a newer one waiting; a fifth when no stream of it is open. */
  readonly patienceMs: number;
  readonly groupsMax: number;
  readonly bytesMax: number;
}

export const ASSEMBLER_LIMITS: AssemblerLimits = {
  // Longer than a lost packet's repair on most paths, shorter than anyone's patience with a frozen picture.
  patienceMs: 250,
  groupsMax: 16,
  bytesMax: 32 * 1024 * 1024,
};

/** What leaves the assembler: objects of a group in order, without a gap from its first one. */
export interface Delivery extends StreamObject {
  /** First object of its group. */
  readonly first: boolean;
  /** Nothing before this group was delivered, or not all of what was: its decoder starts here. */
  readonly fresh: boolean;
}

/** Whether a decoder can start with a group that begins with this object. */
export type IsStart = (payload: Uint8Array) => boolean;

interface Group {
  readonly id: number;
  /** Objects not delivered yet. */
  readonly held: Map<number, Uint8Array>;
  heldBytes: number;
  /** Next object to deliver. */
  next: number;
  /** Every object that will come has come: its stream ended. */
  complete: boolean;
  /** Open data streams, so that more is known to come. */
  openStreams: number;
  /** When its first object was there. */
  readySince: number | undefined;
  /** A decoder can start with its first object. */
  start: boolean;
  /** It follows a group that was delivered whole, so it needs no start. */
  follows: boolean;
}

/**
 * Puts the objects of one track in order. They come on several streams at once: the joining fetch, the rest of that
 * group by the subscription, the next groups. Duplicates go; a group that cannot go on is left for the newest one.
 */
export class GroupAssembler {
  readonly #limits: AssemblerLimits;
  /** None is below `#from`; the oldest one is the one that plays. */
  readonly #groups = new Map<number, Group>();
  /** Groups before this one were left, or given up: nothing of them is taken any more. */
  #from = 0;
  #fetching: boolean;
  readonly #isStart: IsStart;
  #startless = false;
  /** Objects that came twice. */
  duplicates = 0;
  /** Groups of which something was not delivered. */
  groupsDropped = 0;

  /** `fetching`: a joining fetch is under way, and brings the first group. */
  constructor(fetching: boolean, isStart: IsStart = () => true, limits: AssemblerLimits = ASSEMBLER_LIMITS) {
    this.#fetching = fetching;
    this.#isStart = isStart;
    this.#limits = limits;
  }

  /** Objects come, and there is no group among them that a decoder could start with. */
  get startless(): boolean {
    return this.#startless;
  }

  object(now: number, { group, object, payload }: StreamObject): void {
    const into = this.#group(group);
    if (into === undefined) {
      return;
    }
    if (object < into.next || into.held.has(object)) {
      this.duplicates += 1;
      return;
    }
    into.held.set(object, payload);
    into.heldBytes += payload.length;
    if (object === 0) {
      into.readySince = now;
      into.start = this.#isStart(payload);
    }
    this.#enforceLimits();
  }

  streamOpened(group: number): void {
    const into = this.#group(group);
    if (into !== undefined) {
      into.openStreams += 1;
      this.#enforceLimits();
    }
  }

  /** `complete`: by FIN, so nothing of the group is missing after what came. */
  streamClosed(group: number, complete: boolean): void {
    const into = this.#groups.get(group);
    if (into !== undefined) {
      into.openStreams = Math.max(0, into.openStreams - 1);
      into.complete ||= complete;
    }
  }

  fetchEnded(): void {
    this.#fetching = false;
  }

  /** Everything that can be played at `now`, in order. */
  poll(now: number): Delivery[] {
    const out: Delivery[] = [];
    for (;;) {
      const group = this.#currentGroup();
      if (group === undefined) {
        break;
      }
      this.#drain(group, out);
      const next = this.#successor(now, group);
      if (next === undefined) {
        this.#startless ||= this.#isStuck(group);
        break;
      }
      this.#leaveFor(group, next);
    }
    this.#startless &&= out.length === 0;
    return out;
  }

  #group(id: number): Group | undefined {
    if (id < this.#from) {
      return undefined;
    }
    let group = this.#groups.get(id);
    if (group === undefined) {
      group = {
        id,
        held: new Map(),
        heldBytes: 0,
        next: 0,
        complete: false,
        openStreams: 0,
        readySince: undefined,
        start: false,
        follows: false,
      };
      this.#groups.set(id, group);
    }
    return group;
  }

  /** The oldest group; the joined one too is only left by the same rule as any other. */
  #currentGroup(): Group | undefined {
    return this.#groups.size === 0 ? undefined : this.#groups.get(Math.min(...this.#groups.keys()));
  }

  #drain(group: Group, out: Delivery[]): void {
    if (group.next === 0 && !group.start && !group.follows) {
      return;
    }
    for (let payload = group.held.get(group.next); payload !== undefined; payload = group.held.get(group.next)) {
      out.push({ group: group.id, object: group.next, payload, first: group.next === 0, fresh: !group.follows });
      group.held.delete(group.next);
      group.heldBytes -= payload.length;
      group.next += 1;
      this.#from = group.id;
    }
  }

  /** The group to go on with instead of `group`, if it is time to. */
  #successor(now: number, group: Group): Group | undefined {
    const ready = [...this.#groups.values()]
      .filter(({ id, readySince }) => id > group.id && readySince !== undefined)
      .sort((a, b) => a.id - b.id);
    const following = ready[0];
    if (following !== undefined && this.#isFinished(group)) {
      return following;
    }
    const starts = ready.filter(({ start }) => start);
    const [first, newest] = [starts[0], starts.at(-1)];
    if (first === undefined || newest === undefined) {
      return undefined;
    }
    // Behind: what is missing did not come in time, and playing goes on at the newest place there is.
    const hopeless = group.next === 0 && !this.#fetching;
    // With no stream open the group most likely ended at the joining fetch; its next stream has this long to show up.
    const patienceMs = group.openStreams > 0 || this.#fetching ? this.#limits.patienceMs : this.#limits.patienceMs / 5;
    const waited = now - (first.readySince ?? now) >= patienceMs;
    return hopeless || waited ? newest : undefined;
  }

  /** Whether objects wait that nothing but a start will let go. The joining fetch may still bring one. */
  #isStuck(group: Group): boolean {
    const held = [...this.#groups.values()].some(({ held }) => held.size > 0);
    return held && !this.#fetching && (group.next === 0 || this.#groups.size > 1);
  }

  #isFinished(group: Group): boolean {
    return group.complete && !this.#fetching && group.held.size === 0 && group.next > 0;
  }

  #leaveFor(group: Group, next: Group): void {
    next.follows = this.#isFinished(group);
    if (!next.follows) {
      this.groupsDropped += 1;
    }
    for (const id of [...this.#groups.keys()]) {
      if (id < next.id) {
        this.groupsDropped += id === group.id ? 0 : 1;
        this.#groups.delete(id);
      }
    }
    this.#from = next.id;
  }

  /**
   * Oldest groups go first. A single group that is too much by itself goes too: what it holds waits for an object that
   * did not come in all this time, and playing goes on with the group after it.
   */
  #enforceLimits(): void {
    const size = () => [...this.#groups.values()].reduce((sum, group) => sum + group.heldBytes, 0);
    while (this.#groups.size > this.#limits.groupsMax || size() > this.#limits.bytesMax) {
      const oldest = Math.min(...this.#groups.keys());
      this.#groups.delete(oldest);
      this.#from = oldest + 1;
      this.groupsDropped += 1;
    }
  }
}
