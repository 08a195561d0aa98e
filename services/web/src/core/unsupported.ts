//! Whether this browser can do what encryption needs, and what to tell its owner when it cannot.

import type { Boot, MissingFeature } from "../view.ts";

/** The first versions that have everything, for the page to show. */
export const SUPPORTED_BROWSERS = "Chrome or Edge 137, Firefox 130, Safari 17";

interface Feature extends MissingFeature {
  readonly present: () => boolean | Promise<unknown>;
}

const FEATURES: readonly Feature[] = [
  {
    name: "WebAssembly",
    since: "Chrome 57, Edge 16, Firefox 52, Safari 11",
    present: () => typeof WebAssembly === "object",
  },
  {
    name: "Web Locks",
    since: "Chrome 69, Edge 79, Firefox 96, Safari 15.4",
    present: () => "locks" in navigator,
  },
  {
    name: "BroadcastChannel",
    since: "Chrome 54, Edge 79, Firefox 38, Safari 15.4",
    present: () => typeof BroadcastChannel === "function",
  },
  // The curves are tried, since only that tells.
  {
    name: "Ed25519",
    since: "Chrome or Edge 137, Firefox 129, Safari 17",
    present: () => crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]),
  },
  {
    name: "X25519",
    since: "Chrome or Edge 133, Firefox 130, Safari 17",
    present: () => crypto.subtle.generateKey("X25519", false, ["deriveBits"]),
  },
];

/** Why this browser cannot run the client; `undefined` when it can. */
export async function unsupported(): Promise<Boot | undefined> {
  if (!globalThis.isSecureContext) return { state: "needs_https" };
  const found = await Promise.all(FEATURES.map(async (feature) => ({ ...feature, here: await isPresent(feature) })));
  const missing = found.filter(({ here }) => !here).map(({ name, since }) => ({ name, since }));
  if (missing.length > 0) return { state: "unsupported_browser", missing };
  return typeof indexedDB === "undefined" ? { state: "storage_unavailable" } : undefined;
}

async function isPresent({ present }: Feature): Promise<boolean> {
  try {
    return (await present()) !== false;
  } catch {
    return false;
  }
}
