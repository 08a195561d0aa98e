import "fake-indexeddb/auto";

import { afterEach, beforeEach, expect, it } from "vitest";

import { b64 } from "./base64url.ts";
import { type Bytes } from "./bytes.ts";
import { generateDevice, type Device } from "./crypto/device.ts";
import { sha256 } from "./crypto/primitives.ts";
import { generateRecoverySecret, recoveryDevice, recoveryText } from "./crypto/recovery.ts";
import { type RawEntry } from "./frames.ts";
import { problemOf } from "./problems.ts";
import { recoverRoom } from "./recovering.ts";
import { Store, type RoomRecord } from "./store.ts";
import { hastyClock } from "./testing/hasty-clock.ts";
import { House } from "./testing/house.ts";
import { author, RoomServer, type Author } from "./testing/room-server.ts";

const secret = generateRecoverySecret();

let databases = 0;
let house: House;
let server: RoomServer;
let ana: Author;
let recovery: Device;
let store: Store;

beforeEach(async () => {
  [ana, recovery] = [author(await generateDevice()), await recoveryDevice(secret)];
  server = await RoomServer.found(ana, recovery);
  house = new House();
  await house.add("Garden", server, recovery, ana.device);
  store = await Store.open(`recovering-edges-${databases++}`);
});

afterEach(() => store.close());

function recover(key = secret): Promise<RoomRecord> {
  const { now, setTimeout } = hastyClock(1_000);
  const hash = (password: Bytes, salt: Bytes) => sha256(password, salt);
  const enter = { api: house.api(store.identity.device), store, hash, now };
  const world = { ...enter, origin: "https://chat.example", apiOf: (of: Device) => house.api(of), setTimeout };
  return recoverRoom(world, { name: "Garden", secret: key, myName: "Ana" }, () => undefined);
}

const me = () => store.identity.device.id;
const rekey = (type: "rotate" | "history") => server.rekey(ana, { type }, [ana.device, recovery]);

/** With a bit changed in the sealed part, if it is the entry at `seq`. */
function bent(entry: RawEntry, seq: number): RawEntry {
  const envelope = entry.envelope.map((byte, at) => (at === 100 ? byte ^ 1 : byte)) as Bytes;
  return entry.seq === seq ? { ...entry, envelope } : entry;
}

it("the recovery key reads back across cuts of the history", async () => {
  await rekey("history");
  await rekey("history");
  const record = await recover();
  const [kept] = await store.rooms();
  expect(kept?.keys.map(({ epoch }) => epoch).sort()).toEqual([0, 1, 2]);
  expect([record.keys.length, record.pinned, server.chain.role(me())]).toEqual([3, server.chain.pin, "owner"]);
});

it("the recovery key is good again, and changes nothing where the device owns the room already", async () => {
  await recover();
  const { head } = server;
  await recover();
  expect([server.head, (await store.rooms()).length, server.chain.role(me())]).toEqual([head, 1, "owner"]);
});

it("a recovery leaves no invite behind", async () => {
  await recover();
  expect(house.calls).toContain("createInvite");
  expect(house.rooms.get(server.id)?.invites.size).toBe(0);
});

it("the recovery key is stored nowhere, and neither is its device", async () => {
  await recover();
  const stored = JSON.stringify([await store.rooms(), await store.outbox(server.id)], (_, value: unknown) =>
    value instanceof Uint8Array ? b64(value) : value,
  );
  expect(stored).toContain(server.id);
  for (const text of [b64(secret), recoveryText(secret), recovery.id]) expect(stored).not.toContain(text);
});

it("a recovery goes on upon what others did in the meantime", async () => {
  let quiet = true;
  house.before = (call) => {
    if (call !== "step" || !quiet) return undefined;
    quiet = false;
    return server.step(ana, { type: "topic", topic: "Roses" });
  };
  await recover();
  expect([server.chain.role(me()), server.chain.state.topic]).toEqual(["owner", "Roses"]);
  expect(house.calls.filter((call) => call === "step").length).toBe(2);
});

it("a recovery waits for a server that does not answer at once", async () => {
  let silent = 3;
  house.fault = (call) => (call === "step" && silent-- > 0 ? "offline" : undefined);
  await recover();
  expect(server.chain.role(me())).toBe("owner");
});

it("the key of another room gets in nowhere", async () => {
  const foreign = generateRecoverySecret();
  const device = await recoveryDevice(foreign);
  await house.add("Kitchen", await RoomServer.found(ana, device), device, ana.device);
  await expect(recover(foreign)).rejects.toMatchObject({ code: "not_a_member" });
  expect([await store.rooms(), house.calls.includes("createInvite")]).toEqual([[], false]);
});

it.each([
  ["the room's first entry", 1, "room_untrusted"],
  ["the newest record", 2, "key_missing"],
])("a server that changes %s is not believed", async (_, seq, code) => {
  await rekey("rotate");
  server.tamper = (call, entries) => (call === "chain" ? entries.map((entry) => bent(entry, seq)) : entries);
  const problem = await recover().catch((error: unknown) => problemOf(error, 0));
  expect(problem).toEqual({ code });
  expect([await store.rooms(), house.calls.includes("createInvite")]).toEqual([[], false]);
});
