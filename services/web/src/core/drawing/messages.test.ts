import { beforeAll, beforeEach, describe, expect, test } from "vitest";

import { EntryType } from "../crypto/envelope.ts";
import { editBody, messageBody, pinBody, reactionBody } from "../bodies.ts";
import { member, meet, moderator, other, owner } from "../testing/chains.ts";
import { failedKey } from "./keys.ts";
import { DrawnRoom, timeOf } from "../testing/drawn-room.ts";

beforeAll(meet);

let room: DrawnRoom;

beforeEach(() => {
  room = new DrawnRoom(member);
  room.name(owner, "Olga");
  room.name(moderator, "Mona");
  room.name(other, "Otto");
  room.name(member, "Mei");
  room.step(owner, { type: "role", role: "moderator", ...moderator });
});

describe("an edit", () => {
  test("takes the place of the text and says when", () => {
    const seq = room.message(other, "helo");
    expect(room.shown(seq).editedAtMs).toBeNull();
    const edit = room.edit(other, seq, "hello");
    expect(room.shown(seq)).toMatchObject({ text: "hello", editedAtMs: timeOf(edit), atMs: timeOf(seq) });
  });

  test("by anybody but the author is passed over", () => {
    const seq = room.message(other, "mine");
    room.edit(owner, seq, "changed");
    expect(room.shown(seq)).toMatchObject({ text: "mine", editedAtMs: null });
  });

  test("of mine shows at once, and stands there with its problem when it was refused", () => {
    const seq = room.message(member, "helo");
    room.pending(EntryType.edit, editBody("hello"), { target: seq });
    expect(room.shown(seq)).toMatchObject({ text: "hello", state: "sent", problem: null, editedAtMs: room.nowMs });
    room.outbox.items = [];
    room.pending(EntryType.edit, editBody("hello"), { target: seq, state: "failed", failure: "muted" });
    expect(room.shown(seq)).toMatchObject({ text: "hello", state: "failed", problem: { code: "muted" } });
  });

  test("that was refused is what stands behind the message's key, and nothing else is", () => {
    const seq = room.message(member, "helo");
    const { key } = room.shown(seq);
    const waiting = room.pending(EntryType.edit, editBody("hello"), { target: seq });
    expect(failedKey(room.room, key)).toBe(key);
    room.outbox.items = [{ ...waiting, state: "failed" }];
    expect(failedKey(room.room, key)).toBe(waiting.local);
    expect(failedKey(room.room, "another")).toBe("another");
  });
});

describe("reactions", () => {
  test("name people in the order they reacted, me among them", () => {
    const seq = room.message(other, "cake?");
    room.react(owner, seq, "👍");
    room.react(member, seq, "👍");
    room.react(moderator, seq, "👍");
    room.react(moderator, seq, "🎉");
    expect(room.shown(seq).reactions).toEqual([
      { emoji: "👍", names: ["Olga", "Mei", "Mona"], mine: true },
      { emoji: "🎉", names: ["Mona"], mine: false },
    ]);
  });

  test("that are taken back are gone, also my own that is on its way", () => {
    const seq = room.message(other, "cake?");
    room.react(owner, seq, "👍");
    room.react(member, seq, "👍");
    room.react(owner, seq, "👍", false);
    expect(room.shown(seq).reactions).toEqual([{ emoji: "👍", names: ["Mei"], mine: true }]);
    room.pending(EntryType.reaction, reactionBody("👍", false), { target: seq });
    expect(room.shown(seq).reactions).toEqual([]);
  });

  test("of mine that are on their way show at once, and not once they were refused", () => {
    const seq = room.message(other, "cake?");
    room.pending(EntryType.reaction, reactionBody("🎉", true), { target: seq });
    expect(room.shown(seq).reactions).toEqual([{ emoji: "🎉", names: ["Mei"], mine: true }]);
    room.outbox.items = room.outbox.items.map((item) => ({ ...item, state: "failed" }));
    expect(room.shown(seq).reactions).toEqual([]);
  });
});

