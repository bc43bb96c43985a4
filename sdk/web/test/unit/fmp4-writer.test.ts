import assert from "node:assert/strict";
import { test } from "node:test";
import { AUDIO_TRACK_ID, DELTA_SAMPLE, SYNC_SAMPLE, VIDEO_TRACK_ID, writeChunk } from "../../src/media/chunk-writer.ts";
import { boxes, parseChunk, parseInit } from "../../src/media/cmaf.ts";
import { audioInit, videoInit } from "../../src/media/init-writer.ts";
import { text } from "../../src/wire/bytes.ts";
import { toHex } from "../support/bytes.ts";

const AVCC = Uint8Array.of(1, 0x42, 0xe0, 0x1f, 0xff, 0xe1, 0, 0, 1, 0, 0);

function topLevel(bytes: Uint8Array): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const types: string[] = [];
  for (let at = 0; at < bytes.length; at += view.getUint32(at)) {
    types.push(text(bytes.subarray(at + 4, at + 8)));
  }
  return types;
}

test("an init segment says the timescale, and the parameter sets are in it", () => {
  const init = videoInit(AVCC, 1280, 720);
  assert.deepEqual(topLevel(init), ["ftyp", "moov"]);
  assert.deepEqual(parseInit(init), { timescale: 90_000, defaultSampleDuration: 0, defaultSampleFlags: DELTA_SAMPLE });
  assert.ok(toHex(init).includes(toHex(AVCC)));
});

test("an Opus init segment turns the header's little-endian fields round", () => {
  // OpusHead: version 1, 2 channels, pre-skip 312, 48000 samples a second, no gain, mapping family 0.
  const head = Uint8Array.of(0x4f, 0x70, 0x75, 0x73, 0x48, 0x65, 0x61, 0x64, 1, 2, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 0);
  const init = audioInit(2, head);
  assert.deepEqual(parseInit(init), { timescale: 48_000, defaultSampleDuration: 0, defaultSampleFlags: SYNC_SAMPLE });
  assert.ok(toHex(init).includes("644f7073" + "00" + "02" + "0138" + "0000bb80" + "0000" + "00"), toHex(init));
});

test("a chunk is one moof and one mdat, and its data begins where the moof says", () => {
  const samples = [
    { duration: 960, flags: SYNC_SAMPLE, data: Uint8Array.of(1, 2, 3) },
    { duration: 960, flags: SYNC_SAMPLE, data: Uint8Array.of(4) },
  ];
  // Beyond 32 bits: a broadcast of 25 hours at 48 kHz.
  const chunk = writeChunk(AUDIO_TRACK_ID, 7, 2 ** 32 + 5, samples);
  assert.deepEqual(topLevel(chunk), ["moof", "mdat"]);
  const timing = parseChunk(chunk, { timescale: 48_000, defaultSampleDuration: 0, defaultSampleFlags: 0 });
  assert.equal(timing?.start, (2 ** 32 + 5) / 48_000);
  assert.equal(timing.duration, 1920 / 48_000);
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  const run = [...boxes(view)].find(({ type }) => type === "trun");
  assert.deepEqual(chunk.subarray(run?.view.getUint32(8)), Uint8Array.of(1, 2, 3, 4));
});

test("only a key frame's chunk can be started with", () => {
  const track = { timescale: 90_000, defaultSampleDuration: 0, defaultSampleFlags: DELTA_SAMPLE };
  const of = (flags: number) => writeChunk(VIDEO_TRACK_ID, 1, 0, [{ duration: 3000, flags, data: Uint8Array.of(1) }]);
  assert.equal(parseChunk(of(SYNC_SAMPLE), track)?.sync, true);
  assert.equal(parseChunk(of(DELTA_SAMPLE), track)?.sync, false);
});
