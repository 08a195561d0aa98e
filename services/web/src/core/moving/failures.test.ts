import "fake-indexeddb/auto";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { b64 } from "../base64url.ts";
import { type Bytes } from "../bytes.ts";
import { generateDevice } from "../crypto/device.ts";
import { moveId, moveOffer } from "../crypto/move.ts";
import { type House } from "../testing/house.ts";
import { GREAT_HASTE, Movers, problemOf, secretOf, stateOf } from "../testing/movers.ts";

let movers: Movers;
let house: House;

beforeEach(async () => {
  movers = await Movers.meet();
  ({ house } = movers);
});

afterEach(() => movers.close());

describe("a move that is stopped", () => {
  it("since the codes differ hands nothing over and makes no invites", async () => {
    const { record } = await movers.room("Garden");
    const [from] = await movers.upToCode([record]);
    from.stop();
    from.confirm();
    await from.done;
    expect(stateOf(from)).toBe("confirm");
    expect(house.calls).not.toContain("createInvite");
    expect([...house.mailboxes.values()].map(({ answer }) => answer)).toEqual([undefined]);
  });

  it("on the new device asks no more", async () => {
    const { record } = await movers.room("Garden");
    const [, to] = await movers.upToCode([record]);
    to.stop();
    await to.done;
    expect([stateOf(to), to.entered]).toEqual(["confirm", []]);
  });

  it("by a server that takes no answer ends the invites", async () => {
    const { record, server } = await movers.room("Garden");
    const [from] = await movers.upToCode([record]);
    house.fault = (call) => (call === "putAnswer" ? "too_large" : undefined);
    from.confirm();
    await from.done;
    expect([stateOf(from), problemOf(from)]).toEqual(["failed", "too_large"]);
    await vi.waitFor(() => expect(house.rooms.get(server.id)?.invites.size).toBe(0));
  });
});

describe("a move fails", () => {
  it("on the old device when no other one comes", async () => {
    const from = movers.from([], GREAT_HASTE);
    await from.done;
    expect([stateOf(from), problemOf(from)]).toEqual(["failed", "move_not_found"]);
  });

  it("on the old device when nobody confirms while the mailbox lives", async () => {
    const from = movers.from([], GREAT_HASTE);
    const secret = secretOf(from);
    house.mailboxes.set(b64(await moveId(secret)), { offer: await moveOffer(secret, movers.newStore.identity.device) });
    await from.done;
    expect(from.shown.map(({ state }) => state)).toEqual(["waiting", "confirm", "failed"]);
    expect(problemOf(from)).toBe("move_not_found");
  });

  it("on the old device when the mailbox has expired in the meantime", async () => {
    const { record } = await movers.room("Garden");
    const [from] = await movers.upToCode([record]);
    house.expire();
    from.confirm();
    await from.done;
    expect([stateOf(from), problemOf(from)]).toEqual(["failed", "move_not_found"]);
  });

  it("on the new device when it is not answered while the mailbox lives", async () => {
    const to = movers.to(new Uint8Array(32), GREAT_HASTE);
    await to.done;
    expect([stateOf(to), problemOf(to)]).toEqual(["failed", "move_not_found"]);
  });

  it("on the new device when another one was there before", async () => {
    const from = movers.from([]);
    const secret = secretOf(from);
    const id = b64(await moveId(secret));
    house.mailboxes.set(id, { offer: await moveOffer(secret, await generateDevice()) });
    const to = movers.to(secret);
    await to.done;
    expect([stateOf(to), problemOf(to)]).toEqual(["failed", "move_taken"]);
  });

  it("on the old device when the offer was not made with the link", async () => {
    house.tamper = (_, bytes) => bytes.map((byte, at) => (at === 40 ? byte ^ 1 : byte)) as Bytes;
    const from = movers.from([]);
    movers.to(secretOf(from));
    await from.done;
    expect(from.shown.map(({ state }) => state)).toEqual(["waiting", "failed"]);
    expect(problemOf(from)).toBe("move_taken");
  });

  it("on the new device when the answer was not made with the link", async () => {
    const { record } = await movers.room("Garden");
    house.tamper = (call, bytes) =>
      call === "answer" ? (bytes.map((byte, at) => (at === 90 ? byte ^ 1 : byte)) as Bytes) : bytes;
    const [from, to] = await movers.upToCode([record]);
    from.confirm();
    await to.done;
    expect([stateOf(to), problemOf(to), to.names, to.entered]).toEqual(["failed", "room_untrusted", [], []]);
  });

  it("when the server cannot be heard at all", async () => {
    house.fault = () => "offline";
    const from = movers.from([], GREAT_HASTE);
    const to = movers.to(secretOf(from), GREAT_HASTE);
    await Promise.all([from.done, to.done]);
    expect([problemOf(from), problemOf(to)]).toEqual(["offline", "offline"]);
  });

  it("when one room cannot be entered, while the others are", async () => {
    const [garden, kitchen] = [await movers.room("Garden"), await movers.room("Kitchen")];
    const [from, to] = await movers.upToCode([garden.record, kitchen.record]);
    from.confirm();
    await from.done;
    house.lock(garden.server.id, true);
    await to.done;
    expect([stateOf(to), problemOf(to)]).toEqual(["failed", "room_locked"]);
    expect(to.entered.map(({ name }) => name)).toEqual(["Kitchen"]);
  });
});
