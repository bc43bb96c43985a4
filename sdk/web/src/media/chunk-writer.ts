import { concat, utf8 } from "../wire/bytes.ts";
import { box, fullBox, u32, u64 } from "./box-writer.ts";

/** Ticks a second of video tracks. */
export const VIDEO_TIMESCALE = 90_000;
/** Samples a second of every Opus decoder's clock, whatever was encoded (RFC 6716 §2.1.1). */
export const OPUS_RATE = 48_000;
/** Track ids differ, so that a recorder may put both tracks into one file as they are. */
export const VIDEO_TRACK_ID = 1;
export const AUDIO_TRACK_ID = 2;

/** Sample flags (ISO/IEC 14496-12 §8.8.3.1): depends on no other; or depends on others and is no sync sample. */
export const SYNC_SAMPLE = 0x02000000;
export const DELTA_SAMPLE = 0x01010000;

const DEFAULT_BASE_IS_MOOF = 0x020000;
/** `trun` with a data offset, and duration, size and flags of each sample. */
const RUN_FLAGS = 0x000701;

/** A coded picture or packet; times in the track's timescale. */
export interface Sample {
  readonly duration: number;
  readonly flags: number;
  readonly data: Uint8Array;
}

/** One `moof` and one `mdat`, whose first sample decodes at `decodeTime`. */
export function writeChunk(
  trackId: number,
  sequence: number,
  decodeTime: number,
  samples: readonly Sample[],
): Uint8Array {
  const run = u32(...samples.flatMap(({ duration, flags, data }) => [duration, data.length, flags]));
  const fragment = (dataOffset: number): Uint8Array =>
    box(
      "moof",
      fullBox("mfhd", 0, 0, u32(sequence)),
      box(
        "traf",
        fullBox("tfhd", 0, DEFAULT_BASE_IS_MOOF, u32(trackId)),
        fullBox("tfdt", 1, 0, u64(decodeTime)),
        fullBox("trun", 0, RUN_FLAGS, u32(samples.length, dataOffset), run),
      ),
    );
  // The offset's value does not change the length of its box.
  const moof = fragment(fragment(0).length + 8);
  const length = samples.reduce((sum, { data }) => sum + data.length, 8);
  return concat([moof, u32(length), utf8("mdat"), ...samples.map(({ data }) => data)]);
}
