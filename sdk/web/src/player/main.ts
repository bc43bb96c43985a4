import type { ViewerError } from "../viewer/types.ts";
import type { BroadcastViewer } from "../viewer/viewer.ts";
import { TOKEN_MISSING } from "./notices.ts";
import { PlayerView } from "./player-view.ts";
import { runPlayer } from "./player.ts";
import { loadWatchConfig, playbackUrl, takeAddress } from "./watch-config.ts";

const { id, token } = takeAddress(
  location.href,
  () => sessionStorage,
  (address) => history.replaceState(history.state, "", address),
);
let viewer: BroadcastViewer | undefined;
const view = new PlayerView(document, { again: () => void (viewer === undefined ? open() : viewer.start()) });

async function open(): Promise<void> {
  if (token === undefined) {
    fail({ kind: "auth", message: TOKEN_MISSING });
    return;
  }
  try {
    const { webtransportBase, certificateHashes } = await loadWatchConfig(location.href);
    viewer = runPlayer(view, { url: playbackUrl(webtransportBase, id, token), certificateHashes });
  } catch (error) {
    fail({ kind: "network", message: error instanceof Error ? error.message : String(error) });
  }
}

/** There is no viewer yet that could tell it. */
function fail(error: ViewerError): void {
  view.showState("failed", error);
  window.__streams = { stats: () => undefined, state: "failed", error };
}

void open();
