//! Who may do what, and what a step or an epoch's cause makes of the state (ENCRYPTION.md section 6). Pure.

import { type Role } from "../../protocol.gen.ts";
import { fromB64 } from "../base64url.ts";
import { canAgree } from "../crypto/device.ts";
import { byDevice, sortedDevices } from "./order.ts";
import { type Cause } from "./record.ts";
import { hasOwner, withinBounds, type Admin, type DeviceKeys, type Muted, type RoomState } from "./state.ts";
import { type Step } from "./step.ts";

/**
 * What somebody may be allowed to do. `delete` is of another's message; one's own needs no right. `recovery` is to put another
 * recovery device in the place of the one there is.
 */
export type Action = Step["type"] | Exclude<Cause["type"], "created"> | "delete" | "recovery";

/** Why a step or cause has no effect: not allowed, the room would have no owner, or a list would be too long. */
export type Refusal = "not_allowed" | "last_owner" | "out_of_bounds";

const RANK: Readonly<Record<Role, number>> = { member: 0, moderator: 1, owner: 2 };

const NEEDED: Readonly<Record<Action, Role>> = {
  topic: "moderator",
  lock: "moderator",
  slow: "moderator",
  mute: "moderator",
  erase: "moderator",
  unban: "moderator",
  remove: "moderator",
  rotate: "moderator",
  delete: "moderator",
  retention: "owner",
  password: "owner",
  role: "owner",
  transfer: "owner",
  history: "owner",
  recovery: "owner",
};

const OUTRANKING: ReadonlySet<Action> = new Set(["mute", "erase", "remove", "delete"]);

type Governed = Pick<RoomState, "admins">;

export function roleIn(state: Governed, device: string): Role {
  return state.admins.find((admin) => admin.device === device)?.role ?? "member";
}

function isRecovery(state: Governed, device: string): boolean {
  return state.admins.some((admin) => admin.device === device && admin.recovery);
}

/**
 * Whether `device` may do this, to the device `on` where it is done to one. Without `on`: whether there is anybody it
 * could be done to, by role alone. Banned, muted or gone members are no admins' concern here.
 */
export function may(state: Governed, device: string, action: Action, on?: string): boolean {
  const role = roleIn(state, device);
  if (RANK[role] < RANK[NEEDED[action]]) return false;
  // It would be no admin in its own record, and nobody could enter by that.
  if (action === "recovery") return !isRecovery(state, device);
  if (on === undefined || action === "unban") return true;
  // Nobody acts on a recovery device: it is the way back when all else is lost.
  if (isRecovery(state, on)) return false;
  if (action === "transfer") return on !== device;
  return !OUTRANKING.has(action) || RANK[role] > RANK[roleIn(state, on)];
}

/**
 * The admins who must get the key of an epoch that begins with `state` by `signer`: recovery devices, and those that
 * `signer` does not outrank. Nothing can be sealed to one whose `agreeKey` is of low order.
 */
export async function governing(
  state: Pick<RoomState, "admins" | "banned">,
  signer: string,
): Promise<readonly Admin[]> {
  const rank = RANK[roleIn(state, signer)];
  const banned = new Set(state.banned);
  const must = state.admins.filter(
    ({ device, role, recovery }) => recovery || (RANK[role] >= rank && !banned.has(device)),
  );
  const usable = await Promise.all(must.map(({ agreeKey }) => canAgree(fromB64(agreeKey, 32))));
  return must.filter((_, index) => usable[index]);
}

/** The state with the step by `signer` applied, or why it has no effect. */
export function afterStep(state: RoomState, signer: string, step: Step): RoomState | Refusal {
  const on = "device" in step ? step.device : undefined;
  if (!may(state, signer, step.type, on)) return "not_allowed";
  return checked(applied(state, signer, step));
}

function checked(next: RoomState): RoomState | Refusal {
  if (!hasOwner(next.admins)) return "last_owner";
  return withinBounds(next) ? next : "out_of_bounds";
}

function applied(state: RoomState, signer: string, step: Step): RoomState {
  switch (step.type) {
    case "topic":
      return { ...state, topic: step.topic };
    case "lock":
      return { ...state, locked: step.locked };
    case "slow":
      return { ...state, slowMs: step.intervalMs };
    case "mute":
      return { ...state, muted: withMuted(state.muted, step) };
    case "unban":
      return { ...state, banned: state.banned.filter((device) => device !== step.device) };
    case "retention":
      return { ...state, retentionMs: step.ageMs };
    case "role":
      return { ...state, admins: withRole(state.admins, step, step.role) };
    case "transfer":
      return { ...state, admins: withRole(demoted(state.admins, signer), step, "owner") };
    case "erase":
    case "password":
      return state;
  }
}

