import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { unsupported } from "./unsupported.ts";

beforeEach(() => {
  vi.stubGlobal("isSecureContext", true);
  vi.stubGlobal("navigator", { locks: {} });
  vi.stubGlobal("indexedDB", {});
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

async function missingNames() {
  const why = await unsupported();
  return why?.state === "unsupported_browser" ? why.missing.map(({ name }) => name) : why;
}

test("a browser that has everything is taken", async () => {
  expect(await unsupported()).toBeUndefined();
});

test("a missing curve is named, with the versions that have it", async () => {
  const generateKey = crypto.subtle.generateKey.bind(crypto.subtle);
  const lacking = (algorithm: unknown, ...rest: unknown[]) =>
    algorithm === "X25519"
      ? Promise.reject(new DOMException("not here", "NotSupportedError"))
      : (generateKey as (...all: unknown[]) => Promise<CryptoKey>)(algorithm, ...rest);
  vi.spyOn(crypto.subtle, "generateKey").mockImplementation(lacking as typeof generateKey);
  expect(await unsupported()).toEqual({
    state: "unsupported_browser",
    missing: [{ name: "X25519", since: "Chrome or Edge 133, Firefox 130, Safari 17" }],
  });
});

test("all that is missing is named, not the first alone", async () => {
  vi.stubGlobal("navigator", {});
  vi.stubGlobal("BroadcastChannel", undefined);
  vi.stubGlobal("crypto", {});
  expect(await missingNames()).toEqual(["Web Locks", "BroadcastChannel", "Ed25519", "X25519"]);
});

test("plain http and a refused storage are told apart from an old browser", async () => {
  vi.stubGlobal("indexedDB", undefined);
  expect(await unsupported()).toEqual({ state: "storage_unavailable" });
  vi.stubGlobal("isSecureContext", false);
  expect(await unsupported()).toEqual({ state: "needs_https" });
});
