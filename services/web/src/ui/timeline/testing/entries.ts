/** Entries for tests: one hour of one day, a second apart. */

import type { AdminEntry, DeletedEntry, MemberView, MessageEntry, NoticeEntry } from "../../../view.ts";

export const NOON = new Date(2026, 10, 23, 12).getTime();

export function message(seq: number | null, change: Partial<MessageEntry> = {}): MessageEntry {
  return {
    kind: "message",
    key: `m${seq ?? "new"}`,
    seq,
    atMs: NOON + (seq ?? 99) * 1000,
    author: "ana",
    authorName: "Ana",
    fingerprint: null,
    mine: false,
    text: `text ${seq ?? ""}`,
    state: seq === null ? "sending" : "sent",
    problem: null,
    editedAtMs: null,
    replyTo: null,
    mentions: [],
    mentionsMe: false,
    reactions: [],
    pinned: false,
    may: { reply: true, edit: change.mine === true, delete: false, react: true, pin: true },
    ...change,
  };
}

export function notice(seq: number, what: NoticeEntry["what"], author: string): NoticeEntry {
  return {
    kind: "notice",
    key: `n${seq}`,
    seq,
    atMs: NOON + seq * 1000,
    what,
    author,
    authorName: author,
    fingerprint: null,
    previousName: null,
  };
}

export function step(seq: number, change: AdminEntry["change"]): AdminEntry {
  return {
    kind: "admin",
    byRecovery: false,
    newRecovery: false,
    key: `s${seq}`,
    seq,
    atMs: NOON + seq * 1000,
    author: "ana",
    authorName: "Ana",
    fingerprint: null,
    change,
  };
}

export function deleted(seq: number, change: Partial<DeletedEntry> = {}): DeletedEntry {
  return {
    kind: "deleted",
    key: `d${seq}`,
    seq,
    atMs: NOON + seq * 1000,
    author: "ana",
    authorName: "Ana",
    fingerprint: null,
    mine: false,
    by: "author",
    byName: null,
    ...change,
  };
}

export function member(name: string, change: Partial<MemberView> = {}): MemberView {
  return {
    device: name.toLowerCase(),
    name,
    fingerprint: `${name.toLowerCase()}-4f`,
    nameShared: false,
    me: false,
    role: "member",
    serverRole: null,
    here: true,
    safetyNumber: "",
    mutedUntilMs: null,
    mayHaveRecovery: false,
    may: { mute: false, remove: false, erase: false, role: false },
    ...change,
  };
}
