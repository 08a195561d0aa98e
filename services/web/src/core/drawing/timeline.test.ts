import { beforeAll, beforeEach, describe, expect, test } from "vitest";

import { member, meet, moderator, other, owner } from "../testing/chains.ts";
import { EntryType } from "../crypto/envelope.ts";
import { DrawnRoom } from "../testing/drawn-room.ts";

beforeAll(meet);

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
