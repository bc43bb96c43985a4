import { encodeBase64 } from "../media/base64.ts";
import { AUDIO_TRACK_ID, OPUS_RATE, SYNC_SAMPLE, type Sample, writeChunk } from "../media/chunk-writer.ts";
import { audioInit } from "../media/init-writer.ts";
import { type Output, PRIORITY_AUDIO, PRIORITY_INIT } from "./output.ts";

const NAME = "audio";
const INIT_NAME = "audio.init";
/** Three packets of 20 ms: few objects, little waiting. */
const CHUNK_SAMPLES_MAX = (64 * OPUS_RATE) / 1000;
/** Samples are counted; the capture's clock, which jitters, is followed only when it is further away than 50 ms. */
const ANCHOR_SAMPLES = (50 * OPUS_RATE) / 1000;

export interface CodedPacket {
  /** Broadcast time, microseconds. */
  readonly timeUs: number;
  readonly durationUs: number;
  readonly data: Uint8Array;
}

/** What a decoder of the sound needs. */
export interface AudioConfiguration {
  readonly channels: number;
  /** `OpusHead`, when the encoder gave one. */
  readonly head: Uint8Array | undefined;
}

/** The sound of a broadcast as chunks of up to 64 ms; times are counted in samples. */
export class AudioTrack {
  readonly name = NAME;
  readonly #push: (output: Output) => void;
  readonly #channels: number;
  readonly #init: Uint8Array;
  readonly #initGroup: number;
  #group: number | undefined;
  /** The group has an object. */
  #begun = false;
  #object = 0;
  #sequence = 0;
  #nextTime: number | undefined;
  #chunk: Sample[] = [];
  #chunkTime = 0;
  #chunkSamples = 0;
  /** Packets left out because the count ran ahead of the capture's clock. */
  dropped = 0;

  constructor(configuration: AudioConfiguration, group: number, push: (output: Output) => void) {
    this.#push = push;
    this.#channels = configuration.channels;
    this.#init = audioInit(configuration.channels, configuration.head);
    this.#initGroup = group;
    push({ kind: "track", track: NAME, priority: PRIORITY_AUDIO });
    push({ kind: "pinned", track: INIT_NAME, priority: PRIORITY_INIT, group, payload: this.#init });
  }

  get group(): number | undefined {
    return this.#group;
  }

  startGroup(group: number): void {
    this.endGroup();
    this.#group = group;
    this.#object = 0;
  }

  endGroup(): void {
    this.#flush();
    if (this.#group !== undefined && this.#begun) {
      this.#push({ kind: "group_end", track: NAME, group: this.#group });
    }
    this.#group = undefined;
    this.#begun = false;
  }

  packet({ timeUs, durationUs, data }: CodedPacket): void {
    const duration = Math.round((durationUs * OPUS_RATE) / 1e6);
    const wanted = Math.max(0, Math.round((timeUs * OPUS_RATE) / 1e6));
    let time = this.#nextTime ?? wanted;
    if (wanted - time > ANCHOR_SAMPLES) {
      this.#flush();
      time = wanted;
    } else if (time - wanted > ANCHOR_SAMPLES) {
      this.dropped += 1;
      return;
    }
    if (this.#chunkSamples + duration > CHUNK_SAMPLES_MAX) {
      this.#flush();
    }
    if (this.#chunk.length === 0) {
      this.#chunkTime = time;
    }
    this.#chunk.push({ duration, flags: SYNC_SAMPLE, data });
    this.#chunkSamples += duration;
    this.#nextTime = time + duration;
    // One more packet like this would not fit: nobody waits for it.
    if (this.#chunkSamples + duration > CHUNK_SAMPLES_MAX) {
      this.#flush();
    }
  }

  /** What the catalog says of it. */
  entry(bitrate: number): Record<string, unknown> {
    return {
      name: NAME,
      kind: "audio",
      codec: "opus",
      sampleRate: OPUS_RATE,
      channels: this.#channels,
      bitrate,
      timescale: OPUS_RATE,
      init: encodeBase64(this.#init),
      initTrack: INIT_NAME,
      initGroup: this.#initGroup,
    };
  }

  #flush(): void {
    if (this.#chunk.length > 0 && this.#group !== undefined) {
      this.#sequence += 1;
      const payload = writeChunk(AUDIO_TRACK_ID, this.#sequence, this.#chunkTime, this.#chunk);
      this.#push({ kind: "object", track: NAME, group: this.#group, object: this.#object, payload });
      this.#object += 1;
      this.#begun = true;
    }
    this.#chunk = [];
    this.#chunkSamples = 0;
  }
}
