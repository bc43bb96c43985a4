import type { BroadcastViewer } from "../viewer/viewer.ts";
import { NO_TOKEN, unreachable } from "./notices.ts";
import { PlayerView } from "./player-view.ts";
import { runPlayer } from "./player.ts";
import { loadWatchConfig, playbackUrl, readAddress } from "./watch-config.ts";

let viewer: BroadcastViewer | undefined;
const view = new PlayerView(document, { again: () => void (viewer === undefined ? open() : viewer.start()) });

async function open(): Promise<void> {
  const { id, token } = readAddress(location.href);
  if (token === undefined) {
    view.showNotice(NO_TOKEN);
    return;
  }
  try {
    const { webtransportBase, certificateHashes } = await loadWatchConfig(location.href);
    viewer = runPlayer(view, { url: playbackUrl(webtransportBase, id, token), certificateHashes });
  } catch (error) {
    view.showNotice(unreachable(error instanceof Error ? error.message : String(error)));
  }
}

void open();
