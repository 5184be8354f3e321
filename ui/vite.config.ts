import { defineConfig } from "vite";
import solid from "vite-plugin-solid";

export default defineConfig({
  // The server may answer under any --path-prefix, so the page refers to its assets relatively.
  base: "./",
  plugins: [solid()],
  build: {
    target: "es2022",
    // One script and one style sheet: the whole screen is smaller than a second round trip is worth.
    cssCodeSplit: false,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: {
      "/api": process.env["DECIMA_URL"] ?? "http://127.0.0.1:7070",
    },
  },
});
