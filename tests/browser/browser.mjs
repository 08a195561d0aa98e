// A real Chromium, one for each test file.

import { execFileSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

let launched = null;

function launch() {
  const found = execFileSync(path.join(root, "tests/setup/chromium"), { encoding: "utf8" }).trim().split("\n");
  return chromium.launch({
    executablePath: found[0],
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      // A name that is not localhost, for what a browser only does there.
      "--host-resolver-rules=MAP snug.localtest 127.0.0.1",
    ],
  });
}

/** The one Chromium of a test file, also for several who ask at one time: one that nobody closed would keep the file from ending. */
export function theBrowser() {
  launched ??= launch();
  return launched;
}

export async function closeBrowser() {
  await (await launched)?.close();
  launched = null;
}
