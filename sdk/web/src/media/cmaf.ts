/** Where a chunk lies in media time. */
export interface ChunkTiming {
  /** Decode time of the first sample, seconds. */
  readonly start: number;
  /** Sum of the samples' durations, seconds. */
  readonly duration: number;
}

/** What a track's init segment says about its chunks. */
export interface TrackTiming {
  /** Units a second of `tfdt` and durations. */
  readonly timescale: number;
  /** Units; used by chunks that name no duration. */
  readonly defaultSampleDuration: number;
}

/** Boxes that hold boxes, as far as this reader goes down. */
const CONTAINERS = new Set(["moov", "trak", "mdia", "mvex", "moof", "traf"]);

/** Flags of tfhd and trun (ISO/IEC 14496-12 §8.8.7, §8.8.8). */
const TFHD_BASE_DATA_OFFSET = 0x01;
const TFHD_SAMPLE_DESCRIPTION = 0x02;
const TFHD_DEFAULT_DURATION = 0x08;
const TRUN_DATA_OFFSET = 0x001;
const TRUN_FIRST_FLAGS = 0x004;
const TRUN_DURATION = 0x100;
const TRUN_PER_SAMPLE_FIELDS = [0x100, 0x200, 0x400, 0x800] as const;

interface Box {
  readonly type: string;
  /** Body of the box, after its header. */
  readonly view: DataView;
}

/** All boxes of `view`, depth first; stops quietly at the first one that does not fit. */
function* boxes(view: DataView): Generator<Box> {
  let at = 0;
  while (at + 8 <= view.byteLength) {
    const size32 = view.getUint32(at);
    const type = String.fromCharCode(
      view.getUint8(at + 4),
      view.getUint8(at + 5),
      view.getUint8(at + 6),
      view.getUint8(at + 7),
    );
    const large = size32 === 1 && at + 16 <= view.byteLength;
    const header = large ? 16 : 8;
    const size = large ? Number(view.getBigUint64(at + 8)) : size32 === 0 ? view.byteLength - at : size32;
    if (size < header || at + size > view.byteLength) {
      return;
    }
    const body = new DataView(view.buffer, view.byteOffset + at + header, size - header);
    yield { type, view: body };
    if (CONTAINERS.has(type)) {
      yield* boxes(body);
    }
    at += size;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Timing of an init segment, or undefined when it holds no `mdhd`. */
export function parseInit(init: Uint8Array): TrackTiming | undefined {
  let timescale: number | undefined;
  let defaultSampleDuration = 0;
  for (const { type, view } of boxes(viewOf(init))) {
    if (type === "mdhd" && view.byteLength >= 24) {
      timescale = view.getUint32(view.getUint8(0) === 1 ? 20 : 12);
    } else if (type === "trex" && view.byteLength >= 24) {
      defaultSampleDuration = view.getUint32(12);
    }
  }
  return timescale === undefined || timescale === 0 ? undefined : { timescale, defaultSampleDuration };
}

/** Timing of an object: one or more `moof` + `mdat`. Undefined when it holds no `tfdt`. */
export function parseChunk(payload: Uint8Array, track: TrackTiming): ChunkTiming | undefined {
  let start: number | undefined;
  let units = 0;
  let sampleDuration = track.defaultSampleDuration;
  for (const { type, view } of boxes(viewOf(payload))) {
    if (type === "tfhd") {
      sampleDuration = defaultDuration(view) ?? track.defaultSampleDuration;
    } else if (type === "tfdt" && view.byteLength >= 8) {
      const long = view.getUint8(0) === 1 && view.byteLength >= 12;
      start ??= long ? Number(view.getBigUint64(4)) : view.getUint32(4);
    } else if (type === "trun") {
      units += runDuration(view, sampleDuration);
    }
  }
  return start === undefined ? undefined : { start: start / track.timescale, duration: units / track.timescale };
}

function defaultDuration(tfhd: DataView): number | undefined {
  const flags = tfhd.byteLength >= 8 ? tfhd.getUint32(0) & 0xffffff : 0;
  const skipped = (flags & TFHD_BASE_DATA_OFFSET ? 8 : 0) + (flags & TFHD_SAMPLE_DESCRIPTION ? 4 : 0);
  const at = 8 + skipped;
  return (flags & TFHD_DEFAULT_DURATION) !== 0 && at + 4 <= tfhd.byteLength ? tfhd.getUint32(at) : undefined;
}

function runDuration(trun: DataView, sampleDuration: number): number {
  if (trun.byteLength < 8) {
    return 0;
  }
  const flags = trun.getUint32(0) & 0xffffff;
  const count = trun.getUint32(4);
  if ((flags & TRUN_DURATION) === 0) {
    return count * sampleDuration;
  }
  const stride = TRUN_PER_SAMPLE_FIELDS.filter((field) => (flags & field) !== 0).length * 4;
  let at = 8 + (flags & TRUN_DATA_OFFSET ? 4 : 0) + (flags & TRUN_FIRST_FLAGS ? 4 : 0);
  let units = 0;
  // The duration is the first of a sample's fields. The box's own size bounds the loop, whatever the count says.
  for (let i = 0; i < count && at + stride <= trun.byteLength; i += 1) {
    units += trun.getUint32(at);
    at += stride;
  }
  return units;
}
