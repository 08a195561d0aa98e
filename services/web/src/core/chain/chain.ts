//! The fold of a room's chain: who governs and what holds, from signed entries alone. Pure: no clock, no I/O.

import { type Role } from "../../protocol.gen.ts";
import { type ChainBody } from "../bodies.ts";
import { type EpochRecord } from "./record.ts";
import { afterCause, afterStep, couldState, may, roleIn, type Action, type Refusal } from "./rules.ts";
import { foundingState, sameState, type Admin, type RoomState } from "./state.ts";

/** A record or step that opened and whose signature verified. Hashes and ids are base64url. */
export interface ChainEntry {
  readonly seq: number;
  /** Of its envelope. */
  readonly hash: string;
  /** Who signed it. */
  readonly device: string;
  readonly epoch: number;
  readonly counter: number;
  readonly targetSeq: number;
  readonly sentAtMs: number;
  readonly body: ChainBody;
}

/** A chain entry without its place: what a record is before one knows where the server put it. */
export type Placeless = Omit<ChainEntry, "seq">;

/**
 * Why an entry changes nothing. `link`: it does not follow the newest chain entry, so one was withheld or it was forged;
 * `authority`: its signer may not do this; `bounds`: beyond a limit; `state`: its state is not what folding gives.
 */
export type ChainFault = "link" | "state" | Refusal;

export type Outcome =
  { readonly kind: "applied"; readonly state: RoomState } | { readonly kind: "fault"; readonly fault: ChainFault };

/** The first record of a fold is not one to begin with. */
export class ChainRefused extends Error {
  constructor(readonly fault: ChainFault) {
    super(`the chain cannot begin here: ${fault}`);
  }
}

/** Changes of who governs that are remembered; what lies further back is answered as unknown. */
const ADMIN_CHANGES_MAX = 1_000;

/** From the place `seq` on (exclusive of `seq` itself), these govern. */
interface Reign {
  readonly seq: number;
  readonly admins: readonly Admin[];
}

export class Chain {
  #state: RoomState;
  #epoch: number;
  #newest: { readonly seq: number; readonly hash: string };
  #reigns: Reign[];

  private constructor(entry: ChainEntry, record: EpochRecord) {
    this.#state = record.state;
    this.#epoch = record.epoch;
    this.#newest = { seq: entry.seq, hash: entry.hash };
    this.#reigns = [{ seq: entry.seq, admins: record.state.admins }];
  }

  /** Begins with the room's first entry. Throws `ChainRefused`. */
  static found(entry: ChainEntry): Chain {
    const record = recordOf(entry);
    if (record.epoch !== 0 || entry.seq !== 1) throw new ChainRefused("link");
    return Chain.adopt(entry);
  }

  /**
   * Begins with a record that is trusted by itself: its hash came with a grant, or it is pinned. What came before it is
   * not known. Throws `ChainRefused`.
   */
  static adopt(entry: ChainEntry): Chain {
    const record = recordOf(entry);
    const first = record.epoch === 0;
    if (entry.counter !== 0 || entry.epoch !== record.epoch || (entry.targetSeq === 0) !== first) {
      throw new ChainRefused("link");
    }
    if (entry.targetSeq >= entry.seq) throw new ChainRefused("link");
    if (!couldState(record.state, entry.device, record.cause, entry.sentAtMs)) throw new ChainRefused("authority");
    if (first && !isFounding(record.state, entry.device)) throw new ChainRefused("state");
    return new Chain(entry, record);
  }

  /** What holds after the newest chain entry. */
  get state(): RoomState {
    return this.#state;
  }

  /** The epoch that is sealed under now. */
  get epoch(): number {
    return this.#epoch;
  }

  /** The newest chain entry: what the next one names as its target and `previous`. */
  get newest(): { readonly seq: number; readonly hash: string } {
    return this.#newest;
  }

  /** Applies the next chain entry. Entries come in order of seq, each once. A fault changes nothing. */
  apply(entry: ChainEntry): Outcome {
    const { body } = entry;
    const record = body.kind === "epoch_record" ? body.record : undefined;
    const epoch = record === undefined ? this.#epoch : this.#epoch + 1;
    const previous = body.kind === "epoch_record" ? body.record.previous : body.previous;
    const linked =
      entry.seq > this.#newest.seq &&
      entry.targetSeq === this.#newest.seq &&
      previous === this.#newest.hash &&
      entry.counter === 0 &&
      entry.epoch === epoch &&
      (record === undefined || record.epoch === epoch);
    if (!linked) return { kind: "fault", fault: "link" };
    const next =
      body.kind === "epoch_record"
        ? afterCause(this.#state, entry.device, body.record.cause, epoch, entry.sentAtMs)
        : afterStep(this.#state, entry.device, body.step);
    if (typeof next === "string") return { kind: "fault", fault: next };
    if (record !== undefined && !sameState(record.state, next)) return { kind: "fault", fault: "state" };
    if (next.admins !== this.#state.admins) {
      this.#reigns.push({ seq: entry.seq, admins: next.admins });
      if (this.#reigns.length > ADMIN_CHANGES_MAX) this.#reigns.shift();
    }
    this.#state = next;
    this.#epoch = epoch;
    this.#newest = { seq: entry.seq, hash: entry.hash };
    return { kind: "applied", state: next };
  }

  /** What governed at the place `seq`: after all chain entries before it. `undefined` before what is known. */
  #adminsAt(seq: number): readonly Admin[] | undefined {
    return this.#reigns.findLast((reign) => reign.seq < seq)?.admins;
  }

  /** The role of `device` at the place `seq`; `undefined` when that lies before what is known. */
  roleAt(device: string, seq: number): Role | undefined {
    const admins = this.#adminsAt(seq);
    return admins && roleIn({ admins }, device);
  }

  /** The role of `device` now. */
  role(device: string): Role {
    return roleIn(this.#state, device);
  }

  /** Whether `device` may do this now, to `on` where it is done to a device. See `may` in rules.ts. */
  may(device: string, action: Action, on?: string): boolean {
    return may(this.#state, device, action, on);
  }

  /** Whether a deletion by `device` at the place `seq` of a message by `author` counts; an author's own always does. */
  deletionCounts(device: string, author: string, seq: number): boolean {
    if (device === author) return true;
    const admins = this.#adminsAt(seq);
    return admins !== undefined && may({ admins }, device, "delete", author);
  }
}

function recordOf(entry: ChainEntry): EpochRecord {
  if (entry.body.kind !== "epoch_record") throw new ChainRefused("link");
  return entry.body.record;
}

/** Whether this is how a room begins: its creator and a recovery device govern, nothing is restricted. */
function isFounding(state: RoomState, creator: string): boolean {
  const own = state.admins.find(({ device }) => device === creator);
  const recovery = state.admins.find((admin) => admin.recovery);
  return own !== undefined && recovery !== undefined && sameState(state, foundingState(own, recovery));
}
