/**
 * The whole player in a real Chromium against a relay and a broadcaster simulated in the page: no server, no network.
 * Prints one JSON line a case; exit code 1 when one misses what it must reach.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { launchChromium } from "./support/chromium.mjs";
import { openBarePage, serveSources } from "./support/dev-server.mjs";

const FRAGMENTS = ["-f", "mp4", "-movflags", "empty_moov+default_base_moof+frag_every_frame"];

function makeFilm(folder) {
  const run = (...args) => execFileSync("ffmpeg", ["-y", "-v", "error", ...args]);
  const h264 = [
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-tune",
    "zerolatency",
    "-profile:v",
    "baseline",
    "-pix_fmt",
    "yuv420p",
  ];
  const gop = ["-g", "60", "-keyint_min", "60", "-sc_threshold", "0"];
  run(
    "-f",
    "lavfi",
    "-i",
    "testsrc2=size=640x360:rate=30",
    "-t",
    "60",
    ...h264,
    ...gop,
    ...FRAGMENTS,
    path.join(folder, "video.mp4"),
  );
  run(
    "-f",
    "lavfi",
    "-i",
    "sine=frequency=440:sample_rate=48000",
    "-t",
    "60",
    "-c:a",
    "aac",
    ...FRAGMENTS,
    path.join(folder, "audio.mp4"),
  );
}

async function measure(page, seconds) {
  await page.waitForFunction(() => window.__streams?.state === "playing", undefined, { timeout: 10_000, polling: 20 });
  const latencies = [];
  for (let i = 0; i < seconds * 4; i += 1) {
    await page.waitForTimeout(250);
    latencies.push(await page.evaluate(() => window.__streams.stats().latency_ms));
  }
  const stats = await page.evaluate(() => window.__streams.stats());
  const settled = latencies.slice(latencies.length / 2).sort((a, b) => a - b);
  return { ...stats, latency_p50: settled[Math.floor(settled.length / 2)], latency_max: settled.at(-1) };
}

/** Plays steadily, close to the live edge. */
async function steady(page) {
  const result = await measure(page, 8);
  assert.ok(result.join_ms < 1000, `first picture after ${result.join_ms} ms`);
  assert.ok(result.stalls <= 1, `${result.stalls} stalls`);
  assert.ok(result.latency_p50 < 400, `latency ${result.latency_p50} ms`);
  return result;
}

const until = (page, state, timeout) =>
  page.waitForFunction((wanted) => window.__streams?.state === wanted, state, { timeout, polling: 10 });

async function progress(page) {
  const before = await page.evaluate(() => document.querySelector("video").currentTime);
  await page.waitForTimeout(1000);
  const after = await page.evaluate(() => document.querySelector("video").currentTime);
  assert.ok(after - before > 0.7, `played ${after - before} s in one second`);
}

/** The connection is lost, and the player comes back. */
async function crash(page) {
  await until(page, "playing", 10_000);
  await page.waitForTimeout(1000);
  await page.evaluate(() => window.simulation.relay.crash());
  const begin = Date.now();
  await until(page, "reconnecting", 1000);
  await until(page, "playing", 5000);
  const outage_ms = Date.now() - begin;
  await progress(page);
  return { outage_ms, ...(await page.evaluate(() => window.__streams.stats())) };
}

/** A group is cut: the picture goes on with the next one, in the same session. */
async function cutGroup(page) {
  await until(page, "playing", 10_000);
  await page.evaluate(() => void (window.simulation.broadcaster.lostChunk = 20));
  await page.waitForTimeout(6000);
  await progress(page);
  const stats = await page.evaluate(() => window.__streams.stats());
  assert.equal(stats.dropped, 1);
  assert.equal(stats.reconnects, 0);
  return stats;
}

/** The broadcaster is silent for a while; the viewers stay. */
async function silence(page) {
  await until(page, "playing", 10_000);
  await page.waitForTimeout(500);
  await page.evaluate(() => void (window.simulation.broadcaster.silent = true));
  await until(page, "stalled", 3000);
  await page.waitForTimeout(4000);
  await page.evaluate(() => void (window.simulation.broadcaster.silent = false));
  await until(page, "playing", 3000);
  await page.waitForTimeout(1000);
  await progress(page);
  const stats = await page.evaluate(() => window.__streams.stats());
  assert.equal(stats.reconnects, 0);
  return stats;
}

