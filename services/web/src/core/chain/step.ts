//! Steps: what an admin changes in a room without a new key.

import { type Role } from "../../protocol.gen.ts";
import { boolField, bytesField, deviceField, fieldsOf, textField, wholeField, type Fields } from "./fields.ts";
import { demandKeys, retentionField, slowField, topicField, type DeviceKeys } from "./state.ts";

export type Step =
  | { readonly type: "topic"; readonly topic: string }
  | { readonly type: "lock"; readonly locked: boolean }
  | { readonly type: "slow"; readonly intervalMs: number }
  /** `untilMs` 0 lifts it. */
  | { readonly type: "mute"; readonly device: string; readonly untilMs: number }
  | { readonly type: "erase"; readonly device: string }
  | { readonly type: "unban"; readonly device: string }
  /** 0: messages are kept. */
  | { readonly type: "retention"; readonly ageMs: number }
  | { readonly type: "password"; readonly grant: string }
  | ({ readonly type: "role"; readonly role: Role } & DeviceKeys)
  | ({ readonly type: "transfer" } & DeviceKeys);

async function keysField(fields: Fields): Promise<DeviceKeys> {
  const keys = {
    device: deviceField(fields, "device"),
    signKey: bytesField(fields, "sign_key", 32),
    agreeKey: bytesField(fields, "agree_key", 32),
  };
  await demandKeys(keys);
  return keys;
}

/** Reads a step. Throws on what is not well formed, out of bounds or of a type this version does not know. */
export async function parseStep(json: unknown): Promise<Step> {
  const fields = fieldsOf(json);
  const type = textField(fields, "type");
  switch (type) {
    case "topic":
      return { type, topic: topicField(fields, "topic") };
    case "lock":
      return { type, locked: boolField(fields, "locked") };
    case "slow":
      return { type, intervalMs: slowField(fields, "interval_ms") };
    case "mute":
      return { type, device: deviceField(fields, "device"), untilMs: wholeField(fields, "until_ms", 0) };
    case "erase":
    case "unban":
      return { type, device: deviceField(fields, "device") };
    case "retention":
      return { type, ageMs: retentionField(fields, "age_ms") };
    case "password":
      return { type, grant: bytesField(fields, "grant", 16) };
    case "role": {
      const role = textField(fields, "role");
      if (role !== "owner" && role !== "moderator" && role !== "member") throw new TypeError("not a role");
      return { type, role, ...(await keysField(fields)) };
    }
    case "transfer":
      return { type, ...(await keysField(fields)) };
    default:
      throw new TypeError("a step this version does not know");
  }
}

/** The step as a body carries it. */
export function stepJson(step: Step): object {
  switch (step.type) {
    case "slow":
      return { type: step.type, interval_ms: step.intervalMs };
    case "mute":
      return { type: step.type, device: step.device, until_ms: step.untilMs };
    case "retention":
      return { type: step.type, age_ms: step.ageMs };
    case "role":
      return { type: step.type, ...keysJson(step), role: step.role };
    case "transfer":
      return { type: step.type, ...keysJson(step) };
    default:
      return step;
  }
}

function keysJson({ device, signKey, agreeKey }: DeviceKeys): object {
  return { device, sign_key: signKey, agree_key: agreeKey };
}

/** The body of a step that follows the chain entry with envelope hash `previous` (base64url of 32 bytes). */
export function stepBody(previous: string, step: Step): string {
  return JSON.stringify({ previous, step: stepJson(step) });
}
