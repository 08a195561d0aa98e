//! The text of a message: what may be sent and shown.

import { TEXT_CHARS_MAX, TOPIC_CHARS_MAX } from "../protocol.gen.ts";
import { codePoints, foldedName, isBlank, nameForbids } from "./names.ts";

export type TextFault = "empty" | "too_long" | "forbidden";

// Control characters but line feed and tab; lone surrogates, which have no UTF-8.
const FORBIDDEN = /[\p{Cs}\u0000-\u0008\u000B-\u001F\u007F-\u009F]/u; // eslint-disable-line no-control-regex

/** What is wrong with a text that came out of an envelope; `undefined` when it may be shown. It is not changed. */
export function textFault(text: string): TextFault | undefined {
  if (text === "") return "empty";
  if (codePoints(text) > TEXT_CHARS_MAX) return "too_long";
  return FORBIDDEN.test(text) ? "forbidden" : undefined;
}

/** A typed text as it is sent: line ends are line feeds, without white space at its end. */
export function typedText(typed: string): string {
  return typed.replace(/\r\n?/gu, "\n").trimEnd();
}

/** What is wrong with a typed text; one of white space alone counts as empty. */
export function typedTextFault(typed: string): TextFault | undefined {
  const text = typedText(typed);
  return text.trim() === "" ? "empty" : textFault(text);
}

/** A typed topic as it is sent: in the form of a name (`memberName`); empty takes the topic away. */
export function typedTopic(typed: string): string {
  return foldedName(typed);
}

/** What is wrong with a topic; `undefined` when it may be sent and shown. One that is not in the sent form is refused. */
export function topicFault(topic: string): TextFault | undefined {
  if (topic === "") return undefined;
  if (codePoints(topic) > TOPIC_CHARS_MAX) return "too_long";
  const kept = !nameForbids(topic) && !isBlank(topic) && typedTopic(topic) === topic;
  return kept ? undefined : "forbidden";
}
