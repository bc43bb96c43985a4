import { defineConfig } from "vite";

// The pages are served at /watch/<id> and /go-live/<id>, their assets at /assets/…: one level up, wherever the whole is mounted.
export default defineConfig({
  build: {
    outDir: "dist",
    target: "es2022",
    modulePreload: false,
    // Nothing becomes a data: address, so that a strict content security policy needs no exception.
    assetsInlineLimit: 0,
    rolldownOptions: { input: ["watch.html", "go-live.html"] },
  },
  experimental: {
    renderBuiltUrl: (filename, { hostType }) => (hostType === "html" ? `../${filename}` : { relative: true }),
  },
});
