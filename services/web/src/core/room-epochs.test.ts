import "fake-indexeddb/auto";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { messageBody, profileBody } from "./bodies.ts";
import { generateDevice, type Device } from "./crypto/device.ts";
import { EntryType, readHeader } from "./crypto/envelope.ts";
import { RoomClient } from "./testing/room-client.ts";
import { author, RoomServer, type Author } from "./testing/room-server.ts";

let server: RoomServer;
let ana: Author;
let ben: Author;
let recovery: Device;
const clients: RoomClient[] = [];

beforeEach(async () => {
  [ana, ben, recovery] = [author(await generateDevice()), author(await generateDevice()), await generateDevice()];
  server = await RoomServer.found(ana, recovery);
  server.join(ben.device);
  await server.say(ana, EntryType.profile, profileBody("Ana", true, ana.device));
});

afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

async function enter(): Promise<RoomClient> {
  const client = await RoomClient.enter(server);
  clients.push(client);
  await client.connect();
  return client;
}

const everybody = (...pages: RoomClient[]) => [ana.device, ben.device, recovery, ...pages.map(({ device }) => device)];
const say = (text: string) => server.say(ana, EntryType.message, messageBody(text));
const codes = ({ room }: RoomClient) => room.log.violations.map(({ code }) => code);
const texts = ({ room }: RoomClient) =>
  room.log.runs.flatMap(({ entries }) =>
    entries.flatMap(({ content, header }) =>
      content.kind === "message" ? [content.text] : header?.type === EntryType.message ? [content.kind] : [],
    ),
  );
/** What a page sent: type, epoch. */
const sent = (page: RoomClient) =>
  page.sent.map((envelope) => {
    const { type, epoch } = readHeader(envelope);
    return `${type} ${epoch}`;
  });
const rotate = (...pages: RoomClient[]) => server.rekey(ana, { type: "rotate" }, everybody(...pages));
const remove = (who: Device, ...pages: RoomClient[]) =>
  server.rekey(ana, { type: "remove", devices: [who.id], ban: false }, [
    ana.device,
    recovery,
    ...pages.map((p) => p.device),
  ]);

describe("a new epoch that begins live", () => {
  it("is taken up with its key, and what follows is read in order", async () => {
    const page = await enter();
    await say("before");
    await rotate(page);
    await say("after");
    await page.settled();
    expect([texts(page), page.room.keys.epoch, codes(page)]).toEqual([["before", "after"], 1, []]);
    const [kept] = await page.store.rooms();
    expect(kept?.pinned).toEqual(server.chain.pin);
  });

  it("is introduced to before anything else is said in it", async () => {
    const page = await enter();
    await rotate(page);
    await page.settled();
    await page.room.sending.send("hello");
    await page.room.sending.send("again");
    await page.settled();
    expect(sent(page)).toEqual(["2 0", "2 1", "3 1", "3 1"]);
  });

  it("is introduced to at once where newcomers can read no older introduction, and only there", async () => {
    const page = await enter();
    await rotate(page);
    await page.settled();
    expect(sent(page)).toEqual(["2 0"]);
    await server.rekey(ana, { type: "history" }, everybody(page));
    await vi.waitFor(() => expect(sent(page)).toEqual(["2 0", "2 2"]));
    const late = await enter();
    expect(late.room.directory.newestName(page.device.id)).toBe("Page");
    // Once is enough, also in the epochs after it.
    await rotate(page, late);
    await page.settled();
    await page.restart();
    expect(sent(page)).toEqual(["2 0", "2 2"]);
    expect([codes(page), codes(late)]).toEqual([[], []]);
  });

  it("has a draft that was sealed under the old one sealed anew, once", async () => {
    const page = await enter();
    // The epoch begins while a message is on its way, and is heard of only after that is refused.
    server.listeners.clear();
    await rotate(page);
    for (const text of ["a", "b", "c"]) await page.room.sending.send(text);
    await vi.waitFor(() => expect(sent(page)).toContain("3 0"));
    page.disconnect();
    await page.reconnect();
    await page.settled();
    expect([texts(page), codes(page)]).toEqual([["a", "b", "c"], []]);
    const said = sent(page).filter((what) => what.endsWith("1"));
    expect(said).toEqual(["2 1", "3 1", "3 1", "3 1"]);
    expect(page.room.outbox.items).toEqual([]);
  });

  it("shows nothing of it as a new member whom the record removed", async () => {
    const page = await enter();
    await server.say(ben, EntryType.profile, profileBody("Ben", true, ben.device));
    await page.settled();
    expect(page.room.members.present).toContain(ben.device.id);
    await remove(ben.device, page);
    await page.settled();
    expect(page.room.members.present).not.toContain(ben.device.id);
  });
});

