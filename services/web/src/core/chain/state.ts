//! What holds in a room: who governs, its topic, its rules. Plain data, as an epoch record states it.

import { fromB64 } from "../base64url.ts";
import { deviceId } from "../crypto/device.ts";
import { topicFault } from "../text.ts";
import {
  ADMINS_MAX,
  BANNED_MAX,
  MUTED_MAX,
  RETENTION_MAX_MS,
  RETENTION_MIN_MS,
  SLOW_INTERVAL_MAX_MS,
  type Role,
} from "../../protocol.gen.ts";
import {
  boolField,
  bytesField,
  devicesField,
  deviceField,
  fieldsOf,
  listField,
  textField,
  wholeField,
  type Fields,
} from "./fields.ts";
import { byDevice, demandOrder } from "./order.ts";

export const EPOCH_MAX = 0xffff_ffff;

export type AdminRole = Exclude<Role, "member">;

/** Both public keys of a device as base64url of 32 bytes each. */
export interface DeviceKeys {
  readonly device: string;
  readonly signKey: string;
  readonly agreeKey: string;
}

export interface Admin extends DeviceKeys {
  readonly role: AdminRole;
  /** It is the device of the room's recovery key; always an owner. */
  readonly recovery: boolean;
}

export interface Muted {
  readonly device: string;
  readonly untilMs: number;
}

/** Ids are base64url; every list is in order of device id, each device once. */
export interface RoomState {
  readonly admins: readonly Admin[];
  /** Empty: none. */
  readonly topic: string;
  readonly locked: boolean;
  /** Between two messages of a plain member; 0 = no limit. */
  readonly slowMs: number;
  /** Age at which messages are erased; 0 = never. */
  readonly retentionMs: number;
  /** The oldest epoch that newcomers can read from. */
  readonly historyFrom: number;
  readonly banned: readonly string[];
  readonly muted: readonly Muted[];
  /** Who made the recovery key: whoever it is has seen it. */
  readonly recoveryBy: string;
}

/** A length of time that messages may be kept; 0 = for ever. Throws `RangeError`. */
export function retentionField(fields: Fields, name: string): number {
  const value = wholeField(fields, name, 0, RETENTION_MAX_MS);
  if (value !== 0 && value < RETENTION_MIN_MS) throw new RangeError(`${name} is out of bounds`);
  return value;
}

export function slowField(fields: Fields, name: string): number {
  return wholeField(fields, name, 0, SLOW_INTERVAL_MAX_MS);
}

export function topicField(fields: Fields, name: string): string {
  const topic = textField(fields, name);
  if (topicFault(topic) !== undefined) throw new TypeError(`${name} is not a topic`);
  return topic;
}

/** The keys of a device, checked against the id that they must hash to. Throws `TypeError`. */
export async function demandKeys(keys: DeviceKeys): Promise<void> {
  const id = await deviceId({ signKey: fromB64(keys.signKey, 32), agreeKey: fromB64(keys.agreeKey, 32) });
  if (id !== keys.device) throw new TypeError("the keys are another device's");
}

/** The keys of a device as a record has them, with the id that they hash to. */
export async function parseKeys(json: unknown): Promise<DeviceKeys> {
  const fields = fieldsOf(json);
  const [signKey, agreeKey] = [bytesField(fields, "sign_key", 32), bytesField(fields, "agree_key", 32)];
  return { device: await deviceId({ signKey: fromB64(signKey), agreeKey: fromB64(agreeKey) }), signKey, agreeKey };
}

async function parseAdmin(json: unknown): Promise<Admin> {
  const fields = fieldsOf(json);
  const role = textField(fields, "role");
  const recovery = boolField(fields, "recovery");
  if (role !== "owner" && (role !== "moderator" || recovery)) throw new TypeError("not an admin's role");
  return { ...(await parseKeys(json)), role, recovery };
}

/** Whether somebody owns the room with a device in use, rather than with the recovery key alone. */
export function hasOwner(admins: readonly Admin[]): boolean {
  return admins.some(({ role, recovery }) => role === "owner" && !recovery);
}

function parseMuted(json: unknown): Muted {
  const fields = fieldsOf(json);
  return { device: deviceField(fields, "device"), untilMs: wholeField(fields, "until_ms", 1) };
}

/** Reads a record's state. Throws on what is not well formed, out of bounds or out of order. */
export async function parseState(json: unknown): Promise<RoomState> {
  const fields = fieldsOf(json);
  const admins = await Promise.all(listField(fields, "admins", ADMINS_MAX).map(parseAdmin));
  demandOrder(admins.map(({ device }) => device));
  if (!hasOwner(admins)) throw new TypeError("nobody owns the room");
  const banned = devicesField(fields, "banned", BANNED_MAX);
  demandOrder(banned);
  const muted = listField(fields, "muted", MUTED_MAX).map(parseMuted);
  demandOrder(muted.map(({ device }) => device));
  return {
    admins,
    topic: topicField(fields, "topic"),
    locked: boolField(fields, "locked"),
    slowMs: slowField(fields, "slow_ms"),
    retentionMs: retentionField(fields, "retention_ms"),
    historyFrom: wholeField(fields, "history_from", 0, EPOCH_MAX),
    banned,
    muted,
    recoveryBy: deviceField(fields, "recovery_by"),
  };
}

/** Keys as a record's body carries them. */
export function keysJson({ signKey, agreeKey }: DeviceKeys): object {
  return { sign_key: signKey, agree_key: agreeKey };
}

/** The state as a record's body carries it. Two states are the same exactly when their JSON texts are. */
export function stateJson(state: RoomState): object {
  return {
    admins: state.admins.map((admin) => ({ ...keysJson(admin), role: admin.role, recovery: admin.recovery })),
    topic: state.topic,
    locked: state.locked,
    slow_ms: state.slowMs,
    retention_ms: state.retentionMs,
    history_from: state.historyFrom,
    banned: state.banned,
    muted: state.muted.map(({ device, untilMs }) => ({ device, until_ms: untilMs })),
    recovery_by: state.recoveryBy,
  };
}

export function sameState(a: RoomState, b: RoomState): boolean {
  return JSON.stringify(stateJson(a)) === JSON.stringify(stateJson(b));
}

/** Whether every list is within its limit. */
export function withinBounds(state: RoomState): boolean {
  return state.admins.length <= ADMINS_MAX && state.banned.length <= BANNED_MAX && state.muted.length <= MUTED_MAX;
}

/** What a new room begins with: its creator and its recovery device govern, nothing is restricted. */
export function foundingState(creator: DeviceKeys, recovery: DeviceKeys): RoomState {
  const admin = ({ device, signKey, agreeKey }: DeviceKeys, isRecovery: boolean): Admin => ({
    device,
    signKey,
    agreeKey,
    role: "owner",
    recovery: isRecovery,
  });
  const admins = [admin(creator, false), admin(recovery, true)].sort((a, b) => byDevice(a.device, b.device));
  const unrestricted = { topic: "", locked: false, slowMs: 0, retentionMs: 0, historyFrom: 0, banned: [], muted: [] };
  return { admins, ...unrestricted, recoveryBy: creator.device };
}
