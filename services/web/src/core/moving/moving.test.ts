import "fake-indexeddb/auto";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { b64 } from "../base64url.ts";
import { type Bytes } from "../bytes.ts";
import { keepRoomKey, rawRoomKey } from "../crypto/room-key.ts";
import { type RoomRecord, type Store } from "../store.ts";
import { type House } from "../testing/house.ts";
import { comesTo, Movers, secretOf, stateOf } from "../testing/movers.ts";
import { type RoomServer } from "../testing/room-server.ts";

let movers: Movers;
let house: House;

beforeEach(async () => {
  movers = await Movers.meet();
  ({ house } = movers);
});

afterEach(() => movers.close());

async function rawKeys(store: Store, record: RoomRecord, server: RoomServer): Promise<Map<number, string>> {
  const raw = new Map<number, string>();
  for (const key of record.keys) raw.set(key.epoch, b64(await rawRoomKey(store.identity.local, server.bytes, key)));
  return raw;
}

describe("a move to another device", () => {
  it("takes all rooms along, under the old device's name, once the codes were compared", async () => {
    const [garden, kitchen] = [await movers.room("Garden"), await movers.room("Kitchen")];
    const [from, to] = await movers.upToCode([garden.record, kitchen.record]);
    expect(from.shown.at(-1)?.code).toMatch(/^\d{6}$/);
    expect(to.shown.at(-1)?.code).toBe(from.shown.at(-1)?.code);
    from.confirm();
    await Promise.all([from.done, to.done]);
    expect(from.shown.map(({ state }) => state)).toEqual(["waiting", "confirm", "sending", "done"]);
    expect(to.shown.map(({ state }) => state)).toEqual(["meeting", "confirm", "receiving", "done"]);
    expect(to.names).toEqual(["Ana"]);
    expect(to.entered.map(({ name }) => name)).toEqual(["Garden", "Kitchen"]);
    expect((await movers.newStore.rooms()).length).toBe(2);
    const [row] = await movers.newStore.outbox(garden.server.id);
    const body = row && (await movers.newStore.openText(`outbox ${row.local}`, row.body));
    expect(JSON.parse(body ?? "{}")).toMatchObject({ name: "Ana", joined: true });
  });

  it("makes invites for one use and one hour", async () => {
    const { record, server } = await movers.room("Garden");
    const [from, to] = await movers.upToCode([record]);
    from.confirm();
    await to.done;
    const [invite] = house.rooms.get(server.id)?.invites.values() ?? [];
    expect(invite).toMatchObject({ expires_in_ms: 3_600_000, uses_max: 1, uses: 1 });
  });

  it("hands over keys that no record leads back to", async () => {
    const { server, record } = await movers.room("Garden", 2);
    const [from, to] = await movers.upToCode([record]);
    from.confirm();
    await to.done;
    expect(stateOf(to)).toBe("done");
    const [kept] = await movers.newStore.rooms();
    if (kept === undefined) throw new Error("the room is not kept");
    const all = new Map(server.keys.map((key, epoch) => [epoch, b64(key)]));
    expect(new Map([...(await rawKeys(movers.newStore, kept, server))].sort(([a], [b]) => a - b))).toEqual(all);
    expect(kept.pinned).toEqual(server.chain.pin);
    expect(to.entered[0]?.keys.length).toBe(3);
  });

  it("keeps no key that its epoch's record does not commit to", async () => {
    const { server, record } = await movers.room("Garden", 1);
    // What the old device takes for the key of epoch 0 is the one of epoch 1.
    const wrong = await keepRoomKey(movers.oldStore.identity.local, server.bytes, 0, server.keys[1] as Bytes);
    const [from, to] = await movers.upToCode([
      { ...record, keys: [wrong, ...record.keys.filter(({ epoch }) => epoch !== 0)] },
    ]);
    from.confirm();
    await to.done;
    expect(stateOf(to)).toBe("done");
    expect((await movers.newStore.rooms())[0]?.keys.map(({ epoch }) => epoch)).toEqual([1]);
  });

  it("leaves rooms that are locked, and says which", async () => {
    const [garden, kitchen] = [await movers.room("Garden"), await movers.room("Kitchen")];
    house.lock(kitchen.server.id, true);
    const [from, to] = await movers.upToCode([garden.record, kitchen.record]);
    from.confirm();
    await Promise.all([from.done, to.done]);
    expect([stateOf(from), from.shown.at(-1)?.left]).toEqual(["done", ["Kitchen"]]);
    expect(to.entered.map(({ name }) => name)).toEqual(["Garden"]);
  });

  it("leaves rooms whose newest key the old device lacks", async () => {
    const { record } = await movers.room("Garden");
    const from = movers.from([record], undefined, false);
    const to = movers.to(secretOf(from));
    await comesTo(from, "confirm");
    from.confirm();
    await Promise.all([from.done, to.done]);
    expect([from.shown.at(-1)?.left, stateOf(to), to.entered]).toEqual([["Garden"], "done", []]);
    expect(house.calls).not.toContain("createInvite");
  });

  it("goes on when the server could not be heard for a while", async () => {
    const { record } = await movers.room("Garden", 1);
    const failed = new Set<string>();
    house.fault = (call) => {
      if (failed.has(call)) return undefined;
      failed.add(call);
      return "offline";
    };
    const [from, to] = await movers.upToCode([record]);
    from.confirm();
    await Promise.all([from.done, to.done]);
    expect([stateOf(from), stateOf(to), to.entered[0]?.keys.length]).toEqual(["done", "done", 2]);
    const parts = ["answer", "moveNonce", "offer", "putAnswer", "putNonce", "putOffer", "putReveal", "reveal"];
    const each = ["chain", "createInvite", "join", ...parts].sort();
    expect([...failed].sort()).toEqual(each);
  });
});
