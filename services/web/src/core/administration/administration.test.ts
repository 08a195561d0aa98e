import "fake-indexeddb/auto";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { messageBody, profileBody } from "../bodies.ts";
import { type Step } from "../chain/step.ts";
import { deviceId, generateDevice, type Device } from "../crypto/device.ts";
import { EntryType } from "../crypto/envelope.ts";
import { deviceKeys } from "../crypto/epoch-record.ts";
import { auditEntries } from "../drawing/admin.ts";
import { RoomDrawing } from "../drawing/room-drawing.ts";
import { parseRecovery, recoveryDevice } from "../crypto/recovery.ts";
import { openRoomKey } from "../crypto/sealed-key.ts";
import { fromB64 } from "../base64url.ts";
import { random } from "../bytes.ts";
import { Governing } from "../testing/governed-room.ts";
import { RoomClient } from "../testing/room-client.ts";
import { author, RoomServer, type Author } from "../testing/room-server.ts";
import { EPOCH_KEYS_PAGE_MAX } from "../../protocol.gen.ts";
import { drawRecoveryKey, rekey, type Rekey } from "./rekey.ts";
import { changePassword, setRole, take } from "./steps.ts";

const NOT_HEARD = () => undefined;
const ROTATE: Rekey = { remove: [], ban: false, cutHistory: false, password: "another velvet canyon" };

let server: RoomServer;
let ana: Author;
let recovery: Device;
let governing: Governing;
/** A page whose device owns the room, and one of a plain member. */
let owner: RoomClient;
let member: RoomClient;

beforeEach(async () => {
  [ana, recovery] = [author(await generateDevice()), await generateDevice()];
  server = await RoomServer.found(ana, recovery);
  governing = new Governing(server, recovery, ana.device);
  await server.say(ana, EntryType.profile, profileBody("Ana", true, ana.device));
  owner = await RoomClient.enter(server);
  member = await RoomClient.enter(server);
  await server.step(ana, { type: "role", role: "owner", ...(await deviceKeys(owner.device)) });
  for (const client of [owner, member]) await client.connect();
  await owner.settled();
});

afterEach(() => {
  for (const client of [owner, member]) client.close();
});

function deviceOf(recoveryKey: string): Promise<Device> {
  return recoveryDevice(parseRecovery(recoveryKey) ?? new Uint8Array(32));
}

async function remainsReadable(...clients: RoomClient[]): Promise<void> {
  const seq = await server.say(ana, EntryType.message, messageBody("after that"));
  for (const { room } of clients) {
    await expect.poll(() => room.log.at(seq)?.content).toMatchObject({ kind: "message", text: "after that" });
    expect(room.log.violations).toEqual([]);
  }
}

describe("a step", () => {
  it("of every kind holds on the page of everybody else", async () => {
    const { device } = member;
    const steps: Step[] = [
      { type: "topic", topic: "Gardens" },
      { type: "lock", locked: true },
      { type: "slow", intervalMs: 30_000 },
      { type: "mute", device: device.id, untilMs: Number.MAX_SAFE_INTEGER },
      { type: "retention", ageMs: 86_400_000 },
      { type: "erase", device: device.id },
    ];
    for (const step of steps) await take(governing.steward(owner), step);
    await setRole(governing.steward(owner), device.id, "moderator");
    await changePassword(governing.steward(owner), "another velvet canyon", NOT_HEARD);
    await member.settled();
    expect(member.room.chain.state).toEqual(server.chain.state);
    expect(member.room.chain.state).toMatchObject({ topic: "Gardens", locked: true, slowMs: 30_000 });
    expect(member.room.chain.fold?.role(device.id)).toBe("moderator");
    expect(member.room.log.violations).toEqual([]);
  });

  it("that the chain does not allow is refused before anything is sent", async () => {
    const topic = take(governing.steward(member), { type: "topic", topic: "Mine" });
    await expect(topic).rejects.toMatchObject({ code: "not_allowed" });
    expect(governing.calls).toEqual([]);
  });

  it("upon what another admin did meanwhile is done if that was something else, and refused if it was the same", async () => {
    const behind = governing.steward(owner);
    owner.disconnect();
    await server.step(ana, { type: "lock", locked: true });
    await take(behind, { type: "topic", topic: "Gardens" });
    expect(server.chain.state).toMatchObject({ locked: true, topic: "Gardens" });
    await server.step(ana, { type: "topic", topic: "Trees" });
    await expect(take(behind, { type: "topic", topic: "Flowers" })).rejects.toMatchObject({ code: "chain_moved" });
    // It has been read anew, so that who looks and decides again succeeds.
    await take(behind, { type: "topic", topic: "Flowers" });
    expect(server.chain.state.topic).toBe("Flowers");
  });

  it("whose answer is lost is committed once", async () => {
    let lost = 0;
    governing.after = () => (lost++ === 0 ? "offline" : undefined);
    await take(governing.steward(owner), { type: "topic", topic: "Gardens" });
    expect(governing.calls).toEqual(["step", "step"]);
    expect(server.log.filter(({ content }) => content.kind === "step" && content.step.type === "topic")).toHaveLength(
      1,
    );
  });
});

