//! Names of members and rooms: what may be one, and when two members look alike. Checked at entry and before display.

import { MEMBER_NAME_CHARS_MAX, ROOM_NAME_CHARS_MAX } from "../protocol.gen.ts";

export type NameFault = "empty" | "too_long" | "forbidden";

export type CheckedName =
  { readonly ok: true; readonly name: string } | { readonly ok: false; readonly fault: NameFault };

// Lone surrogates (Cs) are no text at all: they have no UTF-8.
const FORBIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;
const JOINERS = /[\u200C\u200D]/gu;
const EDGES = /^\p{White_Space}+|\p{White_Space}+$/gu;

/** Length of `text` in Unicode code points. */
export function codePoints(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/** Whether `text` has a character that no name may have. Line breaks are white space, and are among them. */
export function nameForbids(text: string): boolean {
  return FORBIDDEN.test(text.replace(JOINERS, ""));
}

/** Whether nothing of `text` can be seen. */
export function isBlank(text: string): boolean {
  return text.replace(JOINERS, "").trim() === "";
}

/** NFC, trimmed, runs of white space folded to one space. */
export function foldedName(typed: string): string {
  return typed
    .replace(EDGES, "")
    .normalize("NFC")
    .replace(/\p{White_Space}+/gu, " ");
}

/** The name as it is kept: NFC, trimmed, runs of white space folded to one space; at most `charsMax` code points. */
function normaliseName(typed: string, charsMax: number): CheckedName {
  // A line break is white space and a control character; inside a name it is refused rather than folded.
  if (nameForbids(typed.replace(EDGES, ""))) return { ok: false, fault: "forbidden" };
  const name = foldedName(typed);
  if (isBlank(name)) return { ok: false, fault: "empty" };
  if (codePoints(name) > charsMax) return { ok: false, fault: "too_long" };
  return { ok: true, name };
}

export function memberName(typed: string): CheckedName {
  return normaliseName(typed, MEMBER_NAME_CHARS_MAX);
}

export function roomName(typed: string): CheckedName {
  return normaliseName(typed, ROOM_NAME_CHARS_MAX);
}

/** Letters of other scripts and digits that are drawn like a Latin letter. Only the common ones: see `likeness`. */
const LOOK_ALIKES = new Map(
  Object.entries({
    а: "a",
    в: "b",
    е: "e",
    к: "k",
    м: "m",
    н: "h",
    о: "o",
    р: "p",
    с: "c",
    т: "t",
    у: "y",
    х: "x",
    і: "i",
    ј: "j",
    ѕ: "s",
    ԁ: "d",
    ո: "n",
    α: "a",
    ο: "o",
    ρ: "p",
    ν: "v",
    υ: "u",
    κ: "k",
    ι: "i",
    τ: "t",
    χ: "x",
    ı: "i",
    "0": "o",
    "1": "l",
    i: "l",
    "|": "l",
  }),
);

/**
 * What two names have in common when people could take one for the other. It only decides whether a fingerprint is
 * shown beside them, so it carries the common look-alikes and not the whole table of UTS #39.
 */
export function likeness(name: string): string {
  const plain = name
    .normalize("NFKD")
    .replace(/[\p{M}\p{Cf}\p{White_Space}]/gu, "")
    .toLowerCase();
  const once = [...plain].map((letter) => LOOK_ALIKES.get(letter) ?? letter);
  return once.map((letter) => LOOK_ALIKES.get(letter) ?? letter).join("");
}
