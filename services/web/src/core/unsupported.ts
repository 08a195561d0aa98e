//! Whether this browser can do what encryption needs, and what to tell its owner when it cannot.

/** `https_needed`: the page came over plain http. The others name what is missing. */
export type UnsupportedReason = "https_needed" | "browser_too_old" | "storage_unavailable";

/** The first versions that have everything, for the page to show. */
export const SUPPORTED_BROWSERS = "Chrome or Edge 137, Firefox 130, Safari 17";

/** Why this browser cannot run the client; `undefined` when it can. Tries the curves, since only that tells. */
export async function unsupportedReason(): Promise<UnsupportedReason | undefined> {
  if (!globalThis.isSecureContext) return "https_needed";
  const present =
    typeof crypto !== "undefined" &&
    "subtle" in crypto &&
    "locks" in navigator &&
    typeof WebAssembly === "object" &&
    typeof BroadcastChannel === "function";
  if (!present) return "browser_too_old";
  try {
    await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    await crypto.subtle.generateKey("X25519", false, ["deriveBits"]);
  } catch {
    return "browser_too_old";
  }
  return typeof indexedDB === "undefined" ? "storage_unavailable" : undefined;
}
