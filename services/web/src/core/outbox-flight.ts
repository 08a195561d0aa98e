//! What was sent on this connection and is unanswered, and how much of it there may be. Pure.

import { type Bytes } from "./bytes.ts";
import { type OutboxRow } from "./store.ts";
import { SENDS_IN_FLIGHT_MAX } from "../protocol.gen.ts";

export interface InFlight {
  readonly local: string;
  /** What was sent, in short: the item may have been sealed again since, and then this answer is not about it. */
  readonly hash: string;
  /** Something before it was refused, so it will be too, or has been. Only a `sent` still means anything. */
  overtaken: boolean;
}

export class OutboxFlight {
  #sent = new Map<number, InFlight>();
  /** How many envelopes may be unanswered. A refusal for haste makes it 1; each success makes it one larger. */
  #window = SENDS_IN_FLIGHT_MAX;

  /** A new connection: nothing of before will be answered. */
  begin(): void {
    this.#sent.clear();
    this.#window = SENDS_IN_FLIGHT_MAX;
  }

  /** The connection is lost. */
  clear(): void {
    this.#sent.clear();
  }

  /** What was sent as request `id`; `undefined` for ids of before a loss. */
  get(id: number): InFlight | undefined {
    return this.#sent.get(id);
  }

  /** Sends those of `sealed`, in order, that are not on their way, as far as may be; `false` when some must wait. */
  send(sealed: readonly OutboxRow[], transmit: (envelope: Bytes) => number | undefined): boolean {
    const onTheirWay = new Set<string>();
    for (const { local, overtaken } of this.#sent.values()) if (!overtaken) onTheirWay.add(local);
    for (const row of sealed) {
      if (row.sealed === undefined || onTheirWay.has(row.local)) continue;
      if (onTheirWay.size >= this.#window) return false;
      const id = transmit(row.sealed.envelope);
      if (id === undefined) return false;
      this.#sent.set(id, { local: row.local, hash: row.sealed.hash, overtaken: false });
      onTheirWay.add(row.local);
    }
    return true;
  }

  answered(id: number): void {
    this.#sent.delete(id);
  }

  delivered(): void {
    this.#window = Math.min(SENDS_IN_FLIGHT_MAX, this.#window + 1);
  }

  /** Request `id` was refused, and so is what was sent after it. What was sent before it may still be answered. */
  overtake(id: number): void {
    for (const [other, sent] of this.#sent) if (other > id) sent.overtaken = true;
  }

  /** From now one by one. */
  narrow(): void {
    this.#window = 1;
  }

  /** What has these hashes will not be sent again in this form. */
  forget(hashes: ReadonlySet<string>): void {
    for (const [id, { hash }] of this.#sent) if (hashes.has(hash)) this.#sent.delete(id);
  }
}
