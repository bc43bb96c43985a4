import type { ViewerError, ViewerState, ViewerStats } from "../viewer/types.ts";
import { type Elements, findElements } from "./elements.ts";
import * as format from "./format.ts";
import { type Notice, noticeFor } from "./notices.ts";

/** Controls hide this long after the last movement, milliseconds. */
const QUIET_AFTER_MS = 2600;

/** Paths of the sign in the notice's circle; a busy notice shows the spinner instead. */
const ICONS: Readonly<Record<Notice["tone"], string>> = {
  busy: "",
  calm: "M12 7.2V12l3.2 2",
  done: "M8 12.3l2.7 2.7L16 9.5",
  problem: "M12 7.5v5.5M12 16.4v.1",
};

export interface PlayerActions {
  /** The button of the notice. */
  again(): void;
}

/** The page: what it shows for a state, and what its buttons do to the video. It knows nothing of the network. */
export class PlayerView {
  readonly #at: Elements;
  #quietTimer: ReturnType<typeof setTimeout> | undefined;
  #state: ViewerState = "idle";
  #played = false;

  constructor(root: ParentNode, actions: PlayerActions) {
    this.#at = findElements(root);
    this.#at.noticeAction.addEventListener("click", () => actions.again());
    this.#bindControls(this.#at);
    this.#bindQuiet(this.#at.stage);
    this.showState("idle", undefined);
  }

  get video(): HTMLVideoElement {
    return this.#at.video;
  }

  showState(state: ViewerState, error: ViewerError | undefined): void {
    const { stage, bigPlay } = this.#at;
    this.#state = state;
    stage.dataset["state"] = state;
    const running = state === "playing" || state === "stalled";
    toggle(stage, "live", running ? (state === "playing" ? "now" : "held") : undefined);
    toggle(stage, "inert", running ? undefined : "");
    if (!running) {
      bigPlay.hidden = true;
    }
    if (state === "ended" || state === "failed") {
      this.#clearFigures();
    }
    this.#played ||= state === "playing";
    this.showNotice(noticeFor(state, error, this.#played));
    this.#showSound();
  }

  showNotice(notice: Notice | undefined): void {
    const at = this.#at;
    at.notice.hidden = notice === undefined;
    toggle(at.stage, "veil", notice === undefined || notice.title === "" ? undefined : "");
    if (notice === undefined) {
      return;
    }
    at.notice.dataset["tone"] = notice.tone;
    at.noticeTitle.textContent = notice.title;
    at.noticeText.textContent = notice.text;
    at.noticeAction.hidden = notice.action === undefined;
    at.noticeAction.textContent = notice.action ?? "";
    at.noticeIconMark.setAttribute("d", ICONS[notice.tone]);
  }

  /** The browser waits for a click before it plays anything. */
  showBlocked(): void {
    this.#at.bigPlay.hidden = false;
    this.showNotice(undefined);
  }

  showStats(stats: ViewerStats): void {
    const at = this.#at;
    const latency = format.milliseconds(stats.latency_ms);
    at.latency.textContent = latency;
    at.latencyBadge.textContent = stats.latency_ms === undefined ? "" : latency;
    at.bitrate.textContent = format.bitrate(stats.bitrate_bps);
    at.buffer.textContent =
      stats.latency_ms === undefined ? format.milliseconds(undefined) : format.milliseconds(stats.buffer_ms);
    at.rendition.textContent = format.rendition(stats.rendition);
    at.rendition.title = format.pictureSize(stats.width, stats.height);
    at.fineprint.textContent = fineprint(stats);
  }

  #clearFigures(): void {
    const at = this.#at;
    for (const figure of [at.latency, at.bitrate, at.buffer, at.rendition]) {
      figure.textContent = format.NONE;
    }
    at.fineprint.textContent = "";
  }

  #bindControls(at: Elements): void {
    const { video } = at;
    const playPause = (): void => void (video.paused ? video.play().catch(() => undefined) : video.pause());
    at.playPause.addEventListener("click", playPause);
    at.bigPlay.addEventListener("click", playPause);
    at.mute.addEventListener("click", () => this.#setMuted(!video.muted));
    at.unmute.addEventListener("click", () => this.#setMuted(false));
    at.volume.addEventListener("input", () => {
      video.volume = Number(at.volume.value) / 100;
      video.muted = video.volume === 0;
    });
    at.fullscreen.addEventListener("click", () => this.#toggleFullscreen());
    at.pip.hidden = !document.pictureInPictureEnabled;
    at.pip.addEventListener("click", () => void video.requestPictureInPicture().catch(() => undefined));
    for (const event of ["play", "pause", "volumechange", "loadedmetadata"]) {
      video.addEventListener(event, () => this.#showSound());
    }
    at.stage.addEventListener("dblclick", (event) => event.target === video && this.#toggleFullscreen());
    document.addEventListener("keydown", (event) => this.#onKey(event, playPause));
  }

  #onKey(event: KeyboardEvent, playPause: () => void): void {
    const busy = event.target instanceof HTMLButtonElement || event.target instanceof HTMLInputElement;
    if (busy || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const keys: Record<string, () => void> = {
      " ": playPause,
      k: playPause,
      m: () => this.#setMuted(!this.video.muted),
      f: () => this.#toggleFullscreen(),
    };
    const action = keys[event.key];
    if (action !== undefined) {
      event.preventDefault();
      action();
    }
  }

  #setMuted(muted: boolean): void {
    this.video.muted = muted;
    if (!muted && this.video.volume === 0) {
      this.video.volume = 1;
    }
  }

  #toggleFullscreen(): void {
    const done = document.fullscreenElement === null ? this.#at.stage.requestFullscreen() : document.exitFullscreen();
    done.catch(() => undefined);
  }

  #showSound(): void {
    const { stage, video, unmute, playPause, mute, volume, bigPlay } = this.#at;
    const running = this.#state === "playing" || this.#state === "stalled";
    toggle(stage, "muted", video.muted ? "" : undefined);
    toggle(stage, "paused", video.paused ? "" : undefined);
    unmute.hidden = !(running && video.muted && !video.paused);
    bigPlay.hidden = !(running && video.paused);
    playPause.setAttribute("aria-label", video.paused ? "Play" : "Pause");
    mute.setAttribute("aria-label", video.muted ? "Unmute" : "Mute");
    volume.value = String(video.muted ? 0 : Math.round(video.volume * 100));
  }

  #bindQuiet(stage: HTMLElement): void {
    const awake = (): void => {
      toggle(stage, "quiet", undefined);
      clearTimeout(this.#quietTimer);
      this.#quietTimer = setTimeout(() => {
        if (!this.video.paused) {
          toggle(stage, "quiet", "");
        }
      }, QUIET_AFTER_MS);
    };
    for (const event of ["pointermove", "pointerdown", "focusin"]) {
      stage.addEventListener(event, awake);
    }
    awake();
  }
}

function fineprint(stats: ViewerStats): string {
  if (stats.join_ms === undefined) {
    return "";
  }
  const counts = [
    `First picture after ${format.milliseconds(stats.join_ms)}`,
    stats.stalls === 0
      ? "no interruptions"
      : `${stats.stalls} ${stats.stalls === 1 ? "interruption" : "interruptions"}`,
  ];
  return counts.join(" · ");
}

function toggle(element: HTMLElement, key: string, value: string | undefined): void {
  if (value === undefined) {
    delete element.dataset[key];
  } else {
    element.dataset[key] = value;
  }
}
