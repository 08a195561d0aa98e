import { beforeAll, beforeEach, describe, expect, test } from "vitest";

import { fromB64 } from "../base64url.ts";
import { founding, member, meet, moderator, other, owner, recovery } from "../testing/chains.ts";
import { DrawnRoom } from "../testing/drawn-room.ts";
import { safetyNumber } from "./numbers.ts";

beforeAll(meet);

let room: DrawnRoom;

beforeEach(() => {
  room = new DrawnRoom(member);
  room.name(owner, "Olga");
  room.name(other, "Otto");
  room.name(member, "Mei");
});

describe("members", () => {
  test("are in the order of their names, with their roles from the chain", () => {
    room.step(owner, { type: "role", role: "moderator", ...other });
    const members = room.now().members();
    expect(members.map(({ name, role, me }) => [name, role, me])).toEqual([
      ["Mei", "member", true],
      ["Olga", "owner", false],
      ["Otto", "moderator", false],
    ]);
    expect(members.some(({ device }) => device === recovery.device)).toBe(false);
  });

  test("are shown where the server goes by another role than the chain", () => {
    room.members.present = [owner.device, other.device];
    room.members.serverRoles.set(owner.device, "owner").set(other.device, "owner");
    const shown = room.now().members();
    expect(shown.map(({ name, role, serverRole }) => [name, role, serverRole])).toEqual([
      ["Mei", "member", null],
      ["Olga", "owner", null],
      ["Otto", "member", "owner"],
    ]);
  });

  test("whose names look alike are told apart, in the list and beside what they wrote", () => {
    const [before] = [room.message(other, "hello")];
    expect(room.shown(before).fingerprint).toBeNull();
    room.name(moderator, "0tto");
    expect(
      room
        .now()
        .members()
        .filter(({ nameShared }) => nameShared),
    ).toHaveLength(2);
    expect(room.shown(before).fingerprint).toBe(other.device.slice(0, 4));
  });

  test("who are gone keep their names where they spoke", () => {
    const seq = room.message(other, "hello");
    room.begin(owner, { type: "remove", devices: [other.device], ban: true });
    room.members.present = [owner.device, member.device];
    expect(room.shown(seq).authorName).toBe("Otto");
    expect(room.now().members()).toHaveLength(2);
    expect(room.now().banned()).toEqual([
      { device: other.device, name: "Otto", fingerprint: other.device.slice(0, 4) },
    ]);
  });

  test("are I alone until the list is there, and without me in a room that I am not in any more", () => {
    room.members.present = [];
    expect(room.now().members()).toMatchObject([{ me: true, name: "Mei" }]);
    room.members.present = [owner.device, member.device];
    room.record.ended = "removed";
    expect(room.now().members()).toMatchObject([{ name: "Olga" }]);
  });
});

describe("numbers to compare", () => {
  test("say the whole device id, two bytes in five digits", () => {
    expect(safetyNumber("AAAAAQACAAP__4AAAGQnEA")).toBe("00000 00001 00002 00003 65535 32768 00100 10000");
    const bytes = safetyNumber(owner.device)
      .split(" ")
      .flatMap((group) => [Number(group) >> 8, Number(group) & 255]);
    expect(bytes).toEqual([...fromB64(owner.device)]);
  });

  test("of the room come from its first entry, and stay the same for its life", () => {
    const number = room.now().rules().fingerprint;
    expect(number).toMatch(/^(\d{5} ){7}\d{5}$/);
    expect(Number(number.slice(0, 5))).toBe(((fromB64(founding.hash)[0] ?? 0) << 8) | (fromB64(founding.hash)[1] ?? 0));
    room.begin(owner, { type: "rotate" });
    expect(room.now().rules().fingerprint).toBe(number);
  });

  test("of the room are not shown on the server's word alone", () => {
    room.chain.loaded = false;
    expect(room.now().rules().fingerprint).toBe("");
  });
});

test("what holds in the room is what the chain says", () => {
  room.step(owner, { type: "topic", topic: "Sunday" });
  room.step(owner, { type: "slow", intervalMs: 30_000 });
  room.step(owner, { type: "retention", ageMs: 3_600_000 });
  room.begin(owner, { type: "history" });
  room.keys.epoch = 1;
  expect(room.now().rules()).toMatchObject({
    role: "member",
    topic: "Sunday",
    slowMs: 30_000,
    retentionMs: 3_600_000,
    historyFrom: 1,
    epoch: 1,
    locked: false,
    keyMissing: false,
  });
});
