/** Which emoji a reaction may be, and what choosing one means. Pure. */

import { EMOJI_BYTES_MAX, EMOJI_CHARS_MAX } from "../../protocol.gen.ts";
import type { ReactionView } from "../../view.ts";

/** At hand without looking for them. */
export const FREQUENT = ["👍", "❤️", "😂", "😮", "😢", "🎉"] as const;

const segments = new Intl.Segmenter(undefined, { granularity: "grapheme" });
const PICTURE = /\p{Extended_Pictographic}|\p{Regional_Indicator}{2}|\u20e3/u;
/** What the protocol keeps out of reactions; digits are looked at apart, since a keycap is made of one. */
const FORBIDDEN = /[\p{Cc}\p{White_Space}\p{L}\p{Bidi_Control}]/u;

/** The one emoji that `text` is, without what surrounds it; null if it is anything else. */
export function emojiOf(text: string): string | null {
  const emoji = text.trim();
  const [first, second] = [...segments.segment(emoji)];
  if (first === undefined || second !== undefined) return null;
  if (!PICTURE.test(emoji) || FORBIDDEN.test(emoji)) return null;
  if (/\p{N}/u.test(emoji) && !emoji.includes("\u20e3")) return null;
  if ([...emoji].length > EMOJI_CHARS_MAX || new TextEncoder().encode(emoji).length > EMOJI_BYTES_MAX) return null;
  return emoji;
}

/** Keyboards differ in whether they ask for the coloured form. */
const bare = (emoji: string) => emoji.replaceAll("\ufe0f", "");

/**
 * What choosing `emoji` asks for: to take mine back where I have it already, else to add it. An emoji that stands there already is
 * taken in the form it has, so that two forms of one heart are counted together.
 */
export function choose(
  reactions: readonly ReactionView[],
  emoji: string,
): { readonly emoji: string; readonly on: boolean } {
  const alike = reactions.filter((each) => bare(each.emoji) === bare(emoji));
  const mine = alike.find((each) => each.mine);
  if (mine !== undefined) return { emoji: mine.emoji, on: false };
  return { emoji: alike[0]?.emoji ?? emoji, on: true };
}

export const isMine = (reactions: readonly ReactionView[], emoji: string) => !choose(reactions, emoji).on;
