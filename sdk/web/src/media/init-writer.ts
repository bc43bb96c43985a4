import { concat, utf8 } from "../wire/bytes.ts";
import { box, fullBox, u16, u32, zeros } from "./box-writer.ts";
import {
  AUDIO_TRACK_ID,
  DELTA_SAMPLE,
  OPUS_RATE,
  SYNC_SAMPLE,
  VIDEO_TIMESCALE,
  VIDEO_TRACK_ID,
} from "./chunk-writer.ts";

/** Nothing is counted in it in a fragmented file; milliseconds are customary. */
const MOVIE_TIMESCALE = 1000;
/** Fixed-point numbers of 16 and 8 bits before the point: 1.0. */
const ONE_16_16 = 0x00010000;
const ONE_8_8 = 0x0100;
/** The matrix that leaves a picture as it is. */
const UNITY = u32(ONE_16_16, 0, 0, 0, ONE_16_16, 0, 0, 0, 0x40000000);
/** ISO 639-2 `und` in three times five bits. */
const UNDETERMINED = 0x55c4;
/** Enabled, and part of the movie. */
const TRACK_FLAGS = 0x3;
/** 72 pixels an inch, as every picture says. */
const RESOLUTION = 0x00480000;
/** Length of an `OpusHead` with mapping family 0, its magic included (RFC 7845 §5.1). */
const OPUS_HEAD_LEN = 19;

interface TrackHead {
  readonly id: number;
  readonly timescale: number;
  readonly handler: string;
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly volume: number;
  readonly mediaHeader: Uint8Array;
  readonly entry: Uint8Array;
  readonly sampleFlags: number;
}

/** The init segment of an H.264 track. `avcc`: AVCDecoderConfigurationRecord, which holds the parameter sets. */
export function videoInit(avcc: Uint8Array, width: number, height: number): Uint8Array {
  const entry = box(
    "avc1",
    zeros(6),
    u16(1),
    zeros(16),
    u16(width, height),
    u32(RESOLUTION, RESOLUTION, 0),
    // One frame a sample, no name of a compressor, 24 bits of colour, no colour table.
    u16(1),
    zeros(32),
    u16(0x18, 0xffff),
    box("avcC", avcc),
  );
  return initSegment({
    id: VIDEO_TRACK_ID,
    timescale: VIDEO_TIMESCALE,
    handler: "vide",
    name: "Video",
    width,
    height,
    volume: 0,
    mediaHeader: fullBox("vmhd", 0, 1, zeros(8)),
    entry,
    sampleFlags: DELTA_SAMPLE,
  });
}

/** The init segment of an Opus track. `head`: an `OpusHead`; without one, what it would say by default. */
export function audioInit(channels: number, head: Uint8Array | undefined): Uint8Array {
  const entry = box(
    "Opus",
    zeros(6),
    u16(1),
    zeros(8),
    u16(channels, 16, 0, 0),
    u32(OPUS_RATE * ONE_16_16),
    box("dOps", opusConfiguration(channels, head)),
  );
  return initSegment({
    id: AUDIO_TRACK_ID,
    timescale: OPUS_RATE,
    handler: "soun",
    name: "Audio",
    width: 0,
    height: 0,
    volume: ONE_8_8,
    mediaHeader: fullBox("smhd", 0, 0, zeros(4)),
    entry,
    sampleFlags: SYNC_SAMPLE,
  });
}

/** What `OpusHead` says, in the order and with the endianness of `dOps`. */
function opusConfiguration(channels: number, head: Uint8Array | undefined): Uint8Array {
  if (head === undefined || head.length < OPUS_HEAD_LEN) {
    return concat([Uint8Array.of(0, channels), u16(0), u32(OPUS_RATE), u16(0), Uint8Array.of(0)]);
  }
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const [preSkip, inputRate, gain] = [view.getUint16(10, true), view.getUint32(12, true), view.getInt16(16, true)];
  return concat([Uint8Array.of(0, view.getUint8(9)), u16(preSkip), u32(inputRate), u16(gain), Uint8Array.of(0)]);
}

function initSegment(track: TrackHead): Uint8Array {
  const movieHeader = fullBox(
    "mvhd",
    0,
    0,
    u32(0, 0, MOVIE_TIMESCALE, 0, ONE_16_16),
    u16(ONE_8_8),
    zeros(10),
    UNITY,
    zeros(24),
    u32(track.id + 1),
  );
  const defaults = fullBox("trex", 0, 0, u32(track.id, 1, 0, 0, track.sampleFlags));
  return concat([
    box("ftyp", utf8("iso6"), u32(0), utf8("iso6cmfcmp41")),
    box("moov", movieHeader, trackBox(track), box("mvex", defaults)),
  ]);
}

function trackBox(track: TrackHead): Uint8Array {
  const header = fullBox(
    "tkhd",
    0,
    TRACK_FLAGS,
    u32(0, 0, track.id, 0, 0),
    zeros(8),
    u16(0, 0, track.volume, 0),
    UNITY,
    u32(track.width * ONE_16_16, track.height * ONE_16_16),
  );
  const handler = fullBox("hdlr", 0, 0, u32(0), utf8(track.handler), zeros(12), utf8(track.name), zeros(1));
  const samples = box(
    "stbl",
    fullBox("stsd", 0, 0, u32(1), track.entry),
    fullBox("stts", 0, 0, u32(0)),
    fullBox("stsc", 0, 0, u32(0)),
    fullBox("stsz", 0, 0, u32(0, 0)),
    fullBox("stco", 0, 0, u32(0)),
  );
  // The media's data is where its description is.
  const data = box("dinf", fullBox("dref", 0, 0, u32(1), fullBox("url ", 0, 1)));
  const mediaHeader = fullBox("mdhd", 0, 0, u32(0, 0, track.timescale, 0), u16(UNDETERMINED, 0));
  return box("trak", header, box("mdia", mediaHeader, handler, box("minf", track.mediaHeader, data, samples)));
}
