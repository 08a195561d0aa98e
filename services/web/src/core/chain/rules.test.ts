import { beforeAll, beforeEach, describe, expect, it } from "vitest";

import { b64 } from "../base64url.ts";
import { random } from "../bytes.ts";
import { EntryType } from "../crypto/envelope.ts";
import { byDevice, sortedDevices } from "./order.ts";
import { type Cause } from "./record.ts";
import { Chain } from "./chain.ts";
import { type DeviceKeys } from "./state.ts";
import { type Step } from "./step.ts";
import {
  applied,
  begin,
  chain,
  founding,
  hash,
  member,
  meet,
  moderator,
  nextRecord,
  other,
  owner,
  record,
  recovery,
  refused,
  someKeys,
  step,
} from "../testing/chains.ts";

beforeAll(meet);
beforeEach(begin);

describe("steps", () => {
  it("change what they name", () => {
    const steps: Step[] = [
      { type: "topic", topic: "Gardens" },
      { type: "lock", locked: true },
      { type: "slow", intervalMs: 5_000 },
      { type: "mute", device: member.device, untilMs: 9_000 },
      { type: "erase", device: member.device },
    ];
    for (const what of steps) expect(step(moderator, what), what.type).toBeUndefined();
    expect(step(owner, { type: "retention", ageMs: 3_600_000 })).toBeUndefined();
    expect(step(owner, { type: "password", grant: member.device })).toBeUndefined();
    expect(chain.state).toMatchObject({
      topic: "Gardens",
      locked: true,
      slowMs: 5_000,
      retentionMs: 3_600_000,
      muted: [{ device: member.device, untilMs: 9_000 }],
    });
    expect(step(moderator, { type: "mute", device: member.device, untilMs: 0 })).toBeUndefined();
    expect(chain.state.muted).toEqual([]);
  });

  it("that change nothing are allowed", () => {
    const { state } = chain;
    expect(step(moderator, { type: "unban", device: member.device })).toBeUndefined();
    expect(step(moderator, { type: "mute", device: member.device, untilMs: 0 })).toBeUndefined();
    expect(step(owner, { type: "role", role: "member", ...member })).toBeUndefined();
    expect(chain.state).toEqual(state);
  });

  it("by members have no effect, nor by moderators where an owner is needed", () => {
    const forModerators: Step[] = [
      { type: "topic", topic: "x" },
      { type: "lock", locked: true },
      { type: "slow", intervalMs: 1 },
      { type: "mute", device: other.device, untilMs: 9 },
      { type: "erase", device: other.device },
      { type: "unban", device: other.device },
    ];
    const forOwners: Step[] = [
      { type: "retention", ageMs: 0 },
      { type: "password", grant: other.device },
      { type: "role", role: "moderator", ...other },
      { type: "transfer", ...other },
    ];
    for (const what of [...forModerators, ...forOwners]) expect(step(member, what), what.type).toBe("not_allowed");
    for (const what of forOwners) expect(step(moderator, what), what.type).toBe("not_allowed");
    for (const what of forOwners) expect(chain.may(owner.device, what.type), what.type).toBe(true);
  });

  it("act only on lower roles, and never on a recovery device", () => {
    for (const on of [moderator, owner, recovery]) {
      expect(step(moderator, { type: "mute", device: on.device, untilMs: 9 })).toBe("not_allowed");
      expect(step(moderator, { type: "erase", device: on.device })).toBe("not_allowed");
    }
    expect(step(owner, { type: "mute", device: moderator.device, untilMs: 9 })).toBeUndefined();
    expect(step(owner, { type: "mute", device: owner.device, untilMs: 9 })).toBe("not_allowed");
    expect(step(owner, { type: "role", role: "member", ...recovery })).toBe("not_allowed");
    expect(step(recovery, { type: "role", role: "member", ...recovery })).toBe("not_allowed");
    expect(step(owner, { type: "transfer", ...recovery })).toBe("not_allowed");
  });

  it("never leave a room to its recovery key alone", () => {
    expect(step(owner, { type: "role", role: "moderator", ...owner })).toBe("last_owner");
    expect(step(recovery, { type: "role", role: "member", ...owner })).toBe("last_owner");
    expect(step(recovery, { type: "role", role: "owner", ...member })).toBeUndefined();
    expect(step(recovery, { type: "role", role: "member", ...owner })).toBeUndefined();
    expect([chain.role(owner.device), chain.role(member.device)]).toEqual(["member", "owner"]);
  });

  it("hand a room over: the signer stays as moderator, a recovery device as it is", () => {
    expect(step(owner, { type: "transfer", ...owner })).toBe("not_allowed");
    expect(step(owner, { type: "transfer", ...member })).toBeUndefined();
    expect([chain.role(owner.device), chain.role(member.device)]).toEqual(["moderator", "owner"]);
    expect(step(recovery, { type: "transfer", ...owner })).toBeUndefined();
    expect([owner, member, recovery].map(({ device }) => chain.role(device))).toEqual(["owner", "owner", "owner"]);
  });

  it("beyond a list's limit have no effect", async () => {
    for (let count = 0; count < 80; count++) {
      expect(step(owner, { type: "mute", device: b64(random(16)), untilMs: 9 })).toBeUndefined();
    }
    expect(step(owner, { type: "mute", device: member.device, untilMs: 9 })).toBe("out_of_bounds");
    const [first] = chain.state.muted;
    expect(step(owner, { type: "mute", device: first?.device ?? "", untilMs: 10 })).toBeUndefined();
    expect(chain.state.muted.map(({ device }) => device)).toEqual(
      sortedDevices(chain.state.muted.map((m) => m.device)),
    );
    for (let count = 3; count < 20; count++) {
      expect(step(owner, { type: "role", role: "moderator", ...(await someKeys()) })).toBeUndefined();
    }
    expect(step(owner, { type: "role", role: "moderator", ...member })).toBe("out_of_bounds");
    const ids = chain.state.admins.map(({ device }) => device);
    expect(ids).toEqual([...ids].sort(byDevice));
  });

  it("that do not name the newest chain entry have no effect", () => {
    const lock: Step = { type: "lock", locked: true };
    const { seq } = chain.newest;
    expect(step(owner, lock, { targetSeq: 1 })).toBe("unlinked");
    expect(step(owner, lock, { seq })).toBe("unlinked");
    expect(step(owner, lock, { type: EntryType.message })).toBe("unlinked");
    expect(step(owner, lock, {}, hash())).toBe("unlinked");
    expect(step(owner, lock, {}, founding.hash)).toBe("unlinked");
    expect(step(owner, lock, { counter: 1 })).toBe("out_of_bounds");
    expect(step(owner, lock, { epoch: 1 })).toBe("epoch");
    expect(step(owner, lock, { content: { kind: "unreadable" } })).toBe("unreadable");
    expect(chain.state.locked).toBe(false);
    expect(step(owner, lock)).toBeUndefined();
  });
});

