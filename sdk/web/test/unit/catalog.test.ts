import assert from "node:assert/strict";
import { test } from "node:test";
import { CatalogError, mimeType, parseCatalog, selectTracks } from "../../src/media/catalog.ts";
import { utf8 } from "../../src/wire/bytes.ts";

const CATALOG = {
  version: 1,
  live: true,
  tracks: [
    { name: "video/480p", kind: "video", codec: "avc1.42E01F", width: 854, height: 480, bitrate: 1000000 },
    {
      name: "video/720p",
      kind: "video",
      codec: "avc1.64001F",
      width: 1280,
      height: 720,
      framerate: 30,
      bitrate: 2500000,
      timescale: 90000,
      init: "AAEC",
      initTrack: "video/720p.init",
      initGroup: 1795333333000,
      altGroup: 1,
    },
    { name: "audio", kind: "audio", codec: "mp4a.40.2", sampleRate: 48000, channels: 2 },
    { name: "captions", kind: "text", codec: "wvtt" },
  ],
};

function parse(catalog: unknown): ReturnType<typeof parseCatalog> {
  return parseCatalog(utf8(JSON.stringify(catalog)));
}

test("the contract's catalog is read, unknown fields and kinds are left out", () => {
  const { live, tracks } = parse(CATALOG);
  assert.equal(live, true);
  assert.deepEqual(
    tracks.map(({ name }) => name),
    ["video/480p", "video/720p", "audio"],
  );
  assert.deepEqual(tracks[1], {
    name: "video/720p",
    kind: "video",
    codec: "avc1.64001F",
    initGroup: 1795333333000,
    width: 1280,
    height: 720,
    framerate: 30,
    bitrate: 2500000,
    init: Uint8Array.of(0, 1, 2),
    initTrack: "video/720p.init",
  });
  assert.equal(tracks[1] && mimeType(tracks[1]), 'video/mp4; codecs="avc1.64001F"');
});

test("what is no catalog is refused with the reason", () => {
  assert.throws(() => parseCatalog(utf8("{")), CatalogError);
  assert.throws(() => parseCatalog(Uint8Array.of(0xff)), CatalogError);
  assert.throws(() => parse({ version: 1 }), /no list of tracks/);
  assert.throws(() => parse({ version: 2, tracks: [] }), /version 2/);
  assert.throws(() => parse({ version: 1, tracks: [{ kind: "video", name: "v" }] }), /no codec/);
  assert.throws(() => parse({ version: 1, tracks: [{ ...CATALOG.tracks[1], init: "%" }] }), /not base64/);
});

test("the best supported rendition plays unless another one is asked for", () => {
  const catalog = parse(CATALOG);
  const all = () => true;
  assert.equal(selectTracks(catalog, undefined, all).video?.name, "video/720p");
  assert.equal(selectTracks(catalog, undefined, all).audio?.name, "audio");
  assert.equal(selectTracks(catalog, "video/480p", all).video?.name, "video/480p");
  assert.equal(selectTracks(catalog, "video/1080p", all).video?.name, "video/720p");
  const baseline = (mime: string) => mime.includes("avc1.42E01F");
  assert.deepEqual(Object.keys(selectTracks(catalog, undefined, baseline)), ["video"]);
  assert.equal(selectTracks(catalog, undefined, baseline).video?.name, "video/480p");
  assert.deepEqual(
    selectTracks(catalog, undefined, () => false),
    {},
  );
});
