/** Whether `localStorage.streamsDebug` is set: the viewer then tells on the console what it does. */
function enabled(): boolean {
  try {
    return typeof localStorage !== "undefined" && Boolean(localStorage.getItem("streamsDebug"));
  } catch {
    return false;
  }
}

const ENABLED = enabled();

/** A line on the console, with milliseconds since the page's start. Never hand it a URL: it holds the token. */
export function debug(what: string, ...details: unknown[]): void {
  if (ENABLED) {
    console.debug(`[streams ${performance.now().toFixed(0)}] ${what}`, ...details);
  }
}
