import { utf8 } from "../wire/bytes.ts";
import { type AudioConfiguration, AudioTrack, type CodedPacket } from "./audio-track.ts";
import { GroupIds } from "./group-ids.ts";
import { type Output, PRIORITY_CATALOG } from "./output.ts";
import { type CodedPicture, VideoTrack } from "./video-track.ts";

const CATALOG_TRACK = ".catalog";
/** How long a track that is expected may delay the catalog of what is there. */
const WAIT_US_MAX = 500_000;
/** Length of a group of sound where there are no pictures. */
const AUDIO_GROUP_US = 2_000_000;
/** Key frames come every two seconds: pictures that are away for longer are not waited for. */
const AUDIO_GROUP_WITH_VIDEO_US = 5_000_000;

export interface PackagerOptions {
  /** Which kinds of media will come. */
  readonly video: boolean;
  readonly audio: boolean;
  /** Pictures a second, as far as it is known. */
  readonly framerate: number | undefined;
  /** What the encoders aim at, bits a second. */
  readonly videoBitrate: number;
  readonly audioBitrate: number;
}

/**
 * Coded pictures and packets to tracks of a broadcast: catalog, init segments, groups and objects.
 *
 * A group of pictures begins at each key frame. The sound's group of the same id begins with the first sound after it, so that
 * who starts there has both. Until the first key frame nothing goes out.
 */
export class Packager {
  readonly #options: PackagerOptions;
  readonly #emit: (output: Output) => void;
  readonly #ids = new GroupIds();
  readonly #catalogIds = new GroupIds();
  #video: VideoTrack | undefined;
  #audio: AudioTrack | undefined;
  #audioConfiguration: AudioConfiguration | undefined;
  /** The group that sound goes to, and when that began. */
  #audioGroup: { readonly id: number; readonly beganUs: number } | undefined;
  #catalogStale = false;
  #catalogPublished = false;
  #beganUs: number | undefined;

  constructor(options: PackagerOptions, emit: (output: Output) => void) {
    this.#options = options;
    this.#emit = emit;
  }

  picture(unixMs: number, picture: CodedPicture): void {
    if (picture.key) {
      this.#startVideoGroup(unixMs, picture);
    }
    this.#video?.picture(picture);
    this.#publishCatalog(unixMs, picture.timeUs);
  }

  /** Tells how packets are decoded; before the first. */
  configureAudio(configuration: AudioConfiguration): void {
    this.#audioConfiguration = configuration;
  }

  packet(unixMs: number, packet: CodedPacket): void {
    const video = this.#options.video;
    const began = this.#audioGroup?.beganUs;
    const lengthMax = video ? AUDIO_GROUP_WITH_VIDEO_US : AUDIO_GROUP_US;
    if (began === undefined ? !video : packet.timeUs - began >= lengthMax) {
      this.#audioGroup = { id: this.#ids.next(unixMs), beganUs: packet.timeUs };
    }
    const group = this.#audioGroup?.id;
    const configuration = this.#audioConfiguration;
    if (group === undefined || configuration === undefined) {
      return;
    }
    if (this.#audio === undefined) {
      this.#audio = new AudioTrack(configuration, group, this.#emit);
      this.#catalogStale = true;
    }
    if (this.#audio.group !== group) {
      this.#audio.startGroup(group);
    }
    this.#audio.packet(packet);
    this.#publishCatalog(unixMs, packet.timeUs);
  }

  /** Ends the open groups. */
  finish(): void {
    this.#audio?.endGroup();
    this.#video?.endGroup();
  }

  #startVideoGroup(unixMs: number, { timeUs, configuration }: CodedPicture): void {
    const group = this.#ids.next(unixMs);
    if (configuration !== undefined) {
      this.#catalogStale = true;
      if (this.#video === undefined) {
        this.#video = new VideoTrack(configuration, group, this.#emit);
      } else {
        this.#video.endGroup();
        this.#video.reconfigure(configuration, group);
      }
    }
    this.#video?.startGroup(group);
    this.#audioGroup = { id: group, beganUs: timeUs };
  }

  #publishCatalog(unixMs: number, timeUs: number): void {
    if (!this.#catalogStale) {
      return;
    }
    this.#beganUs ??= timeUs;
    const { video, audio, framerate, videoBitrate, audioBitrate } = this.#options;
    const complete = (!video || this.#video !== undefined) && (!audio || this.#audio !== undefined);
    if (!this.#catalogPublished && !complete && timeUs - this.#beganUs < WAIT_US_MAX) {
      return;
    }
    this.#catalogStale = false;
    this.#catalogPublished = true;
    const entries = [this.#video?.entry(framerate, videoBitrate), this.#audio?.entry(audioBitrate)];
    const catalog = { version: 1, live: true, tracks: entries.filter((entry) => entry !== undefined) };
    const payload = utf8(JSON.stringify(catalog));
    const group = this.#catalogIds.next(unixMs);
    this.#emit({ kind: "pinned", track: CATALOG_TRACK, priority: PRIORITY_CATALOG, group, payload });
  }
}
