import { CELLS, CELL_WIDTH, STRIP_HEIGHT, decodeClock } from "./clock-pattern.mjs";

const STATE_POLL_MS = 20;

/** Opens the watch page at `url`. Its console goes to standard error when STREAMS_DEBUG is set. */
export async function openWatchPage(browser, url) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  const page = await context.newPage();
  page.on("pageerror", (error) => console.error(`page: ${error.message}`));
  if (process.env["STREAMS_DEBUG"]) {
    await page.addInitScript(() => localStorage.setItem("streamsDebug", "1"));
    // The browser itself names the address, token and all, when a connection fails.
    page.on("console", (message) => console.error(`page: ${message.text().replaceAll(/tok=[^\s&]+/g, "tok=…")}`));
  }
  await page.goto(url, { waitUntil: "commit" });
  return { page, close: () => context.close() };
}

/** Waits until the player is in `state`; the error says where it is instead. */
export async function waitForState(page, state, timeoutMs) {
  try {
    await page.waitForFunction((wanted) => window.__streams?.state === wanted, state, {
      timeout: timeoutMs,
      polling: STATE_POLL_MS,
    });
  } catch {
    const seen = await describe(page);
    throw new Error(`not ${state} within ${timeoutMs} ms: ${JSON.stringify(seen)}`);
  }
}

/** What the page shows right now. */
export function describe(page) {
  return page.evaluate(() => ({
    state: window.__streams?.state,
    error: window.__streams?.error,
    notice: ["noticeTitle", "noticeText"]
      .map((ref) => document.querySelector(`[data-ref="${ref}"]`)?.textContent)
      .join(" "),
    noticeVisible: document.querySelector('[data-ref="notice"]')?.hidden === false,
  }));
}

/** A stall has to be over within this time, milliseconds: at the very end of a watch it may just have begun. */
const RECOVER_MS_MAX = 10_000;

/** Lets the page play for `seconds`, and out of a stall; latency samples, and how far the picture got in how long. */
export async function watchFor(page, seconds) {
  const from = await page.evaluate(() => ({ at: performance.now(), time: document.querySelector("video").currentTime }));
  const latencies = await sampleLatency(page, seconds);
  await waitForState(page, "playing", RECOVER_MS_MAX).catch(() => undefined);
  const watched = await page.evaluate(
    ({ at, time }) => ({
      watched_s: (performance.now() - at) / 1000,
      played_s: document.querySelector("video").currentTime - time,
      stats: window.__streams.stats(),
      state: window.__streams.state,
    }),
    from,
  );
  return { latencies, ...watched };
}

function sampleLatency(page, seconds) {
  return page.evaluate(async (duration) => {
    const latencies = [];
    for (const end = performance.now() + duration * 1000; performance.now() < end;) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      const { latency_ms } = window.__streams.stats();
      if (latency_ms !== undefined) {
        latencies.push(latency_ms);
      }
    }
    return latencies;
  }, seconds);
}

/** Reads the clock off every picture for `seconds`: ages in milliseconds when read, and a count of unreadable rows. */
export async function readClocks(page, seconds) {
  const rows = await page.evaluate(readRows, {
    seconds,
    cells: CELLS,
    cellWidth: CELL_WIDTH,
    stripHeight: STRIP_HEIGHT,
  });
  const ages = rows.map(({ at, cells }) => {
    const time = decodeClock(cells, at);
    return time === undefined ? undefined : at - time;
  });
  return { ages: ages.filter((age) => age !== undefined), unreadable: ages.filter((age) => age === undefined).length };
}

/** In the page: one row of cells a picture, with the wall time at which it was read. */
async function readRows({ seconds, cells, cellWidth, stripHeight }) {
  const video = document.querySelector("video");
  const canvas = document.createElement("canvas");
  canvas.width = cells * cellWidth;
  canvas.height = stripHeight;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const rows = [];
  const read = () => {
    context.drawImage(video, 0, 0, canvas.width, canvas.height, 0, 0, canvas.width, canvas.height);
    const at = performance.timeOrigin + performance.now();
    const line = context.getImageData(0, stripHeight / 2, canvas.width, 1).data;
    const luma = Array.from({ length: cells }, (_, i) => line[4 * Math.floor((i + 0.5) * cellWidth) + 1]);
    const threshold = (luma[0] + luma[1]) / 2;
    rows.push({ at, cells: luma.map((value) => (value > threshold ? "1" : "0")).join("") });
  };
  const end = performance.now() + seconds * 1000;
  await new Promise((resolve) => {
    const next = () => {
      read();
      if (performance.now() < end) {
        video.requestVideoFrameCallback(next);
      }
    };
    video.requestVideoFrameCallback(next);
    setTimeout(resolve, seconds * 1000 + 500);
  });
  return rows;
}

/** Waits for the picture to stand still for want of a connection and to move again; milliseconds without motion. */
export function measureOutage(page, timeoutMs) {
  return page.evaluate(async (timeout) => {
    const video = document.querySelector("video");
    const before = window.__streams.stats().reconnects;
    let moved = { at: performance.now(), time: video.currentTime };
    for (const end = performance.now() + timeout; performance.now() < end;) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      const now = performance.now();
      const { reconnects } = window.__streams.stats();
      if (video.currentTime !== moved.time && window.__streams.state === "playing") {
        if (reconnects > before) {
          return { outage_ms: Math.round(now - moved.at), reconnects: reconnects - before };
        }
        moved = { at: now, time: video.currentTime };
      }
    }
    return undefined;
  }, timeoutMs);
}
