import { beforeAll, beforeEach, describe, expect, it } from "vitest";

import { b64 } from "../base64url.ts";
import { random } from "../bytes.ts";
import { deviceId } from "../crypto/device.ts";
import { Chain, ChainRefused, type ChainEntry } from "./chain.ts";
import { byDevice, sortedDevices } from "./order.ts";
import { type Cause, type EpochRecord } from "./record.ts";
import { afterCause } from "./rules.ts";
import { foundingState, type DeviceKeys, type RoomState } from "./state.ts";
import { type Step } from "./step.ts";

const hash = () => b64(random(32));

async function someKeys(): Promise<DeviceKeys> {
  const [signKey, agreeKey] = [random(32), random(32)];
  return { device: await deviceId({ signKey, agreeKey }), signKey: b64(signKey), agreeKey: b64(agreeKey) };
}

let owner: DeviceKeys;
let recovery: DeviceKeys;
let moderator: DeviceKeys;
let other: DeviceKeys;
let member: DeviceKeys;
let founding: ChainEntry;
let chain: Chain;

function recordEntry(record: EpochRecord, signer: DeviceKeys, place: Partial<ChainEntry>): ChainEntry {
  const at = { seq: 1, hash: hash(), device: signer.device, counter: 0, targetSeq: 0, sentAtMs: 1_000 };
  return { ...at, epoch: record.epoch, ...place, body: { kind: "epoch_record", record } };
}

beforeAll(async () => {
  [owner, recovery, moderator, other, member] = (await Promise.all(Array.from({ length: 5 }, someKeys))) as [
    DeviceKeys,
    DeviceKeys,
    DeviceKeys,
    DeviceKeys,
    DeviceKeys,
  ];
  founding = recordEntry(
    {
      epoch: 0,
      commitment: hash(),
      previous: undefined,
      previousKey: undefined,
      recipients: undefined,
      cause: { type: "created" },
      state: foundingState(owner, recovery),
    },
    owner,
    {},
  );
});

function stepEntry(signer: DeviceKeys, step: Step, change: Partial<ChainEntry> = {}, previous = chain.newest.hash) {
  const { seq } = chain.newest;
  const at = { seq: seq + 2, hash: hash(), device: signer.device, epoch: chain.epoch, counter: 0, targetSeq: seq };
  return { ...at, sentAtMs: 2_000, ...change, body: { kind: "step", previous, step } } as const;
}

/** Applies a step; the fault, or `undefined` when it was applied. A fault must have changed nothing. */
function step(signer: DeviceKeys, what: Step, change: Partial<ChainEntry> = {}, previous?: string) {
  return applied(stepEntry(signer, what, change, previous));
}

function applied(entry: ChainEntry) {
  const before = [chain.state, chain.newest, chain.epoch];
  const outcome = chain.apply(entry);
  if (outcome.kind === "applied") {
    expect([chain.newest, outcome.state]).toEqual([{ seq: entry.seq, hash: entry.hash }, chain.state]);
    return undefined;
  }
  expect([chain.state, chain.newest, chain.epoch]).toEqual(before);
  return outcome.fault;
}

/** A record by `signer` whose state is what folding gives, whether or not the signer may. */
function record(signer: DeviceKeys, cause: Cause, change: Partial<ChainEntry> = {}, state?: RoomState) {
  const { seq, hash: previous } = chain.newest;
  const epoch = chain.epoch + 1;
  const next = afterCause(chain.state, owner.device, cause, epoch, change.sentAtMs ?? 2_000);
  const made: EpochRecord = {
    epoch,
    commitment: hash(),
    previous,
    previousKey: cause.type === "history" ? undefined : b64(random(60)),
    recipients: hash(),
    cause,
    state: state ?? (typeof next === "string" ? chain.state : next),
  };
  return applied(
    recordEntry(made, signer, { seq: seq + 2, targetSeq: seq, ...change, sentAtMs: change.sentAtMs ?? 2_000 }),
  );
}

beforeEach(() => {
  chain = Chain.found(founding);
  expect(step(owner, { type: "role", role: "moderator", ...moderator })).toBeUndefined();
});

