import { loadWatchConfig } from "../player/watch-config.ts";
import { BroadcastPublisher } from "../publish/broadcast-publisher.ts";
import { publishUnsupportedReason } from "../capture/captured-media.ts";
import type { PublisherError, PublisherState, PublisherStats } from "../publish/types.ts";
import { publishUrl, takeKey } from "./address.ts";
import { GoLiveView } from "./go-live-view.ts";
import { LevelMeter } from "./level-meter.ts";
import { type SourceChoice, closeSource, listDevices, openSource, whyNoSource } from "./source.ts";

/** What tests and the curious find in `window.__streamsGoLive`. */
export interface GoLiveProbe {
  readonly state: PublisherState;
  readonly error: PublisherError | undefined;
  readonly stats: () => PublisherStats | undefined;
}

declare global {
  interface Window {
    __streamsGoLive?: GoLiveProbe;
  }
}

const { id, key } = takeKey(
  location.href,
  () => sessionStorage,
  (address) => history.replaceState(history.state, "", address),
);
let media: MediaStream | undefined;
let meter: LevelMeter | undefined;
let publisher: BroadcastPublisher | undefined;
let state: PublisherState = "idle";
let error: PublisherError | undefined;
const view = new GoLiveView(document, {
  choose: (choice) => void choose(choice),
  start: (typed) => void start(typed),
  stop: () => void publisher?.stop(),
  mute: (muted) => media?.getAudioTracks().forEach((track) => (track.enabled = !muted)),
});

async function choose(choice: SourceChoice): Promise<void> {
  let opened: MediaStream;
  try {
    opened = await openSource(choice);
  } catch (failure) {
    view.showWords({ tone: "problem", title: "No picture", text: whyNoSource(failure, choice.kind) });
    return;
  }
  leaveSource();
  media = opened;
  view.showSource(opened, choice.kind);
  view.showState(state, error);
  if (opened.getAudioTracks().length > 0) {
    meter = new LevelMeter(opened, (level) => view.showLevel(level));
  }
  // The user may end the sharing of a screen outside of the page.
  opened.getVideoTracks()[0]?.addEventListener("ended", () => {
    if (media === opened) {
      void publisher?.stop();
      leaveSource();
      view.showSource(undefined, choice.kind);
    }
  });
  view.showDevices(await listDevices("videoinput"), await listDevices("audioinput"), opened);
}

function leaveSource(): void {
  meter?.stop();
  meter = undefined;
  closeSource(media);
  media = undefined;
}

async function start(typed: string): Promise<void> {
  if (media === undefined) {
    return;
  }
  show("connecting", undefined);
  try {
    const { webtransportBase, certificateHashes } = await loadWatchConfig(location.href);
    const url = publishUrl(webtransportBase, id, typed);
    publisher = new BroadcastPublisher({ url, media, certificateHashes });
  } catch (failure) {
    show("failed", { kind: "unreachable", message: failure instanceof Error ? failure.message : String(failure) });
    return;
  }
  publisher.on("state", (next) => show(next, next === "live" ? undefined : error));
  publisher.on("error", (latest) => show(state, latest));
  publisher.on("stats", (stats) => view.showStats(stats));
  publisher.start();
}

function show(next: PublisherState, latest: PublisherError | undefined): void {
  state = next;
  error = latest;
  view.showState(state, error);
}

window.__streamsGoLive = {
  get state() {
    return state;
  },
  get error() {
    return error;
  },
  stats: () => publisher?.stats(),
};
view.key = key;
view.showSource(undefined, "camera");
const unsupported = publishUnsupportedReason();
if (unsupported !== undefined) {
  show("failed", { kind: "unsupported", message: unsupported });
}
