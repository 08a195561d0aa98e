import "fake-indexeddb/auto";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { b64, fromB64 } from "./base64url.ts";
import { messageBody, profileBody } from "./bodies.ts";
import { random } from "./bytes.ts";
import { type DeviceKeys } from "./chain/state.ts";
import { stepBody } from "./chain/step.ts";
import { generateDevice, type Device } from "./crypto/device.ts";
import { EntryType } from "./crypto/envelope.ts";
import { deviceKeys, sealNextRecord } from "./crypto/epoch-record.ts";
import { hkdfKey } from "./crypto/primitives.ts";
import { sealRoomKey } from "./crypto/sealed-key.ts";
import { PAGE, RoomClient } from "./testing/room-client.ts";
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

const topic = (text: string) => server.step(ana, { type: "topic", topic: text });
const found = ({ room }: RoomClient) => room.log.violations.map(({ code, seq }) => `${code} ${seq}`);
/** The epoch that is sealed under. */
const keyOf = ({ room }: RoomClient) => room.keys.current?.epoch;
const topicOf = ({ room }: RoomClient) => room.chain.state?.topic;

/** A record by `by`, who makes itself the owner in it, or names a recovery device, with its key sealed to `to`. */
async function forge(by: Author, to: Device, recovery?: DeviceKeys): Promise<number> {
  const key = random(32);
  const { newest, state } = server.chain;
  const self = { ...(await deviceKeys(by.device)), role: "owner" as const, recovery: false };
  const admins =
    recovery === undefined
      ? [...state.admins.filter((admin) => admin.recovery), self]
      : [...state.admins.filter((admin) => !admin.recovery), { ...recovery, role: "owner" as const, recovery: true }];
  const last = server.log.at(-1);
  const record = await sealNextRecord({
    room: server.bytes,
    instance: random(16),
    signer: by.device,
    epoch: 1,
    roomKey: await hkdfKey(key),
    previousKey: server.keys[0] ?? random(32),
    cause: { type: "rotate" },
    ...(recovery && { recovery }),
    state: {
      ...state,
      ...(recovery && { recoveryBy: by.device.id }),
      admins: admins.sort((a, b) => (b64ToHex(a.device) < b64ToHex(b.device) ? -1 : 1)),
    },
    newest,
    prev: { seq: last?.seq ?? 0, hash: fromB64(last?.hash ?? "") },
    recipients: [to.id],
    sentAtMs: server.atMs,
  });
  server.keys.push(key);
  const sealed = b64(await sealRoomKey(await deviceKeys(to), server.bytes, 1, key));
  server.sealed.set(1, new Map([[to.id, sealed]]));
  return server.append(record);
}

