import "fake-indexeddb/auto";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { ApiError, type Api } from "./api.ts";
import { profileBody } from "./bodies.ts";
import { generateDevice, type Device } from "./crypto/device.ts";
import { EntryType } from "./crypto/envelope.ts";
import { rawRoomKey } from "./crypto/room-key.ts";
import { generateRecoverySecret, recoveryDevice } from "./crypto/recovery.ts";
import { sha256 } from "./crypto/primitives.ts";
import { RoomUntrusted } from "./enter.ts";
import { recoverRoom, type RecoverWorld } from "./recovering.ts";
import { Store } from "./store.ts";
import { Governing } from "./testing/governed-room.ts";
import { House } from "./testing/house.ts";
import { author, RoomServer, type Author } from "./testing/room-server.ts";

const secret = generateRecoverySecret();
const NOT_HEARD = () => undefined;

let databases = 0;
let house: House;
let garden: RoomServer;
let ana: Author;
let recovery: Device;
let store: Store;
let world: RecoverWorld;

beforeEach(async () => {
  [ana, recovery] = [author(await generateDevice()), await recoveryDevice(secret)];
  garden = await RoomServer.found(ana, recovery);
  await garden.say(ana, EntryType.profile, profileBody("Ana", true, ana.device));
  house = new House();
  await house.add("Garden", garden, recovery, ana.device);
  store = await Store.open(`recovering-${databases++}`);
  world = {
    api: house.api(store.identity.device),
    store,
    hash: (password) => sha256(password),
    now: () => garden.atMs,
    origin: "https://snug.example",
    apiOf: (device) => house.api(device),
    setTimeout: (run) => setTimeout(run, 0),
  };
});

afterEach(() => store.close());

const recover = (name = "Garden", key = secret) => recoverRoom(world, { name, secret: key, myName: "Ana" }, NOT_HEARD);

it("the recovery key brings a new device in and makes it an owner", async () => {
  const record = await recover();
  expect(record).toMatchObject({ room: garden.id, role: "owner", pinned: garden.chain.pin });
  expect(garden.chain.role(store.identity.device.id)).toBe("owner");
  expect(await store.rooms()).toHaveLength(1);
});

it("it does so after the key was replaced twice and somebody was removed", async () => {
  const ben = await generateDevice();
  garden.join(ben);
  await garden.rekey(ana, { type: "remove", devices: [ben.id], ban: true }, [ana.device, recovery]);
  await garden.rekey(ana, { type: "rotate" }, [ana.device, recovery]);
  const { keys, pinned } = await recover();
  expect(pinned).toEqual(garden.chain.pin);
  const newest = keys.find(({ epoch }) => epoch === 2);
  expect(newest && (await rawRoomKey(store.identity.local, garden.bytes, newest))).toEqual(garden.keys[2]);
  expect(garden.chain.role(store.identity.device.id)).toBe("owner");
});

it("it comes back into a room that a record nobody can open has closed, when that is asked for", async () => {
  const governing = new Governing(garden, recovery);
  await garden.spoil(ana, [ana.device, recovery]);
  world = { ...world, apiOf: (device) => ({ ...governing.api(), ...house.api(device) }) as unknown as Api };
  await expect(recover()).rejects.toMatchObject({ code: "key_missing" });
  expect([garden.epoch, await store.rooms()]).toEqual([1, []]);
  const record = await recoverRoom(world, { name: "Garden", secret, myName: "Ana", goOn: true }, NOT_HEARD);
  expect(record.pinned).toEqual({ ...garden.chain.pin, epoch: 2 });
  expect(garden.chain.role(store.identity.device.id)).toBe("owner");
});

it("a lock does not keep it out, and stays", async () => {
  await garden.step(ana, { type: "lock", locked: true });
  house.lock(garden.id, true);
  await recover();
  expect(house.rooms.get(garden.id)?.locked).toBe(true);
  expect(garden.chain.role(store.identity.device.id)).toBe("owner");
  const locks = garden.log.filter(({ content }) => content.kind === "step" && content.step.type === "lock");
  expect(locks).toHaveLength(1);
});

describe("once an owner has made another", () => {
  const second = generateRecoverySecret();

  async function renew(type: "rotate" | "history" = "rotate"): Promise<Device> {
    const fresh = await recoveryDevice(second);
    await garden.rekey(ana, { type }, [ana.device, fresh], fresh);
    house.replaceRecovery(garden.id, fresh);
    return fresh;
  }

  it("the old recovery key gets in no more", async () => {
    await renew();
    await expect(recover()).rejects.toMatchObject({ code: "recovery_replaced" });
    expect(house.calls).not.toContain("createInvite");
    expect(await store.rooms()).toEqual([]);
  });

  it("the old recovery key is refused by this page also where the server lets it in", async () => {
    await renew();
    const housed = house.rooms.get(garden.id);
    if (housed === undefined) throw new Error("no room");
    housed.recovery = recovery;
    housed.retired.clear();
    await expect(recover()).rejects.toMatchObject({ code: "key_missing" });
    expect(house.calls).not.toContain("createInvite");
  });

  it.each(["rotate", "history"] as const)("the new one brings a device in (%s)", async (type) => {
    await garden.rekey(ana, { type: "history" }, [ana.device, recovery]);
    const fresh = await renew(type);
    await garden.rekey(ana, { type: "rotate" }, [ana.device, fresh]);
    const { keys, pinned } = await recover("Garden", second);
    expect(pinned).toEqual(garden.chain.pin);
    expect(garden.chain.role(store.identity.device.id)).toBe("owner");
    // As far back as anybody who enters: the cut before it holds for it too.
    expect(Math.min(...keys.map(({ epoch }) => epoch))).toBe(type === "history" ? 2 : 1);
  });
});

it("a key of no room is told apart from nothing", async () => {
  await expect(recover("Garden", generateRecoverySecret())).rejects.toMatchObject({ code: "device_unknown" });
  await expect(recover("Nowhere")).rejects.toBeInstanceOf(ApiError);
  expect(await store.rooms()).toEqual([]);
});

it("a room whose records name another recovery key is refused, also when the server lets one in", async () => {
  const other = await RoomServer.found(author(await generateDevice()), await generateDevice());
  await house.add("Kitchen", other, recovery);
  await expect(recover("Kitchen")).rejects.toBeInstanceOf(RoomUntrusted);
  expect(house.calls).not.toContain("createInvite");
  expect(await store.rooms()).toEqual([]);
});
