import { type ChunkTiming, type TrackTiming, boxes } from "./cmaf.ts";

/** Flags of trun (ISO/IEC 14496-12 §8.8.8). */
const TRUN_DATA_OFFSET = 0x001;
const TRUN_FIRST_FLAGS = 0x004;
const TRUN_COMPOSITION = 0x800;
const TRUN_FIELDS_BEFORE_COMPOSITION = [0x100, 0x200, 0x400] as const;

/**
 * Brings decode times of one track near each other. A browser takes a step of more than two durations for another timeline,
 * and drops everything up to the next sync sample (Media Source Extensions, coded frame processing): so after leading
 * pictures that were left out, or frames that the encoder skipped. Only the order of decode times counts for a decoder: they
 * move, and times of presentation stay.
 */
export class DecodeTimes {
  /** Of the chunk before, seconds. */
  #last: { readonly start: number; readonly duration: number } | undefined;

  /** `payload`, or a copy of it that is decoded earlier. */
  near(payload: Uint8Array, timing: ChunkTiming, track: TrackTiming): Uint8Array {
    const last = this.#last;
    const bound = last === undefined ? timing.start : last.start + 2 * last.duration;
    const units = Math.ceil((timing.start - bound) * track.timescale - 1e-3);
    // A sync sample is taken after any step.
    const earlier = timing.sync || units <= 0 ? undefined : decodedEarlier(payload, units);
    const start = earlier === undefined ? timing.start : timing.start - units / track.timescale;
    this.#last = { start, duration: timing.duration };
    return earlier ?? payload;
  }
}

/** A copy whose decode time is less by `units` and whose composition offsets are more; undefined for a chunk without them. */
function decodedEarlier(payload: Uint8Array, units: number): Uint8Array | undefined {
  const copy = payload.slice();
  let moved = false;
  for (const { type, view } of boxes(new DataView(copy.buffer))) {
    if (type === "tfdt" && view.byteLength >= 8) {
      const long = view.getUint8(0) === 1 && view.byteLength >= 12;
      const time = (long ? Number(view.getBigUint64(4)) : view.getUint32(4)) - units;
      if (time < 0) {
        return undefined;
      }
      if (long) {
        view.setBigUint64(4, BigInt(time));
      } else {
        view.setUint32(4, time);
      }
    } else if (type === "trun" && view.byteLength >= 8) {
      const flags = view.getUint32(0) & 0xffffff;
      if ((flags & TRUN_COMPOSITION) === 0) {
        return undefined;
      }
      const before = TRUN_FIELDS_BEFORE_COMPOSITION.filter((field) => (flags & field) !== 0).length * 4;
      const head = 8 + (flags & TRUN_DATA_OFFSET ? 4 : 0) + (flags & TRUN_FIRST_FLAGS ? 4 : 0);
      // The box's own size bounds the loop. Offsets are 32 bits; signed or not, a sum has the same bits.
      const count = view.getUint32(4);
      for (let i = 0, at = head + before; i < count && at + 4 <= view.byteLength; i += 1, at += before + 4) {
        view.setUint32(at, (view.getUint32(at) + units) >>> 0);
      }
      moved = true;
    }
  }
  return moved ? copy : undefined;
}
