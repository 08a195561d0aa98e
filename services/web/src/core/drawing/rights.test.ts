import { beforeAll, beforeEach, describe, expect, test } from "vitest";

import { chain, member, meet, moderator, nextRecord, other, owner, someKeys } from "../testing/chains.ts";
import { type DeviceKeys } from "../chain/state.ts";
import { DrawnRoom } from "../testing/drawn-room.ts";

beforeAll(meet);

function roomOf(me: DeviceKeys): DrawnRoom {
  const room = new DrawnRoom(me);
  for (const who of [owner, moderator, other, member]) room.name(who, who.device);
  room.step(owner, { type: "role", role: "moderator", ...moderator });
  return room;
}

const OWNERS = ["password", "roles", "transfer", "retention", "history", "recovery", "deleteRoom"];
const MODERATORS = ["topic", "lock", "slow", "mute", "remove", "eraseMember"];

const allowed = (room: DrawnRoom) =>
  Object.entries(room.now().may())
    .flatMap(([right, has]) => (has ? [right] : []))
    .sort();

test.each<[string, () => DeviceKeys, string[]]>([
  ["an owner", () => owner, [...OWNERS, ...MODERATORS, "invite"]],
  ["a moderator", () => moderator, [...MODERATORS, "invite"]],
  ["a member", () => member, ["invite"]],
])("%s may what their role in the chain gives, whatever the server calls them", (_, me, rights) => {
  const room = roomOf(me());
  room.record.role = "owner";
  expect(allowed(room)).toEqual(rights.sort());
});

describe("nothing may be done", () => {
  let room: DrawnRoom;
  beforeEach(() => (room = roomOf(owner)));

  test("in a room that has ended", () => {
    room.record.ended = "banned";
    expect(allowed(room)).toEqual([]);
  });

  test("without the room's newest key", () => {
    room.keys.missing = true;
    expect(allowed(room)).toEqual([]);
    expect(room.now().rules().keyMissing).toBe(true);
  });

  test("but inviting before the chain is known", () => {
    room.chain.loaded = false;
    room.record.role = "owner";
    expect(allowed(room)).toEqual(["invite"]);
    expect(room.now().members()[0]?.may).toEqual({ mute: false, remove: false, erase: false, role: false });
    // The role that was known last is shown, and gives nothing.
    expect(room.now().rules().role).toBe("owner");
  });
});

test("after a record that was refused nothing is left but to close the history, and what needs no step", () => {
  const room = roomOf(owner);
  const bad = nextRecord(owner, { type: "rotate" }, { seq: room.next }, { ...chain.state, topic: "not folded" });
  expect(chain.apply(bad).kind).toBe("fault");
  expect(allowed(room)).toEqual(["deleteRoom", "history", "invite"]);
});

test("a locked room makes no invites", () => {
  const room = roomOf(owner);
  room.step(moderator, { type: "lock", locked: true });
  expect(room.now().may().invite).toBe(false);
  expect(room.now().rules().locked).toBe(true);
});

describe("a member", () => {
  const may = (room: DrawnRoom, of: DeviceKeys) =>
    room
      .now()
      .members()
      .find(({ device }) => device === of.device)?.may;

  test("can be dealt with by those above only", () => {
    const room = roomOf(moderator);
    expect(may(room, member)).toEqual({ mute: true, remove: true, erase: true, role: false });
    expect(may(room, owner)).toEqual({ mute: false, remove: false, erase: false, role: false });
    expect(may(room, moderator)).toEqual({ mute: false, remove: false, erase: false, role: false });
  });

  test("gets a role from an owner, and the last owner keeps theirs", () => {
    const room = roomOf(owner);
    expect(may(room, moderator)).toEqual({ mute: true, remove: true, erase: true, role: true });
    expect(may(room, owner)?.role).toBe(false);
    room.step(owner, { type: "role", role: "owner", ...moderator });
    expect(may(room, owner)?.role).toBe(true);
    expect(may(room, moderator)).toEqual({ mute: false, remove: false, erase: false, role: true });
  });
});

describe("a mute", () => {
  test("is over when its time is, and the drawing says when that will be", () => {
    const room = roomOf(member);
    room.step(owner, { type: "mute", device: member.device, untilMs: room.nowMs + 500 });
    room.step(owner, { type: "mute", device: other.device, untilMs: room.nowMs + 200 });
    expect(room.now().rules().mutedUntilMs).toBe(room.nowMs + 500);
    expect(room.now().nextAtMs).toBe(room.nowMs + 200);
    room.nowMs += 500;
    expect(room.now().rules().mutedUntilMs).toBeNull();
    expect(room.now().nextAtMs).toBe(Infinity);
    expect(
      room
        .now()
        .members()
        .every(({ mutedUntilMs }) => mutedUntilMs === null),
    ).toBe(true);
  });

  test("lasts by my clock, also when who made a new key has one that is ahead", () => {
    const room = roomOf(member);
    const untilMs = room.nowMs + 500;
    for (const each of [member, other]) room.step(owner, { type: "mute", device: each.device, untilMs });
    room.begin(owner, { type: "rotate" }, untilMs);
    expect(room.chain.state?.muted).toEqual([]);
    expect(room.now().rules().mutedUntilMs).toBe(untilMs);
    // Removing somebody ends it, and so does lifting it.
    room.begin(owner, { type: "remove", devices: [other.device], ban: false }, untilMs);
    expect(room.chain.mutes).toEqual([{ device: member.device, untilMs }]);
    room.step(owner, { type: "mute", device: member.device, untilMs: 0 });
    expect(room.now().rules().mutedUntilMs).toBeNull();
  });

  test("without an end lasts until it is lifted", () => {
    const room = roomOf(member);
    room.step(owner, { type: "mute", device: member.device, untilMs: Number.MAX_SAFE_INTEGER });
    expect(room.now().rules().mutedUntilMs).toBe(Infinity);
    room.step(owner, { type: "mute", device: member.device, untilMs: 0 });
    expect(room.now().rules().mutedUntilMs).toBeNull();
  });
});

test("the wait for slow mode is shown, and the drawing says when it ends", () => {
  const room = roomOf(member);
  expect(room.now().rules().slowUntilMs).toBeNull();
  room.slow.until = room.nowMs + 30;
  expect(room.now().rules().slowUntilMs).toBe(room.nowMs + 30);
  expect(room.now().nextAtMs).toBe(room.nowMs + 30);
});

test("an owner is told where whoever made the recovery key owns the room no more, until another has taken its place", async () => {
  const room = roomOf(other);
  const astray = () => room.now().rules().recoveryAstray;
  room.step(owner, { type: "transfer", ...other });
  expect(astray()).toBe(true);
  expect(
    room
      .now()
      .members()
      .map(({ name, mayHaveRecovery }) => [name, mayHaveRecovery]),
  ).toEqual(
    expect.arrayContaining([
      [owner.device, true],
      [member.device, false],
    ]),
  );
  room.begin(other, { type: "rotate" }, 2_000, await someKeys());
  expect([astray(), chain.state.recoveryBy]).toEqual([false, other.device]);
});

test("nobody but owners is told so", () => {
  const room = roomOf(moderator);
  room.step(owner, { type: "transfer", ...other });
  expect(room.now().rules().recoveryAstray).toBe(false);
});
