import { createReadStream } from "node:fs";
import { fileURLToPath } from "node:url";
import path from "node:path";
import { createServer } from "vite";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Serves the sources of page and tests, and the files of `folders` (URL prefix -> folder), on a free loopback port. */
export async function serveSources(folders = {}) {
  const files = {
    name: "test-files",
    configureServer(server) {
      for (const [prefix, folder] of Object.entries(folders)) {
        server.middlewares.use(prefix, (request, response) => {
          const name = path.basename(new URL(request.url ?? "/", "http://localhost").pathname);
          createReadStream(path.join(folder, name))
            .on("error", () => response.writeHead(404).end())
            .pipe(response);
        });
      }
    },
  };
  const server = await createServer({
    root: ROOT,
    logLevel: "error",
    plugins: [files],
    server: { host: "127.0.0.1", port: 0, hmr: false, watch: null },
  });
  await server.listen();
  const address = server.httpServer?.address();
  return { url: `http://127.0.0.1:${address.port}`, close: () => server.close() };
}

/** Opens the player page without its own start, so that a test can drive the parts itself. */
export async function openBarePage(browser, base, viewport = { width: 1280, height: 860 }) {
  const page = await browser.newPage({ viewport });
  page.on("pageerror", (error) => console.error(`page: ${error.stack ?? error}`));
  if (process.env["STREAMS_DEBUG"]) {
    await page.addInitScript(() => localStorage.setItem("streamsDebug", "1"));
    page.on("console", (message) => console.error(`page: ${message.text()}`));
  }
  await page.route("**/src/player/main.ts*", (route) => route.fulfill({ contentType: "text/javascript", body: "" }));
  await page.goto(`${base}/watch.html`);
  return page;
}
