import { AUDIO_BITRATE, AudioCapture } from "../capture/audio-capture.ts";
import { MediaClock } from "../capture/media-clock.ts";
import { VideoCapture } from "../capture/video-capture.ts";
import type { Output } from "./output.ts";
import { Packager } from "./packager.ts";

export interface EncodedMediaOptions {
  readonly media: MediaStream;
  readonly videoBitrate: number | undefined;
  readonly audioBitrate: number | undefined;
}

export interface EncodedMediaHandlers {
  output(output: Output): void;
  failed(message: string): void;
  /** Every track of the source is over. */
  ended(): void;
}

/** A MediaStream on its way to a packager: captured, encoded, and laid on one timeline. It goes on over all sessions. */
export class EncodedMedia {
  readonly #packager: Packager;
  readonly #handlers: EncodedMediaHandlers;
  readonly video: VideoCapture | undefined;
  readonly #audio: AudioCapture | undefined;
  #running = 0;
  #stopped = false;

  /** Throws Error when the source has no track. */
  constructor(options: EncodedMediaOptions, handlers: EncodedMediaHandlers) {
    const { media, videoBitrate, audioBitrate = AUDIO_BITRATE } = options;
    const [video] = media.getVideoTracks();
    const [audio] = media.getAudioTracks();
    if (video === undefined && audio === undefined) {
      throw new Error("the source has neither pictures nor sound");
    }
    this.#handlers = handlers;
    const clock = new MediaClock(performance.now() * 1000);
    const common = {
      offset: (timestampUs: number) => clock.offset(timestampUs, performance.now() * 1000),
      failed: (message: string) => this.#failed(message),
      ended: () => this.#ended(),
    };
    if (video !== undefined) {
      this.#running += 1;
      this.video = new VideoCapture(video, videoBitrate, {
        ...common,
        picture: (picture) => this.#packager.picture(Date.now(), picture),
      });
    }
    if (audio !== undefined) {
      this.#running += 1;
      this.#audio = new AudioCapture(audio, audioBitrate, {
        ...common,
        configured: (configuration) => this.#packager.configureAudio(configuration),
        packet: (packet) => this.#packager.packet(Date.now(), packet),
      });
    }
    const expected = { video: video !== undefined, audio: audio !== undefined };
    const bitrates = { videoBitrate: this.video?.usualBitrate ?? 0, audioBitrate };
    const packaging = { ...expected, ...bitrates, framerate: this.video?.framerate };
    this.#packager = new Packager(packaging, (output) => handlers.output(output));
  }

  /** Ends the open groups; nothing comes afterwards. */
  stop(): void {
    if (!this.#stopped) {
      this.#stopped = true;
      this.video?.stop();
      this.#audio?.stop();
      this.#packager.finish();
    }
  }

  #failed(message: string): void {
    if (!this.#stopped) {
      this.#handlers.failed(message);
    }
  }

  #ended(): void {
    this.#running -= 1;
    if (this.#running === 0 && !this.#stopped) {
      this.#handlers.ended();
    }
  }
}
