import { expect, test } from "vitest";
import { ERROR_RETRY } from "../protocol.gen.ts";
import { span } from "./strings/spans.ts";
import { strings } from "./strings.ts";

const notices = (change: Partial<Parameters<typeof strings.timeline.notices>[0]>) =>
  strings.timeline.notices({ joined: [], left: [], passed: [], renamed: [], ...change });

test("every code of the protocol has its words", () => {
  for (const code of Object.keys(ERROR_RETRY)) expect(strings.problems).toHaveProperty(code);
});

test("spans are said in the largest unit that fits", () => {
  expect([5000, 60_000, 3_600_000, 36 * 3_600_000, 365 * 24 * 3_600_000].map(span)).toEqual([
    "5 seconds",
    "1 minute",
    "1 hour",
    "36 hours",
    "1 year",
  ]);
});

test("notices read as sentences and stay short", () => {
  expect(notices({ joined: ["Ana"] })).toBe("Ana joined");
  expect(notices({ joined: ["Ana", "Bo"], left: ["Cy"] })).toBe("Ana and Bo joined · Cy left");
  expect(notices({ passed: ["A", "B", "C", "D", "E"] })).toBe("A, B, and 3 others came and went");
  expect(notices({ renamed: [{ from: "Ana", to: "Anna" }] })).toBe("Ana is now Anna");
});

test("typing names a few and counts no crowd", () => {
  expect(strings.timeline.typing(["Ana"])).toBe("Ana is typing");
  expect(strings.timeline.typing(["Ana", "Bo"])).toBe("Ana and Bo are typing");
  expect(strings.timeline.typing(["A", "B", "C", "D"])).toBe("Several people are typing");
  expect([1, 12].map(strings.timeline.typingCount)).toEqual(["Someone is typing", "12 people are typing"]);
});