describe("a new key", () => {
  it("reaches everybody who stays, and not who is removed", async () => {
    const removed = member.device;
    await rekey(governing.steward(owner), { ...ROTATE, remove: [removed.id] }, NOT_HEARD);
    expect(governing.recipients).toEqual(expect.arrayContaining([owner.device.id, ana.device.id, recovery.id]));
    expect(governing.recipients).not.toContain(removed.id);
    expect(governing.epoch).toMatchObject({ remove: [removed.id], ban: false });
    for (const sealed of server.sealed.get(1)?.values() ?? []) {
      await expect(openRoomKey(removed, server.bytes, 1, fromB64(sealed))).rejects.toThrow();
    }
    expect(owner.room.keys.epoch).toBe(1);
    await remainsReadable(owner);
  });

  it("of a moderator that nobody can open does not end the room: an owner closes the history, and all read on", async () => {
    await server.spoil(ana, [ana.device, owner.device, member.device, recovery]);
    await vi.waitFor(() => expect([owner, member].every(({ room }) => room.keys.missing)).toBe(true));
    const steward = governing.steward(owner);
    await expect(take(steward, { type: "topic", topic: "Gardens" })).rejects.toMatchObject({ code: "chain_moved" });
    await expect(rekey(steward, ROTATE, NOT_HEARD)).rejects.toMatchObject({ code: "chain_moved" });
    const rights = new RoomDrawing(owner.room);
    rights.refresh(0);
    expect([rights.may().history, rights.may().topic, rights.rules().stalled]).toEqual([true, false, true]);
    await rekey(steward, { ...ROTATE, cutHistory: true }, NOT_HEARD);
    expect(server.chain.pin.epoch).toBe(2);
    await expect.poll(() => member.room.keys.current?.epoch).toBe(2);
    await remainsReadable(owner, member);
    expect(member.room.chain.state).toEqual(server.chain.state);
    await take(governing.steward(owner), { type: "topic", topic: "Gardens" });
    await member.settled();
    expect(member.room.chain.state?.topic).toBe("Gardens");
  });

  it("that nobody can open, and what an owner did about it, is the same to a page that is loaded anew", async () => {
    await server.spoil(ana, [ana.device, owner.device, member.device, recovery]);
    await owner.restart();
    member.disconnect();
    await rekey(governing.steward(owner), { ...ROTATE, cutHistory: true }, NOT_HEARD);
    await member.restart();
    await expect.poll(() => member.room.keys.current?.epoch).toBe(2);
    await remainsReadable(owner, member);
  });

  it("is told of in the order that it is shown in", async () => {
    const told: string[] = [];
    await rekey(governing.steward(owner), ROTATE, ({ step }) => told.push(step));
    expect([...new Set(told)]).toEqual(["deriving", "collecting", "sealing", "committing"]);
    // Nothing is gone back to.
    expect(told.filter((step, at) => step !== told[at - 1])).toEqual([...new Set(told)]);
  });

  it("is sealed to nobody whom the server added by itself", async () => {
    const stranger = await generateDevice();
    server.join(stranger);
    const { excluded } = await rekey(governing.steward(owner), ROTATE, NOT_HEARD);
    expect(excluded).toEqual([stranger.id]);
    expect(governing.recipients).not.toContain(stranger.id);
    await remainsReadable(owner, member);
  });

  it(
    "is held up neither by devices that keep joining nor by hundreds that say nothing",
    { timeout: 30_000 },
    async () => {
      const silent = async () => {
        const keys = { signKey: random(32), agreeKey: random(32) };
        return { ...member.device, ...keys, id: await deviceId(keys) };
      };
      for (let count = 0; count < 600; count++) server.join(await silent());
      const [coming, late]: [Device[], string[]] = [await Promise.all(Array.from({ length: 9 }, silent)), []];
      // Whatever is asked of the server, somebody joins before it is done.
      governing.before = () => {
        const one = coming.pop() ?? member.device;
        server.join(one);
        late.push(one.id);
        return undefined;
      };
      const { excluded } = await rekey(governing.steward(owner), { ...ROTATE, remove: [member.device.id] }, NOT_HEARD);
      expect(governing.calls).toEqual(["stageKeys", "newEpoch"]);
      expect(excluded).toHaveLength(600);
      expect(JSON.stringify(governing.epoch).length).toBeLessThan(4_096);
      expect(governing.recipients.some((device) => late.includes(device))).toBe(false);
      const { members } = await owner.room.members.fetch();
      const states = members.flatMap(({ device, state }) => (late.includes(device) ? [state] : []));
      expect(new Set(states)).toEqual(new Set(["left"]));
      await remainsReadable(owner);
    },
  );

  it("is sealed to who governs as much, whoever the server does not list", async () => {
    const boss = await generateDevice();
    await server.step(ana, { type: "role", role: "owner", ...(await deviceKeys(boss)) });
    await owner.settled();
    await rekey(governing.steward(owner), ROTATE, NOT_HEARD);
    expect(governing.recipients).toEqual(expect.arrayContaining([boss.id, ana.device.id, recovery.id]));
    await remainsReadable(owner, member);
  });

  it("is made by a clock that the server believes", async () => {
    governing.aheadMs = 3_600_000;
    await rekey(governing.steward(owner), ROTATE, NOT_HEARD);
    expect(governing.calls).toEqual(["stageKeys", "newEpoch", "stageKeys", "newEpoch"]);
    expect(governing.epoch?.sent_at_ms).toBeLessThanOrEqual(server.atMs + 60_000);
    await remainsReadable(owner, member);
  });

  it("is handed out page by page, and says how far it is", { timeout: 30_000 }, async () => {
    for (let count = 0; count < EPOCH_KEYS_PAGE_MAX; count++) {
      const one = author(await generateDevice());
      server.join(one.device);
      await server.say(one, EntryType.profile, profileBody(`Member ${count}`, true, one.device));
    }
    await owner.settled();
    const told: number[] = [];
    const note = (step: { readonly step: string; readonly done?: number }) => told.push(step.done ?? -1);
    await rekey(governing.steward(owner), ROTATE, note);
    expect(governing.calls).toEqual(["stageKeys", "stageKeys", "newEpoch"]);
    // Everybody, Ana, both pages and the recovery key.
    expect(Math.max(...told)).toBe(EPOCH_KEYS_PAGE_MAX + 4);
    expect(governing.recipients).toHaveLength(EPOCH_KEYS_PAGE_MAX + 4);
    await remainsReadable(owner, member);
  });

  it.each(["stageKeys", "newEpoch"])(
    "interrupted before %s leaves the room as it was, and succeeds when repeated",
    async (at) => {
      governing.before = (call) => (call === at ? "offline" : undefined);
      await expect(rekey(governing.steward(owner), ROTATE, NOT_HEARD)).rejects.toMatchObject({ code: "offline" });
      expect(server.epoch).toBe(0);
      await remainsReadable(owner, member);
      governing.before = () => undefined;
      await rekey(governing.steward(owner), ROTATE, NOT_HEARD);
      await remainsReadable(owner, member);
      expect(owner.room.keys.epoch).toBe(1);
    },
  );

  it("whose answer never comes is found begun, and is not begun twice", async () => {
    governing.after = (call) => (call === "newEpoch" ? "offline" : undefined);
    await rekey(governing.steward(owner), ROTATE, NOT_HEARD);
    expect(server.epoch).toBe(1);
    await remainsReadable(owner, member);
  });

  it("after which the page ends at once is found by the page that comes next", async () => {
    governing.after = (call) => (call === "newEpoch" ? "not_allowed" : undefined);
    owner.disconnect();
    await rekey(governing.steward(owner), ROTATE, NOT_HEARD).catch(NOT_HEARD);
    await owner.restart();
    expect(owner.room.keys.epoch).toBe(1);
    await remainsReadable(owner, member);
  });

  it("that closes the history is sealed to everybody who stays, and leads no newcomer back", async () => {
    const before = await server.say(ana, EntryType.message, messageBody("between us"));
    await owner.settled();
    await rekey(governing.steward(owner), { ...ROTATE, cutHistory: true }, NOT_HEARD);
    expect(governing.epoch).toMatchObject({ remove: [], ban: false });
    expect(server.chain.state.historyFrom).toBe(1);
    const stay = [ana.device.id, recovery.id, owner.device.id, member.device.id];
    expect([...governing.recipients].sort()).toEqual(stay.sort());
    const record = server.chain.newest.seq;
    await remainsReadable(owner, member);
    for (const { room } of [owner, member]) {
      expect(room.log.at(before)?.content).toMatchObject({ text: "between us" });
      expect(room.chain.fold?.beginsAt).toBe(1);
    }
    const newcomer = await RoomClient.enter(server);
    await newcomer.connect();
    try {
      await remainsReadable(newcomer);
      const { room } = newcomer;
      expect(room.log.at(before)?.content.kind).toBe("unreadable");
      expect([room.keys.of(0), room.chain.fold?.beginsAt, room.chain.state?.historyFrom]).toEqual([
        undefined,
        record,
        1,
      ]);
      // What was done before is not for it to know, and the list does not say that it is whole.
      expect(auditEntries(room).map(({ change }) => change.what)).toEqual(["history"]);
      expect(auditEntries(member.room).map(({ change }) => change.what)).toEqual(["history", "role", "created"]);
    } finally {
      newcomer.close();
    }
  });

  it("that closes the history is an owner's to make, and removes nobody in the same go", async () => {
    await setRole(governing.steward(owner), member.device.id, "moderator");
    await member.settled();
    const cut = { ...ROTATE, cutHistory: true };
    await expect(rekey(governing.steward(member), cut, NOT_HEARD)).rejects.toMatchObject({ code: "not_allowed" });
    const both = { ...cut, remove: [member.device.id] };
    await expect(rekey(governing.steward(owner), both, NOT_HEARD)).rejects.toMatchObject({ code: "bad_request" });
    expect([server.epoch, governing.calls]).toEqual([0, ["step"]]);
  });

  it("of two admins at once is one's; the other is told, and can decide again", async () => {
    const behind = governing.steward(owner);
    owner.disconnect();
    await server.rekey(ana, { type: "rotate" }, [ana.device, recovery, owner.device, member.device]);
    await expect(rekey(behind, ROTATE, NOT_HEARD)).rejects.toMatchObject({ code: "chain_moved" });
    expect(server.epoch).toBe(1);
    await rekey(behind, ROTATE, NOT_HEARD);
    expect(server.epoch).toBe(2);
  });

  it("cannot be made to remove oneself", async () => {
    const wanted = { ...ROTATE, remove: [owner.device.id] };
    await expect(rekey(governing.steward(owner), wanted, NOT_HEARD)).rejects.toMatchObject({ code: "not_allowed" });
    expect(governing.calls).toEqual([]);
  });
});

