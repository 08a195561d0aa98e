//! The JSON bodies inside envelopes. Reading checks everything that will be shown.

import { b64, fromB64 } from "./base64url.ts";
import { boolField, bytesField, devicesField, fieldsOf, textField, wholeField, type Fields } from "./chain/fields.ts";
import { parseRecord, type EpochRecord } from "./chain/record.ts";
import { parseStep, type Step } from "./chain/step.ts";
import { type PublicKeys } from "./crypto/device.ts";
import { EntryType } from "./crypto/envelope.ts";
import { emojiAllowed } from "./emoji.ts";
import { memberName } from "./names.ts";
import { parsePlain } from "./plain-json.ts";
import { textFault } from "./text.ts";
import { MENTIONS_MAX } from "../protocol.gen.ts";

/** What members say and do, outside the chain. */
export type TalkBody =
  | { readonly kind: "profile"; readonly name: string; readonly joined: boolean; readonly keys: PublicKeys }
  /** `replyTo` is the seq of the message it answers; `mentions` are device ids. */
  | {
      readonly kind: "message";
      readonly text: string;
      readonly replyTo?: number;
      readonly mentions: readonly string[];
    }
  | { readonly kind: "leave" }
  | { readonly kind: "edit"; readonly text: string; readonly mentions: readonly string[] }
  | { readonly kind: "deletion" }
  /** `on` false takes it back. */
  | { readonly kind: "reaction"; readonly emoji: string; readonly on: boolean }
  | { readonly kind: "pin"; readonly on: boolean };

/** What is of the chain. `previous` is the envelope hash of the chain entry before, base64url. */
export type ChainBody =
  | { readonly kind: "epoch_record"; readonly record: EpochRecord }
  | { readonly kind: "step"; readonly previous: string; readonly step: Step };

export type Body = TalkBody | ChainBody;

/**
 * Reads the body of an entry of `type`. Rejects on everything that is not well formed, out of bounds or must not be
 * shown. Device ids in records and steps are the hashes of the keys beside them; a profile's keys are not checked here.
 */
export async function parseBody(type: number, json: string): Promise<Body> {
  switch (type) {
    case EntryType.epochRecord:
      return { kind: "epoch_record", record: await parseRecord(parsePlain(json)) };
    case EntryType.step: {
      const fields = fieldsOf(parsePlain(json));
      return { kind: "step", previous: bytesField(fields, "previous", 32), step: await parseStep(fields["step"]) };
    }
    default:
      return parseTalk(type, json);
  }
}

/** As `parseBody`, without waiting, for every type outside the chain. Throws. */
export function parseTalk(type: number, json: string): TalkBody {
  const fields = fieldsOf(parsePlain(json));
  switch (type) {
    case EntryType.profile:
      return parseProfile(fields);
    case EntryType.message: {
      const said = { kind: "message" as const, ...textAndMentions(fields) };
      const { reply_to } = fields;
      return reply_to === undefined || reply_to === null
        ? said
        : { ...said, replyTo: wholeField(fields, "reply_to", 1) };
    }
    case EntryType.leave:
      return { kind: "leave" };
    case EntryType.edit:
      return { kind: "edit", ...textAndMentions(fields) };
    case EntryType.deletion:
      return { kind: "deletion" };
    case EntryType.reaction: {
      const emoji = textField(fields, "emoji");
      if (!emojiAllowed(emoji)) throw new TypeError("not an emoji");
      return { kind: "reaction", emoji, on: boolField(fields, "on") };
    }
    case EntryType.pin:
      return { kind: "pin", on: boolField(fields, "on") };
    default:
      throw new TypeError("an entry type this version does not know");
  }
}

function textAndMentions(fields: Fields): { text: string; mentions: readonly string[] } {
  const text = textField(fields, "text");
  if (textFault(text) !== undefined) throw new TypeError("not a text");
  const mentions = fields["mentions"] === undefined ? [] : devicesField(fields, "mentions", MENTIONS_MAX);
  return { text, mentions };
}

function parseProfile(fields: Fields): TalkBody {
  const checked = memberName(textField(fields, "name"));
  if (!checked.ok) throw new TypeError("not a name");
  const keys = {
    signKey: fromB64(bytesField(fields, "sign_key", 32)),
    agreeKey: fromB64(bytesField(fields, "agree_key", 32)),
  };
  return { kind: "profile", name: checked.name, joined: boolField(fields, "joined"), keys };
}

/** `text` has been checked (`typedTextFault`); at most 50 `mentions`. */
export function messageBody(
  text: string,
  more: { readonly replyTo?: number; readonly mentions?: readonly string[] } = {},
): string {
  const reply = more.replyTo === undefined ? {} : { reply_to: more.replyTo };
  return JSON.stringify({ text, ...reply, ...mentionsField(more.mentions) });
}

export function editBody(text: string, mentions: readonly string[] = []): string {
  return JSON.stringify({ text, ...mentionsField(mentions) });
}

function mentionsField(mentions: readonly string[] = []): object {
  return mentions.length === 0 ? {} : { mentions };
}

export function reactionBody(emoji: string, on: boolean): string {
  return JSON.stringify({ emoji, on });
}

export function pinBody(on: boolean): string {
  return JSON.stringify({ on });
}

/** The text in the body of a message or edit; empty when it is neither. */
export function messageText(body: string): string {
  try {
    const parsed = parseTalk(EntryType.message, body);
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
export const DELETION_BODY = "{}";
