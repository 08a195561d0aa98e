import "fake-indexeddb/auto";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { DELETION_BODY, editBody, messageBody, pinBody, profileBody, reactionBody } from "./bodies.ts";
import { generateDevice } from "./crypto/device.ts";
import { EntryType, readHeader } from "./crypto/envelope.ts";
import { deviceKeys } from "./crypto/epoch-record.ts";
import { Erasures } from "./room-erasure.ts";
import { RoomMessages, type Message } from "./room-messages.ts";
import { RoomClient } from "./testing/room-client.ts";
import { author, RoomServer, type Author } from "./testing/room-server.ts";

let server: RoomServer;
let ana: Author;
let ben: Author;
const clients: RoomClient[] = [];

beforeEach(async () => {
  [ana, ben] = [author(await generateDevice()), author(await generateDevice())];
  server = await RoomServer.found(ana, await generateDevice());
  server.join(ben.device);
  await server.say(ana, EntryType.profile, profileBody("Ana", true, ana.device));
  await server.say(ben, EntryType.profile, profileBody("Ben", true, ben.device));
});

afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

async function enter(page?: number): Promise<RoomClient> {
  const client = await RoomClient.enter(server);
  clients.push(client);
  await client.connect(page);
  return client;
}

/** The message at `seq` as the room says it is, loaded or fetched by itself. */
function messageAt({ room }: RoomClient, seq: number): Message | undefined {
  const messages = new RoomMessages({
    me: room.me,
    changes: room.changes,
    deletionCounts: (device, of, at) => room.chain.fold?.mayDeleteAt(device, of, at) ?? false,
    erasureOf: (entry, of) => new Erasures(room.chain.links, server.atMs).of(entry, of),
    pending: () => room.outbox.items,
  });
  messages.refresh();
  const entry = room.log.at(seq) ?? room.quotes.get(seq);
  return typeof entry === "string" ? undefined : messages.of(entry);
}

const textAt = (client: RoomClient, seq: number) => {
  const message = messageAt(client, seq);
  return message?.state === "here" ? message.text : message?.state;
};
const chat = async (count: number) => {
  for (let index = 0; index < count; index++) await server.say(ana, EntryType.message, messageBody(`chat ${index}`));
};
const codes = ({ room }: RoomClient) => room.log.violations.map(({ code }) => code);

describe("what is said about a message later", () => {
  it("changes it when it comes live", async () => {
    const page = await enter();
    const seq = await server.say(ben, EntryType.message, messageBody("teh"));
    await server.say(ben, EntryType.edit, editBody("the"), { target: seq });
    await server.say(ana, EntryType.reaction, reactionBody("👍", true), { target: seq });
    await server.say(ana, EntryType.pin, pinBody(true), { target: seq });
    await page.settled();
    expect(messageAt(page, seq)).toMatchObject({
      text: "the",
      pinned: true,
      reactions: [{ emoji: "👍", devices: [ana.device.id] }],
    });
    expect([page.room.pins.seqs, codes(page)]).toEqual([[seq], []]);
  });

  it("changes it when the message is loaded after it, and when it comes with the page of the message", async () => {
    const seq = await server.say(ben, EntryType.message, messageBody("teh"));
    await chat(10);
    await server.say(ben, EntryType.edit, editBody("the"), { target: seq });
    const live = await enter(3);
    expect(live.room.log.at(seq)).toBeUndefined();
    await live.room.pages.loadAround(seq);
    expect([textAt(live, seq), codes(live)]).toEqual(["the", []]);
    await chat(10);
    const late = await enter(3);
    await late.room.pages.loadAround(seq);
    expect([textAt(late, seq), codes(late)]).toEqual(["the", []]);
  });

  it("counts as an edit only when its author is the message's", async () => {
    const page = await enter();
    const seq = await server.say(ben, EntryType.message, messageBody("mine"));
    await server.say(ana, EntryType.edit, editBody("yours"), { target: seq });
    await page.settled();
    expect(textAt(page, seq)).toBe("mine");
    await server.say(ben, EntryType.edit, editBody("still mine"), { target: seq });
    await page.settled();
    expect(textAt(page, seq)).toBe("still mine");
  });

  it("pins a message that is not loaded, which is then fetched by itself", async () => {
    const seq = await server.say(ben, EntryType.message, messageBody("the rules"));
    await server.say(ana, EntryType.pin, pinBody(true), { target: seq });
    await chat(10);
    const page = await enter(3);
    await vi.waitFor(() => expect(textAt(page, seq)).toBe("the rules"));
    expect([page.room.pins.seqs, page.room.log.at(seq)]).toEqual([[seq], undefined]);
  });
});

