import { expect, test } from "vitest";
import type { ReactionView } from "../../view.ts";
import { choose, emojiOf, FREQUENT, isMine } from "./emoji.ts";

const reaction = (emoji: string, mine: boolean): ReactionView => ({ emoji, names: ["Bo"], mine });

test("each frequent emoji may be a reaction", () => {
  for (const emoji of FREQUENT) expect(emojiOf(emoji)).toBe(emoji);
});

test("families, flags, skin tones and keycaps are one emoji each", () => {
  for (const emoji of ["👨‍👩‍👧‍👦", "🇵🇹", "👋🏽", "7️⃣", "🏳️‍🌈"]) expect(emojiOf(` ${emoji} `)).toBe(emoji);
});

test("letters, digits, several emoji and hidden marks are none", () => {
  for (const text of ["", "a", "7", "👍👍", "👍 ok", "!", "👍\u202e", "\u200d", "🅰a"]) expect(emojiOf(text)).toBeNull();
});

test("an emoji within the protocol's bounds only", () => {
  expect(emojiOf(`👍${"\ufe0f".repeat(12)}`)).toBeNull();
});

test("choosing adds what is not mine and takes back what is", () => {
  expect(choose([], "👍")).toEqual({ emoji: "👍", on: true });
  expect(choose([reaction("👍", false)], "👍")).toEqual({ emoji: "👍", on: true });
  expect(choose([reaction("👍", true)], "👍")).toEqual({ emoji: "👍", on: false });
  expect(isMine([reaction("👍", true)], "🎉")).toBe(false);
});

test("two forms of one heart are one reaction", () => {
  expect(choose([reaction("❤", false)], "❤️")).toEqual({ emoji: "❤", on: true });
  expect(choose([reaction("❤", true)], "❤️")).toEqual({ emoji: "❤", on: false });
});
