//! Who is in a room, and who is banned from it.

import { fingerprint } from "../crypto/device.ts";
import { type Room } from "../room.ts";
import { type Names } from "./names.ts";
import { safetyNumber } from "./numbers.ts";
import { type Rights } from "./rights.ts";
import type { BannedView, MemberView } from "../../view.ts";

/** Everybody who is a member, by name. */
export function drawMembers(room: Room, names: Names, rights: Rights): MemberView[] {
  const devices = new Set(room.members.present);
  // The list may not be there yet, or be older than the end: this device knows of itself at least.
  if (room.record.ended === undefined) devices.add(room.me);
  else devices.delete(room.me);
  return [...devices].map((device) => drawMember(room, device, names, rights)).sort(byName);
}

function drawMember(room: Room, device: string, names: Names, rights: Rights): MemberView {
  const name = names.newest(device);
  const me = device === room.me;
  const role = me ? rights.role : rights.roleOf(device);
  const serverRole = room.members.serverRole(device) ?? role;
  return {
    device,
    name,
    fingerprint: fingerprint(device),
    nameShared: names.isShared(device, name),
    me,
    role,
    serverRole: serverRole === role ? null : serverRole,
    here: me || room.presence.isHere(device),
    safetyNumber: safetyNumber(device),
    mutedUntilMs: rights.mutedUntilMs(device),
    mayHaveRecovery: rights.mayHaveRecovery(device),
    may: rights.onMember(device),
  };
}

export function drawBanned(room: Room, names: Names): BannedView[] {
  const banned = room.chain.state?.banned ?? [];
  return banned
    .map((device) => ({ device, name: names.newest(device), fingerprint: fingerprint(device) }))
    .sort(byName);
}

type Named = Pick<MemberView, "device" | "name">;

function byName(a: Named, b: Named): number {
  return a.name.localeCompare(b.name) || (a.device < b.device ? -1 : 1);
}
