import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

/** The node that `npm run dev` talks to. It must be told SNUG_PUBLIC_URL=http://localhost:5173, since it checks Host and Origin. */
const node = "http://127.0.0.1:8080";

export default defineConfig({
  base: "/",
  plugins: [svelte()],
  // Lets unit tests mount components: packages resolve to their browser builds rather than to server rendering.
  ...(process.env["VITEST"] ? { resolve: { conditions: ["browser"] } } : {}),
  worker: { format: "es" },
  build: {
    outDir: "dist",
    assetsDir: "assets",
    target: "es2022",
    // Data URLs in scripts and styles would need more than 'self' in the content security policy.
    assetsInlineLimit: 0,
    // The polyfill is for browsers that lack what encryption needs anyway.
    modulePreload: { polyfill: false },
  },
  server: {
    port: 5173,
    strictPort: true,
    proxy: { "/api": { target: node }, "/ws": { target: node, ws: true } },
  },
  test: {
    include: ["src/**/*.test.ts"],
    environment: "node",
    // Cryptography and generated text take seconds on a busy machine; a test that hangs still ends.
    testTimeout: 30_000,
  },
});
