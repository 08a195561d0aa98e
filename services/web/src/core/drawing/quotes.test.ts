import { beforeAll, beforeEach, describe, expect, test } from "vitest";

import { EntryType } from "../crypto/envelope.ts";
import { pinBody } from "../bodies.ts";
import { member, meet, other, owner } from "../testing/chains.ts";
import { DrawnRoom } from "../testing/drawn-room.ts";

beforeAll(meet);

let room: DrawnRoom;

beforeEach(() => {
  room = new DrawnRoom(member);
  room.name(owner, "Olga");
  room.name(other, "Otto");
});

describe("a reply", () => {
  test("quotes what the log says now", () => {
    const asked = room.message(other, "who?");
    const answer = room.message(owner, "me", { replyTo: asked });
    expect(room.shown(answer).replyTo).toEqual({ seq: asked, state: "here", authorName: "Otto", text: "who?" });
    room.edit(other, asked, "who else?");
    expect(room.shown(answer).replyTo).toMatchObject({ text: "who else?" });
  });

  test("shows nothing of a text that was deleted", () => {
    const asked = room.message(other, "a secret");
    const answer = room.message(owner, "oh", { replyTo: asked });
    room.delete(other, asked);
    expect(room.shown(answer).replyTo).toEqual({ seq: asked, state: "deleted", authorName: "Otto", text: "" });
  });

  test("asks for what is not loaded, and shows it once it has come", () => {
    const late = new DrawnRoom(member);
    late.log.followed({ history: "other life", head: 100, from: 90, skipped: true }, undefined);
    const answer = late.entry(owner.device, { kind: "message", text: "me", mentions: [], replyTo: 5 }, 90);
    late.log.append(answer);
    expect(late.shown(90).replyTo).toMatchObject({ seq: 5, state: "loading" });
    expect(late.asked).toContain(5);
    late.quoted.set(5, late.entry(other.device, { kind: "message", text: "who?", mentions: [] }, 5));
    expect(late.shown(90).replyTo).toMatchObject({ state: "here", text: "who?" });
    late.quoted.set(5, "unavailable");
    expect(late.shown(90).replyTo).toMatchObject({ state: "unavailable", text: "" });
  });

  test("to itself, to what is yet to come or to no message is to nothing, and nothing is asked for", () => {
    const before = room.message(other, "before");
    const answer = room.message(owner, "me", { replyTo: before + 1 });
    const notice = room.message(owner, "me", { replyTo: 2 });
    expect(room.shown(answer).replyTo).toMatchObject({ state: "unavailable" });
    expect(room.shown(notice).replyTo).toMatchObject({ state: "unavailable" });
    expect(room.asked).toEqual([]);
  });
});

describe("pins", () => {
  const pins = () => room.now().pins();

  test("come newest first, with who pinned them", () => {
    const [first, second] = [room.message(other, "first"), room.message(other, "second")];
    room.pin(owner, second);
    room.pin(other, first);
    expect(pins()).toMatchObject([
      { seq: first, byName: "Otto", message: { state: "here", text: "first", authorName: "Otto" } },
      { seq: second, byName: "Olga", message: { text: "second" } },
    ]);
    expect(room.shown(first).pinned).toBe(true);
    room.pin(owner, first, false);
    expect(pins().map(({ seq }) => seq)).toEqual([second]);
    expect(room.shown(first).pinned).toBe(false);
  });

  test("of mine show at once, and not once they were refused", () => {
    room.name(member, "Mei");
    const [first, second] = [room.message(other, "first"), room.message(other, "second")];
    room.pin(owner, first);
    room.pending(EntryType.pin, pinBody(true), { target: second });
    expect(pins()).toMatchObject([{ seq: second, byName: "Mei" }, { seq: first }]);
    room.pending(EntryType.pin, pinBody(false), { target: first });
    expect(pins().map(({ seq }) => seq)).toEqual([second]);
    room.outbox.items = room.outbox.items.map((item) => ({ ...item, state: "failed" }));
    expect(pins().map(({ seq }) => seq)).toEqual([first]);
  });

  test("end with the message that is deleted", () => {
    const seq = room.message(other, "first");
    room.pin(owner, seq);
    room.delete(other, seq);
    expect(pins()).toEqual([]);
  });
});
