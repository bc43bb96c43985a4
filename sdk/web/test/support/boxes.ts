import { concat } from "../../src/wire/bytes.ts";

/** An ISO base media file box. */
export function box(type: string, ...bodies: Uint8Array[]): Uint8Array {
  const body = concat(bodies.length === 0 ? [new Uint8Array(0)] : bodies);
  return concat([u32(body.length + 8), new TextEncoder().encode(type), body]);
}

export function u32(...values: number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  values.forEach((value, i) => view.setUint32(i * 4, value));
  return new Uint8Array(view.buffer);
}

export function u64(value: bigint): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, value);
  return new Uint8Array(view.buffer);
}

/** Sample flags: no sync sample; a leading picture that needs what was before its sync sample. */
export const NON_SYNC = 0x00010000;
export const LEADING = 0x04000000;

/** An init segment with one track, as far as timing goes. */
export function initSegment(timescale: number, defaultSampleDuration: number, defaultSampleFlags = 0): Uint8Array {
  const mdhd = box("mdhd", u32(0, 0, 0, timescale, 0, 0));
  const trex = box("trex", u32(0, 1, 1, defaultSampleDuration, 0, defaultSampleFlags));
  return concat([box("ftyp", u32(0)), box("moov", box("trak", box("mdia", mdhd)), box("mvex", trex))]);
}

/**
 * A chunk whose samples take the given durations, the first one with these flags; none given: `count` samples of the
 * default duration, without flags.
 */
export function chunk(
  start: bigint,
  durations: readonly number[],
  count = durations.length,
  firstFlags = 0,
): Uint8Array {
  const explicit = durations.length > 0;
  // tfhd: default-base-is-moof. trun: data offset, first sample's flags, and for each sample duration and size.
  const trun = explicit
    ? u32(0x000305, count, 100, firstFlags, ...durations.flatMap((duration) => [duration, 10]))
    : u32(0x000001, count, 100);
  const tfdt = concat([u32(0x01000000), u64(start)]);
  const moof = box(
    "moof",
    box("mfhd", u32(0, 1)),
    box("traf", box("tfhd", u32(0x020000, 1)), box("tfdt", tfdt), box("trun", trun)),
  );
  return concat([moof, box("mdat", new Uint8Array(10))]);
}
