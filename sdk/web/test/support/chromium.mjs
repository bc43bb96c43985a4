import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const CANDIDATES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** Flags for a machine without a display, a user or a way out: nothing is looked up that the page did not ask for. */
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
];

/**
 * Starts a headless Chromium: `STREAMS_CHROMIUM`, or the first one found in the usual places. `more` are flags of its own; who
 * has something to do when it is interrupted says so.
 */
export async function launchChromium(more = [], handleSIGINT = true) {
  const executablePath = process.env["STREAMS_CHROMIUM"] ?? CANDIDATES.find((path) => existsSync(path));
  if (executablePath === undefined) {
    throw new Error(`no Chromium in ${CANDIDATES.join(", ")}; install it, or name one in STREAMS_CHROMIUM`);
  }
  return chromium.launch({ executablePath, headless: true, args: [...FLAGS, ...more], handleSIGINT });
}
