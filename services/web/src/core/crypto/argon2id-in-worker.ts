//! Argon2id off the page's thread, so that the page answers while a password is being hashed.

import workerUrl from "./argon2id-worker.ts?worker&url";

import { type Bytes } from "../bytes.ts";
import { scriptUrl } from "../trusted-url.ts";
import { type PasswordHash } from "./argon2id.ts";

/** Longest wait for one hash; slow phones take several seconds. */
const HASH_LIMIT_MS = 60_000;

/**
 * Hashes in a worker made for this one hash, so that its 64 MiB are given back at once.
 * Rejects when the worker cannot start, runs out of memory or takes longer than a minute.
 */
export const hashInWorker: PasswordHash = (password, salt) =>
  new Promise<Bytes>((resolve, reject) => {
    const worker = new Worker(scriptUrl(workerUrl), { type: "module" });
    const end = (finish: () => void) => {
      clearTimeout(timer);
      worker.terminate();
      finish();
    };
    const fail = () => end(() => reject(new Error("the password could not be hashed")));
    const timer = setTimeout(fail, HASH_LIMIT_MS);
    worker.onerror = fail;
    worker.onmessage = (event: MessageEvent<{ hash?: Bytes }>) => {
      const { hash } = event.data;
      if (hash === undefined) fail();
      else end(() => resolve(hash));
    };
    worker.postMessage({ password, salt });
  });
