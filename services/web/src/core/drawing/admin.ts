//! What was administered: between messages, and as the list of all of it.

import { type Cause } from "../chain/record.ts";
import { type Step } from "../chain/step.ts";
import { type ChainLink } from "../chain-links.ts";
import { isRead } from "../log-entry.ts";
import { type Room } from "../room.ts";
import { muteEnd } from "./mutes.ts";
import { Names } from "./names.ts";
import type { AdminChange, AdminEntry } from "../../view.ts";

/** So many of the newest records are looked at for who dropped out with them. */
const DROPPED_RECORDS_MAX = 20;

/** By the place of a record: who had the key before and did not get its one, besides those whom it removes. */
export async function droppedOut(room: Room): Promise<ReadonlyMap<number, readonly string[]>> {
  const records = room.chain.links.filter(({ entry, counts }) => counts && entry.content.kind === "epoch_record");
  const dropped = new Map<number, readonly string[]>();
  for (const { entry } of records.slice(-DROPPED_RECORDS_MAX)) {
    // The list is shown without what cannot be had now.
    dropped.set(entry.seq, await room.recipients.droppedOut(entry.seq).catch(() => []));
  }
  return dropped;
}

/** The whole chain of a room, newest first. What could not be read is left out: nobody is known to have written it. */
export function auditEntries(
  room: Room,
  dropped: ReadonlyMap<number, readonly string[]> = new Map(),
): readonly AdminEntry[] {
  const names = new Names(room.directory);
  names.refresh();
  return room.chain.links.toReversed().flatMap((link) => {
    const drawn = drawAdmin(link, link.entry.hash, names);
    const out = dropped.get(link.entry.seq) ?? [];
    if (drawn === undefined) return [];
    return out.length === 0 ? drawn : { ...drawn, dropped: out.map((device) => names.at(device, link.entry.seq)) };
  });
}

/** A link of the chain; `undefined` when it could not be read. */
export function drawAdmin({ entry, counts, state }: ChainLink, key: string, names: Names): AdminEntry | undefined {
  const { seq, atMs, content, header } = entry;
  if (header === undefined || !isRead(entry)) return undefined;
  const author = header.device;
  const authorName = names.at(author, seq);
  const nameOf = (device: string) => names.at(device, seq);
  const by = {
    kind: "admin" as const,
    key,
    seq,
    atMs,
    author,
    authorName,
    fingerprint: names.mark(author, authorName),
    byRecovery: state?.admins.some(({ device, recovery }) => device === author && recovery) ?? false,
    newRecovery: counts && content.kind === "epoch_record" && content.record.recovery !== undefined,
  };
  if (content.kind !== "step" && content.kind !== "epoch_record") return undefined;
  if (!counts) return { ...by, change: { what: "refused" } };
  const change =
    content.kind === "step" ? changeOfStep(content.step, nameOf) : changeOfCause(content.record.cause, nameOf);
  return { ...by, change };
}

type NameOf = (device: string) => string;

function changeOfStep(step: Step, nameOf: NameOf): AdminChange {
  switch (step.type) {
    case "topic":
      return { what: "topic", topic: step.topic };
    case "lock":
      return { what: step.locked ? "locked" : "unlocked" };
    case "slow":
      return { what: "slow", ms: step.intervalMs };
    case "retention":
      return { what: "retention", ms: step.ageMs };
    case "mute": {
      const name = nameOf(step.device);
      if (step.untilMs === 0) return { what: "unmuted", name };
      return { what: "muted", name, untilMs: muteEnd(step.untilMs) };
    }
    case "erase":
      return { what: "erased", name: nameOf(step.device) };
    case "unban":
      return { what: "unbanned", name: nameOf(step.device) };
    case "password":
      return { what: "password" };
    case "role":
      return { what: "role", name: nameOf(step.device), role: step.role };
    case "transfer":
      return { what: "transferred", name: nameOf(step.device) };
  }
}

function changeOfCause(cause: Cause, nameOf: NameOf): AdminChange {
  switch (cause.type) {
    case "created":
      return { what: "created" };
    case "remove":
      return { what: cause.ban ? "banned" : "removed", names: cause.devices.map(nameOf) };
    case "rotate":
      return { what: "rotated" };
    case "history":
      return { what: "history" };
  }
}
