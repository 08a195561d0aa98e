//! The fold of a room's chain: who governs and what holds, from signed entries alone. Pure: no clock, no I/O.

import { type Role } from "../../protocol.gen.ts";
import { type Body } from "../bodies.ts";
import { EntryType, type Header } from "../crypto/envelope.ts";
import { type Cause, type EpochRecord } from "./record.ts";
import { Reigns } from "./reigns.ts";
import { afterCause, afterStep, couldState, may, roleIn, type Action, type Refusal } from "./rules.ts";
import { foundingState, sameState, type DeviceKeys, type RoomState } from "./state.ts";
import { type Step } from "./step.ts";

/** An entry of the chain as it was opened. An entry of the log whose header is known is one. Hashes are base64url. */
export interface ChainEntry {
  readonly seq: number;
  /** Of its envelope. */
  readonly hash: string;
  /** Authenticated only where the entry opened. */
  readonly header: Readonly<Omit<Header, "room" | "instance">>;
  /** Of an entry that opened. */
  readonly sentAtMs?: number;
  /** What its signer had seen; of an entry that opened. A record by itself was looked at before (`openRecord`). */
  readonly prev?: ChainPlace;
  /** `unreadable` is what never will be read: a record whose key is still being fetched must wait. */
  readonly content: Body | { readonly kind: "unreadable" | "erased" };
}

/** Place and envelope hash of a chain entry, which the next one names. */
export interface ChainPlace {
  readonly seq: number;
  readonly hash: string;
}

/**
 * Why an entry changes nothing; each is a violation (`authority`). `unlinked`: it does not name the newest chain entry by
 * place and hash; `epoch`: its epoch is not the one that comes next; `state`: its state is not what folding gives.
 */
export type ChainFault = "unlinked" | "unreadable" | "epoch" | "state" | Refusal;

export type Outcome =
  { readonly kind: "applied"; readonly state: RoomState } | { readonly kind: "fault"; readonly fault: ChainFault };

/** A fold cannot begin with this record. */
export class ChainRefused extends Error {
  readonly fault: ChainFault;

  constructor(fault: ChainFault) {
    super(`the chain cannot begin here: ${fault}`);
    this.fault = fault;
  }
}

export class Chain {
  #base: ChainEntry;
  #newest: ChainPlace;
  /** The newest accepted record's. */
  #epoch: number;
  #record: string;
  /** The epoch of the newest record that took its place, accepted or not. */
  #claimed: number;
  #state: RoomState;
  #reigns: Reigns;

  private constructor(entry: ChainEntry, record: EpochRecord) {
    this.#base = entry;
    this.#newest = { seq: entry.seq, hash: entry.hash };
    this.#epoch = record.epoch;
    this.#record = entry.hash;
    this.#claimed = record.epoch;
    this.#state = record.state;
    this.#reigns = new Reigns(entry.seq, record.state.admins);
  }

  /** Begins with the room's first entry. Throws `ChainRefused`. */
  static found(entry: ChainEntry): Chain {
    if (entry.seq !== 1 || entry.header.epoch !== 0) throw new ChainRefused("unlinked");
    return Chain.adopt(entry);
  }

  /**
   * Begins with a record that is trusted for another reason: a grant names its hash, or it is pinned. What came before it
   * is not known until it is prepended. Throws `ChainRefused`.
   */
  static adopt(entry: ChainEntry): Chain {
    const { content, header, seq, sentAtMs } = entry;
    if (content.kind === "unreadable") throw new ChainRefused("unreadable");
    if (content.kind !== "epoch_record" || sentAtMs === undefined) throw new ChainRefused("unlinked");
    const { record } = content;
    const first = record.epoch === 0;
    if (header.epoch !== record.epoch || first !== (seq === 1)) throw new ChainRefused("epoch");
    if (first !== (header.targetSeq === 0) || header.targetSeq >= seq) throw new ChainRefused("unlinked");
    if (!hasSeen(entry, first)) throw new ChainRefused("unlinked");
    if (header.counter !== 0) throw new ChainRefused("out_of_bounds");
    const refusal = couldState(record.state, header.device, record.cause, sentAtMs, record.recovery);
    if (refusal !== undefined) throw new ChainRefused(refusal);
    if (first && !isFounding(record.state)) throw new ChainRefused("state");
    return new Chain(entry, record);
  }

  /** What holds after the newest chain entry. */
  get state(): RoomState {
    return this.#state;
  }

  /** The newest chain entry: what the next one names as its target and `previous`. */
  get newest(): ChainPlace {
    return this.#newest;
  }

