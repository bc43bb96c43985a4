import { DELTA_SAMPLE, SYNC_SAMPLE, VIDEO_TIMESCALE, VIDEO_TRACK_ID, writeChunk } from "../media/chunk-writer.ts";
import { encodeBase64 } from "../media/base64.ts";
import { videoInit } from "../media/init-writer.ts";
import { type Output, PRIORITY_INIT, PRIORITY_VIDEO } from "./output.ts";

/** Until there are two pictures: a thirtieth of a second. */
const DURATION_FIRST = 3000;
/** A longer step is a gap and no duration. */
const DURATION_MAX = VIDEO_TIMESCALE;

/** What a decoder of the pictures needs. */
export interface VideoConfiguration {
  /** AVCDecoderConfigurationRecord. */
  readonly avcc: Uint8Array;
  readonly width: number;
  readonly height: number;
}

export interface CodedPicture {
  /** Broadcast time, microseconds. */
  readonly timeUs: number;
  /** A decoder can start with it. */
  readonly key: boolean;
  /** NAL units, each behind its length. */
  readonly data: Uint8Array;
  /** There when it is another one than before. */
  readonly configuration?: VideoConfiguration;
}

/** The pictures of a broadcast as chunks of one picture each, in groups that begin with a key frame. */
export class VideoTrack {
  readonly name: string;
  readonly #push: (output: Output) => void;
  #configuration: VideoConfiguration;
  #init: Uint8Array;
  #initGroup: number;
  #group: number | undefined;
  #object = 0;
  #sequence = 0;
  #lastTime: number | undefined;
  #duration = DURATION_FIRST;

  /** A track named after the height of its first picture, which begins with `group`. */
  constructor(configuration: VideoConfiguration, group: number, push: (output: Output) => void) {
    this.name = `video/${configuration.height}p`;
    this.#push = push;
    this.#configuration = configuration;
    this.#init = videoInit(configuration.avcc, configuration.width, configuration.height);
    this.#initGroup = group;
    push({ kind: "track", track: this.name, priority: PRIORITY_VIDEO });
    this.#pushInit();
  }

  /** Takes another configuration into use from `group` on. */
  reconfigure(configuration: VideoConfiguration, group: number): void {
    this.#configuration = configuration;
    this.#init = videoInit(configuration.avcc, configuration.width, configuration.height);
    this.#initGroup = group;
    this.#pushInit();
  }

  startGroup(group: number): void {
    this.endGroup();
    this.#group = group;
    this.#object = 0;
  }

  endGroup(): void {
    if (this.#group !== undefined) {
      this.#push({ kind: "group_end", track: this.name, group: this.#group });
      this.#group = undefined;
    }
  }

  /** Its duration is the step that its predecessor made: every chunk says its own time. */
  picture({ timeUs, key, data }: CodedPicture): void {
    if (this.#group === undefined) {
      return;
    }
    const last = this.#lastTime;
    const time = Math.max(Math.round((timeUs * VIDEO_TIMESCALE) / 1e6), (last ?? -1) + 1);
    if (last !== undefined && time - last <= DURATION_MAX) {
      this.#duration = time - last;
    }
    this.#lastTime = time;
    this.#sequence += 1;
    const sample = { duration: this.#duration, flags: key ? SYNC_SAMPLE : DELTA_SAMPLE, data };
    const payload = writeChunk(VIDEO_TRACK_ID, this.#sequence, time, [sample]);
    this.#push({ kind: "object", track: this.name, group: this.#group, object: this.#object, payload });
    this.#object += 1;
  }

  /** What the catalog says of it. */
  entry(framerate: number | undefined, bitrate: number): Record<string, unknown> {
    const { avcc, width, height } = this.#configuration;
    const profile = [...avcc.subarray(1, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return {
      name: this.name,
      kind: "video",
      codec: `avc1.${profile.toUpperCase()}`,
      width,
      height,
      framerate,
      bitrate,
      timescale: VIDEO_TIMESCALE,
      init: encodeBase64(this.#init),
      initTrack: `${this.name}.init`,
      initGroup: this.#initGroup,
      altGroup: 1,
    };
  }

  #pushInit(): void {
    const track = `${this.name}.init`;
    this.#push({ kind: "pinned", track, priority: PRIORITY_INIT, group: this.#initGroup, payload: this.#init });
  }
}
