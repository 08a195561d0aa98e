//! Argon2id with the one set of parameters this client knows. Slow on purpose: the page runs it in a worker.

import { argon2id } from "hash-wasm";

import { type Bytes } from "../bytes.ts";

/** Turns (password bytes, 32-byte salt) into 32 bytes of input keying material. */
export type PasswordHash = (password: Bytes, salt: Bytes) => Promise<Bytes>;

/** `kdf` 1: 64 MiB, 3 passes, 1 lane, 32 bytes out. Some 0.3 s on a laptop. */
export const hashKdf1: PasswordHash = async (password, salt) => {
  const hash = await argon2id({
    password,
    salt,
    memorySize: 65536,
    iterations: 3,
    parallelism: 1,
    hashLength: 32,
    outputType: "binary",
  });
  return new Uint8Array(hash);
};