describe("a key that does not come", () => {
  it("leaves the room readable up to there, and nothing is sealed under the old one", async () => {
    const page = await enter();
    await say("before");
    await rotate();
    await say("after");
    await vi.waitFor(() => expect(page.room.keys.missing).toBe(true));
    await page.settled();
    expect([texts(page), codes(page)]).toEqual([["before", "unreadable"], []]);
    await page.room.sending.send("waits");
    page.room.outbox.kick();
    expect(sent(page)).toEqual(["2 0"]);
    expect(page.room.keys.current).toBeUndefined();
  });

  it("keeps everything unsealed while it is asked for", async () => {
    const page = await enter();
    server.down = (call) => call === "epochKeys";
    await rotate(page);
    await page.room.sending.send("waits");
    await vi.waitFor(() => expect(page.room.keys.missing).toBe(true));
    expect(sent(page)).toEqual(["2 0"]);
    // It was only late: asked for again before long.
    server.down = () => false;
    await vi.waitFor(() => expect(texts(page)).toEqual(["waits"]), { timeout: 3_000 });
    expect([sent(page), codes(page)]).toEqual([["2 0", "2 1", "3 1"], []]);
  });

  it("is healed by entering again, and what waited is sent", async () => {
    const page = await enter();
    await rotate();
    await say("after");
    await vi.waitFor(() => expect(page.room.keys.missing).toBe(true));
    await page.room.sending.send("waited");
    await page.rejoin();
    await page.settled();
    expect([page.room.keys.missing, texts(page), codes(page)]).toEqual([false, ["after", "waited"], []]);
    expect(sent(page).slice(-2)).toEqual(["2 1", "3 1"]);
  });

  it("is asked for again on the next connection, and what could not be read is read then", async () => {
    const page = await enter();
    server.down = (call) => call === "epochKeys";
    await rotate(page);
    await say("after");
    await vi.waitFor(() => expect(page.room.keys.missing).toBe(true));
    await page.settled();
    expect(texts(page)).toEqual(["unreadable"]);
    page.disconnect();
    server.down = () => false;
    await page.reconnect();
    await vi.waitFor(() => expect(texts(page)).toEqual(["after"]));
    expect([page.room.keys.missing, page.reloads, codes(page)]).toEqual([false, 1, []]);
  });
});

describe("a member that was away", () => {
  it("catches up over three epochs with steps between, reading all of it", async () => {
    const page = await enter();
    page.disconnect();
    for (const topic of ["one", "two", "three"]) {
      await rotate(page);
      await server.step(ana, { type: "topic", topic });
      await say(topic);
    }
    await page.reconnect();
    expect([texts(page), page.room.chain.state?.topic]).toEqual([["one", "two", "three"], "three"]);
    expect([page.room.keys.epoch, page.room.chain.links.length, codes(page)]).toEqual([3, 7, []]);
  });

  it(
    "for so long that only the newest page is sent reads the newest epoch at once, and the others as they are loaded",
    { timeout: 60_000 },
    async () => {
      const page = await enter();
      await say("before");
      await page.settled();
      page.disconnect();
      await rotate(page);
      await server.step(ana, { type: "topic", topic: "one" });
      const first = await say("in the first");
      await remove(ben.device, page);
      for (let count = 0; count < 1_000; count++) await say(`chat ${count}`);
      await server.step(ana, { type: "topic", topic: "two" });
      await say("in the second");
      await page.reconnect();
      expect(page.room.log.holes).toHaveLength(1);
      expect([page.room.keys.epoch, page.room.chain.state?.topic, page.reloads]).toEqual([2, "two", 0]);
      expect([texts(page).at(0), texts(page).at(-1)]).toEqual(["before", "in the second"]);
      expect(texts(page)).not.toContain("unreadable");
      // What removed Ben is not loaded.
      await vi.waitFor(() => expect(page.room.members.present).not.toContain(ben.device.id));
      await page.room.sending.send("I am back");
      await page.settled();
      expect(sent(page).slice(-2)).toEqual(["2 2", "3 2"]);
      for (let [hole] = page.room.log.holes; hole !== undefined; [hole] = page.room.log.holes) {
        await page.room.pages.loadHole(hole);
      }
      expect(page.room.log.at(first)?.content).toMatchObject({ text: "in the first" });
      expect([texts(page).length, codes(page)]).toEqual([1_004, []]);
      expect(texts(page)).not.toContain("unreadable");
    },
  );

  it("reads an epoch whose key it was not given by the next one's record", async () => {
    const page = await enter();
    page.disconnect();
    await rotate();
    await say("missed");
    await rotate(page);
    await say("here");
    await page.reconnect();
    expect([texts(page), page.room.keys.epoch, codes(page)]).toEqual([["missed", "here"], 2, []]);
  });

  it("cannot read back across a cut, and nothing is held against anyone", async () => {
    const page = await enter();
    await say("old");
    await rotate();
    await say("missed");
    await server.rekey(ana, { type: "history" }, everybody());
    await say("new");
    await vi.waitFor(() => expect(page.room.keys.missing).toBe(true));
    await page.rejoin();
    expect([texts(page), codes(page)]).toEqual([["old", "unreadable", "new"], []]);
    expect(page.room.chain.state?.historyFrom).toBe(2);
  });
});

describe("who enters later", () => {
  it("reads back through all epochs and knows who governed in them", async () => {
    await say("zero");
    await rotate();
    await say("one");
    await server.step(ana, { type: "topic", topic: "tea" });
    await rotate();
    const page = await enter();
    expect([texts(page), page.room.chain.state?.topic, codes(page)]).toEqual([["zero", "one"], "tea", []]);
    expect(page.room.chain.fold?.roleAt(ana.device.id, 2)).toBe("owner");
    expect(page.room.keys.of(0)).toBeDefined();
  });

  it("begins with the record that cut the history off", async () => {
    await say("zero");
    await server.rekey(ana, { type: "history" }, everybody());
    await say("one");
    const page = await enter();
    expect([texts(page), codes(page)]).toEqual([["unreadable", "one"], []]);
    expect(page.room.chain.fold?.beginsAt).toBe(server.chain.newest.seq);
  });
});
