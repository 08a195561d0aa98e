import { beforeAll, beforeEach, describe, expect, test } from "vitest";

import { Chain } from "../chain/chain.ts";
import { EntryType } from "../crypto/envelope.ts";
import { type LogEntry } from "../log-entry.ts";
import { member, meet, moderator, other, owner } from "../testing/chains.ts";
import { DrawnRoom } from "../testing/drawn-room.ts";

beforeAll(meet);

function headerOf({ header }: LogEntry) {
  if (header === undefined) throw new Error("no header");
  return header;
}

let room: DrawnRoom;

beforeEach(() => {
  room = new DrawnRoom(member);
  room.name(owner, "Olga");
  room.name(other, "Otto");
});

describe("an entry stays the same object", () => {
  test("whatever happens to others", () => {
    const first = room.message(other, "first");
    const answer = room.message(owner, "@Otto, yes", { replyTo: first, mentions: [other.device] });
    room.react(owner, first, "👍");
    room.step(owner, { type: "topic", topic: "Sunday" });
    room.lost = [{ key: "lost 1", atMs: 1, text: "gone" }];
    room.pending(EntryType.message, '{"text":"on its way"}');
    room.pending(EntryType.message, '{"text":"refused"}', { state: "failed", failure: "muted" });
    const before = room.entries();
    const last = room.message(owner, "last");
    room.react(other, last, "🎉");
    const after = room.entries();
    expect(after).toHaveLength(before.length + 1);
    expect(before.filter((entry) => !after.includes(entry))).toEqual([]);
    expect(room.shown(answer).replyTo?.state).toBe("here");
  });

  test("and another one when something of it changed, with whoever quotes it", () => {
    const first = room.message(other, "first");
    const answer = room.message(owner, "yes", { replyTo: first });
    const second = room.message(other, "second");
    const before = [first, answer, second].map((seq) => room.at(seq));
    room.edit(other, first, "first of all");
    const after = [first, answer, second].map((seq) => room.at(seq));
    expect(after.map((entry, index) => entry === before[index])).toEqual([false, false, true]);
  });
});

describe("what is drawn of the log", () => {
  test("is messages, notices and steps, and no line for what was said about messages", () => {
    const seq = room.message(other, "text");
    room.edit(other, seq, "texts");
    room.react(owner, seq, "👍");
    room.pin(owner, seq);
    room.step(owner, { type: "lock", locked: true });
    room.say(other, { kind: "leave" });
    room.say(moderator, { kind: "unreadable" });
    expect(room.entries().map(({ kind }) => kind)).toEqual([
      "notice",
      "notice",
      "message",
      "admin",
      "notice",
      "unreadable",
    ]);
  });

  test("says who took another name, and nothing of who only introduced themselves for a new epoch", () => {
    const [again, renamed] = [room.name(other, "Otto", false), room.name(other, "Oskar", false)];
    expect(room.at(again)).toBeUndefined();
    expect(room.at(renamed)).toMatchObject({ what: "renamed", previousName: "Otto", authorName: "Oskar" });
    // What they were called before is not loaded: it may well be the same.
    const unknown = room.name(moderator, "Mona", false);
    expect(room.at(unknown)).toBeUndefined();
  });

  test("shows a replayed envelope at both of its places", () => {
    const seq = room.message(other, "pay");
    const { hash } = room.log.at(seq) ?? { hash: "" };
    const again = room.say(other, { kind: "message", text: "pay", mentions: [] }, { hash });
    const keys = room.entries().map(({ key }) => key);
    expect(new Set(keys).size).toBe(keys.length);
    expect([room.shown(seq).text, room.shown(again).text]).toEqual(["pay", "pay"]);
  });
});

describe("what is not for this device", () => {
  const lines = () => room.entries().filter(({ kind }) => kind === "unreadable").length;

  test("has no line of its own after a key that it was not given", () => {
    const broken = room.say(other, { kind: "unreadable" });
    room.keys.missing = true;
    const record = room.entry(owner.device, { kind: "unreadable" }, room.next, { type: EntryType.epochRecord });
    const next = (seq: number) => ({ ...record, seq, hash: `after ${seq}`, header: { ...headerOf(record), epoch: 1 } });
    room.log.append(next(broken + 1));
    room.log.append(next(broken + 2));
    expect(lines()).toBe(1);
    expect(room.at(broken)).toMatchObject({ kind: "unreadable" });
    // With the key it should have opened.
    room.keys.missing = false;
    room.keys.epoch = 1;
    expect(lines()).toBe(3);
  });

  test("has no line of its own before the history that newcomers may read, which is complete there", () => {
    room.message(owner, "before");
    const cut = room.begin(owner, { type: "history" });
    const link = room.chain.linkAt(cut);
    const late = new DrawnRoom(member);
    if (link !== undefined) late.chain.adopted = Chain.adopt({ ...link.entry, header: headerOf(link.entry) });
    late.keys.oldest = late.keys.epoch = 1;
    late.log.followed({ history: "other life", head: cut + 2, from: cut - 1, skipped: true }, undefined);
    const hidden = late.entry(owner.device, { kind: "unreadable" }, cut - 1);
    late.log.append({ ...hidden, header: { ...headerOf(hidden), epoch: 0 } });
    expect(late.now().complete).toBe(true);
    if (link !== undefined) late.log.append(link.entry);
    late.log.append(late.entry(owner.device, { kind: "unreadable" }, cut + 1));
    expect(late.entries().filter(({ kind }) => kind === "unreadable")).toMatchObject([{ seq: cut + 1 }]);
  });

  test("does not end where older entries can be loaded", () => {
    const late = new DrawnRoom(member);
    late.log.followed({ history: "other life", head: 20, from: 20, skipped: true }, undefined);
    late.log.append(late.entry(owner.device, { kind: "unreadable" }, 20));
    expect(late.now().complete).toBe(false);
    expect(room.now().complete).toBe(true);
  });
});

describe("what has not been seen", () => {
  const unread = () => room.now().unread();

  test("counts messages of others only", () => {
    room.record.readSeq = room.message(other, "seen");
    const [first] = [room.message(other, "one"), room.message(member, "mine"), room.message(owner, "two")];
    room.react(other, first, "👍");
    room.step(owner, { type: "topic", topic: "Sunday" });
    room.name(moderator, "Mona");
    expect(unread()).toBe(2);
  });

  test("counts no message that was deleted", () => {
    room.record.readSeq = room.message(other, "seen");
    const seq = room.message(other, "oops");
    room.message(other, "one");
    room.delete(other, seq);
    expect(unread()).toBe(1);
  });
});
