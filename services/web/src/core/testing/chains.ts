//! A room's chain for tests: its people, and entries as they would seal them. The chain is one for all; `begin` makes it anew.

import { expect } from "vitest";

import { b64 } from "../base64url.ts";
import { random } from "../bytes.ts";
import { Chain, type ChainEntry } from "../chain/chain.ts";
import { type Cause, type EpochRecord } from "../chain/record.ts";
import { afterCause } from "../chain/rules.ts";
import { foundingState, type DeviceKeys, type RoomState } from "../chain/state.ts";
import { type Step } from "../chain/step.ts";
import { deviceId } from "../crypto/device.ts";
import { EntryType } from "../crypto/envelope.ts";

/** A hash that no other entry has. */
export const hash = () => b64(random(32));

/** The keys of a new device. */
export async function someKeys(): Promise<DeviceKeys> {
  const [signKey, agreeKey] = [random(32), random(32)];
  return { device: await deviceId({ signKey, agreeKey }), signKey: b64(signKey), agreeKey: b64(agreeKey) };
}

export let owner: DeviceKeys;
export let recovery: DeviceKeys;
export let moderator: DeviceKeys;
export let other: DeviceKeys;
export let member: DeviceKeys;
export let founding: ChainEntry;
export let chain: Chain;

/** Changes to an entry, its header's among the others. */
export type Change = Partial<ChainEntry["header"] & Pick<ChainEntry, "seq" | "hash" | "sentAtMs" | "prev" | "content">>;

function entryOf(content: ChainEntry["content"], at: Change): ChainEntry {
  const type = content.kind === "step" ? EntryType.step : EntryType.epochRecord;
  const { seq = 1, hash: own = hash(), sentAtMs = 1_000, prev, content: other = content, ...header } = at;
  const blank = { type, epoch: 0, device: owner.device, counter: 0, targetSeq: 0 };
  return { seq, hash: own, header: { ...blank, ...header }, sentAtMs, ...(prev && { prev }), content: other };
}

function recordEntry(record: EpochRecord, signer: DeviceKeys, at: Change): ChainEntry {
  return entryOf({ kind: "epoch_record", record }, { device: signer.device, epoch: record.epoch, ...at });
}

/** Makes the people and their founding record. */
export async function meet(): Promise<void> {
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
      recovery: undefined,
      state: foundingState(owner, recovery),
    },
    owner,
    {},
  );
}

/** A step upon the newest chain entry. */
export function stepEntry(signer: DeviceKeys, what: Step, at: Change = {}, previous = chain.newest.hash): ChainEntry {
  const { seq } = chain.newest;
  const place = { seq: seq + 2, device: signer.device, epoch: chain.epoch, targetSeq: seq, sentAtMs: 2_000 };
  return entryOf({ kind: "step", previous, step: what }, { ...place, ...at });
}

/** Applies a step; the fault, or `undefined` when it was applied. */
export function step(signer: DeviceKeys, what: Step, at: Change = {}, previous?: string) {
  return applied(stepEntry(signer, what, at, previous));
}

/** Applies an entry; the fault, which must have changed nothing but what is the newest, or `undefined`. */
export function applied(entry: ChainEntry) {
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
export function nextRecord(
  signer: DeviceKeys,
  cause: Cause,
  at: Change = {},
  state?: RoomState,
  recovery?: DeviceKeys,
): ChainEntry {
  const { seq, hash: previous } = chain.newest;
  const epoch = chain.nextEpoch;
  const after = (by: DeviceKeys) => afterCause(chain.state, by.device, cause, epoch, at.sentAtMs ?? 2_000, recovery);
  const own = after(signer);
  const next = typeof own === "string" ? after(owner) : own;
  const made: EpochRecord = {
    epoch,
    commitment: hash(),
    previous,
    previousKey: cause.type === "history" ? undefined : b64(random(60)),
    recipients: hash(),
    cause,
    recovery,
    state: state ?? (typeof next === "string" ? chain.state : next),
  };
  return recordEntry(made, signer, { seq: seq + 2, targetSeq: seq, sentAtMs: 2_000, ...at });
}

export function record(signer: DeviceKeys, cause: Cause, at: Change = {}, state?: RoomState) {
  return applied(nextRecord(signer, cause, at, state));
}

/** As `record`, in a chain that nothing was refused in before. */
export function refused(signer: DeviceKeys, cause: Cause, at: Change = {}, state?: RoomState) {
  begin();
  return record(signer, cause, at, state);
}

/** A new chain with nothing but its founding record. */
export function found(): void {
  chain = Chain.found(founding);
}

/** A new chain in which the moderator is appointed. */
export function begin(): void {
  found();
  expect(step(owner, { type: "role", role: "moderator", ...moderator })).toBeUndefined();
}
