//! What an outbox needs of its surroundings, and what it is told.

import { type Bytes } from "./bytes.ts";
import { type OutboxItem } from "./outbox-items.ts";
import { type Store } from "./store.ts";
import { type ErrorCode } from "../protocol.gen.ts";

export interface ToSeal {
  readonly type: number;
  /** The seq of the message it is about; 0 for none. */
  readonly target: number;
  readonly body: string;
  readonly instance: Bytes;
  readonly counter: number;
}

export interface JustSealed {
  readonly envelope: Bytes;
  readonly hash: string;
  readonly epoch: number;
}

/** What a server said about an envelope. */
export type Answer =
  | { readonly ok: true; readonly seq: number }
  | {
      readonly ok: false;
      readonly code: ErrorCode;
      readonly retryAfterMs?: number | undefined;
      readonly expected?: number | undefined;
    };

/** What tabs tell one another. */
export interface OutboxNews {
  readonly room: string;
  /** What has just been acknowledged; else rows have been added or changed. */
  readonly acknowledged?: OutboxItem;
}

export interface OutboxWorld {
  readonly store: Pick<Store, "outbox" | "addToOutbox" | "changeOutbox" | "sealText" | "openText">;
  /** Web Locks, as far as used: holds `name` for this tab until the callback's promise ends. */
  readonly lock: (name: string, signal: AbortSignal, hold: () => Promise<void>) => Promise<unknown>;
  /** Tells the other tabs. They get it by `told`. */
  readonly tell: (news: OutboxNews) => void;
  /**
   * The body of a profile that must be sealed before anything else, as in an epoch in which this device has said nothing
   * yet; `undefined` when there is no need.
   */
  readonly introduction: () => Promise<string | undefined>;
  /** A profile is sealed under this epoch, and stored. */
  readonly introduced: (epoch: number) => void;
  /** Whether that is to be sealed also while nothing else waits. */
  readonly introducesItself: () => boolean;
  /** When the room's slow mode lets the next message be sent; `null` when that is now. */
  readonly messagesFromMs: () => number | null;
  /** Seals under the newest place of the log; `undefined` while the log has not reached its live edge or lacks its key. */
  readonly seal: (draft: ToSeal) => Promise<JustSealed | undefined>;
  /** Sends an envelope; the answer comes by `answered` with the same id. Returns `undefined` when not connected. */
  readonly transmit: (envelope: Bytes) => number | undefined;
  /** An envelope of this device is committed. */
  readonly acknowledged: (seq: number, hash: string) => void;
  /** The items have changed. */
  readonly changed: () => void;
  readonly now: () => number;
  readonly setTimeout: (run: () => void, ms: number) => unknown;
}
