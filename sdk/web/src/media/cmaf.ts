/** Where a chunk lies in media time, and whether a decoder can start with it. */
export interface ChunkTiming {
  /** Decode time of the first sample, seconds. */
  readonly start: number;
  /** Sum of the samples' durations, seconds. */
  readonly duration: number;
  /** The first sample is a sync sample. */
  readonly sync: boolean;
  /**
   * The first sample is shown before the sync sample that it follows, and needs what was decoded before that one
   * (`is_leading` 1): who starts there leaves it out.
   */
  readonly leading: boolean;
}

/** What a track's init segment says about its chunks. */
export interface TrackTiming {
  /** Units a second of `tfdt` and durations. */
  readonly timescale: number;
  /** Units; used by chunks that name no duration. */
  readonly defaultSampleDuration: number;
  /** Sample flags of chunks that name none (ISO/IEC 14496-12 §8.8.3.1). */
  readonly defaultSampleFlags: number;
}

/** Boxes that hold boxes, as far as this reader goes down. */
const CONTAINERS = new Set(["moov", "trak", "mdia", "mvex", "moof", "traf"]);

/** Flags of tfhd and trun (ISO/IEC 14496-12 §8.8.7, §8.8.8). */
const TFHD_BASE_DATA_OFFSET = 0x01;
const TFHD_SAMPLE_DESCRIPTION = 0x02;
const TFHD_DEFAULT_DURATION = 0x08;
const TFHD_DEFAULT_SIZE = 0x10;
const TFHD_DEFAULT_FLAGS = 0x20;
const TRUN_DATA_OFFSET = 0x001;
const TRUN_FIRST_FLAGS = 0x004;
const TRUN_DURATION = 0x100;
const TRUN_SIZE = 0x200;
const TRUN_FLAGS = 0x400;
const TRUN_PER_SAMPLE_FIELDS = [TRUN_DURATION, TRUN_SIZE, TRUN_FLAGS, 0x800] as const;

/** Sample flags: `sample_is_non_sync_sample`, and where `is_leading` begins. */
const SAMPLE_NON_SYNC = 0x10000;
const SAMPLE_LEADING_SHIFT = 26;

export interface Box {
  readonly type: string;
  /** Body of the box, after its header. */
  readonly view: DataView;
}

/** All boxes of `view`, depth first; stops quietly at the first one that does not fit. */
export function* boxes(view: DataView): Generator<Box> {
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
  let defaultSampleFlags = 0;
  for (const { type, view } of boxes(viewOf(init))) {
    if (type === "mdhd" && view.byteLength >= 24) {
      timescale = view.getUint32(view.getUint8(0) === 1 ? 20 : 12);
    } else if (type === "trex" && view.byteLength >= 24) {
      defaultSampleDuration = view.getUint32(12);
      defaultSampleFlags = view.getUint32(20);
    }
  }
  return timescale === undefined || timescale === 0
    ? undefined
    : { timescale, defaultSampleDuration, defaultSampleFlags };
}

/** Timing of an object: one or more `moof` + `mdat`. Undefined when it holds no `tfdt`. */
export function parseChunk(payload: Uint8Array, track: TrackTiming): ChunkTiming | undefined {
  let start: number | undefined;
  let units = 0;
  let defaults: SampleDefaults = { duration: track.defaultSampleDuration, flags: track.defaultSampleFlags };
  let first: number | undefined;
  for (const { type, view } of boxes(viewOf(payload))) {
    if (type === "tfhd") {
      defaults = fragmentDefaults(view, track);
    } else if (type === "tfdt" && view.byteLength >= 8) {
      const long = view.getUint8(0) === 1 && view.byteLength >= 12;
      start ??= long ? Number(view.getBigUint64(4)) : view.getUint32(4);
    } else if (type === "trun") {
      units += runDuration(view, defaults.duration);
      first ??= firstFlags(view) ?? defaults.flags;
    }
  }
  const flags = first ?? defaults.flags;
  return start === undefined
    ? undefined
    : {
        start: start / track.timescale,
        duration: units / track.timescale,
        sync: (flags & SAMPLE_NON_SYNC) === 0,
        leading: ((flags >>> SAMPLE_LEADING_SHIFT) & 3) === 1,
      };
}

interface SampleDefaults {
  readonly duration: number;
  readonly flags: number;
}

/** What the samples of a fragment have by default: what its tfhd says, else what the track's init segment does. */
function fragmentDefaults(tfhd: DataView, track: TrackTiming): SampleDefaults {
  const flags = tfhd.byteLength >= 8 ? tfhd.getUint32(0) & 0xffffff : 0;
  let at = 8 + (flags & TFHD_BASE_DATA_OFFSET ? 8 : 0) + (flags & TFHD_SAMPLE_DESCRIPTION ? 4 : 0);
  const field = (flag: number): number | undefined => {
    if ((flags & flag) === 0 || at + 4 > tfhd.byteLength) {
      return undefined;
    }
    at += 4;
    return tfhd.getUint32(at - 4);
  };
  const duration = field(TFHD_DEFAULT_DURATION) ?? track.defaultSampleDuration;
  field(TFHD_DEFAULT_SIZE);
  return { duration, flags: field(TFHD_DEFAULT_FLAGS) ?? track.defaultSampleFlags };
}

/** The flags that a trun itself gives its first sample. */
function firstFlags(trun: DataView): number | undefined {
  if (trun.byteLength < 8) {
    return undefined;
  }
  const flags = trun.getUint32(0) & 0xffffff;
  let at = 8 + (flags & TRUN_DATA_OFFSET ? 4 : 0);
  if ((flags & TRUN_FIRST_FLAGS) === 0) {
    if ((flags & TRUN_FLAGS) === 0) {
      return undefined;
    }
    at += (flags & TRUN_DURATION ? 4 : 0) + (flags & TRUN_SIZE ? 4 : 0);
  }
  return at + 4 <= trun.byteLength ? trun.getUint32(at) : undefined;
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
