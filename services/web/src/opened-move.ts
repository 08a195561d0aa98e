//! The move link that the page was opened with.

import { parseMove } from "./core/crypto/move.ts";
import { type Bytes } from "./core/bytes.ts";

const MOVE_MARK = "#move=";

/**
 * Takes the secret of a move out of the address, now and whenever one comes into it, and hands it on; `undefined` for one that was
 * damaged.
 */
export function takeMoves(opened: (secret: Bytes | undefined) => void): void {
  const take = () => {
    if (!location.hash.startsWith(MOVE_MARK)) return;
    const secret = parseMove(location.hash);
    history.replaceState(history.state, "", location.pathname + location.search);
    opened(secret);
  };
  take();
  window.addEventListener("hashchange", take);
}
