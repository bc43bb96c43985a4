import type { AudioConfiguration, CodedPacket } from "../publish/audio-track.ts";
import { CapturedTrack, bytesOf } from "./captured-media.ts";

/** Sound of everything from speech to music. */
export const AUDIO_BITRATE = 128_000;
/** Opus in the browser takes no more than stereo without a mapping of channels that viewers may not know. */
const CHANNELS_MAX = 2;
/** Packets in the encoder at a time, half a second: more means that it is stuck. */
const ENCODING_MAX = 50;

export interface AudioCaptureHandlers {
  /** Offset of the track's timestamps to the broadcast's time, asked for once; see MediaClock. */
  offset(timestampUs: number): number;
  configured(configuration: AudioConfiguration): void;
  packet(packet: CodedPacket): void;
  failed(message: string): void;
  ended(): void;
}

/** Sound of a track, coded as Opus. */
export class AudioCapture {
  readonly #handlers: AudioCaptureHandlers;
  readonly #captured: CapturedTrack<AudioData>;
  readonly #encoder: AudioEncoder;
  readonly #bitrate: number;
  #channels = 0;
  #offsetUs: number | undefined;
  #told = false;

  constructor(track: MediaStreamTrack, bitrate: number, handlers: AudioCaptureHandlers) {
    this.#handlers = handlers;
    this.#bitrate = bitrate;
    this.#captured = new CapturedTrack(track);
    this.#encoder = new AudioEncoder({
      output: (chunk, metadata) => this.#coded(chunk, metadata?.decoderConfig),
      error: (error) => handlers.failed(`the encoder of the sound failed: ${error.message}`),
    });
    this.#captured.read((sound) => this.#sound(sound)).then(
      () => handlers.ended(),
      (error: unknown) => handlers.failed(`the microphone gives no sound: ${String(error)}`),
    );
  }

  stop(): void {
    this.#captured.cancel();
    if (this.#encoder.state !== "closed") {
      this.#encoder.close();
    }
  }

  #sound(sound: AudioData): void {
    this.#offsetUs ??= this.#handlers.offset(sound.timestamp);
    if (this.#encoder.state === "unconfigured") {
      this.#configure(sound);
    }
    if (this.#encoder.state === "configured" && this.#encoder.encodeQueueSize < ENCODING_MAX) {
      this.#encoder.encode(sound);
    }
    sound.close();
  }

  #configure({ sampleRate, numberOfChannels }: AudioData): void {
    if (numberOfChannels > CHANNELS_MAX) {
      this.#handlers.failed(`the sound has ${numberOfChannels} channels; choose a source with one or two`);
      return;
    }
    this.#channels = numberOfChannels;
    this.#encoder.configure({ codec: "opus", sampleRate, numberOfChannels, bitrate: this.#bitrate });
  }

  #coded(chunk: EncodedAudioChunk, decoder: AudioDecoderConfig | undefined): void {
    if (!this.#told) {
      this.#told = true;
      const { description } = decoder ?? {};
      const head = description === undefined ? undefined : bytesOf(description);
      this.#handlers.configured({ channels: this.#channels, head });
    }
    const data = new Uint8Array(chunk.byteLength);
    chunk.copyTo(data);
    const timeUs = chunk.timestamp + (this.#offsetUs ?? 0);
    this.#handlers.packet({ timeUs, durationUs: chunk.duration ?? 20_000, data });
  }
}
