//! The worker's side: one message {password, salt} in, one {hash} or {failed} out.

import { type Bytes } from "../bytes.ts";
import { hashKdf1 } from "./argon2id.ts";

self.onmessage = async (event: MessageEvent<{ password: Bytes; salt: Bytes }>) => {
  try {
    self.postMessage({ hash: await hashKdf1(event.data.password, event.data.salt) });
  } catch {
    self.postMessage({ failed: true });
  }
};