describe("a deletion", () => {
  it("by the author or by an admin counts, and is told apart", async () => {
    const page = await enter();
    const [own, other] = [
      await server.say(ben, EntryType.message, messageBody("a")),
      await server.say(ben, EntryType.message, messageBody("b")),
    ];
    await server.say(ben, EntryType.deletion, DELETION_BODY, { target: own });
    await server.say(ana, EntryType.deletion, DELETION_BODY, { target: other });
    await page.settled();
    expect(messageAt(page, own)).toMatchObject({ state: "deleted", erasure: { by: "author" } });
    expect(messageAt(page, other)).toMatchObject({ erasure: { by: "admin", device: ana.device.id } });
    // And who was not here then is told the same.
    const late = await enter();
    expect(messageAt(late, own)).toMatchObject({ erasure: { by: "author" } });
    expect(messageAt(late, other)).toMatchObject({ erasure: { by: "admin", device: ana.device.id } });
    expect([codes(page), codes(late)]).toEqual([[], []]);
  });

  it("by a member counts only from when the room made that one a moderator", async () => {
    const page = await enter();
    const cy = author(await generateDevice());
    server.join(cy.device);
    await server.say(cy, EntryType.profile, profileBody("Cy", true, cy.device));
    const seq = await server.say(cy, EntryType.message, messageBody("stays"));
    await server.say(ben, EntryType.deletion, DELETION_BODY, { target: seq });
    await page.settled();
    expect(textAt(page, seq)).toBe("stays");
    const { signKey, agreeKey } = await deviceKeys(ben.device);
    await server.step(ana, { type: "role", device: ben.device.id, signKey, agreeKey, role: "moderator" });
    await page.settled();
    // What was not allowed then does not become so.
    expect(textAt(page, seq)).toBe("stays");
    const next = await server.say(cy, EntryType.message, messageBody("goes"));
    await server.say(ben, EntryType.deletion, DELETION_BODY, { target: next });
    await page.settled();
    expect(messageAt(page, next)).toMatchObject({ erasure: { by: "admin", device: ben.device.id } });
    expect(codes(page)).toEqual([]);
  });
});

describe("a tombstone that nobody's deletion explains", () => {
  const erased = async (before: () => Promise<unknown>) => {
    const seq = await server.say(ben, EntryType.message, messageBody("gone"));
    await before();
    server.erase(seq);
    const page = await enter();
    return messageAt(page, seq);
  };

  it("is an admin's who erased its author's messages", async () => {
    const message = await erased(() => server.step(ana, { type: "erase", device: ben.device.id }));
    expect(message).toMatchObject({ erasure: { by: "admin", device: ana.device.id } });
  });

  it("is the room's retention's when it was old enough", async () => {
    const message = await erased(async () => {
      await server.step(ana, { type: "retention", ageMs: 3_600_000 });
      server.atMs += 7_200_000;
    });
    expect(message).toMatchObject({ erasure: { by: "age" } });
  });

  it("is the server's otherwise, also under a retention that it was too young for", async () => {
    expect(await erased(() => Promise.resolve())).toMatchObject({ erasure: { by: "server" } });
    const young = await erased(() => server.step(ana, { type: "retention", ageMs: 3_600_000 }));
    expect(young).toMatchObject({ erasure: { by: "server" } });
  });
});

describe("what this device does", () => {
  it("shows at once, arrives, and is seen the same by the others", async () => {
    const [page, other] = [await enter(), await enter()];
    await page.room.sending.send("teh");
    await page.settled();
    const seq = server.head;
    await page.room.sending.edit(seq, "the");
    expect(textAt(page, seq)).toBe("the");
    await page.room.sending.react(seq, "🎉", true);
    await page.room.sending.pin(seq, true);
    await page.settled();
    await other.settled();
    const seen = { text: "the", pinned: true, reactions: [{ emoji: "🎉", devices: [page.device.id] }] };
    expect([messageAt(page, seq), messageAt(other, seq)]).toMatchObject([seen, seen]);
    await page.room.sending.react(seq, "🎉", false);
    await page.room.sending.delete(seq);
    await page.settled();
    await other.settled();
    expect([messageAt(page, seq), messageAt(other, seq)]).toMatchObject([
      { erasure: { by: "author" } },
      { erasure: { by: "author" } },
    ]);
    expect([codes(page), codes(other)]).toEqual([[], []]);
  });

  it("is told when it was refused, and a reaction that was refused is taken back", async () => {
    const page = await enter();
    const seq = await server.say(ben, EntryType.message, messageBody("hi"));
    server.refuse = ({ type }) => (type === EntryType.reaction ? { ok: false, code: "muted" } : undefined);
    await expect(page.room.sending.react(seq, "👍", true)).rejects.toMatchObject({ code: "muted" });
    await page.settled();
    expect(messageAt(page, seq)).toMatchObject({ reactions: [] });
    expect(page.room.outbox.items).toEqual([]);
  });

  it("is no draft any more once it is sent", async () => {
    const page = await enter();
    const kept = async () => (await page.store.rooms())[0]?.draft;
    page.room.draft.save("hi");
    await vi.waitFor(async () => expect(await kept()).toBeDefined());
    await page.room.sending.send("hi");
    expect(page.room.draft.text).toBe("");
    await vi.waitFor(async () => expect(await kept()).toBeUndefined());
  });

  it("begins with its profile", async () => {
    const page = await enter();
    await page.room.sending.send("hi");
    await page.settled();
    const types = page.sent.map((envelope) => readHeader(envelope).type);
    expect(types).toEqual([EntryType.profile, EntryType.message]);
  });
});