it("a chain begins with a founding record alone", () => {
  expect([chain.role(owner.device), chain.role(recovery.device), chain.role(member.device)]).toEqual([
    "owner",
    "owner",
    "member",
  ]);
  if (founding.body.kind !== "epoch_record") throw new Error("not a record");
  const { state } = founding.body.record;
  const changed = (change: Partial<RoomState>) => ({
    ...founding,
    body: {
      ...founding.body,
      record: { ...(founding.body as { record: EpochRecord }).record, state: { ...state, ...change } },
    },
  });
  const refused = [
    { ...founding, seq: 2 },
    { ...founding, counter: 1 },
    { ...founding, targetSeq: 1 },
    { ...founding, device: member.device },
    { ...founding, device: recovery.device },
    changed({ topic: "already" }),
    changed({ banned: [member.device] }),
    changed({ admins: state.admins.filter((admin) => !admin.recovery) }),
    stepEntry(owner, { type: "lock", locked: true }),
  ];
  for (const entry of refused)
    expect(() => Chain.found(entry as ChainEntry), JSON.stringify(entry)).toThrow(ChainRefused);
});

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
    for (const what of [...forModerators, ...forOwners]) expect(step(member, what), what.type).toBe("authority");
    for (const what of forOwners) expect(step(moderator, what), what.type).toBe("authority");
    for (const what of forOwners) expect(chain.may(owner.device, what.type), what.type).toBe(true);
  });

  it("act only on lower roles, and never on a recovery device", () => {
    for (const on of [moderator, owner, recovery]) {
      expect(step(moderator, { type: "mute", device: on.device, untilMs: 9 })).toBe("authority");
      expect(step(moderator, { type: "erase", device: on.device })).toBe("authority");
    }
    expect(step(owner, { type: "mute", device: moderator.device, untilMs: 9 })).toBeUndefined();
    expect(step(owner, { type: "mute", device: owner.device, untilMs: 9 })).toBe("authority");
    expect(step(owner, { type: "role", role: "member", ...recovery })).toBe("authority");
    expect(step(recovery, { type: "role", role: "member", ...recovery })).toBe("authority");
    expect(step(owner, { type: "transfer", ...recovery })).toBe("authority");
  });

  it("never leave a room to its recovery key alone", () => {
    expect(step(owner, { type: "role", role: "moderator", ...owner })).toBe("authority");
    expect(step(recovery, { type: "role", role: "member", ...owner })).toBe("authority");
    expect(step(recovery, { type: "role", role: "owner", ...member })).toBeUndefined();
    expect(step(recovery, { type: "role", role: "member", ...owner })).toBeUndefined();
    expect([chain.role(owner.device), chain.role(member.device)]).toEqual(["member", "owner"]);
  });

  it("hand a room over: the signer stays as moderator, a recovery device as it is", () => {
    expect(step(owner, { type: "transfer", ...owner })).toBe("authority");
    expect(step(owner, { type: "transfer", ...member })).toBeUndefined();
    expect([chain.role(owner.device), chain.role(member.device)]).toEqual(["moderator", "owner"]);
    expect(step(recovery, { type: "transfer", ...owner })).toBeUndefined();
    expect([owner, member, recovery].map(({ device }) => chain.role(device))).toEqual(["owner", "owner", "owner"]);
  });

  it("beyond a list's limit have no effect", async () => {
    for (let count = 0; count < 80; count++) {
      expect(step(owner, { type: "mute", device: b64(random(16)), untilMs: 9 })).toBeUndefined();
    }
    expect(step(owner, { type: "mute", device: member.device, untilMs: 9 })).toBe("bounds");
    const [first] = chain.state.muted;
    expect(step(owner, { type: "mute", device: first?.device ?? "", untilMs: 10 })).toBeUndefined();
    expect(chain.state.muted.map(({ device }) => device)).toEqual(
      sortedDevices(chain.state.muted.map((m) => m.device)),
    );
    for (let count = 3; count < 20; count++) {
      expect(step(owner, { type: "role", role: "moderator", ...(await someKeys()) })).toBeUndefined();
    }
    expect(step(owner, { type: "role", role: "moderator", ...member })).toBe("bounds");
    const ids = chain.state.admins.map(({ device }) => device);
    expect(ids).toEqual([...ids].sort(byDevice));
  });

  it("that do not link to the newest chain entry have no effect", () => {
    const lock: Step = { type: "lock", locked: true };
    const { seq } = chain.newest;
    expect(step(owner, lock, { targetSeq: 1 })).toBe("link");
    expect(step(owner, lock, {}, hash())).toBe("link");
    expect(step(owner, lock, {}, founding.hash)).toBe("link");
    expect(step(owner, lock, { seq })).toBe("link");
    expect(step(owner, lock, { counter: 1 })).toBe("link");
    expect(step(owner, lock, { epoch: 1 })).toBe("link");
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
    expect(record(moderator, { type: "history" })).toBe("authority");
    expect(record(moderator, { type: "rotate" })).toBeUndefined();
    expect(record(owner, { type: "history" })).toBeUndefined();
    expect(chain.state.historyFrom).toBe(2);
    expect(record(recovery, { type: "rotate" })).toBeUndefined();
    expect([chain.state.historyFrom, chain.epoch]).toEqual([2, 3]);
  });

  it("by who may not have no effect", () => {
    expect(record(member, { type: "rotate" })).toBe("authority");
    for (const on of [moderator, owner, recovery]) {
      expect(record(moderator, { type: "remove", devices: [on.device], ban: false })).toBe("authority");
    }
    const both = sortedDevices([member.device, owner.device]);
    expect(record(moderator, { type: "remove", devices: both, ban: false })).toBe("authority");
    expect(record(owner, { type: "remove", devices: [recovery.device], ban: false })).toBe("authority");
  });

  it("whose state is not what folding gives have no effect", () => {
    const { state } = chain;
    const rotate: Cause = { type: "rotate" };
    expect(record(owner, rotate, {}, { ...state, topic: "smuggled" })).toBe("state");
    expect(record(owner, rotate, {}, { ...state, banned: [member.device] })).toBe("state");
    const admins = state.admins.map((admin) => ({ ...admin, role: "owner" as const }));
    expect(record(moderator, rotate, {}, { ...state, admins })).toBe("state");
    expect(record(owner, { type: "remove", devices: [moderator.device], ban: false }, {}, state)).toBe("state");
  });

  it("that do not link or skip an epoch have no effect", () => {
    expect(record(owner, { type: "rotate" }, { targetSeq: 1 })).toBe("link");
    expect(record(owner, { type: "rotate" }, { epoch: 2 })).toBe("link");
    expect(record(owner, { type: "rotate" }, { epoch: 0 })).toBe("link");
    expect(record(owner, { type: "rotate" }, { counter: 1 })).toBe("link");
  });
});

