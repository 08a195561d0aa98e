//! The JSON bodies inside envelopes. Reading checks everything that will be shown.

import { b64, fromB64 } from "./base64url.ts";
import { type PublicKeys } from "./crypto/device.ts";
import { EntryType } from "./crypto/envelope.ts";
import { parseEpochRecord, type EpochRecord } from "./crypto/epoch-record.ts";
import { memberName } from "./names.ts";
import { textFault } from "./text.ts";

export type Body =
  | { readonly kind: "epoch_record"; readonly record: EpochRecord }
  | { readonly kind: "profile"; readonly name: string; readonly joined: boolean; readonly keys: PublicKeys }
  | { readonly kind: "message"; readonly text: string }
  | { readonly kind: "leave" };

/** Reads the body of an entry of `type`. Throws on everything that is not well formed or must not be shown. */
export function parseBody(type: number, json: string): Body {
  const fields: unknown = JSON.parse(json);
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) throw new TypeError("not an object");
  switch (type) {
    case EntryType.epochRecord:
      return { kind: "epoch_record", record: parseEpochRecord(json) };
    case EntryType.profile:
      return parseProfile(fields as Record<string, unknown>);
    case EntryType.message: {
      const { text } = fields as { text?: unknown };
      if (typeof text !== "string" || textFault(text) !== undefined) throw new TypeError("not a text");
      return { kind: "message", text };
    }
    case EntryType.leave:
      return { kind: "leave" };
    default:
      throw new TypeError("an entry type this version does not know");
  }
}

function parseProfile(fields: Record<string, unknown>): Body {
  const { name, joined, sign_key, agree_key } = fields;
  if (typeof name !== "string" || typeof joined !== "boolean") throw new TypeError("not a profile");
  if (typeof sign_key !== "string" || typeof agree_key !== "string") throw new TypeError("not a profile");
  const checked = memberName(name);
  if (!checked.ok) throw new TypeError("not a name");
  const keys = { signKey: fromB64(sign_key, 32), agreeKey: fromB64(agree_key, 32) };
  return { kind: "profile", name: checked.name, joined, keys };
}

export function messageBody(text: string): string {
  return JSON.stringify({ text });
}

/** The text in a message's body; empty when it is no message. */
export function messageText(body: string): string {
  try {
    const parsed = parseBody(EntryType.message, body);
    return parsed.kind === "message" ? parsed.text : "";
  } catch {
    return "";
  }
}

/** `joined`: the device has just become a member, rather than taking another name. */
export function profileBody(name: string, joined: boolean, keys: PublicKeys): string {
  return JSON.stringify({ name, joined, sign_key: b64(keys.signKey), agree_key: b64(keys.agreeKey) });
}

export const LEAVE_BODY = "{}";
