/**
 * Watches a broadcast in a real Chromium and prints one JSON object. Exit code 0: as expected, 1: not, 2: bad usage.
 *
 *     node browser.mjs --url URL [--seconds 10] [--screenshot out.png]     join time, latency, stalls
 *     node browser.mjs --url URL --joins 20                                join time over 20 fresh pages
 *     node browser.mjs --url URL --clock [--seconds 20]                    glass to glass, of test/clock-source.mjs
 *     node browser.mjs --url URL --outage                                  says "playing" on standard error, waits
 *                                                                          for a lost connection, measures it
 *     node browser.mjs --url URL --expect-error auth|no_stream|no_key_frame|ended
 *                                                                          the page has to say so
 *
 * STREAMS_CHROMIUM names the browser, STREAMS_DEBUG shows the page's console on standard error.
 */
import { parseArgs } from "node:util";
import { launchChromium } from "./support/chromium.mjs";
import { summary } from "./support/percentiles.mjs";
import { describe, measureOutage, openWatchPage, readClocks, waitForState, watchFor } from "./support/watch-page.mjs";

const PLAYING_MS_MAX = 20_000;
const ERROR_MS_MAX = 20_000;
const OUTAGE_MS_MAX = 60_000;
/** A new player settles on its distance from the live edge first. */
const SETTLE_MS = 4000;

async function play(browser, { url, seconds, screenshot, clock, outage }) {
  const { page } = await openWatchPage(browser, url);
  await waitForState(page, "playing", PLAYING_MS_MAX);
  const joinMs = await page.evaluate(() => window.__streams.stats().join_ms);
  if (outage) {
    await page.waitForTimeout(SETTLE_MS);
    console.error("playing");
    const result = await measureOutage(page, OUTAGE_MS_MAX);
    await shoot(page, screenshot);
    return { ok: result !== undefined, join_ms: joinMs, ...result };
  }
  if (clock) {
    await page.waitForTimeout(SETTLE_MS);
    const { ages, unreadable } = await readClocks(page, seconds);
    const stats = await page.evaluate(() => window.__streams.stats());
    await shoot(page, screenshot);
    return {
      ok: ages.length > unreadable,
      glass_to_glass_ms: summary(ages),
      unreadable,
      join_ms: joinMs,
      ...figures(stats),
    };
  }
  const { latencies, watched_s, played_s, stats, state } = await watchFor(page, seconds);
  await shoot(page, screenshot);
  // A live picture keeps up with the clock, whatever it missed on the way.
  const ok = state === "playing" && played_s > watched_s * 0.8;
  return { ok, state, join_ms: joinMs, watched_s, played_s, latency: summary(latencies), ...figures(stats) };
}

function figures({ stalls, jumps, dropped, dropped_frames, buffer_ms, bitrate_bps, rendition, reconnects, target_ms }) {
  return { stalls, jumps, dropped, dropped_frames, buffer_ms, target_ms, bitrate_bps, rendition, reconnects };
}

async function joins(browser, { url, joins: count }) {
  const times = [];
  for (let i = 0; i < count; i += 1) {
    const { page, close } = await openWatchPage(browser, url);
    await waitForState(page, "playing", PLAYING_MS_MAX);
    times.push(await page.evaluate(() => window.__streams.stats().join_ms));
    await close();
  }
  return { ok: true, join_ms: summary(times), times: times.map(Math.round) };
}

async function expectError(browser, { url, screenshot, "expect-error": kind }) {
  const { page } = await openWatchPage(browser, url);
  const seen = await page
    .waitForFunction((wanted) => window.__streams?.error?.kind === wanted, kind, { timeout: ERROR_MS_MAX, polling: 50 })
    .then(
      () => true,
      () => false,
    );
  // The picture fades to the words.
  await page.waitForTimeout(500);
  await shoot(page, screenshot);
  const shown = await describe(page);
  return { ok: seen && shown.noticeVisible, expected: kind, ...shown };
}

async function shoot(page, file) {
  if (file !== undefined) {
    await page.screenshot({ path: file });
  }
}

const { values } = parseArgs({
  options: {
    url: { type: "string" },
    seconds: { type: "string", default: "10" },
    screenshot: { type: "string" },
    joins: { type: "string" },
    clock: { type: "boolean", default: false },
    outage: { type: "boolean", default: false },
    "expect-error": { type: "string" },
  },
});
const options = { ...values, seconds: Number(values.seconds), joins: Number(values.joins ?? 0) };
if (options.url === undefined || !(options.seconds > 0) || Number.isNaN(options.joins)) {
  console.error(
    "usage: node browser.mjs --url URL [--seconds N] [--screenshot FILE] [a mode; see the head of this file]",
  );
  process.exit(2);
}

const browser = await launchChromium();
const mode = options["expect-error"] !== undefined ? expectError : options.joins > 0 ? joins : play;
const result = await mode(browser, options).catch((error) => ({ ok: false, problem: error.message }));
await browser.close();
console.log(JSON.stringify(result));
process.exit(result.ok ? 0 : 1);
