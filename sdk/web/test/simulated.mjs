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
  const h264 = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "baseline", "-pix_fmt", "yuv420p"];
  const gop = ["-g", "60", "-keyint_min", "60", "-sc_threshold", "0"];
  run("-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30", "-t", "60", ...h264, ...gop, ...FRAGMENTS, path.join(folder, "video.mp4"));
  run("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "60", "-c:a", "aac", ...FRAGMENTS, path.join(folder, "audio.mp4"));
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

const CASES = {
  "video only": { headStartS: 3.5, withAudio: false, jitterMs: 0 },
  "with audio": { headStartS: 3.5, withAudio: true, jitterMs: 0 },
  "with audio over an uneven path": { headStartS: 5.9, withAudio: true, jitterMs: 40 },
};

const film = mkdtempSync(path.join(tmpdir(), "streams-film-"));
const browser = await launchChromium();
const server = await serveSources({ "/film": film });
const only = process.argv[2];
try {
  makeFilm(film);
  for (const [name, options] of Object.entries(CASES).filter(([name]) => only === undefined || name === only)) {
    const page = await openBarePage(browser, server.url);
    await page.evaluate(async (given) => {
      const { simulate } = await import("/test/pages/simulated.ts");
      window.simulation = await simulate(given);
    }, options);
    const result = await measure(page, 8);
    console.log(JSON.stringify({ case: name, ...result }));
    assert.ok(result.join_ms < 1000, `${name}: first picture after ${result.join_ms} ms`);
    assert.ok(result.stalls <= 1, `${name}: ${result.stalls} stalls`);
    assert.ok(result.latency_p50 < 400, `${name}: latency ${result.latency_p50} ms`);
    await page.screenshot({ path: path.join(film, "last.png") });
    await page.close();
  }
} finally {
  await browser.close();
  await server.close();
  rmSync(film, { recursive: true });
}
