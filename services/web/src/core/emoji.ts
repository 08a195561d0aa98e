//! What may stand as a reaction: short, drawn in one place, unable to disturb the text around it.

import { EMOJI_BYTES_MAX, EMOJI_CHARS_MAX } from "../protocol.gen.ts";
import { utf8 } from "./bytes.ts";
import { codePoints } from "./names.ts";

// Controls, lone surrogates, line and paragraph separators, letters (general category L), bidirectional controls.
const FORBIDDEN = /[\p{Cc}\p{Cs}\p{White_Space}\p{L}\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/u;
const DIGIT = /\p{Nd}/u;
const KEYCAP = "\u20E3";

/** Whether `emoji` may be a reaction. */
export function emojiAllowed(emoji: string): boolean {
  if (emoji === "" || codePoints(emoji) > EMOJI_CHARS_MAX || utf8(emoji).length > EMOJI_BYTES_MAX) return false;
  if (DIGIT.test(emoji) && !emoji.includes(KEYCAP)) return false;
  return !FORBIDDEN.test(emoji);
}