describe("a deleted message", () => {
  test("says that its author did it", () => {
    const seq = room.message(other, "oops");
    room.delete(other, seq);
    expect(room.at(seq)).toMatchObject({
      kind: "deleted",
      by: "author",
      byName: null,
      authorName: "Otto",
      mine: false,
    });
  });

  test("says which admin did it", () => {
    const seq = room.message(member, "oops");
    room.delete(moderator, seq);
    expect(room.at(seq)).toMatchObject({ kind: "deleted", by: "admin", byName: "Mona", mine: true });
  });

  test("is none when its deletion is by somebody without the right", () => {
    const [mine, others] = [room.message(member, "stays"), room.message(owner, "stays too")];
    room.delete(other, mine);
    room.delete(moderator, others);
    expect([room.shown(mine).text, room.shown(others).text]).toEqual(["stays", "stays too"]);
  });

  test("says who did it also when the same one had tried without the right before", () => {
    const [seq, gone] = [room.message(member, "oops"), room.tombstone(member)];
    for (const target of [seq, gone]) room.delete(other, target);
    expect(room.shown(seq).text).toBe("oops");
    room.step(owner, { type: "role", role: "moderator", ...other });
    for (const target of [seq, gone]) room.delete(other, target);
    for (const target of [seq, gone]) {
      expect(room.at(target)).toMatchObject({ kind: "deleted", by: "admin", byName: "Otto" });
    }
  });

  test("and a later loss of the right leaves it deleted", () => {
    const seq = room.message(other, "oops");
    room.delete(moderator, seq);
    room.step(owner, { type: "role", ...moderator, role: "member" });
    expect(room.at(seq)).toMatchObject({ kind: "deleted", by: "admin" });
  });

  test("of which all of the author's were erased is gone though it is loaded", () => {
    const seq = room.message(other, "spam");
    room.step(moderator, { type: "erase", device: other.device });
    const later = room.message(other, "sorry");
    expect(room.at(seq)).toMatchObject({ kind: "deleted", by: "admin", byName: "Mona" });
    expect(room.shown(later).text).toBe("sorry");
  });

  test("is nobody's doing but the server's when nothing explains it", () => {
    const seq = room.tombstone(other);
    expect(room.at(seq)).toMatchObject({ kind: "deleted", by: "server", byName: null });
  });

  test("is explained by the room's retention", () => {
    const seq = room.tombstone(other);
    room.step(owner, { type: "retention", ageMs: 3_600_000 });
    room.nowMs = timeOf(seq) + 3_600_000;
    expect(room.at(seq)).toMatchObject({ kind: "deleted", by: "age" });
  });

  test("is one that a retention has reached, though it is loaded", () => {
    const [seq, later] = [room.message(other, "old"), room.message(other, "young")];
    room.step(owner, { type: "retention", ageMs: 3_600_000 });
    room.nowMs = timeOf(seq) + 3_600_000 - 1;
    expect([room.shown(seq).text, room.now().nextAtMs]).toEqual(["old", room.nowMs + 1]);
    room.nowMs += 1;
    expect(room.at(seq)).toMatchObject({ kind: "deleted", by: "age", authorName: "Otto" });
    expect([room.shown(later).text, room.now().nextAtMs]).toEqual(["young", timeOf(later) + 3_600_000]);
    // Longer now: what is gone stays gone.
    room.step(owner, { type: "retention", ageMs: 0 });
    expect([room.shown(later).text, room.now().nextAtMs]).toEqual(["young", Infinity]);
  });

  test("is also one that a retention had reached which is not in force any more", () => {
    const old = room.message(other, "old");
    const set = room.step(owner, { type: "retention", ageMs: 3_600_000 });
    while (room.next < 4_000) room.say(other, { kind: "reaction", emoji: "👍", on: true }, { target: set });
    const young = room.message(other, "young");
    room.step(owner, { type: "retention", ageMs: 0 });
    room.nowMs = timeOf(room.next);
    expect(room.at(old)).toMatchObject({ kind: "deleted", by: "age" });
    expect(room.shown(young).text).toBe("young");
  });

  test("is not one that a retention could only just have reached before it was lifted", () => {
    const seq = room.message(other, "lucky");
    room.step(owner, { type: "retention", ageMs: 3_600_000 });
    while (room.next <= seq + 3_600) room.say(other, { kind: "leave" });
    room.step(owner, { type: "retention", ageMs: 0 });
    room.nowMs = timeOf(room.next);
    expect(room.shown(seq).text).toBe("lucky");
  });

  test("blames nobody while the chain is not known", () => {
    const seq = room.tombstone(other);
    room.chain.loaded = false;
    expect(room.at(seq)).toMatchObject({ kind: "unreadable" });
  });

  test("leaves no line of its own for what was said about it", () => {
    const seq = room.tombstone(other);
    room.say(other, { kind: "erased" }, { type: EntryType.edit, target: seq });
    room.say(owner, { kind: "erased" }, { type: EntryType.reaction, target: seq });
    expect(room.entries().filter(({ kind }) => kind === "deleted" || kind === "unreadable")).toHaveLength(1);
  });
});