describe("powers that a demoted owner left in the server's state", () => {
  it("are taken from whom they were given to before a key is replaced, which they would have kept from it", async () => {
    const puppet = await generateDevice();
    server.join(puppet);
    server.roles.set(puppet.id, "owner");
    await owner.room.members.load();
    expect(owner.room.members.serverRole(puppet.id)).toBe("owner");
    const before = server.chain.state;
    const { excluded } = await rekey(governing.steward(owner), ROTATE, NOT_HEARD);
    expect(excluded).toEqual([puppet.id]);
    expect([server.roles.size, server.epoch]).toEqual([0, 1]);
    expect(server.chain.state.admins).toEqual(before.admins);
    await remainsReadable(owner, member);
  });

  it("are given back to whom they were taken from", async () => {
    server.roles.set(ana.device.id, "member");
    await rekey(governing.steward(owner), ROTATE, NOT_HEARD);
    expect([server.roles.size, server.epoch, server.chain.role(ana.device.id)]).toEqual([0, 1, "owner"]);
  });
});

describe("a new recovery key", () => {
  it("takes the place of the old one, whose device is sealed to no more", async () => {
    const recoveryKey = drawRecoveryKey();
    await rekey(governing.steward(owner), { ...ROTATE, recoveryKey }, NOT_HEARD);
    const fresh = await deviceOf(recoveryKey);
    expect(governing.recipients).toContain(fresh.id);
    expect(governing.recipients).not.toContain(recovery.id);
    const { admins, recoveryBy } = server.chain.state;
    expect(admins.filter((admin) => admin.recovery).map(({ device }) => device)).toEqual([fresh.id]);
    expect(recoveryBy).toBe(owner.device.id);
    const sealed = fromB64(server.sealed.get(1)?.get(fresh.id) ?? "");
    expect(await openRoomKey(fresh, server.bytes, 1, sealed)).toEqual(server.keys[1]);
    for (const key of server.sealed.get(1)?.values() ?? []) {
      await expect(openRoomKey(recovery, server.bytes, 1, fromB64(key))).rejects.toThrow();
    }
    await remainsReadable(owner, member);
    expect(member.room.chain.state).toEqual(server.chain.state);
    // The next key is sealed to it like to everybody else.
    await rekey(governing.steward(owner), ROTATE, NOT_HEARD);
    expect(governing.recipients).toContain(fresh.id);
    await remainsReadable(owner, member);
  });

  it("comes with a removal in one commit", async () => {
    const recoveryKey = drawRecoveryKey();
    const wanted = { ...ROTATE, remove: [member.device.id], ban: true, recoveryKey };
    await rekey(governing.steward(owner), wanted, NOT_HEARD);
    expect(recoveryKey).toMatch(/^snug-recovery(-[a-z2-7]{4}){13}$/);
    expect([server.epoch, governing.epoch?.remove]).toEqual([1, [member.device.id]]);
    expect(governing.recipients).not.toContain(recovery.id);
  });

  it("is an owner's to make", async () => {
    await setRole(governing.steward(owner), member.device.id, "moderator");
    await member.settled();
    const wanted = rekey(governing.steward(member), { ...ROTATE, recoveryKey: drawRecoveryKey() }, NOT_HEARD);
    await expect(wanted).rejects.toMatchObject({ code: "not_allowed" });
    expect(governing.calls).toEqual(["step"]);
  });

  it.each(["offline", "unavailable"] as const)("is found in place where the server answered %s", async (code) => {
    governing.after = (call) => (call === "newEpoch" ? code : undefined);
    const recoveryKey = drawRecoveryKey();
    await rekey(governing.steward(owner), { ...ROTATE, recoveryKey }, NOT_HEARD);
    expect(governing.recipients).toContain((await deviceOf(recoveryKey)).id);
  });

  it("is not lost with the answer and the network: trying again goes on with the same one", async () => {
    const recoveryKey = drawRecoveryKey();
    governing.after = (call) => (call === "newEpoch" ? "offline" : undefined);
    owner.disconnect();
    server.down = (call) => call === "chain";
    const lost = rekey(governing.steward(owner), { ...ROTATE, recoveryKey }, NOT_HEARD);
    await expect(lost).rejects.toMatchObject({ code: "offline" });
    expect(server.epoch).toBe(1);
    server.down = () => false;
    governing.after = () => undefined;
    await owner.room.chain.refresh();
    await rekey(governing.steward(owner), { ...ROTATE, recoveryKey }, NOT_HEARD);
    const fresh = await deviceOf(recoveryKey);
    expect([server.epoch, governing.recipients.includes(fresh.id)]).toEqual([2, true]);
    expect(server.chain.state.admins.filter((admin) => admin.recovery).map(({ device }) => device)).toEqual([fresh.id]);
  });
});
