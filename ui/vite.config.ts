import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";
import solid from "vite-plugin-solid";

/** Writes compressed copies beside the assets: the server sends them as they are. */
function compressed(): Plugin {
  let folder = "";
  return {
    name: "compressed",
    apply: "build",
    configResolved: (config) => void (folder = resolve(config.root, config.build.outDir, config.build.assetsDir)),
    closeBundle: () => {
      for (const name of readdirSync(folder)) {
        const content = readFileSync(join(folder, name));
        writeFileSync(join(folder, `${name}.gz`), gzipSync(content, { level: 9 }));
        writeFileSync(join(folder, `${name}.br`), brotliCompressSync(content));
      }
    },
  };
}

/** Vite writes `<base href="/" />`; the server looks for it as HTML writes it. */
const plainBase: Plugin = {
  name: "plain-base",
  transformIndexHtml: { order: "post", handler: (html) => html.replace('<base href="/" />', '<base href="/">') },
};

export default defineConfig({
  // relative to <base>, since the server may answer under any --path-prefix
  base: "./",
  plugins: [solid(), plainBase, compressed()],
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
