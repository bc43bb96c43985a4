import type { ViewerError, ViewerOptions, ViewerState, ViewerStats } from "../viewer/types.ts";
import { BroadcastViewer } from "../viewer/viewer.ts";
import { PlayerView } from "./player-view.ts";

/** What tests and the curious find in `window.__streams`. */
export interface PlayerProbe {
  readonly stats: () => ViewerStats | undefined;
  readonly state: ViewerState;
  readonly error: ViewerError | undefined;
}

declare global {
  interface Window {
    __streams?: PlayerProbe;
  }
}

/** Lets `view` show what a viewer with `options` plays, and starts it. */
export function runPlayer(view: PlayerView, options: Omit<ViewerOptions, "video">): BroadcastViewer {
  const viewer = new BroadcastViewer({ ...options, video: view.video });
  let error: ViewerError | undefined;
  viewer.on("state", (state) => view.showState(state, error));
  viewer.on("error", (latest) => {
    error = latest;
    view.showState(viewer.state, latest);
  });
  viewer.on("stats", (stats) => view.showStats(stats));
  viewer.on("blocked", () => view.showBlocked());
  window.__streams = {
    stats: () => viewer.stats(),
    get state() {
      return viewer.state;
    },
    get error() {
      return error;
    },
  };
  viewer.start();
  return viewer;
}
