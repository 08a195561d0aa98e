import { beforeAll, beforeEach, describe, expect, it } from "vitest";

import { Chain, ChainRefused, type ChainEntry } from "./chain.ts";
import { type EpochRecord } from "./record.ts";
import { type RoomState } from "./state.ts";
import {
  applied,
  begin,
  chain,
  found,
  founding,
  member,
  meet,
  moderator,
  nextRecord,
  owner,
  recovery,
  step,
  stepEntry,
  type Change,
} from "../testing/chains.ts";

beforeAll(meet);
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
    found();
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
