//! An admin of one room: what administering it takes, and how a refusal of the fold is told.

import { ApiError, type Api } from "../api.ts";
import { fromB64 } from "../base64url.ts";
import { type Bytes } from "../bytes.ts";
import { type Chain, type ChainFault } from "../chain/chain.ts";
import { type Cause } from "../chain/record.ts";
import { type PasswordHash } from "../crypto/argon2id.ts";
import { type Device } from "../crypto/device.ts";
import { type Place } from "../crypto/envelope.ts";
import { rawRoomKey } from "../crypto/room-key.ts";
import { PageProblem } from "../page-problem.ts";
import { type Room } from "../room.ts";
import { type Wait } from "./repeated.ts";

/** How often an act is tried while others administer at the same time. */
export const TRIES_MAX = 3;

export interface StewardWorld {
  readonly api: Api;
  readonly device: Device;
  /** What the room's keys are kept under. */
  readonly local: CryptoKey;
  readonly hash: PasswordHash;
  readonly now: () => number;
  readonly setTimeout: Wait;
}

/** The room's newest key, in the forms that sealing takes. */
export interface StewardKey {
  readonly epoch: number;
  readonly use: CryptoKey;
  readonly raw: Bytes;
  /** Envelope hash of the epoch's record. */
  readonly record: Bytes;
}

/** A room, as far as administering it takes: one that is shown, or one that is read by its recovery device. */
export type StewardRoom = Pick<Room, "id" | "record" | "keys" | "chain" | "log" | "members">;

export class Steward {
  readonly room: StewardRoom;
  readonly world: StewardWorld;
  /** The room's id. */
  readonly bytes: Bytes;

  constructor(room: StewardRoom, world: StewardWorld) {
    this.room = room;
    this.world = world;
    this.bytes = fromB64(room.id, 16);
  }

  /** The fold to act upon; loads it when it is not there. Rejects with `ApiError`, `PageProblem` (`room_untrusted`). */
  async fold(): Promise<Chain> {
    const { chain } = this.room;
    if (chain.fold === undefined) await chain.load();
    if (chain.fold === undefined) throw new PageProblem("room_untrusted");
    return chain.fold;
  }

  /**
   * The newest key, or where a record was refused or no key opens it, the one before it for who closes the history. Throws
   * `PageProblem` (`key_missing`) where this device lacks it.
   */
  async key(cause?: Cause): Promise<StewardKey> {
    const { record, keys } = this.room;
    const { epoch, hash } = record.pinned;
    const kept = record.keys.find((key) => key.epoch === epoch);
    const goesOn = cause?.type === "history" && (await this.fold()).isStalled;
    if (kept === undefined || !(goesOn || keys.current?.epoch === epoch)) throw new PageProblem("key_missing");
    const raw = await rawRoomKey(this.world.local, this.bytes, kept);
    return { epoch, use: kept.use, raw, record: fromB64(hash, 32) };
  }

  /** What this device has seen of the room: its live edge, or the chain alone while that is not loaded. */
  async edge(): Promise<Place> {
    const { seq, hash } = this.room.log.newest ?? (await this.fold()).newest;
    return { seq, hash: fromB64(hash, 32) };
  }

  /** Has this page hold to what is committed at `seq`. The socket brings it as well, before or after. */
  async committed(seq: number): Promise<void> {
    const { chain } = this.room;
    // Failing is no harm: it is committed, and the socket brings it.
    if ((chain.fold?.newest.seq ?? 0) < seq) await chain.load().catch(() => undefined);
  }
}

/** What the fold would refuse, by the code that the server has for it. */
export function refusal(fault: ChainFault): ApiError {
  if (fault === "not_allowed" || fault === "last_owner") return new ApiError({ code: fault, retry: "never" });
  if (fault === "out_of_bounds") return new ApiError({ code: "too_many_entries", retry: "never" });
  return new ApiError({ code: "chain_moved", retry: "changed" });
}

/** Whether others administered first. */
export function hasMoved(error: unknown): error is ApiError {
  return error instanceof ApiError && (error.code === "chain_moved" || error.code === "stale_epoch");
}
