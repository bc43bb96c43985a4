/**
 * Pictures of every state of the player page, to be looked at: `node screens.mjs FOLDER [FILM.mp4]`.
 * The page's own component is driven directly; the film, if given, plays behind the states that have a picture.
 */
import { mkdirSync } from "node:fs";
import path from "node:path";
import { launchChromium } from "./support/chromium.mjs";
import { openBarePage, serveSources } from "./support/dev-server.mjs";

const [folder, film] = process.argv.slice(2);
if (folder === undefined) {
  console.error("usage: node screens.mjs FOLDER [FILM.mp4]");
  process.exit(2);
}
mkdirSync(folder, { recursive: true });

const STATS = {
  latency_ms: 142,
  target_ms: 120,
  bitrate_bps: 2_480_000,
  buffer_ms: 118,
  dropped: 0,
  dropped_frames: 0,
  rendition: "video/720p",
  width: 1280,
  height: 720,
  join_ms: 186,
  stalls: 0,
  jumps: 0,
  reconnects: 0,
};
const NOTHING = {
  ...STATS,
  latency_ms: undefined,
  bitrate_bps: 0,
  buffer_ms: 0,
  rendition: undefined,
  width: 0,
  height: 0,
  join_ms: undefined,
};

const STATES = {
  connecting: { state: "connecting" },
  waiting: { state: "waiting" },
  playing: { state: "playing", picture: true },
  stalled: { state: "stalled", picture: true },
  "no-key-frame": { state: "no_key_frame" },
  "no-key-frame-after-a-loss": { state: "no_key_frame", picture: true },
  reconnecting: { state: "reconnecting", picture: true },
  paused: { state: "playing", picture: true, paused: true },
  ended: { state: "ended", picture: true },
  "token-expired": { state: "failed", error: { kind: "auth", message: "auth_failed: token expired" } },
  "token-bad": { state: "failed", error: { kind: "auth", message: "auth_failed: signature" } },
  "token-missing": { state: "failed", error: { kind: "auth", message: "token missing" } },
  unsupported: { state: "failed", error: { kind: "unsupported", message: "this browser has no WebTransport" } },
};
const VIEWPORTS = { wide: { width: 1440, height: 900 }, phone: { width: 390, height: 780 } };

async function shoot(page, { state, error, picture, paused }, file) {
  await page.evaluate(
    async ({ state, error, picture, paused, film, stats }) => {
      const { PlayerView } = await import("/src/player/player-view.ts");
      const view = new PlayerView(document, { again: () => undefined });
      if (picture && film !== undefined) {
        view.video.loop = true;
        view.video.src = film;
        view.video.currentTime = 2;
        await view.video.play();
      }
      if (paused) {
        view.video.pause();
      }
      view.showState(state, error);
      view.showStats(stats);
    },
    { state, error, picture, paused, film: film && `/film/${path.basename(film)}`, stats: picture ? STATS : NOTHING },
  );
  await page.waitForTimeout(700);
  await page.screenshot({ path: file });
}

const browser = await launchChromium();
const server = await serveSources(film === undefined ? {} : { "/film": path.dirname(path.resolve(film)) });
for (const [size, viewport] of Object.entries(VIEWPORTS)) {
  for (const [name, shown] of Object.entries(STATES)) {
    const page = await openBarePage(browser, server.url, viewport);
    await shoot(page, shown, path.join(folder, `${size}-${name}.png`));
    await page.close();
  }
}
await browser.close();
await server.close();