/** The page waits for the broadcast, and starts by itself. */
async function lateStart(page) {
  await until(page, "waiting", 5000);
  await page.evaluate(() => window.simulation.goOnAir());
  await until(page, "playing", 5000);
  await progress(page);
  return page.evaluate(() => window.__streams.stats());
}

/** The broadcast ends: what is buffered is played, then the page says so. */
async function end(page) {
  await until(page, "playing", 10_000);
  await page.evaluate(() => {
    window.simulation.broadcaster.silent = true;
    window.simulation.relay.tracks.forEach((track) => track.done(2, ""));
  });
  await until(page, "ended", 4000);
  return page.evaluate(() => ({ error: window.__streams.error }));
}

/** Pictures come, and none can be started with: the page says so, and starts with the next group. */
async function keyLost(page) {
  await until(page, "no_key_frame", 5000);
  const notice = await page.evaluate(() => document.querySelector('[data-ref="noticeTitle"]').textContent);
  assert.equal(notice, "Waiting for a key frame");
  await until(page, "playing", 5000);
  await progress(page);
  const stats = await page.evaluate(() => window.__streams.stats());
  assert.equal(stats.reconnects, 0);
  return stats;
}

/** The joining fetch brings many seconds: playing begins at the live edge all the same. */
async function longGroup(page) {
  await until(page, "playing", 10_000);
  const first = await page.evaluate(() => window.__streams.stats());
  assert.ok(first.join_ms < 3000, `first picture after ${first.join_ms} ms`);
  assert.ok(first.latency_ms < 800, `${first.latency_ms} ms behind at the first picture`);
  await progress(page);
  return { first_latency_ms: first.latency_ms, ...(await page.evaluate(() => window.__streams.stats())) };
}

const CASES = {
  "video only": [{ headStartS: 3.5, withAudio: false, jitterMs: 0 }, steady],
  "with audio": [{ headStartS: 3.5, withAudio: true, jitterMs: 0 }, steady],
  "with audio over an uneven path": [{ headStartS: 5.9, withAudio: true, jitterMs: 40 }, steady],
  "a connection that is lost": [{ headStartS: 3, withAudio: true, jitterMs: 0 }, crash],
  "a group that is cut": [{ headStartS: 3, withAudio: true, jitterMs: 0 }, cutGroup],
  "a broadcaster that falls silent": [{ headStartS: 3, withAudio: true, jitterMs: 0 }, silence],
  "a broadcast that begins later": [{ headStartS: 0, withAudio: true, jitterMs: 0, offAir: true }, lateStart],
  "a group that nobody can start with": [{ headStartS: 0.3, withAudio: true, jitterMs: 0, keyLost: true }, keyLost],
  "a join 16 s into a long group": [{ headStartS: 16, withAudio: true, jitterMs: 0, oneGroup: true }, longGroup],
  "a broadcast that ends": [{ headStartS: 3, withAudio: true, jitterMs: 0 }, end],
};

async function run(browser, base, name, [options, check]) {
  const page = await openBarePage(browser, base);
  try {
    await page.evaluate(async (given) => {
      const { simulate } = await import("/test/pages/simulated.ts");
      window.simulation = await simulate(given);
    }, options);
    console.log(JSON.stringify({ case: name, ok: true, ...(await check(page)) }));
    return true;
  } catch (error) {
    const seen = await page.evaluate(() => ({ state: window.__streams?.state, error: window.__streams?.error }));
    console.log(JSON.stringify({ case: name, ok: false, problem: error.message, ...seen }));
    return false;
  } finally {
    await page.close();
  }
}

const film = mkdtempSync(path.join(tmpdir(), "streams-film-"));
const browser = await launchChromium();
const server = await serveSources({ "/film": film });
const only = process.argv[2];
let ok = true;
try {
  makeFilm(film);
  for (const [name, wanted] of Object.entries(CASES)) {
    if (only === undefined || name.includes(only)) {
      ok = (await run(browser, server.url, name, wanted)) && ok;
    }
  }
} finally {
  await browser.close();
  await server.close();
  rmSync(film, { recursive: true });
}
process.exit(ok ? 0 : 1);
