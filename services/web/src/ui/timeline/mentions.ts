/** Naming members in a text: what is being typed, whom it may mean, and where names stand in what was written. Pure. */

import { MEMBER_NAME_CHARS_MAX, MENTIONS_MAX } from "../../protocol.gen.ts";
import type { DeviceId, MemberView } from "../../view.ts";
import { parse, texts } from "../markdown/parse.ts";

/** As many choices as are offered at one time; a longer query finds the others. */
export const CHOICES_MAX = 8;

/** A name that is being typed: `text.slice(from, to)` is the `@` and what follows it. */
export interface MentionQuery {
  readonly from: number;
  readonly to: number;
  readonly name: string;
}

const WORD_END = /[\p{L}\p{N}_]$/u;
const WORD_START = /^[\p{L}\p{N}_]/u;

/** The name before the caret; null where none is being typed. Names may have blanks in them, so only a line's end ends one. */
export function queryAt(text: string, caret: number): MentionQuery | null {
  const line = text.slice(text.lastIndexOf("\n", caret - 1) + 1, caret);
  const at = line.lastIndexOf("@");
  // An address has a letter before it.
  if (at === -1 || WORD_END.test(line.slice(0, at))) return null;
  const name = line.slice(at + 1);
  if (/^\s/.test(name) || [...name].length > MEMBER_NAME_CHARS_MAX) return null;
  return { from: caret - name.length - 1, to: caret, name };
}

const folded = (text: string) => text.normalize("NFKD").replaceAll(/\p{M}/gu, "").toLocaleLowerCase();

/** Whom `name` may become, best first: every other member whose name, or a word of it, begins so. */
export function choices(members: readonly MemberView[], name: string): readonly MemberView[] {
  const wanted = folded(name);
  const rank = (member: MemberView) => {
    const own = folded(member.name);
    if (own.startsWith(wanted)) return 0;
    return own.split(/[\s-]+/).some((word) => word.startsWith(wanted)) ? 1 : 2;
  };
  return members
    .filter((member) => !member.me && rank(member) < 2)
    .toSorted(
      (a, b) =>
        rank(a) - rank(b) ||
        Number(b.here) - Number(a.here) ||
        a.name.localeCompare(b.name) ||
        a.device.localeCompare(b.device),
    )
    .slice(0, CHOICES_MAX);
}

/** The text with the name in full, and where the caret goes. */
export function complete(
  text: string,
  query: MentionQuery,
  name: string,
): { readonly text: string; readonly caret: number } {
  const behind = text.slice(query.to);
  const blank = /^\s/.test(behind) ? "" : " ";
  const before = `${text.slice(0, query.from)}@${name}`;
  return { text: before + blank + behind, caret: before.length + 1 };
}

/** Whom a writer chose from the list, by the name that was put into the text. */
export type Picked = ReadonlyMap<string, ReadonlySet<DeviceId>>;

export const NOBODY: Picked = new Map();

/** `picked` with one more. */
export function pick(picked: Picked, { name, device }: { readonly name: string; readonly device: DeviceId }): Picked {
  return new Map(picked).set(name, new Set(picked.get(name)).add(device));
}

/**
 * Whom a text names. Who was chosen from the list counts as long as the name is still there; a name typed by hand counts if it can
 * only mean one. At most `MENTIONS_MAX`.
 */
export function mentionsIn(text: string, members: readonly MemberView[], picked: Picked): readonly DeviceId[] {
  const found = new Set<DeviceId>();
  for (const [name, devices] of picked) {
    if (pieces(text, [{ name }]).some((piece) => piece.mention !== null)) devices.forEach((each) => found.add(each));
  }
  const others = members.filter((member) => !member.me);
  for (const part of texts(parse(text))) {
    for (const { mention } of pieces(part, others)) {
      if (mention === null || picked.has(mention.name)) continue;
      const alike = members.filter((member) => member.name === mention.name);
      if (alike.length === 1) found.add(mention.device);
    }
  }
  return [...found].slice(0, MENTIONS_MAX);
}

export interface Piece<T> {
  readonly text: string;
  /** Whom the text names, and null for what stands in between. */
  readonly mention: T | null;
}

/** Cuts a text at the names in it. Of several people of one name the first occurrence is the first of them, and so on. */
export function pieces<T extends { readonly name: string }>(text: string, named: readonly T[]): readonly Piece<T>[] {
  const found: Piece<T>[] = [];
  // "@Ana Maria" is Ana Maria even where there is an Ana.
  const left = named.toSorted((a, b) => b.name.length - a.name.length);
  let plain = 0;
  for (let at = text.indexOf("@"); at !== -1; at = text.indexOf("@", at + 1)) {
    if (WORD_END.test(text.slice(Math.max(0, at - 2), at))) continue;
    const index = left.findIndex((each) => isNamed(text, at + 1, each.name));
    const mention = left[index];
    if (mention === undefined) continue;
    if (at > plain) found.push({ text: text.slice(plain, at), mention: null });
    plain = at + 1 + mention.name.length;
    found.push({ text: text.slice(at, plain), mention });
    // The last of a name stands for all further occurrences.
    if (left[index + 1]?.name === mention.name) left.splice(index, 1);
    at = plain - 1;
  }
  if (plain < text.length) found.push({ text: text.slice(plain), mention: null });
  return found;
}

function isNamed(text: string, at: number, name: string): boolean {
  if (name === "" || !text.startsWith(name, at)) return false;
  const behind = at + name.length;
  return !WORD_START.test(text.slice(behind, behind + 2));
}
