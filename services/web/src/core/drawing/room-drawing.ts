//! From a room to what the page shows of it. Facts only; nothing is changed here.

import { type Room } from "../room.ts";
import { isComplete } from "./closed.ts";
import { drawBanned, drawMembers } from "./members.ts";
import { Messages } from "./messages.ts";
import { Names } from "./names.ts";
import { roomNumber } from "./numbers.ts";
import { Rights } from "./rights.ts";
import { Timeline } from "./timeline.ts";
import { unreadCount } from "./unread.ts";
import type { BannedView, Entry, MemberView, PinView, RoomPermissions, RoomView, ViolationView } from "../../view.ts";

/** What holds in a room, as its chain says. */
export type Rules = Pick<
  RoomView,
  | "role"
  | "topic"
  | "locked"
  | "slowMs"
  | "retentionMs"
  | "historyFrom"
  | "epoch"
  | "keyMissing"
  | "contradicted"
  | "stalled"
  | "recoveryAstray"
  | "fingerprint"
  | "mutedUntilMs"
  | "slowUntilMs"
>;

/** Draws one room. Call `refresh` first, then ask for the parts. */
export class RoomDrawing {
  readonly room: Room;
  readonly #names: Names;
  readonly #messages: Messages;
  readonly #timeline: Timeline;
  #rights: Rights;
  #nowMs = 0;

  constructor(room: Room) {
    this.room = room;
    this.#names = new Names(room.directory);
    this.#messages = new Messages(room, this.#names);
    this.#timeline = new Timeline(room, this.#names, this.#messages);
    this.#rights = new Rights(room, 0);
  }

  /** Takes what holds at `nowMs`. */
  refresh(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#rights = new Rights(this.room, nowMs);
    this.#names.refresh();
    this.#messages.refresh(nowMs);
  }

  /** When something of this changes by itself; `Infinity`: never. */
  get nextAtMs(): number {
    return Math.min(this.#rights.nextAtMs(), this.#messages.nextAtMs());
  }

  entries(): readonly Entry[] {
    return this.#timeline.entries(this.#rights);
  }

  /** Whether there is nothing older to be read. */
  get complete(): boolean {
    return isComplete(this.room);
  }

  members(): MemberView[] {
    return drawMembers(this.room, this.#names, this.#rights);
  }

  banned(): BannedView[] {
    return drawBanned(this.room, this.#names);
  }

  /** Newest first. */
  pins(): PinView[] {
    return this.#messages.quotes.pins(this.#messages.pending);
  }

  may(): RoomPermissions {
    return this.#rights.inRoom();
  }

  rules(): Rules {
    const { chain, keys, me } = this.room;
    const rights = this.#rights;
    return {
      role: rights.role,
      topic: chain.state?.topic ?? "",
      locked: chain.state?.locked ?? false,
      slowMs: chain.state?.slowMs ?? 0,
      retentionMs: chain.state?.retentionMs ?? 0,
      historyFrom: chain.state?.historyFrom ?? 0,
      epoch: keys.epoch,
      keyMissing: keys.missing,
      contradicted: this.room.isStranger ? "device" : chain.isContradicted ? "room" : null,
      stalled: rights.isStalled(),
      recoveryAstray: rights.recoveryIsAstray(),
      fingerprint: this.#fingerprint(),
      mutedUntilMs: rights.mutedUntilMs(me),
      slowUntilMs: rights.slowUntilMs(),
    };
  }

  /** Those who are typing, this device excluded. */
  typing(): string[] {
    return this.room.presence.typingAt(this.#nowMs).map((device) => this.#names.newest(device));
  }

  /** How many others are typing, in a room so full that it is not told who. */
  typingCount(): number {
    return this.room.presence.typingCountAt(this.#nowMs);
  }

  violations(): ViolationView[] {
    const { log, noticedAtMs } = this.room;
    return log.violations.map(({ code, seq }, index) => ({ code, seq, noticedAtMs: noticedAtMs[index] ?? 0 }));
  }

  /** Messages of others that have not been seen, loaded or not. */
  unread(): number {
    return unreadCount(this.room, this.#messages);
  }

  /** Empty where nothing but the server's word says which entry was the first: comparing that would prove nothing. */
  #fingerprint(): string {
    const { fold, founding } = this.room.chain;
    return fold?.beginsAt === 1 && founding !== undefined ? roomNumber(founding) : "";
  }
}
