/**
 * Goes live from the page with Chromium's made-up camera and microphone, until it is interrupted; then it ends the broadcast.
 * Prints one JSON object when the page is live, and one at the end.
 *
 *     node go-live.mjs --page http://HOST:PORT/go-live/ID --key STREAM_KEY [--screenshot out.png] [--width 390]
 *     node go-live.mjs … --clock                         the camera shows a clock, for browser.mjs --clock
 *     node go-live.mjs … --expect-error auth_failed      the page has to say so; ends by itself
 *
 * STREAMS_CHROMIUM names the browser, STREAMS_DEBUG shows the page's console on standard error.
 */
import { parseArgs } from "node:util";
import { launchChromium } from "./support/chromium.mjs";
import { clockCamera } from "./support/clock-camera.mjs";

const FLAGS = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
const LIVE_MS_MAX = 20_000;

const { values } = parseArgs({
  options: {
    page: { type: "string" },
    key: { type: "string" },
    screenshot: { type: "string" },
    width: { type: "string", default: "1280" },
    clock: { type: "boolean", default: false },
    "expect-error": { type: "string" },
  },
});
if (values.page === undefined || values.key === undefined) {
  console.error("usage: node go-live.mjs --page URL --key KEY [see the head of this file]");
  process.exit(2);
}

const browser = await launchChromium(FLAGS, false);
const page = await openPage();
const publisher = () => page.evaluate(() => ({ ...window.__streamsGoLive, stats: window.__streamsGoLive.stats() }));
const wanted = values["expect-error"];
const reached = await reach(wanted).catch((error) => error.message);
if (values.screenshot !== undefined) {
  // The level of the sound and the figures of a second.
  await page.waitForTimeout(2500);
  await page.screenshot({ path: values.screenshot, fullPage: true });
}
const shown = await page.locator('[data-ref="status"]').innerText();
console.log(JSON.stringify({ ok: reached === true, problem: reached, shown, ...(await publisher()) }));
if (reached !== true || wanted !== undefined) {
  await browser.close();
  process.exit(reached === true ? 0 : 1);
}
process.on("SIGINT", async () => {
  const last = await publisher();
  if (last.state === "live") {
    await page.click('[data-ref="go"]');
    await page.waitForFunction(() => window.__streamsGoLive.state === "ended");
    // The page tells the server before it leaves.
    await page.waitForTimeout(500);
  }
  console.log(JSON.stringify({ ok: last.state === "live", ...last }));
  await browser.close();
  process.exit(last.state === "live" ? 0 : 1);
});

async function openPage() {
  const viewport = { width: Number(values.width), height: 860 };
  const context = await browser.newContext({ viewport });
  await context.grantPermissions(["camera", "microphone"], { origin: new URL(values.page).origin });
  const opened = await context.newPage();
  opened.on("pageerror", (error) => console.error(`page: ${error.stack ?? error}`));
  if (process.env["STREAMS_DEBUG"]) {
    await opened.addInitScript(() => localStorage.setItem("streamsDebug", "1"));
    opened.on("console", (message) => console.error(`page: ${message.text().replaceAll(/sk=[^\s&]+/g, "sk=…")}`));
  }
  if (values.clock) {
    await opened.addInitScript({ content: clockCamera() });
  }
  await opened.goto(`${values.page}#sk=${values.key}`);
  return opened;
}

/** The page is live, or says what it has to say. */
async function reach(expected) {
  await page.click('[data-ref="chooseCamera"]');
  await page.click('[data-ref="go"]:enabled');
  const done = (kind) =>
    kind === undefined ? window.__streamsGoLive.state === "live" : window.__streamsGoLive.error?.kind === kind;
  await page.waitForFunction(done, expected, { timeout: LIVE_MS_MAX, polling: 20 });
  return true;
}