describe("records", () => {
  it("remove and ban devices, and forget mutes that have ended", () => {
    for (const [device, untilMs] of [
      [member.device, 9_000],
      [other.device, 5_000],
      [b64(random(16)), 6_000],
    ] as const) {
      expect(step(owner, { type: "mute", device, untilMs })).toBeUndefined();
    }
    const devices = sortedDevices([member.device, moderator.device]);
    expect(record(owner, { type: "remove", devices, ban: true }, { sentAtMs: 5_000 })).toBeUndefined();
    expect(chain.epoch).toBe(1);
    expect(chain.state.banned).toEqual(devices);
    expect(chain.state.muted.map(({ untilMs }) => untilMs)).toEqual([6_000]);
    expect(chain.role(moderator.device)).toBe("member");
    expect(step(owner, { type: "unban", device: member.device })).toBeUndefined();
    expect(chain.state.banned).toEqual([moderator.device]);
    expect(record(owner, { type: "remove", devices: [other.device], ban: false })).toBeUndefined();
    expect(chain.state.banned).toEqual([moderator.device]);
  });

  it("cut the history off only by an owner", () => {
    expect(record(moderator, { type: "rotate" })).toBeUndefined();
    expect(record(owner, { type: "history" })).toBeUndefined();
    expect(chain.state.historyFrom).toBe(2);
    expect(record(recovery, { type: "rotate" })).toBeUndefined();
    expect([chain.state.historyFrom, chain.epoch]).toEqual([2, 3]);
  });

  it("by who may not have no effect", () => {
    expect(refused(member, { type: "rotate" })).toBe("not_allowed");
    expect(refused(moderator, { type: "history" })).toBe("not_allowed");
    for (const on of [moderator, owner, recovery]) {
      expect(refused(moderator, { type: "remove", devices: [on.device], ban: false })).toBe("not_allowed");
    }
    const both = sortedDevices([member.device, owner.device]);
    expect(refused(moderator, { type: "remove", devices: both, ban: false })).toBe("not_allowed");
    expect(refused(owner, { type: "remove", devices: [recovery.device], ban: false })).toBe("not_allowed");
  });

  it("whose state is not what folding gives have no effect", () => {
    const { state } = chain;
    const rotate: Cause = { type: "rotate" };
    expect(refused(owner, rotate, {}, { ...state, topic: "smuggled" })).toBe("state");
    expect(refused(owner, rotate, {}, { ...state, banned: [member.device] })).toBe("state");
    const admins = state.admins.map((admin) => ({ ...admin, role: "owner" as const }));
    expect(refused(moderator, rotate, {}, { ...state, admins })).toBe("state");
    expect(refused(owner, { type: "remove", devices: [moderator.device], ban: false }, {}, state)).toBe("state");
  });

  it("that do not link or skip an epoch have no effect", () => {
    expect(refused(owner, { type: "rotate" }, { targetSeq: 1 })).toBe("unlinked");
    expect(refused(owner, { type: "rotate" }, { epoch: 2 })).toBe("epoch");
    expect(refused(owner, { type: "rotate" }, { epoch: 0 })).toBe("epoch");
    expect(refused(owner, { type: "rotate" }, { counter: 1 })).toBe("out_of_bounds");
  });

  it("that were refused use their epoch up, and only a cut of the history mends it", () => {
    expect(record(moderator, { type: "rotate" }, { content: { kind: "unreadable" } })).toBe("unreadable");
    expect([chain.epoch, chain.nextEpoch]).toEqual([0, 2]);
    expect(chain.nextStep(owner.device, { type: "lock", locked: true })).toBe("epoch");
    expect(step(owner, { type: "lock", locked: true })).toBe("epoch");
    expect(step(owner, { type: "lock", locked: true }, { epoch: 1 })).toBe("epoch");
    begin();
    expect(record(member, { type: "rotate" })).toBe("not_allowed");
    expect(record(owner, { type: "rotate" })).toBe("epoch");
    expect([chain.epoch, chain.nextEpoch]).toEqual([0, 3]);
    expect(record(owner, { type: "history" })).toBeUndefined();
    expect([chain.epoch, chain.nextEpoch, chain.state.historyFrom]).toEqual([3, 4, 3]);
    expect(step(owner, { type: "lock", locked: true })).toBeUndefined();
  });
});