const b64ToHex = (text: string) => [...fromB64(text)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

describe("what nobody was allowed changes nothing and is shown", () => {
  it("when it is a step by a member", async () => {
    const page = await enter();
    await topic("tea");
    const seq = await server.step(ben, { type: "topic", topic: "mine" });
    await page.settled();
    expect([topicOf(page), found(page)]).toEqual(["tea", [`authority ${seq}`]]);
    expect(page.room.chain.linkAt(seq)?.counts).toBe(false);
    // It took its place, so that an admin can go on after it.
    await topic("coffee");
    await page.settled();
    expect([topicOf(page), found(page).length]).toEqual(["coffee", 1]);
    expect(found(await enter())).toEqual([`authority ${seq}`]);
  });

  it("when it is a record by somebody who makes himself the owner", async () => {
    const page = await enter();
    const seq = await forge(ben, page.device);
    await vi.waitFor(() => expect(found(page)).toEqual([`authority ${seq}`]));
    const { room } = page;
    expect([room.keys.epoch, room.keys.missing, room.chain.fold?.role(ben.device.id)]).toEqual([0, false, "member"]);
    await room.sending.send("for the others only");
    expect(room.keys.current).toBeUndefined();
    expect(room.record.keys.map(({ epoch }) => epoch)).toEqual([0]);
  });

  it("when it is a record by which a moderator puts another recovery device in the place of the one there is", async () => {
    await server.step(ana, { type: "role", role: "moderator", ...(await deviceKeys(ben.device)) });
    const page = await enter();
    const fresh = await deviceKeys(await generateDevice());
    const seq = await forge(ben, page.device, fresh);
    await vi.waitFor(() => expect(found(page)).toEqual([`authority ${seq}`]));
    const { keys, chain } = page.room;
    const devices = chain.state?.admins.filter((admin) => admin.recovery).map(({ device }) => device);
    expect([keys.epoch, devices]).toEqual([0, [recovery.id]]);
  });

  it("when it is such a record and the page was away", async () => {
    const page = await enter();
    page.disconnect();
    const seq = await forge(ben, page.device);
    await page.reconnect();
    expect([found(page), page.room.keys.epoch, page.room.keys.missing]).toEqual([[`authority ${seq}`], 0, false]);
  });

  it("when it is such a record and the page is loaded anew", async () => {
    const page = await enter();
    page.disconnect();
    const seq = await forge(ben, page.device);
    await page.restart();
    expect([found(page), page.room.keys.epoch, page.room.keys.missing]).toEqual([[`authority ${seq}`], 0, false]);
    expect(page.room.record.keys.map(({ epoch }) => epoch)).toEqual([0]);
  });

  it("when it is a removal that is shown again after who was removed had come back", async () => {
    const page = await enter();
    const cause = { type: "remove", devices: [ben.device.id], ban: false } as const;
    const at = await server.rekey(ana, cause, [ana.device, recovery, page.device]);
    await page.settled();
    server.join(ben.device);
    await server.say(ben, EntryType.profile, profileBody("Ben", true, ben.device));
    const seq = await server.append(server.raw(at).envelope);
    await page.settled();
    expect(found(page)).toContain(`authority ${seq}`);
    expect(page.room.members.present).toContain(ben.device.id);
  });

  it("when the server lets in again who was banned, and it stays off the list", async () => {
    const page = await enter();
    const cause = { type: "remove", devices: [ben.device.id], ban: true } as const;
    const ban = await server.rekey(ana, cause, [ana.device, recovery, page.device]);
    await page.settled();
    server.join(ben.device);
    // Somebody inside has given it the new key.
    const seq = await server.say(ben, EntryType.profile, profileBody("Ben", true, ben.device));
    await page.settled();
    expect(page.room.members.present).not.toContain(ben.device.id);
    const shown = page.room.log.violations.find((violation) => violation.seq === seq);
    expect([shown?.code, shown?.entries.map(({ seq: at }) => at)]).toEqual(["authority", [ban, seq]]);
    const late = await enter();
    expect(found(late).sort()).toEqual([`authority ${ban}`, `authority ${seq}`].sort());
    expect(late.room.members.present).not.toContain(ben.device.id);
  });

  it("but not when the ban was lifted before", async () => {
    const page = await enter();
    const cause = { type: "remove", devices: [ben.device.id], ban: true } as const;
    await server.rekey(ana, cause, [ana.device, recovery, page.device]);
    await page.settled();
    page.disconnect();
    await server.step(ana, { type: "unban", device: ben.device.id });
    server.join(ben.device);
    await server.say(ben, EntryType.profile, profileBody("Ben", true, ben.device));
    await page.room.members.load();
    await page.reconnect();
    const late = await enter();
    await vi.waitFor(() => expect(page.room.members.present).toContain(ben.device.id));
    expect([found(page), found(late)]).toEqual([[], []]);
    expect(late.room.members.present).toContain(ben.device.id);
  });

  it("nor when what lifted it is not sent, and cannot be fetched at first", async () => {
    const page = await enter();
    const cause = { type: "remove", devices: [ben.device.id], ban: true } as const;
    await server.rekey(ana, cause, [ana.device, recovery, page.device]);
    await page.settled();
    page.disconnect();
    await server.step(ana, { type: "unban", device: ben.device.id });
    server.join(ben.device);
    await server.say(ben, EntryType.profile, profileBody("Ben", true, ben.device));
    for (let count = 0; count < PAGE; count++) await server.say(ben, EntryType.message, messageBody(`${count}`));
    server.down = (call) => call === "chain";
    await page.reconnect(PAGE);
    expect(page.room.log.holes).toHaveLength(1);
    server.down = () => false;
    await page.room.chain.load();
    expect(found(page)).toEqual([]);
    await vi.waitFor(() => expect(page.room.members.present).toContain(ben.device.id));
  });

  it("when it is a message under an epoch that is over", async () => {
    const page = await enter();
    await server.rekey(ana, { type: "rotate" }, [ana.device, recovery, page.device]);
    await page.settled();
    const seq = await server.say(ben, EntryType.message, messageBody("back again"), { epoch: 0 });
    await page.settled();
    expect(found(page)).toEqual([`epoch ${seq}`]);
  });
});

it("a record that was refused ends nothing: an owner closes the history upon it, and all go on", async () => {
  await server.step(ana, { type: "role", role: "moderator", ...(await deviceKeys(ben.device)) });
  const page = await enter();
  const seq = await forge(ben, page.device, await deviceKeys(await generateDevice()));
  await vi.waitFor(() => expect(found(page)).toEqual([`authority ${seq}`]));
  expect([page.room.keys.missing, keyOf(page), page.room.chain.fold?.isStalled]).toEqual([false, undefined, true]);
  // What is said under its key, by who has it, is not asked about with every entry.
  await server.say(ben, EntryType.message, messageBody("mine now"));
  await page.settled();
  await server.rekey(ana, { type: "history" }, [ana.device, ben.device, recovery, page.device]);
  await vi.waitFor(() => expect(keyOf(page)).toBe(2));
  await topic("tea");
  await page.settled();
  expect([topicOf(page), found(page)]).toEqual(["tea", [`authority ${seq}`]]);
});

it("a key that the server withholds is taken when it gives it later, with all that came after it", async () => {
  const page = await enter();
  const everybody = [ana.device, ben.device, recovery, page.device];
  await server.rekey(ana, { type: "rotate" }, everybody);
  const noise = server.sealed.get(1)?.get(page.device.id) ?? "";
  await page.settled();
  expect(keyOf(page)).toBe(1);
  // From here on the page gets noise in the place of its key.
  server.down = (call) => call === "epochKeys";
  await server.rekey(ana, { type: "rotate" }, everybody);
  const key = server.sealed.get(2)?.get(page.device.id) ?? "";
  server.sealed.get(2)?.set(page.device.id, noise);
  server.down = () => false;
  await topic("tea");
  const at = await server.say(ben, EntryType.message, messageBody("for those who have the key"));
  await vi.waitFor(() => expect(page.room.keys.missing).toBe(true));
  await vi.waitFor(() => expect(page.room.log.newest?.seq).toBe(at));
  expect([topicOf(page), keyOf(page), found(page)]).toEqual(["", undefined, []]);
  server.sealed.get(2)?.set(page.device.id, key);
  await page.room.chain.load();
  await vi.waitFor(() => expect(page.room.log.at(at)?.content).toMatchObject({ text: "for those who have the key" }));
  expect([topicOf(page), keyOf(page), found(page)]).toEqual(["tea", 2, []]);
});

describe("a chain entry that is withheld", () => {
  it("is missed when a live one names it", async () => {
    const page = await enter();
    await topic("tea");
    const { newest } = server.chain;
    await topic("coffee");
    await page.settled();
    // As if "coffee" had never been: two histories for two members.
    const body = stepBody(newest.hash, { type: "topic", topic: "milk" });
    const seq = await server.say(ana, EntryType.step, body, { target: newest.seq });
    await page.settled();
    expect([topicOf(page), found(page)]).toEqual(["coffee", [`authority ${seq}`]]);
  });

  it("is missed when the next one of the fetched chain names it", async () => {
    const hidden = await topic("hidden");
    const seq = await topic("shown");
    server.tamper = (call, entries) => (call === "chain" ? entries.filter((raw) => raw.seq !== hidden) : entries);
    const page = await enter();
    expect(found(page)).toContain(`authority ${seq}`);
  });

  it("is missed when it is in the log", async () => {
    const hidden = await topic("hidden");
    for (let index = 0; index < 5; index++) await server.say(ana, EntryType.message, messageBody("chat"));
    const last = await topic("shown");
    server.tamper = (call, entries) => (call === "chain" ? entries.filter(({ seq }) => seq !== hidden) : entries);
    const page = await enter(2);
    expect(found(page)).toEqual([`authority ${last}`]);
    await page.room.pages.loadAround(hidden);
    expect(found(page)).toEqual([`authority ${last}`, `authority ${hidden}`].sort());
  });

  it("is missed when it is the beginning", async () => {
    await topic("tea");
    await server.rekey(ana, { type: "rotate" }, [ana.device, recovery]);
    const record = server.head;
    server.tamper = (call, entries) => (call === "chain" ? entries.filter(({ seq }) => seq >= record) : entries);
    expect(found(await enter())).toEqual([`authority ${record}`]);
  });

  it("is missed when it is the record that is pinned, and nothing is sealed in that room", async () => {
    const page = await enter();
    await server.rekey(ana, { type: "rotate" }, [ana.device, recovery, page.device]);
    await page.settled();
    server.tamper = (call, entries) => (call === "chain" ? entries.slice(0, 1) : entries);
    await page.room.chain.load();
    expect([page.room.chain.fold, found(page)]).toEqual([undefined, ["authority 1"]]);
    expect(page.room.chain.isContradicted).toBe(true);
    server.tamper = (_, entries) => entries;
    await page.room.chain.load();
    expect(page.room.chain.isContradicted).toBe(false);
  });
});

describe("a removal that is withheld from who stays", () => {
  /** The page is shown a message of Ben's, who is removed, in the record's place, and a chain without the record. */
  async function withheld(page: RoomClient): Promise<number> {
    const instead = await server.seal(ben, EntryType.message, messageBody("still here"));
    const record = server.head + 1;
    server.tamper = (call, entries) => {
      if (call === "chain") return entries.filter(({ seq }) => seq < record);
      return entries.map((raw) => (raw.seq === record ? { ...raw, envelope: instead } : raw));
    };
    const cause = { type: "remove", devices: [ben.device.id], ban: false } as const;
    expect(await server.rekey(ana, cause, [ana.device, recovery, page.device])).toBe(record);
    return record;
  }

  it("is found with the next entry, and nothing is sealed under the old key any more", async () => {
    const page = await enter();
    const record = await withheld(page);
    const next = await server.say(ana, EntryType.message, messageBody("without Ben"));
    await vi.waitFor(() => expect(found(page)).toEqual([`authority ${next}`]));
    const [violation] = page.room.log.violations;
    expect(violation?.entries.at(-1)?.seq).toBe(next);
    const sealed = page.sent.length;
    await page.room.sending.send("for those who stay");
    await server.say(ana, EntryType.message, messageBody("and again"));
    await vi.waitFor(() => expect(page.room.log.newest?.seq).toBe(record + 2));
    expect([keyOf(page), page.room.keys.missing, page.sent.length]).toEqual([undefined, true, sealed]);
    // Told once, it is not told with every entry.
    expect(found(page)).toEqual([`authority ${next}`]);
  });

  it("is found with a loaded page, and by a page that is loaded anew", async () => {
    const page = await enter();
    page.disconnect();
    const record = await withheld(page);
    const next = await server.say(ana, EntryType.message, messageBody("without Ben"));
    await page.restart();
    expect([found(page), keyOf(page)]).toEqual([[`authority ${next}`], undefined]);
    expect(next).toBe(record + 1);
  });

  it("is not suspected while the chain cannot be had, nor when it only comes late", async () => {
    const page = await enter();
    const record = await withheld(page);
    const hostile = server.tamper;
    server.down = (call) => call === "chain";
    await server.say(ana, EntryType.message, messageBody("without Ben"));
    await page.settled();
    expect([found(page), keyOf(page)]).toEqual([[], undefined]);
    // It is asked for again by itself.
    server.tamper = (call, entries) => (call === "live" ? hostile(call, entries) : entries);
    server.down = () => false;
    await vi.waitFor(() => expect(page.room.keys.epoch).toBe(1));
    expect(keyOf(page)).toBe(1);
    // What was shown in its place is found, once its place in the chain is known.
    await vi.waitFor(() => expect(found(page)).toContain(`fork ${record}`));
    expect(found(page)).not.toContain(`authority ${record + 1}`);
  });

  it("leaves what is to be sent unsealed, and says that a key is missing, when all later entries are withheld too", async () => {
    const page = await enter();
    const record = await withheld(page);
    const hostile = server.tamper;
    server.tamper = (call, entries) => hostile(call, entries).filter(({ seq }) => call !== "live" || seq < record);
    await page.room.sending.send("for those who stay");
    await vi.waitFor(() => expect(page.room.keys.missing).toBe(true));
    expect([found(page), keyOf(page), page.room.outbox.items.length]).toEqual([[], undefined, 1]);
    expect(server.log.filter(({ content }) => content.kind === "message" && content.text.includes("stay"))).toEqual([]);
  });
});

it("one place of the chain must not be shown as two entries", async () => {
  const seq = await topic("tea");
  for (let index = 0; index < 5; index++) await server.say(ana, EntryType.message, messageBody("chat"));
  const page = await enter(2);
  const other = await server.seal(ana, EntryType.message, messageBody("there was no step"));
  server.tamper = (call, entries) =>
    call === "history" ? entries.map((raw) => (raw.seq === seq ? { ...raw, envelope: other } : raw)) : entries;
  await page.room.pages.loadAround(seq);
  expect(found(page)).toContain(`fork ${seq}`);
});

it("a chain of several pages is fetched whole", async () => {
  for (let index = 1; index <= 210; index++) await topic(`topic ${index}`);
  const page = await enter();
  expect([topicOf(page), page.room.chain.links.length, found(page)]).toEqual(["topic 210", 211, []]);
  expect(page.room.chain.founding).toBe(server.log[0]?.hash);
}, 20_000);

it("a chain is fetched back to the pinned record, however many pages that takes, and little more", async () => {
  const page = await enter();
  server.chainPageMax = 1;
  for (let index = 1; index <= 120; index++) await topic(`topic ${index}`);
  await page.room.chain.refresh();
  expect([topicOf(page), page.room.chain.fold?.beginsAt, found(page)]).toEqual(["topic 120", 1, []]);
  // What came before the pinned record is fetched as far as a chain usually goes.
  await server.rekey(ana, { type: "rotate" }, [ana.device, recovery, ben.device, page.device]);
  await topic("after it");
  await vi.waitFor(() => expect(keyOf(page)).toBe(1), 5_000);
  await page.room.chain.refresh();
  expect(page.room.chain.links.length).toBeLessThanOrEqual(100);
  expect([topicOf(page), found(page)]).toEqual(["after it", []]);
}, 20_000);

it("a chain that could not be had at first is had when the room is followed", async () => {
  server.down = (call) => call === "chain";
  await topic("tea");
  const page = await RoomClient.enter(server);
  clients.push(page);
  await page.room.start();
  expect(page.room.chain.fold).toBeUndefined();
  server.down = () => false;
  await page.connect();
  expect([topicOf(page), found(page)]).toEqual(["tea", []]);
});

describe("who gets a new key", () => {
  let mia: Author;

  beforeEach(async () => {
    mia = author(await generateDevice());
    server.join(mia.device);
    await server.say(mia, EntryType.profile, profileBody("Mia", true, mia.device));
    await server.step(ana, { type: "role", role: "moderator", ...(await deviceKeys(mia.device)) });
  });

  it.each(["the owner", "the recovery key"])("is flagged when a moderator leaves out %s", async (whom) => {
    const page = await enter();
    const to = [ana.device, recovery, mia.device, ben.device, page.device];
    const without = whom === "the owner" ? ana.device : recovery;
    const at = await server.rekey(
      mia,
      { type: "rotate" },
      to.filter((device) => device !== without),
    );
    await vi.waitFor(() => expect(found(page)).toEqual([`authority ${at}`]), 5_000);
    expect(page.room.log.violations[0]?.entries.map(({ seq }) => seq)).toEqual([1, at]);
    expect(keyOf(page)).toBe(1);
  });

  it.each(["the owner", "the recovery key"])("is flagged when a moderator gives %s something else", async (whom) => {
    const page = await enter();
    server.deceived = whom === "the owner" ? ana.device.id : recovery.id;
    const to = [ana.device, recovery, mia.device, ben.device, page.device];
    const at = await server.rekey(mia, { type: "rotate" }, to);
    await vi.waitFor(() => expect(found(page)).toEqual([`authority ${at}`]), 5_000);
    expect(page.room.log.violations[0]?.entries.map(({ seq }) => seq)).toEqual([1, at]);
    expect(keyOf(page)).toBe(1);
  });

  // At once, after a while, and also where it says that this device has no part in the room, which it goes on serving.
  it.each(["not_found", "unavailable", "not_a_member"] as const)(
    "is flagged when the server hands the key out and answers %s to who asks who got it",
    async (code) => {
      const page = await enter();
      server.hiding = code;
      const at = await server.rekey(mia, { type: "rotate" }, [recovery, mia.device, page.device]);
      await vi.waitFor(() => expect(found(page)).toEqual([`authority ${at}`]), 10_000);
      expect(keyOf(page)).toBe(1);
    },
    15_000,
  );

  it("is not flagged when the server could not say for a while", async () => {
    const page = await enter();
    server.hiding = "unavailable";
    await server.rekey(mia, { type: "rotate" }, [ana.device, recovery, mia.device, page.device]);
    await vi.waitFor(() => expect(keyOf(page)).toBe(1), 5_000);
    server.hiding = undefined;
    const at = await server.rekey(mia, { type: "rotate" }, [ana.device, mia.device, page.device]);
    await vi.waitFor(() => expect(found(page)).toEqual([`authority ${at}`]), 5_000);
  });

  it("is flagged when the server hides who was left out", async () => {
    const page = await enter();
    const at = await server.rekey(mia, { type: "rotate" }, [recovery, mia.device, page.device]);
    server.sealed.get(1)?.set(ana.device.id, b64(random(80)));
    await page.room.chain.load();
    await vi.waitFor(() => expect(found(page)).toEqual([`authority ${at}`]), 5_000);
  });

  it("is nobody's fault when who dropped out governs less, or left, or was removed; and it is told who did", async () => {
    const page = await enter();
    await server.rekey(ana, { type: "rotate" }, [ana.device, recovery, mia.device, ben.device, page.device]);
    const cause = { type: "remove", devices: [ben.device.id], ban: false } as const;
    const at = await server.rekey(ana, cause, [ana.device, recovery, page.device]);
    await vi.waitFor(() => expect(keyOf(page)).toBe(2), 5_000);
    expect(await page.room.recipients.droppedOut(at)).toEqual([mia.device.id]);
    expect(await page.room.recipients.droppedOut(1)).toEqual([]);
    expect(found(page)).toEqual([]);
  });

  it("is whoever comes in the place of the recovery device, and the old one is missed by nobody", async () => {
    const page = await enter();
    const people = [ana.device, mia.device, ben.device, page.device];
    await server.rekey(ana, { type: "rotate" }, [...people, recovery]);
    const fresh = await generateDevice();
    const at = await server.rekey(ana, { type: "rotate" }, [...people, fresh], fresh);
    await vi.waitFor(() => expect(keyOf(page)).toBe(2), 5_000);
    expect(await page.room.recipients.droppedOut(at)).toEqual([]);
    expect(found(page)).toEqual([]);
    // The old one instead, which the server might still show as what it was.
    const without = await server.rekey(ana, { type: "rotate" }, [...people, recovery]);
    await vi.waitFor(() => expect(found(page)).toEqual([`authority ${without}`]), 5_000);
    expect(await page.room.recipients.droppedOut(without)).toEqual([fresh.id]);
  });

  it("is looked at by a newcomer as well", async () => {
    const at = await server.rekey(mia, { type: "rotate" }, [recovery, mia.device]);
    const page = await enter();
    await vi.waitFor(() => expect(found(page)).toEqual([`authority ${at}`]), 5_000);
  });
});