function withMuted(muted: readonly Muted[], { device, untilMs }: Muted): readonly Muted[] {
  const others = muted.filter((one) => one.device !== device);
  return untilMs === 0 ? others : [...others, { device, untilMs }].sort((a, b) => byDevice(a.device, b.device));
}

function withRole(admins: readonly Admin[], keys: DeviceKeys, role: Role): readonly Admin[] {
  const others = admins.filter(({ device }) => device !== keys.device);
  if (role === "member") return others;
  const { device, signKey, agreeKey } = keys;
  const admin = { device, signKey, agreeKey, role, recovery: false };
  return [...others, admin].sort((a, b) => byDevice(a.device, b.device));
}

/** Who hands the room over stays as moderator; a recovery device stays as it is. */
function demoted(admins: readonly Admin[], signer: string): readonly Admin[] {
  return admins.map((admin) =>
    admin.device === signer && !admin.recovery ? { ...admin, role: "moderator" as const } : admin,
  );
}

/**
 * The state that the record of `epoch` by `signer` must carry, or why it has no effect. `sentAtMs` is the record's own
 * time: mutes that have ended by it are left out. `recovery` takes the place of the recovery device, if it is given.
 */
export function afterCause(
  state: RoomState,
  signer: string,
  cause: Cause,
  epoch: number,
  sentAtMs: number,
  recovery?: DeviceKeys,
): RoomState | Refusal {
  if (!mayBegin(state, signer, cause)) return "not_allowed";
  if (recovery !== undefined && !may(state, signer, "recovery")) return "not_allowed";
  const removed = cause.type === "remove" ? cause.devices : [];
  const gone = new Set(removed);
  const banned = cause.type === "remove" && cause.ban ? sortedDevices([...state.banned, ...removed]) : state.banned;
  const next: RoomState = {
    ...state,
    admins: gone.size === 0 ? state.admins : state.admins.filter(({ device }) => !gone.has(device)),
    muted: state.muted.filter(({ device, untilMs }) => !gone.has(device) && untilMs > sentAtMs),
    banned,
    historyFrom: cause.type === "history" ? epoch : state.historyFrom,
  };
  if (recovery === undefined) return checked(next);
  // A recovery device is nobody who was anything in the room: not even the one that it replaces.
  const known = [...state.admins, ...next.muted].some(({ device }) => device === recovery.device);
  // Who is removed was somebody too, and who comes by the record finds nobody of those that it names.
  if (known || gone.has(recovery.device) || banned.includes(recovery.device)) return "out_of_bounds";
  return checked({ ...next, admins: withRecovery(next.admins, recovery), recoveryBy: signer });
}

function withRecovery(admins: readonly Admin[], { device, signKey, agreeKey }: DeviceKeys): readonly Admin[] {
  const admin: Admin = { device, signKey, agreeKey, role: "owner", recovery: true };
  return [...admins.filter((each) => !each.recovery), admin].sort((a, b) => byDevice(a.device, b.device));
}

/**
 * Why `signer` could not have made a record with this state, for who does not know the state before; `undefined` when it
 * could be.
 */
export function couldState(
  state: RoomState,
  signer: string,
  cause: Cause,
  sentAtMs: number,
  recovery?: DeviceKeys,
): "not_allowed" | "state" | undefined {
  // The devices that it removes are gone from the state, so that they are members there.
  const allowed = cause.type === "created" ? isOwner(state, signer) : mayBegin(state, signer, cause);
  if (!allowed || (recovery !== undefined && !may(state, signer, "recovery"))) return "not_allowed";
  if (recovery !== undefined && !hasMade(state, signer, recovery)) return "state";
  if (state.muted.some(({ untilMs }) => untilMs <= sentAtMs)) return "state";
  if (cause.type !== "remove") return undefined;
  const removed = new Set(cause.devices);
  const kept = [...state.admins, ...state.muted].some(({ device }) => removed.has(device));
  const banned = new Set(state.banned);
  return kept || (cause.ban && cause.devices.some((device) => !banned.has(device))) ? "state" : undefined;
}

/** Whether the state is one in which `signer` has made this the recovery device. */
function hasMade(state: RoomState, signer: string, { device }: DeviceKeys): boolean {
  const devices = state.admins.flatMap((admin) => (admin.recovery ? [admin.device] : []));
  const isNew = !state.banned.includes(device) && !state.muted.some((muted) => muted.device === device);
  return isNew && state.recoveryBy === signer && devices.length === 1 && devices[0] === device;
}

/** An owner with a device in use, not the recovery device. */
function isOwner(state: Governed, device: string): boolean {
  return roleIn(state, device) === "owner" && !isRecovery(state, device);
}

function mayBegin(state: Governed, signer: string, cause: Cause): boolean {
  if (cause.type === "created") return false;
  return cause.type === "remove"
    ? cause.devices.every((on) => may(state, signer, "remove", on))
    : may(state, signer, cause.type);
}