it("roles are those of the place, and a deletion counts by them", () => {
  const named = chain.newest.seq;
  expect(step(owner, { type: "role", role: "member", ...moderator })).toBeUndefined();
  const demoted = chain.newest.seq;
  const { device } = moderator;
  expect([named, named + 1, demoted, demoted + 1].map((seq) => chain.roleAt(device, seq))).toEqual([
    "member",
    "moderator",
    "moderator",
    "member",
  ]);
  expect(chain.roleAt(device, 1)).toBeUndefined();
  expect(chain.deletionCounts(device, member.device, named + 1)).toBe(true);
  expect(chain.deletionCounts(device, member.device, demoted + 1)).toBe(false);
  expect(chain.deletionCounts(device, owner.device, named + 1)).toBe(false);
  expect(chain.deletionCounts(member.device, member.device, 2)).toBe(true);
  expect(chain.deletionCounts(owner.device, member.device, 1)).toBe(false);
});

it("who enters later adopts the newest record and reads on to the same state", () => {
  expect(step(owner, { type: "topic", topic: "Gardens" })).toBeUndefined();
  const { seq, hash: previous } = chain.newest;
  const state = afterCause(chain.state, moderator.device, { type: "rotate" }, 1, 3_000);
  if (typeof state === "string") throw new Error(state);
  const made: EpochRecord = {
    epoch: 1,
    commitment: hash(),
    previous,
    previousKey: b64(random(60)),
    recipients: hash(),
    cause: { type: "rotate" },
    state,
  };
  const entry = recordEntry(made, moderator, { seq: seq + 4, targetSeq: seq, sentAtMs: 3_000 });
  expect(applied(entry)).toBeUndefined();
  const newcomer = Chain.adopt(entry);
  const next = stepEntry(moderator, { type: "lock", locked: true });
  expect([chain.apply(next).kind, newcomer.apply(next).kind]).toEqual(["applied", "applied"]);
  expect([newcomer.state, newcomer.epoch, newcomer.newest]).toEqual([chain.state, chain.epoch, chain.newest]);
  expect(newcomer.roleAt(moderator.device, 3)).toBeUndefined();

  const body = (change: Partial<EpochRecord>) => ({ kind: "epoch_record", record: { ...made, ...change } }) as const;
  const ended = { ...state, muted: [{ device: member.device, untilMs: 3_000 }] };
  const banned = { type: "remove", devices: [member.device], ban: true } as const;
  const refused: Partial<ChainEntry>[] = [
    { device: member.device },
    { counter: 1 },
    { epoch: 2 },
    { targetSeq: 0 },
    { targetSeq: entry.seq },
    { body: body({ state: ended }) },
    { body: body({ cause: banned }) },
    { body: body({ cause: { type: "remove", devices: [owner.device], ban: false } }) },
    { body: body({ cause: { type: "history" } }) },
  ];
  for (const change of refused)
    expect(() => Chain.adopt({ ...entry, ...change }), JSON.stringify(change)).toThrow(ChainRefused);
  expect(() => Chain.found(entry)).toThrow(ChainRefused);
});
