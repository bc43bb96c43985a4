/** An init segment and what it is valid from. */
export interface InitSegment {
  /** First media group it applies to. */
  readonly group: number;
  /** Type for SourceBuffer, with the codec. */
  readonly mime: string;
  readonly bytes: Uint8Array;
}

/** Init segments kept: a new one comes when the encoder's settings change, and only the newest matter. */
const SEGMENTS_MAX = 8;

/** The init segments of one rendition, from the catalog and from its init track. */
export class InitStore {
  readonly #segments: InitSegment[] = [];

  /** Takes `segment`; false when one of that group is there already. */
  add(segment: InitSegment): boolean {
    if (this.#segments.some((known) => known.group === segment.group)) {
      return false;
    }
    this.#segments.push(segment);
    this.#segments.sort((a, b) => a.group - b.group);
    if (this.#segments.length > SEGMENTS_MAX) {
      this.#segments.shift();
    }
    return true;
  }

  /** The segment to append before media group `group`: the one with the largest group not above it. */
  select(group: number): InitSegment | undefined {
    return this.#segments.findLast((segment) => segment.group <= group);
  }
}