describe("another recovery device", () => {
  const renew = (signer: DeviceKeys, keys: DeviceKeys, cause: Cause = { type: "rotate" }) =>
    applied(nextRecord(signer, cause, {}, undefined, keys));

  it("takes the place of the old one, which may nothing from then on", async () => {
    const fresh = await someKeys();
    expect(step(owner, { type: "transfer", ...other })).toBeUndefined();
    const devices = [owner.device];
    expect(renew(other, fresh, { type: "remove", devices, ban: true })).toBeUndefined();
    expect(chain.state.admins.filter((admin) => admin.recovery).map(({ device }) => device)).toEqual([fresh.device]);
    expect([chain.state.recoveryBy, chain.role(recovery.device)]).toEqual([other.device, "member"]);
    expect(step(recovery, { type: "role", role: "owner", ...member })).toBe("not_allowed");
    expect(step(fresh, { type: "role", role: "owner", ...member })).toBeUndefined();
    expect(renew(member, recovery)).toBeUndefined();
  });

  it("is named by an owner alone, not by the recovery device", async () => {
    const fresh = await someKeys();
    for (const signer of [moderator, member, recovery]) {
      begin();
      expect(renew(signer, fresh)).toBe("not_allowed");
    }
  });

  it("is nobody who governs or is banned, and not the one there is", () => {
    for (const keys of [owner, moderator, recovery, member]) {
      begin();
      expect(record(owner, { type: "remove", devices: [member.device], ban: true })).toBeUndefined();
      expect(renew(owner, keys)).toBe("out_of_bounds");
    }
  });

  it("is not named by a record whose signer had seen nothing of the room: no record counts then", () => {
    const prev = { seq: 0, hash: chain.newest.hash };
    const blind = nextRecord(owner, { type: "rotate" }, { prev });
    expect(() => Chain.adopt(blind)).toThrow();
    expect(applied(blind)).toBe("unlinked");
    expect(() => Chain.found({ ...founding, prev: { ...prev, seq: 1 } })).toThrow();
  });

  it("is nobody whom the same record removes, or no newcomer could enter by it", () => {
    for (const ban of [false, true]) {
      begin();
      const bad = nextRecord(owner, { type: "remove", devices: [member.device], ban }, {}, undefined, member);
      expect(() => Chain.adopt(bad)).toThrow();
      expect(applied(bad)).toBe("out_of_bounds");
    }
  });

  it("stands in the record and in its state, with who made it", async () => {
    const fresh = await someKeys();
    const good = chain.nextState(owner.device, { type: "rotate" }, 2_000, fresh);
    if (typeof good === "string") throw new Error(good);
    const rotate = { type: "rotate" } as const;
    expect(refused(owner, rotate, {}, good)).toBe("state");
    for (const change of [{ recoveryBy: member.device }, { admins: chain.state.admins }]) {
      begin();
      expect(applied(nextRecord(owner, rotate, {}, { ...good, ...change }, fresh))).toBe("state");
    }
  });

  it("is believed by who begins with its record only as far as that shows it", async () => {
    const fresh = await someKeys();
    const good = nextRecord(owner, { type: "rotate" }, {}, undefined, fresh);
    expect(Chain.adopt(good).state.recoveryBy).toBe(owner.device);
    const { state } = chain;
    for (const [signer, said] of [
      [moderator, undefined],
      [owner, state],
    ] as const) {
      const bad = nextRecord(signer, { type: "rotate" }, {}, said, fresh);
      expect(() => Chain.adopt(bad)).toThrow();
    }
  });
});
