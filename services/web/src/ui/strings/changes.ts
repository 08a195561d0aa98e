/** What was changed in a room, as sentences: for the audit list and between messages. */

import type { AdminChange, AdminEntry } from "../../view.ts";
import { span } from "./spans.ts";
import { few, listing } from "./wording.ts";

/** One administrative step as a sentence. `when` words a point in time. */
export function stepText(step: AdminEntry, when: (atMs: number) => string): string {
  const also = step.newRecovery ? " and made a new recovery key" : "";
  return `${authorOf(step)} ${changeText(step.change, when)}${also}${droppedText(step.dropped ?? [])}`;
}

/** Who dropped out is the admins' and the server's doing or their own; the chain does not tell. */
function droppedText(names: readonly string[]): string {
  if (names.length === 0) return "";
  return `. ${few(names)} did not get the new key: they had left, or were put out`;
}

function authorOf(step: AdminEntry): string {
  if (step.byRecovery) return "Somebody with the recovery key";
  return step.fingerprint === null ? step.authorName : `${step.authorName} (${step.fingerprint})`;
}

function changeText(change: AdminChange, when: (atMs: number) => string): string {
  switch (change.what) {
    case "created":
      return "created the room";
    case "topic":
      return change.topic === "" ? "took the topic away" : `set the topic: “${change.topic}”`;
    case "locked":
      return "locked the room to newcomers";
    case "unlocked":
      return "unlocked the room";
    case "password":
      return "changed the password";
    case "rotated":
      return "replaced the room's key";
    case "history":
      return "closed the history to newcomers";
    case "slow":
      return change.ms === 0 ? "turned slow mode off" : `turned slow mode on: one message every ${span(change.ms)}`;
    case "retention":
      return change.ms === 0 ? "stopped erasing old messages" : `set messages to be erased after ${span(change.ms)}`;
    case "muted":
      return Number.isFinite(change.untilMs)
        ? `muted ${change.name} until ${when(change.untilMs)}`
        : `muted ${change.name} until it is lifted`;
    case "unmuted":
      return `unmuted ${change.name}`;
    case "unbanned":
      return `lifted the ban of ${change.name}`;
    case "erased":
      return `deleted all messages of ${change.name}`;
    case "role":
      return `made ${change.name} ${change.role === "owner" ? "an" : "a"} ${change.role}`;
    case "transferred":
      return `handed the room over to ${change.name}`;
    case "removed":
      return `removed ${listing.format(change.names)}`;
    case "banned":
      return `banned ${listing.format(change.names)}`;
    case "refused":
      return "tried a change that was not allowed. It had no effect";
  }
}
