//! What this device may do in a room at one point in time, by the room's own chain: never by what the server says.

import { type Chain } from "../chain/chain.ts";
import { type Action } from "../chain/rules.ts";
import { type RoomState } from "../chain/state.ts";
import { type Room } from "../room.ts";
import { muteEnd } from "./mutes.ts";
import type { MemberView, MessageEntry, Role, RoomPermissions } from "../../view.ts";

export class Rights {
  readonly #room: Room;
  readonly #nowMs: number;
  /** Undefined also where nothing can be done, whatever the chain says. */
  readonly #fold: Chain | undefined;
  readonly #able: boolean;
  #messages = new Map<string, MessageEntry["may"]>();

  constructor(room: Room, nowMs: number) {
    this.#room = room;
    this.#nowMs = nowMs;
    // Without the newest key nothing can be sealed, and the newest chain entries cannot be read.
    this.#able = room.record.ended === undefined && !room.keys.missing;
    this.#fold = this.#able ? room.chain.fold : undefined;
  }

  get state(): RoomState | undefined {
    return this.#room.chain.state;
  }

  /** My role; while the chain is not known, the one that was known last. */
  get role(): Role {
    return this.#room.chain.fold?.role(this.#room.me) ?? this.#room.record.role;
  }

  roleOf(device: string): Role {
    return this.#room.chain.fold?.role(device) ?? "member";
  }

  /** When the mute of `device` ends; `Infinity`: when it is lifted; null when it is not muted. */
  mutedUntilMs(device: string): number | null {
    const untilMs = this.#room.chain.mutes.find((muted) => muted.device === device)?.untilMs ?? 0;
    return untilMs > this.#nowMs ? muteEnd(untilMs) : null;
  }

  /** When slow mode lets me write again; null when it does now. */
  slowUntilMs(): number | null {
    return this.#room.slow.untilMs(this.#nowMs);
  }

  /** The next point in time at which any of this becomes different by itself; `Infinity` if there is none. */
  nextAtMs(): number {
    const ends = this.#room.chain.mutes.map(({ untilMs }) => untilMs).filter((untilMs) => untilMs > this.#nowMs);
    return Math.min(this.slowUntilMs() ?? Infinity, ...ends);
  }

  /** What I may do with a message by `author` that is in the log. The same object for all messages of one author. */
  onMessageBy(author: string): MessageEntry["may"] {
    let may = this.#messages.get(author);
    if (may === undefined) {
      const mine = author === this.#room.me;
      const talk = this.#able && this.mutedUntilMs(this.#room.me) === null;
      const remove = mine ? this.#able : this.#may("delete", author);
      may = { reply: talk, edit: talk && mine, delete: remove, react: talk, pin: talk };
      this.#messages.set(author, may);
    }
    return may;
  }

  /** Whether this device made the recovery key, or has owned the room as far as that is known here. */
  mayHaveRecovery(device: string): boolean {
    return this.state?.recoveryBy === device || this.#room.chain.fold?.hasOwned(device) === true;
  }

  /** Whether I own the room and whoever made its recovery key does no more. */
  recoveryIsAstray(): boolean {
    const maker = this.state?.recoveryBy;
    return maker !== undefined && this.#mayStep("recovery") && this.roleOf(maker) !== "owner";
  }

  onMember(device: string): MemberView["may"] {
    const others = device !== this.#room.me;
    return {
      mute: others && this.#mayStep("mute", device),
      remove: others && this.#mayStep("remove", device),
      erase: others && this.#mayStep("erase", device),
      role: this.#mayStep("role", device) && !this.#isLastOwner(device),
    };
  }

  inRoom(): RoomPermissions {
    return {
      topic: this.#mayStep("topic"),
      lock: this.#mayStep("lock"),
      slow: this.#mayStep("slow"),
      mute: this.#mayStep("mute"),
      remove: this.#mayStep("remove"),
      eraseMember: this.#mayStep("erase"),
      password: this.#mayStep("password"),
      roles: this.#mayStep("role"),
      transfer: this.#mayStep("transfer"),
      retention: this.#mayStep("retention"),
      history: this.#may("history") || this.#mayGoOn(),
      recovery: this.#mayStep("recovery"),
      deleteRoom: this.#fold?.role(this.#room.me) === "owner",
      // Any member may. A locked room makes none.
      invite: this.#able && this.state?.locked !== true,
    };
  }

  #may(action: Action, on?: string): boolean {
    return this.#fold?.may(this.#room.me, action, on) === true;
  }

  /** After a record that was refused nothing counts but a new key that closes the history. */
  #mayStep(action: Action, on?: string): boolean {
    return this.#fold?.isStalled === false && this.#may(action, on);
  }

  /** Whether the newest record was refused, or cannot be opened here. */
  isStalled(): boolean {
    return this.#room.record.ended === undefined && this.#room.chain.fold?.isStalled === true;
  }

  /** Whether I may begin another epoch from the one before such a record, whose key I need not have. */
  #mayGoOn(): boolean {
    return this.isStalled() && this.#room.chain.fold?.may(this.#room.me, "history") === true;
  }

  /** Whether `device` is the only owner with a device in use. */
  #isLastOwner(device: string): boolean {
    const owners = (this.state?.admins ?? []).filter(({ role, recovery }) => role === "owner" && !recovery);
    return owners.length === 1 && owners[0]?.device === device;
  }
}
