import "fake-indexeddb/auto";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { b64 } from "../base64url.ts";
import { concat, utf8, zeros, type Bytes } from "../bytes.ts";
import { generateDevice } from "../crypto/device.ts";
import {
  generateMoveNonce,
  moveCode,
  moveCommitment,
  moveId,
  moveNonce,
  moveOffer,
  moveReveal,
  openNonce,
  type MoveReveal,
} from "../crypto/move.ts";
import { hkdf, hkdfKey } from "../crypto/primitives.ts";
import { type House } from "../testing/house.ts";
import { GREAT_HASTE, Movers, problemOf, secretOf, stateOf } from "../testing/movers.ts";

let movers: Movers;
let house: House;

beforeEach(async () => {
  movers = await Movers.meet();
  ({ house } = movers);
});

afterEach(() => movers.close());

/** The offer of a device that is somewhere else. */
async function offerOf(secret: Bytes, own?: MoveReveal): Promise<{ own: MoveReveal; offer: Bytes }> {
  const { signKey, agreeKey } = await generateDevice();
  const said = own ?? { signKey, agreeKey, nonce: generateMoveNonce() };
  return { own: said, offer: await moveOffer(secret, said) };
}

/** A part of a mailbox as who has the link can make it, whatever it says. */
async function partOf(secret: Bytes, context: Bytes, said: Bytes): Promise<Bytes> {
  const raw = await hkdf(await hkdfKey(secret), zeros(0), "snug/v1/move-mac");
  const key = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return concat(said, new Uint8Array(await crypto.subtle.sign("HMAC", key, concat(context, said))));
}

/** With a bit changed. */
const bent = (bytes: Bytes, at: number) => bytes.map((byte, index) => (index === at ? byte ^ 1 : byte)) as Bytes;

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
    const { own, offer } = await offerOf(secret);
    house.mailboxes.set(b64(await moveId(secret)), { offer });
    house.before = async (call) => {
      const mailbox = house.mailboxes.get(b64(await moveId(secret)));
      if (call !== "reveal" || mailbox?.nonce === undefined || mailbox.reveal !== undefined) return;
      const nonce = await openNonce(secret, await moveCommitment(own), mailbox.nonce);
      if (nonce !== undefined) mailbox.reveal = await moveReveal(secret, { revealed: own, nonce });
    };
    await from.done;
    expect(from.shown.map(({ state }) => state)).toEqual(["waiting", "confirm", "failed"]);
    expect(problemOf(from)).toBe("move_not_found");
  });

  it("on the old device when the new one never says what it committed to", async () => {
    const from = movers.from([], GREAT_HASTE);
    const secret = secretOf(from);
    house.mailboxes.set(b64(await moveId(secret)), { offer: (await offerOf(secret)).offer });
    await from.done;
    expect(from.shown.map(({ state }) => state)).toEqual(["waiting", "failed"]);
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
    house.mailboxes.set(id, { offer: (await offerOf(secret)).offer });
    const to = movers.to(secret);
    await to.done;
    expect([stateOf(to), problemOf(to)]).toEqual(["failed", "move_taken"]);
  });

  it("on the old device when the offer was not made with the link", async () => {
    house.tamper = (part, bytes) => (part === "offer" ? bent(bytes, 40) : bytes);
    const from = movers.from([]);
    movers.to(secretOf(from));
    await from.done;
    expect(from.shown.map(({ state }) => state)).toEqual(["waiting", "failed"]);
    expect(problemOf(from)).toBe("move_taken");
  });

  it("on the new device when the answer was not made with the link", async () => {
    const { record } = await movers.room("Garden");
    house.tamper = (part, bytes) => (part === "answer" ? bent(bytes, 90) : bytes);
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

describe("who has the link and stands between the two devices", () => {
  it("does not choose its keys once it knows the old device's nonce", async () => {
    const from = movers.from([]);
    const secret = secretOf(from);
    const { own, offer } = await offerOf(secret);
    const { signKey, agreeKey } = await generateDevice();
    house.mailboxes.set(b64(await moveId(secret)), { offer });
    // It has the link, so that its proofs hold; but the keys are others than those it committed to.
    house.before = async (call) => {
      const mailbox = house.mailboxes.get(b64(await moveId(secret)));
      if (call !== "reveal" || mailbox?.nonce === undefined || mailbox.reveal !== undefined) return;
      const commitment = await moveCommitment(own);
      const nonce = await openNonce(secret, commitment, mailbox.nonce);
      if (nonce === undefined) throw new Error("it has the link");
      const context = concat(utf8("snug/v1/move-reveal"), commitment, nonce);
      mailbox.reveal = await partOf(secret, context, concat(signKey, agreeKey, own.nonce));
    };
    await from.done;
    expect(from.shown.map(({ state }) => state)).toEqual(["waiting", "failed"]);
    expect(problemOf(from)).toBe("move_taken");
  });

  it("learns the new device's keys only after it has told a nonce", async () => {
    const secret = generateMoveNonce();
    const to = movers.to(secret);
    await vi.waitFor(() => expect(house.mailboxes.size).toBe(1));
    const mailbox = house.mailboxes.get(b64(await moveId(secret)));
    if (mailbox === undefined) throw new Error("no mailbox");
    const { device } = movers.newStore.identity;
    const all = () => b64(new Uint8Array([...mailbox.offer, ...(mailbox.reveal ?? [])]));
    expect([stateOf(to), mailbox.reveal, mailbox.offer.length]).toEqual(["meeting", undefined, 64]);
    for (const key of [device.signKey, device.agreeKey])
      expect(mailbox.offer).not.toEqual(expect.arrayContaining([...key]));
    mailbox.nonce = await moveNonce(secret, mailbox.offer.slice(0, 32), generateMoveNonce());
    await vi.waitFor(() => expect(stateOf(to)).toBe("confirm"), { timeout: 5_000 });
    expect(all()).not.toBe(b64(mailbox.offer));
  });

  it.each(["moveNonce", "reveal"] as const)(
    "is refused where what it puts in place of %s was not made with the link",
    async (call) => {
      const part = call === "reveal" ? "reveal" : "nonce";
      house.tamper = (of, bytes) => (of === part ? bent(bytes, 3) : bytes);
      const from = movers.from([]);
      const to = movers.to(secretOf(from));
      const refusing = call === "reveal" ? from : to;
      await refusing.done;
      expect([stateOf(refusing), problemOf(refusing)]).toEqual(["failed", "move_taken"]);
      expect(house.calls).not.toContain("createInvite");
    },
  );

  it("finds the same code on both sides by chance alone", async () => {
    const secret = generateMoveNonce();
    const { own } = await offerOf(secret);
    const codes = new Set<string>();
    for (let at = 0; at < 50; at++) codes.add(await moveCode(secret, { revealed: own, nonce: generateMoveNonce() }));
    expect(codes.size).toBeGreaterThan(45);
  });
});
