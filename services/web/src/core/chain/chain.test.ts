import { beforeAll, beforeEach, describe, expect, it } from "vitest";

import { b64 } from "../base64url.ts";
import { random } from "../bytes.ts";
import { deviceId } from "../crypto/device.ts";
import { EntryType } from "../crypto/envelope.ts";
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

/** Changes to an entry, its header's among the others. */
type Change = Partial<ChainEntry["header"] & Pick<ChainEntry, "seq" | "hash" | "sentAtMs" | "content">>;

function entryOf(content: ChainEntry["content"], at: Change): ChainEntry {
  const type = content.kind === "step" ? EntryType.step : EntryType.epochRecord;
  const { seq = 1, hash: own = hash(), sentAtMs = 1_000, content: other = content, ...header } = at;
  const blank = { type, epoch: 0, device: owner.device, counter: 0, targetSeq: 0 };
  return { seq, hash: own, header: { ...blank, ...header }, sentAtMs, content: other };
}

function recordEntry(record: EpochRecord, signer: DeviceKeys, at: Change): ChainEntry {
  return entryOf({ kind: "epoch_record", record }, { device: signer.device, epoch: record.epoch, ...at });
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

function stepEntry(signer: DeviceKeys, what: Step, at: Change = {}, previous = chain.newest.hash): ChainEntry {
  const { seq } = chain.newest;
  const place = { seq: seq + 2, device: signer.device, epoch: chain.epoch, targetSeq: seq, sentAtMs: 2_000 };
  return entryOf({ kind: "step", previous, step: what }, { ...place, ...at });
}

/** Applies a step; the fault, or `undefined` when it was applied. */
function step(signer: DeviceKeys, what: Step, at: Change = {}, previous?: string) {
  return applied(stepEntry(signer, what, at, previous));
}

/** Applies an entry; the fault, which must have changed nothing but what is the newest, or `undefined`. */
function applied(entry: ChainEntry) {
  const before = [chain.state, chain.pin];
  const { newest } = chain;
  const outcome = chain.apply(entry);
  const isChain = entry.header.type === EntryType.step || entry.header.type === EntryType.epochRecord;
  const takesItsPlace = isChain && entry.header.targetSeq === newest.seq && entry.seq > newest.seq;
  expect(chain.newest).toEqual(takesItsPlace ? { seq: entry.seq, hash: entry.hash } : newest);
  if (outcome.kind === "applied") {
    expect(outcome.state).toBe(chain.state);
    return undefined;
  }
  expect([chain.state, chain.pin]).toEqual(before);
  return outcome.fault;
}

/** An entry with a record by `signer` whose state is what folding gives, whether or not the signer may. */
function nextRecord(signer: DeviceKeys, cause: Cause, at: Change = {}, state?: RoomState): ChainEntry {
  const { seq, hash: previous } = chain.newest;
  const epoch = chain.nextEpoch;
  const next = afterCause(chain.state, owner.device, cause, epoch, at.sentAtMs ?? 2_000);
  const made: EpochRecord = {
    epoch,
    commitment: hash(),
    previous,
    previousKey: cause.type === "history" ? undefined : b64(random(60)),
    recipients: hash(),
    cause,
    state: state ?? (typeof next === "string" ? chain.state : next),
  };
  return recordEntry(made, signer, { seq: seq + 2, targetSeq: seq, sentAtMs: 2_000, ...at });
}

function record(signer: DeviceKeys, cause: Cause, at: Change = {}, state?: RoomState) {
  return applied(nextRecord(signer, cause, at, state));
}

/** As `record`, in a chain that nothing was refused in before. */
function refused(signer: DeviceKeys, cause: Cause, at: Change = {}, state?: RoomState) {
  begin();
  return record(signer, cause, at, state);
}

function begin(): void {
  chain = Chain.found(founding);
  expect(step(owner, { type: "role", role: "moderator", ...moderator })).toBeUndefined();
}

beforeEach(begin);

it("a chain begins with a founding record alone", () => {
  expect([chain.role(owner.device), chain.role(recovery.device), chain.role(member.device)]).toEqual([
    "owner",
    "owner",
    "member",
  ]);
  const { content } = founding;
  if (content.kind !== "epoch_record") throw new Error("not a record");
  const { state } = content.record;
  const header = (change: Change) => ({ ...founding, header: { ...founding.header, ...change } });
  const changed = (change: Partial<RoomState>) => ({
    ...founding,
    content: { ...content, record: { ...content.record, state: { ...state, ...change } } },
  });
  const others: ChainEntry[] = [
    { ...founding, seq: 2 },
    { ...founding, content: { kind: "unreadable" } },
    header({ counter: 1 }),
    header({ targetSeq: 1 }),
    header({ device: member.device }),
    header({ device: recovery.device }),
    changed({ topic: "already" }),
    changed({ banned: [member.device] }),
    changed({ admins: state.admins.filter((admin) => !admin.recovery) }),
    stepEntry(owner, { type: "lock", locked: true }),
  ];
  for (const entry of others) expect(() => Chain.found(entry), JSON.stringify(entry)).toThrow(ChainRefused);
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
  expect(chain.mayDeleteAt(device, member.device, named + 1)).toBe(true);
  expect(chain.mayDeleteAt(device, member.device, demoted + 1)).toBe(false);
  expect(chain.mayDeleteAt(device, owner.device, named + 1)).toBe(false);
  expect(chain.mayDeleteAt(member.device, member.device, 2)).toBe(true);
  expect(chain.mayDeleteAt(owner.device, member.device, 1)).toBeUndefined();
});

describe("who enters later", () => {
  it("adopts the newest record and reads on to the same state", () => {
    expect(step(owner, { type: "topic", topic: "Gardens" })).toBeUndefined();
    const entry = nextRecord(moderator, { type: "rotate" });
    expect(applied(entry)).toBeUndefined();
    const newcomer = Chain.adopt(entry);
    const next = stepEntry(moderator, { type: "lock", locked: true });
    expect([chain.apply(next).kind, newcomer.apply(next).kind]).toEqual(["applied", "applied"]);
    expect([newcomer.state, newcomer.pin, newcomer.newest]).toEqual([chain.state, chain.pin, chain.newest]);
    expect(newcomer.roleAt(moderator.device, 3)).toBeUndefined();
  });

  it("does not adopt what nobody could have made", () => {
    const entry = nextRecord(moderator, { type: "rotate" });
    const { content } = entry;
    if (content.kind !== "epoch_record") throw new Error("not a record");
    const { record: made } = content;
    const body = (change: Partial<EpochRecord>) => ({
      ...entry,
      content: { ...content, record: { ...made, ...change } },
    });
    const header = (change: Change) => ({ ...entry, header: { ...entry.header, ...change } });
    const ended = { ...made.state, muted: [{ device: member.device, untilMs: 2_000 }] };
    const others: ChainEntry[] = [
      header({ device: member.device }),
      header({ counter: 1 }),
      header({ epoch: 2 }),
      header({ targetSeq: 0 }),
      header({ targetSeq: entry.seq }),
      body({ state: ended }),
      body({ cause: { type: "remove", devices: [member.device], ban: true } }),
      body({ cause: { type: "remove", devices: [owner.device], ban: false } }),
      body({ cause: { type: "history" } }),
    ];
    for (const other of others) expect(() => Chain.adopt(other), JSON.stringify(other)).toThrow(ChainRefused);
    expect(() => Chain.found(entry)).toThrow(ChainRefused);
    expect(Chain.adopt(entry).beginsAt).toBe(entry.seq);
  });

  it("can read back to the beginning, and notices a record that does not follow from it", () => {
    const older: ChainEntry[] = [founding];
    const extend = (entry: ChainEntry) => {
      older.push(entry);
      applied(entry);
    };
    chain = Chain.found(founding);
    extend(stepEntry(owner, { type: "role", role: "moderator", ...moderator }));
    extend(stepEntry(member, { type: "lock", locked: true }));
    extend(stepEntry(owner, { type: "topic", topic: "Gardens" }));
    const newest = nextRecord(owner, { type: "rotate" });
    applied(newest);
    const next = stepEntry(owner, { type: "role", role: "member", ...moderator });
    applied(next);

    const newcomer = Chain.adopt(newest);
    newcomer.apply(next);
    expect(newcomer.prepend(older)).toEqual([{ entry: older[2], fault: "not_allowed" }]);
    expect([newcomer.state, newcomer.newest, newcomer.beginsAt]).toEqual([chain.state, chain.newest, 1]);
    for (let seq = 1; seq <= next.seq + 1; seq++) {
      expect(newcomer.roleAt(moderator.device, seq), String(seq)).toBe(chain.roleAt(moderator.device, seq));
    }
    const another = Chain.adopt(newest);
    expect(() => another.prepend(older.slice(0, -1))).toThrow(ChainRefused);
    expect(another.beginsAt).toBe(newest.seq);
  });
});
