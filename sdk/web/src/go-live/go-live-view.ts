import { findElements } from "../player/elements.ts";
import { NONE, bitrate, milliseconds } from "../player/format.ts";
import type { PublisherError, PublisherState, PublisherStats } from "../publish/types.ts";
import type { Elements } from "./elements.ts";
import type { Device, SourceChoice, SourceKind } from "./source.ts";
import { type Words, wordsFor } from "./words.ts";

/** Value of the list of microphones for "no sound". */
const NO_MICROPHONE = "none";

export interface GoLiveActions {
  /** A source, or another device of it, was chosen. */
  choose(choice: SourceChoice): void;
  start(key: string): void;
  stop(): void;
  mute(muted: boolean): void;
}

/** The page: what it shows, and what its controls want. It knows nothing of devices or the network. */
export class GoLiveView {
  readonly #at: Elements;
  readonly #actions: GoLiveActions;
  #kind: SourceKind = "camera";
  #hasSource = false;
  #muted = false;
  #state: PublisherState = "idle";

  constructor(root: ParentNode, actions: GoLiveActions) {
    this.#at = findElements<Elements>(root);
    this.#actions = actions;
    this.#bind(this.#at);
    this.showState("idle", undefined);
  }

  set key(key: string) {
    this.#at.key.value = key;
  }

  /** What is seen of the source; undefined when there is none. */
  showSource(media: MediaStream | undefined, kind: SourceKind): void {
    const at = this.#at;
    this.#kind = kind;
    this.#hasSource = media !== undefined;
    at.preview.srcObject = media ?? null;
    at.empty.hidden = media !== undefined;
    // As in a mirror, which is how people know themselves; viewers see it the right way round.
    toggle(at.stage, "mirrored", media !== undefined && kind === "camera");
    at.chooseCamera.setAttribute("aria-pressed", String(media !== undefined && kind === "camera"));
    at.chooseScreen.setAttribute("aria-pressed", String(media !== undefined && kind === "screen"));
    at.cameraRow.hidden = kind === "screen";
    at.mute.disabled = (media?.getAudioTracks().length ?? 0) === 0;
    this.#showMuted(false);
    this.showLevel(0);
    this.#showControls();
  }

  showDevices(cameras: readonly Device[], microphones: readonly Device[], media: MediaStream): void {
    const at = this.#at;
    const used = (tracks: readonly MediaStreamTrack[]): string => tracks[0]?.getSettings().deviceId ?? "";
    fill(at.camera, cameras, used(media.getVideoTracks()));
    const silent = { id: NO_MICROPHONE, label: "No microphone" };
    fill(at.microphone, [...microphones, silent], used(media.getAudioTracks()) || NO_MICROPHONE);
  }

  /** 0…1 */
  showLevel(level: number): void {
    this.#at.meter.style.setProperty("--level", level.toFixed(3));
  }

  showState(state: PublisherState, error: PublisherError | undefined): void {
    this.#state = state;
    this.showWords(wordsFor(state, error));
    toggle(this.#at.stage, "live", state === "live" ? "now" : state === "reconnecting" && "held");
    if (state !== "live" && state !== "reconnecting") {
      this.#clearFigures();
    }
    this.#showControls();
  }

  showWords({ tone, title, text }: Words): void {
    const at = this.#at;
    at.status.dataset["tone"] = tone;
    at.statusTitle.textContent = title;
    at.statusText.textContent = text;
  }

  showStats(stats: PublisherStats): void {
    const at = this.#at;
    at.bitrate.textContent = bitrate(stats.bitrate_bps);
    at.bitrate.title = `The pictures aim at ${bitrate(stats.target_bps)}`;
    at.picture.textContent = stats.height === 0 ? NONE : `${stats.width} × ${stats.height}`;
    at.framerate.textContent = stats.framerate < 0.5 ? NONE : `${Math.round(stats.framerate)} fps`;
    at.behind.textContent = milliseconds(stats.behind_ms);
    at.liveTime.textContent = clock(stats.live_ms);
    at.fineprint.textContent = fineprint(stats);
  }

  #clearFigures(): void {
    const at = this.#at;
    for (const figure of [at.bitrate, at.picture, at.framerate, at.behind]) {
      figure.textContent = NONE;
    }
    at.fineprint.textContent = "";
  }

  #bind(at: Elements): void {
    at.chooseCamera.addEventListener("click", () => this.#choose("camera"));
    at.chooseScreen.addEventListener("click", () => this.#choose("screen"));
    at.camera.addEventListener("change", () => this.#choose("camera"));
    at.microphone.addEventListener("change", () => this.#choose(this.#kind));
    at.key.addEventListener("input", () => this.#showControls());
    at.mute.addEventListener("click", () => {
      this.#showMuted(!this.#muted);
      this.#actions.mute(this.#muted);
    });
    at.reveal.addEventListener("click", () => {
      const hidden = at.key.type === "password";
      at.key.type = hidden ? "text" : "password";
      at.reveal.textContent = hidden ? "Hide" : "Show";
    });
    at.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#isRunning()) {
        this.#actions.stop();
      } else {
        this.#actions.start(at.key.value.trim());
      }
    });
  }

  #choose(kind: SourceKind): void {
    const { camera, microphone } = this.#at;
    const voice = microphone.value === NO_MICROPHONE ? undefined : microphone.value;
    this.#actions.choose({ kind, camera: camera.value, microphone: voice });
  }

  #isRunning(): boolean {
    return this.#state === "connecting" || this.#state === "live" || this.#state === "reconnecting";
  }

  #showMuted(muted: boolean): void {
    this.#muted = muted;
    this.#at.mute.textContent = muted ? "Unmute" : "Mute";
    this.#at.mute.setAttribute("aria-pressed", String(muted));
  }

  #showControls(): void {
    const at = this.#at;
    const running = this.#isRunning();
    at.source.disabled = running;
    at.key.disabled = running;
    at.go.textContent = running ? "End broadcast" : "Go live";
    toggle(at.go, "running", running);
    at.go.disabled = !running && (!this.#hasSource || at.key.value.trim() === "");
  }
}

function fill(list: HTMLSelectElement, devices: readonly Device[], chosen: string): void {
  list.replaceChildren(...devices.map(({ id, label }) => new Option(label, id, false, id === chosen)));
}

/** Hours, minutes and seconds of a duration. */
function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const parts = [Math.floor(seconds / 60) % 60, seconds % 60].map((part) => String(part).padStart(2, "0"));
  const hours = Math.floor(seconds / 3600);
  return [...(hours > 0 ? [String(hours)] : []), ...parts].join(":");
}

function fineprint({ dropped_frames, dropped_groups, reconnects }: PublisherStats): string {
  const troubles = [
    dropped_frames > 0 ? `${dropped_frames} pictures left out, this computer is too slow` : "",
    dropped_groups > 0 ? `${dropped_groups} parts left out, the link is too slow` : "",
    reconnects > 0 ? `${reconnects} ${reconnects === 1 ? "reconnect" : "reconnects"}` : "",
  ];
  return troubles.filter((trouble) => trouble !== "").join(" · ");
}

function toggle(element: HTMLElement, key: string, value: string | boolean): void {
  if (value === false) {
    delete element.dataset[key];
  } else {
    element.dataset[key] = value === true ? "" : value;
  }
}