  /** The epoch that is sealed under now, with the hash of its record: what is pinned. */
  get pin(): { readonly epoch: number; readonly hash: string } {
    return { epoch: this.#epoch, hash: this.#record };
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** The epoch that the next record begins: more than one beyond `epoch` where a record was refused. */
  get nextEpoch(): number {
    return this.#claimed + 1;
  }

  /** Whether the newest record was refused, or could not be opened: an owner closes the history, or nothing goes on. */
  get isStalled(): boolean {
    return this.#claimed !== this.#epoch;
  }

  /** Where the chain begins here; older entries can be prepended while this is not 1. */
  get beginsAt(): number {
    return this.#base.seq;
  }

  /**
   * Folds the next chain entry; they come in order of seq, each once (a known one is `unlinked` and changes nothing).
   *
   * One whose target is the newest takes its place whatever else is wrong with it: the server, which cannot read it, asks
   * the next one to name it, and one bad entry must not end a room's administration. The state a fault leaves as it was.
   */
  apply(entry: ChainEntry): Outcome {
    const { header } = entry;
    const before = this.#newest;
    const isRecord = header.type === EntryType.epochRecord;
    const isChain = isRecord || header.type === EntryType.step;
    if (!isChain || header.targetSeq !== before.seq || entry.seq <= before.seq) {
      return { kind: "fault", fault: "unlinked" };
    }
    const next = this.#judge(before, entry);
    this.#newest = { seq: entry.seq, hash: entry.hash };
    if (isRecord && header.epoch === this.#claimed + 1) this.#claimed = header.epoch;
    if (typeof next === "string") return { kind: "fault", fault: next };
    if (isRecord) {
      this.#epoch = header.epoch;
      this.#record = entry.hash;
    }
    if (next.admins !== this.#state.admins) this.#reigns.begin(entry.seq, next.admins);
    this.#state = next;
    return { kind: "applied", state: next };
  }

  #judge(before: ChainPlace, entry: ChainEntry): RoomState | ChainFault {
    const { header, content, sentAtMs } = entry;
    if (content.kind === "unreadable" || content.kind === "erased") return "unreadable";
    if ((content.kind !== "epoch_record" && content.kind !== "step") || sentAtMs === undefined) return "unlinked";
    const previous = content.kind === "step" ? content.previous : content.record.previous;
    if (previous !== before.hash) return "unlinked";
    if (header.counter !== 0) return "out_of_bounds";
    if (content.kind === "step") {
      const present = header.epoch === this.#epoch && this.#claimed === this.#epoch;
      return present ? afterStep(this.#state, header.device, content.step) : "epoch";
    }
    const { record } = content;
    if (header.epoch !== record.epoch || record.epoch !== this.#claimed + 1) return "epoch";
    if (!hasSeen(entry, false)) return "unlinked";
    const next = this.nextState(header.device, record.cause, sentAtMs, record.recovery);
    return typeof next === "string" || sameState(next, record.state) ? next : "state";
  }

  /**
   * Reads back: takes the chain's entries from an older record up to the first known here, which must follow from them.
   * Answers what was wrong with single ones. Throws `ChainRefused` when the first known does not follow; then nothing has
   * changed.
   */
  prepend(older: readonly ChainEntry[]): { readonly entry: ChainEntry; readonly fault: ChainFault }[] {
    const [first, ...rest] = older;
    if (first === undefined) throw new ChainRefused("unlinked");
    const longer = Chain.adopt(first);
    const faults = rest.flatMap((entry) => {
      const outcome = longer.apply(entry);
      return outcome.kind === "fault" ? [{ entry, fault: outcome.fault }] : [];
    });
    const joined = longer.apply(this.#base);
    if (joined.kind === "fault") throw new ChainRefused(joined.fault);
    this.#reigns = this.#reigns.after(longer.#reigns, this.#base.seq);
    this.#base = longer.#base;
    return faults;
  }

  /** What holds after a step by `signer` upon the newest chain entry, or why it may not be. */
  nextStep(signer: string, step: Step): RoomState | ChainFault {
    return this.#claimed === this.#epoch ? afterStep(this.#state, signer, step) : "epoch";
  }

  /**
   * The state of the record by which `signer` begins `nextEpoch`, or why it may not be. `sentAtMs` is the record's. After a
   * refused record only the cause `history` is left, since nobody need know the key between. `recovery` takes the place of
   * the recovery device, if it is given.
   */
  nextState(signer: string, cause: Cause, sentAtMs: number, recovery?: DeviceKeys): RoomState | ChainFault {
    if (this.#claimed !== this.#epoch && cause.type !== "history") return "epoch";
    return afterCause(this.#state, signer, cause, this.nextEpoch, sentAtMs, recovery);
  }

  /** The role of `device` now. */
  role(device: string): Role {
    return roleIn(this.#state, device);
  }

  /** Whether `device` may do this now, to `on` where it is done to a device. See `may` in rules.ts. */
  may(device: string, action: Action, on?: string): boolean {
    return may(this.#state, device, action, on);
  }

  /** The role of `device` at the place `seq`, after all chain entries before it; `undefined` where that is not known. */
  roleAt(device: string, seq: number): Role | undefined {
    const admins = this.#reigns.at(seq);
    return admins && roleIn({ admins }, device);
  }

  /** Whether `device` owned the room at any time that is known here. */
  hasOwned(device: string): boolean {
    return this.#reigns.hasOwned(device);
  }

  /**
   * Whether a deletion by `device` at the place `seq` of a message by `author` counts; an author's own always does.
   * `undefined` where it is not known who governed there.
   */
  mayDeleteAt(device: string, author: string, seq: number): boolean | undefined {
    if (device === author) return true;
    const admins = this.#reigns.at(seq);
    return admins && may({ admins }, device, "delete", author);
  }
}

/** Whether a record's signer had seen the room, which none had who founded it. */
function hasSeen({ prev }: ChainEntry, first: boolean): boolean {
  return prev === undefined || (prev.seq === 0) === first;
}

/** Whether this is how a room begins: its creator and a recovery device govern, nothing is restricted. */
function isFounding(state: RoomState): boolean {
  const creator = state.admins.find((admin) => !admin.recovery);
  const recovery = state.admins.find((admin) => admin.recovery);
  return creator !== undefined && recovery !== undefined && sameState(state, foundingState(creator, recovery));
}
