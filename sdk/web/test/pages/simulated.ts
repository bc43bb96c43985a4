import { runPlayer } from "../../src/player/player.ts";
import { PlayerView } from "../../src/player/player-view.ts";
import { concat, utf8 } from "../../src/wire/bytes.ts";
import { FakeRelay } from "../support/fake-relay.ts";

/** A simulated broadcaster and relay in the page: the player against them needs no server. */

interface Film {
  readonly init: Uint8Array;
  /** Chunks with one sample each, and whether they can be decoded without those before. */
  readonly chunks: { readonly payload: Uint8Array; readonly key: boolean }[];
}

/** Splits a fragmented MP4 into init segment and moof+mdat chunks. */
function splitFilm(bytes: Uint8Array): Film {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const init: Uint8Array[] = [];
  const chunks: { payload: Uint8Array; key: boolean }[] = [];
  let moof: Uint8Array | undefined;
  for (let at = 0; at + 8 <= bytes.length;) {
    const size = view.getUint32(at);
    const type = new TextDecoder().decode(bytes.subarray(at + 4, at + 8));
    const box = bytes.subarray(at, at + size);
    if (type === "ftyp" || type === "moov") {
      init.push(box);
    } else if (type === "moof") {
      moof = box;
    } else if (type === "mdat" && moof !== undefined) {
      chunks.push({ payload: concat([moof, box]), key: isKey(box) });
      moof = undefined;
    }
    at += size;
  }
  return { init: concat(init), chunks };
}

/** Whether the first slice of an H.264 sample is an IDR (NAL unit type 5). Sound has no such thing. */
function isKey(mdat: Uint8Array): boolean {
  const view = new DataView(mdat.buffer, mdat.byteOffset, mdat.byteLength);
  for (let at = 8; at + 5 <= mdat.length; at += 4 + view.getUint32(at)) {
    const type = view.getUint8(at + 4) & 0x1f;
    if (type === 5 || type === 1) {
      return type === 5;
    }
  }
  return false;
}

async function loadFilm(name: string): Promise<Film> {
  const response = await fetch(name);
  return splitFilm(new Uint8Array(await response.arrayBuffer()));
}

function base64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

export interface SimulationOptions {
  /** Seconds of the film that were broadcast before the viewer comes. */
  readonly headStartS: number;
  readonly withAudio: boolean;
  /** Spread of the path's delay, milliseconds. */
  readonly jitterMs: number;
  /** Nothing is broadcast before `goOnAir`. */
  readonly offAir?: boolean;
  /** The first key frame is lost, so that the first group begins with a picture that nobody can start with. */
  readonly keyLost?: boolean;
  /** All key frames are in one group, which does not end. */
  readonly oneGroup?: boolean;
}

const FPS = 30;
const AUDIO_CHUNK_S = 3 * (1024 / 48000);

/** Publishes the film by the clock, and plays it in the page. */
export async function simulate(options: SimulationOptions) {
  const relay = new FakeRelay({ namespace: ["stream", "org", "lv_1"] });
  const video = await loadFilm("/film/video.mp4");
  const audio = await loadFilm("/film/audio.mp4");
  const catalog = {
    version: 1,
    live: true,
    tracks: [
      {
        name: "video/360p",
        kind: "video",
        codec: "avc1.42C01E",
        width: 640,
        height: 360,
        init: base64(video.init),
        initTrack: "video/360p.init",
        initGroup: 1,
      },
      ...(options.withAudio ? [{ name: "audio", kind: "audio", codec: "mp4a.40.2", init: base64(audio.init) }] : []),
    ],
  };
  const begin = performance.now() - options.headStartS * 1000;
  const broadcaster = new Broadcaster(relay, video, audio, options, begin);
  const goOnAir = (): void => {
    relay.track("video/360p.init");
    broadcaster.step();
    setInterval(() => broadcaster.step(), 5);
    relay.track(".catalog").publish(1, utf8(JSON.stringify(catalog)));
  };
  if (!options.offAir) {
    goOnAir();
  }
  const view = new PlayerView(document, { again: () => undefined });
  runPlayer(view, { url: "https://simulated/playback/lv_1?tok=x", connect: () => relay.connect() });
  return { relay, broadcaster, goOnAir };
}

class Broadcaster {
  silent = false;
  /** Video chunks with this number modulo 60 are lost on the way, if set: 0 is a key frame. */
  lostChunk: number | undefined;
  readonly #relay: FakeRelay;
  readonly #video: Film;
  readonly #audio: Film;
  readonly #options: SimulationOptions;
  readonly #begin: number;
  #videoAt = 0;
  #audioAt = 0;
  #group = 0;
  #audioGroup = 0;

  constructor(relay: FakeRelay, video: Film, audio: Film, options: SimulationOptions, begin: number) {
    this.#relay = relay;
    this.#video = video;
    this.#audio = audio;
    this.#options = options;
    this.#begin = begin;
    this.lostChunk = options.keyLost === true ? 0 : undefined;
  }

  /** Sends everything whose time has come. */
  step(): void {
    if (this.silent) {
      return;
    }
    const elapsed = (performance.now() - this.#begin - Math.random() * this.#options.jitterMs) / 1000;
    while ((this.#videoAt + 1) / FPS <= elapsed && this.#videoAt < this.#video.chunks.length) {
      this.#sendVideo();
    }
    while (
      this.#options.withAudio &&
      (this.#audioAt / 3 + 1) * AUDIO_CHUNK_S <= elapsed &&
      this.#audioAt + 3 <= this.#audio.chunks.length
    ) {
      this.#sendAudio();
    }
  }

  #sendVideo(): void {
    const chunk = this.#video.chunks[this.#videoAt];
    const track = this.#relay.track("video/360p");
    if (chunk === undefined) {
      return;
    }
    if (chunk.key && (this.#group === 0 || this.#options.oneGroup !== true)) {
      track.endGroup(this.#group);
      this.#group += 1;
    }
    if (this.#videoAt % 60 === this.lostChunk) {
      track.skip(this.#group);
      this.lostChunk = undefined;
    } else {
      track.publish(this.#group, chunk.payload);
    }
    this.#videoAt += 1;
  }

  #sendAudio(): void {
    const track = this.#relay.track("audio");
    if (this.#audioGroup !== this.#group) {
      track.endGroup(this.#audioGroup);
      this.#audioGroup = this.#group;
    }
    track.publish(
      this.#audioGroup,
      concat(this.#audio.chunks.slice(this.#audioAt, this.#audioAt + 3).map(({ payload }) => payload)),
    );
    this.#audioAt += 3;
  }
}
