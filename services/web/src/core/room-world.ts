//! What a room needs of the session it belongs to.

import { type Api } from "./api.ts";
import { type Bytes } from "./bytes.ts";
import { type OutboxNews } from "./outbox-world.ts";
import { type Store } from "./store.ts";

export interface RoomWorld {
  readonly api: Api;
  readonly store: Store;
  /** Sends an envelope and answers with the request's id; `undefined` when not connected. */
  readonly transmit: (envelope: Bytes) => number | undefined;
  readonly sendTyping: () => void;
  /** Follows this room anew on the present connection, if it is among those to be followed. */
  readonly refollow: () => void;
  /** Begins anew with what is remembered of this room: a key has come too late for what was read without it. */
  readonly reload: () => void;
  /** The socket seems deaf. */
  readonly reconnect: () => void;
  readonly lock: (name: string, signal: AbortSignal, hold: () => Promise<void>) => Promise<unknown>;
  readonly tell: (news: OutboxNews) => void;
  /** Something that is shown has changed. */
  readonly changed: () => void;
  readonly now: () => number;
  readonly setTimeout: (run: () => void, ms: number) => unknown;
}
