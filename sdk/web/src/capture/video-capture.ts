import { CapturedTrack, bytesOf } from "./captured-media.ts";
import {
  type PictureSize,
  encodedSize,
  encoderCandidates,
  supportedConfiguration,
  usualBitrate,
} from "./video-configuration.ts";
import type { CodedPicture, VideoConfiguration } from "../publish/video-track.ts";

/** A viewer joins at a key frame. */
const KEY_FRAME_EVERY_US = 2_000_000;
/** Pictures in the encoder at a time: more means that it is too slow. */
const ENCODING_MAX = 3;
/** A screen on which nothing moves gives no pictures: the last one is sent again after this time. */
const STILL_AFTER_MS = 500;
const FRAMERATE_USUAL = 30;

export interface VideoCaptureHandlers {
  /** Offset of the track's timestamps to the broadcast's time, asked for once; see MediaClock. */
  offset(timestampUs: number): number;
  picture(picture: CodedPicture): void;
  failed(message: string): void;
  ended(): void;
}

/** Pictures of a track, coded as H.264. */
export class VideoCapture {
  readonly #handlers: VideoCaptureHandlers;
  readonly #captured: CapturedTrack<VideoFrame>;
  readonly #encoder: VideoEncoder;
  readonly framerate: number;
  /** Bits a second of the pictures in the size that the track has, unless somebody named another. */
  readonly usualBitrate: number;
  #bitrate: number;
  #configuration: VideoEncoderConfig | undefined;
  /** The size of the pictures that the encoder was prepared for, before they are made smaller. */
  #source: PictureSize | undefined;
  #configuring = false;
  #offsetUs: number | undefined;
  #keyFrameAtUs = -Infinity;
  #keyFrameWanted = true;
  #told: VideoConfiguration | undefined;
  #last: { readonly frame: VideoFrame; readonly at: number } | undefined;
  readonly #stillTimer: ReturnType<typeof setInterval>;
  droppedFrames = 0;
  encodedFrames = 0;

  constructor(track: MediaStreamTrack, bitrate: number | undefined, handlers: VideoCaptureHandlers) {
    this.#handlers = handlers;
    const { width = 1280, height = 720, frameRate } = track.getSettings();
    this.framerate = Math.round(frameRate ?? FRAMERATE_USUAL) || FRAMERATE_USUAL;
    this.usualBitrate = bitrate ?? usualBitrate(encodedSize({ width, height }), this.framerate);
    this.#bitrate = this.usualBitrate;
    this.#captured = new CapturedTrack(track);
    this.#encoder = new VideoEncoder({
      output: (chunk, metadata) => this.#coded(chunk, metadata?.decoderConfig),
      error: (error) => handlers.failed(`the encoder of the pictures failed: ${error.message}`),
    });
    this.#stillTimer = setInterval(() => this.#repeatStill(), STILL_AFTER_MS / 2);
    this.#captured.read((frame) => this.#frame(frame)).then(
      () => handlers.ended(),
      (error: unknown) => handlers.failed(`the camera or screen gives no pictures: ${String(error)}`),
    );
  }

  /** The size that is encoded, once that is known. */
  get size(): PictureSize | undefined {
    return this.#configuration;
  }

  /** The next picture is to be one that a decoder can start with. */
  requestKeyFrame(): void {
    this.#keyFrameWanted = true;
  }

  /** Bits a second from now on. */
  setBitrate(bitrate: number): void {
    this.#bitrate = bitrate;
    if (this.#configuration !== undefined && this.#configuration.bitrate !== bitrate) {
      this.#configuration = { ...this.#configuration, bitrate };
      this.#configure(this.#configuration);
    }
  }

  stop(): void {
    clearInterval(this.#stillTimer);
    this.#captured.cancel();
    this.#last?.frame.close();
    this.#last = undefined;
    if (this.#encoder.state !== "closed") {
      this.#encoder.close();
    }
  }

  #frame(frame: VideoFrame): void {
    this.#offsetUs ??= this.#handlers.offset(frame.timestamp);
    this.#last?.frame.close();
    this.#last = { frame, at: performance.now() };
    this.#encode(frame);
  }

  #encode(frame: VideoFrame): void {
    const { displayWidth: width, displayHeight: height } = frame;
    if (this.#source?.width !== width || this.#source.height !== height) {
      void this.#prepare({ width, height });
      return;
    }
    if (this.#encoder.state !== "configured") {
      return;
    }
    if (this.#encoder.encodeQueueSize >= ENCODING_MAX) {
      this.droppedFrames += 1;
      return;
    }
    // A clock that was set back must not put the next key frame far away.
    const sinceUs = Math.abs(frame.timestamp - this.#keyFrameAtUs);
    const keyFrame = this.#keyFrameWanted || sinceUs >= KEY_FRAME_EVERY_US;
    if (keyFrame) {
      this.#keyFrameWanted = false;
      this.#keyFrameAtUs = frame.timestamp;
    }
    this.#encoder.encode(frame, { keyFrame });
  }

  /** Finds out how pictures of another size are encoded; until then they are left out. */
  async #prepare(source: PictureSize): Promise<void> {
    if (this.#configuring) {
      return;
    }
    this.#configuring = true;
    const candidates = encoderCandidates(encodedSize(source), this.framerate, this.#bitrate);
    const found = await supportedConfiguration(candidates).catch(() => undefined);
    this.#configuring = false;
    if (this.#encoder.state === "closed") {
      return;
    }
    if (found === undefined) {
      this.#handlers.failed(`this browser cannot encode pictures of ${source.width} × ${source.height} as H.264`);
      return;
    }
    this.#source = source;
    this.#configuration = { ...found, bitrate: this.#bitrate };
    this.#keyFrameWanted = true;
    this.#configure(this.#configuration);
  }

  #configure(configuration: VideoEncoderConfig): void {
    if (this.#encoder.state !== "closed") {
      this.#encoder.configure(configuration);
    }
  }

  #repeatStill(): void {
    const last = this.#last;
    const now = performance.now();
    if (last === undefined || now - last.at < STILL_AFTER_MS) {
      return;
    }
    const timestamp = Math.round(last.frame.timestamp + (now - last.at) * 1000);
    const frame = new VideoFrame(last.frame, { timestamp });
    this.#last = { frame, at: now };
    last.frame.close();
    this.#encode(frame);
  }

  #coded(chunk: EncodedVideoChunk, decoder: VideoDecoderConfig | undefined): void {
    const data = new Uint8Array(chunk.byteLength);
    chunk.copyTo(data);
    this.encodedFrames += 1;
    const key = chunk.type === "key";
    const timeUs = chunk.timestamp + (this.#offsetUs ?? 0);
    const configuration = decoder === undefined ? undefined : this.#newConfiguration(decoder);
    this.#handlers.picture({ timeUs, key, data, ...(configuration === undefined ? {} : { configuration }) });
  }

  /** The decoder's configuration, when it is another one than before. */
  #newConfiguration({ description }: VideoDecoderConfig): VideoConfiguration | undefined {
    const { width, height } = this.#configuration ?? {};
    if (description === undefined || width === undefined || height === undefined) {
      return undefined;
    }
    const avcc = bytesOf(description);
    const told = this.#told;
    if (told !== undefined && told.avcc.length === avcc.length && told.avcc.every((byte, i) => byte === avcc[i])) {
      return undefined;
    }
    this.#told = { avcc, width, height };
    return this.#told;
  }
}
