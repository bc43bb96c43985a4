import type { DataEvent } from "../wire/data-events.ts";
import type { AliasTable } from "./alias-table.ts";
import type { TrackState } from "./subscription.ts";

/** Gives what comes on one data stream to the subscription it belongs to. */
export class DataSink {
  readonly #aliases: AliasTable<TrackState>;
  readonly #fetches: Map<number, TrackState>;
  #track: TrackState | undefined;
  /** The group of a subgroup stream; undefined on a fetch stream. */
  #group: number | undefined;
  #closed = false;

  constructor(aliases: AliasTable<TrackState>, fetches: Map<number, TrackState>) {
    this.#aliases = aliases;
    this.#fetches = fetches;
  }

  /** False when the rest of the stream is of no use: unknown or cancelled subscription. */
  async accept(event: DataEvent): Promise<boolean> {
    if (event.kind === "subgroup") {
      this.#track = await this.#aliases.get(event.trackAlias);
      this.#group = event.group;
      this.#track?.handlers.groupOpened?.(event.group);
    } else if (event.kind === "fetch") {
      this.#track = this.#fetches.get(event.requestId);
      this.#fetches.delete(event.requestId);
    } else if (event.kind === "padding") {
      return true;
    }
    const track = this.#track;
    if (track === undefined || track.cancelled) {
      return false;
    }
    if (event.kind === "object") {
      track.handlers.object(event, this.#group === undefined);
    } else if (event.kind === "group_end") {
      this.close(true);
    }
    return true;
  }

  /** The stream is over: by FIN (`complete`) or reset. */
  close(complete: boolean): void {
    const track = this.#track;
    if (track === undefined || track.cancelled || this.#closed) {
      return;
    }
    this.#closed = true;
    if (this.#group === undefined) {
      track.handlers.fetched?.(complete);
    } else {
      track.handlers.groupClosed?.(this.#group, complete);
    }
  }
}