describe("a mention", () => {
  test("has the name that stands in the text, whatever they are called by now", () => {
    const seq = room.message(owner, "ask @Otto about it", { mentions: [other.device] });
    room.name(other, "Otto Maria", false);
    const then = room.message(owner, "ask @Otto Maria", { mentions: [other.device] });
    expect(room.shown(seq).mentions).toEqual([{ device: other.device, name: "Otto" }]);
    expect(room.shown(then).mentions).toEqual([{ device: other.device, name: "Otto Maria" }]);
  });

  test("of me is told, and not when I wrote it", () => {
    const seq = room.message(owner, "@Mei, look", { mentions: [member.device] });
    const own = room.message(member, "@Mei is me", { mentions: [member.device] });
    expect([room.shown(seq).mentionsMe, room.shown(own).mentionsMe]).toEqual([true, false]);
  });

  test("is the edit's once there is one", () => {
    const seq = room.message(owner, "@Otto, look", { mentions: [other.device] });
    room.edit(owner, seq, "@Mei, look", [member.device]);
    expect(room.shown(seq)).toMatchObject({
      mentions: [{ device: member.device, name: "Mei" }],
      mentionsMe: true,
    });
  });
});

describe("my message on its way", () => {
  const text = messageBody("on its way");

  test("stands at the end, keeps its key when it arrives, and is not shown twice", () => {
    const item = room.pending(EntryType.message, text, { hash: "sealed" });
    expect(room.entries().at(-1)).toMatchObject({ key: item.local, seq: null, state: "sending", mine: true });
    room.localNames.set("sealed", item.local);
    const seq = room.say(member, { kind: "message", text: "on its way", mentions: [] }, { hash: "sealed" });
    const shown = room.entries().filter((entry) => entry.key === item.local);
    expect(shown).toMatchObject([{ seq, state: "sent" }]);
  });

  test("shows why it was refused", () => {
    room.pending(EntryType.message, text, { state: "failed", failure: "muted" });
    expect(room.entries().at(-1)).toMatchObject({ state: "failed", problem: { code: "muted" } });
  });

  test("quotes and names others already", () => {
    const asked = room.message(other, "who?");
    const body = messageBody("@Otto, me", { replyTo: asked, mentions: [other.device] });
    room.pending(EntryType.message, body);
    expect(room.entries().at(-1)).toMatchObject({
      replyTo: { seq: asked, state: "here", authorName: "Otto", text: "who?" },
      mentions: [{ device: other.device, name: "Otto" }],
    });
  });

  test("is no entry when it is something else", () => {
    const before = room.entries().length;
    room.pending(EntryType.pin, pinBody(true), { target: 2 });
    expect(room.entries()).toHaveLength(before);
  });
});

test("what I may do with messages follows from my role, and from who wrote them", () => {
  const [mine, others, theirs] = [member, other, moderator].map((who) => room.message(who, "text"));
  const may = (seq: number | undefined) => room.shown(seq ?? 0).may;
  expect(may(mine)).toEqual({ reply: true, edit: true, delete: true, react: true, pin: true });
  expect(may(others)).toEqual({ reply: true, edit: false, delete: false, react: true, pin: true });
  room.step(owner, { type: "role", role: "moderator", ...member });
  expect(may(others)).toMatchObject({ edit: false, delete: true });
  expect(may(theirs)).toMatchObject({ delete: false });
});

test("muted, I may do nothing but delete what is mine, until it ends", () => {
  const seq = room.message(member, "text");
  room.step(moderator, { type: "mute", device: member.device, untilMs: room.nowMs + 10 });
  expect(room.shown(seq).may).toEqual({ reply: false, edit: false, delete: true, react: false, pin: false });
  room.nowMs += 10;
  expect(room.shown(seq).may.reply).toBe(true);
});

test.each(["ended", "keyMissing"])("in a room that cannot be written in (%s) nothing may be done", (why) => {
  const seq = room.message(member, "text");
  if (why === "ended") room.record.ended = "removed";
  else room.keys.missing = true;
  expect(Object.values(room.shown(seq).may)).toEqual([false, false, false, false, false]);
});
