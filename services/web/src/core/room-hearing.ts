//! Whether a room's socket delivers what the server says it has.

import { type RoomLog } from "./room-log.ts";

const DEAF_AFTER_MS = 10_000;

export interface HearingWorld {
  readonly log: RoomLog;
  readonly connected: () => boolean;
  /** The socket seems deaf. */
  readonly reconnect: () => void;
  readonly setTimeout: (run: () => void, ms: number) => unknown;
}

export class RoomHearing {
  readonly #world: HearingWorld;
  #checking = false;

  constructor(world: HearingWorld) {
    this.#world = world;
  }

  /** A heartbeat tells of a new head. If it does not arrive within 10 s, this socket does not deliver. */
  head(head: number): void {
    const { log, connected, reconnect, setTimeout } = this.#world;
    log.noteHead(head);
    if (log.caughtUp || this.#checking) return;
    this.#checking = true;
    setTimeout(() => {
      this.#checking = false;
      if (connected() && (log.newest?.seq ?? 0) < head) reconnect();
    }, DEAF_AFTER_MS);
  }
}
