import fc from "fast-check";
import { expect, it } from "vitest";

import { parseTalk, profileBody } from "./bodies.ts";
import { zeros } from "./bytes.ts";
import { likeness, memberName, roomName } from "./names.ts";
import { textFault, typedText, typedTextFault } from "./text.ts";

const keys = { signKey: zeros(32), agreeKey: zeros(32) };

it("names are kept in one form", () => {
  expect(memberName("  cafe\u0301 \u3000  au  lait ")).toEqual({ ok: true, name: "café au lait" });
  for (const name of ["a\u202Eb", "a\u0000b", "a\nb", "a\u200Bb", "a\u2066b", "a\uFEFFb", "a\u2028b", "a\uD800b"]) {
    expect(memberName(name), JSON.stringify(name)).toEqual({ ok: false, fault: "forbidden" });
  }
  for (const name of ["", " \u3000 ", "\u200D", "\u200C \u200D"]) {
    expect(memberName(name), JSON.stringify(name)).toEqual({ ok: false, fault: "empty" });
  }
  expect(memberName("🦉".repeat(41))).toEqual({ ok: false, fault: "too_long" });
  expect(memberName("🦉".repeat(40)).ok).toBe(true);
  expect(roomName("é".repeat(65))).toEqual({ ok: false, fault: "too_long" });
  expect(memberName("👩‍👩‍👧").ok).toBe(true);
});

it("a kept name is its own kept form", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 60 }), (typed) => {
      const checked = memberName(typed);
      if (checked.ok) expect(memberName(checked.name)).toEqual(checked);
    }),
  );
});

it("names that look alike have one likeness", () => {
  expect(likeness("Ana")).toBe(likeness("аnа"));
  expect(likeness("Bill")).toBe(likeness("BiII"));
  expect(likeness("Zoë")).toBe(likeness("zoe"));
  expect(likeness("Ana")).not.toBe(likeness("Ben"));
});

it("texts are 1 to 4,000 code points without control characters", () => {
  expect(textFault("🦉".repeat(4000))).toBeUndefined();
  expect(textFault("🦉".repeat(4001))).toBe("too_long");
  expect(textFault("two\nlines\tand a tab")).toBeUndefined();
  for (const text of ["bell\u0007", "\u0085", "\r", "\uDC00"]) expect(textFault(text)).toBe("forbidden");
  expect(typedTextFault(" \n ")).toBe("empty");
  expect(typedText("a\r\nb\rc  \n")).toBe("a\nb\nc");
});

it("a body that must not be shown is refused", () => {
  expect(() => parseTalk(3, '{"text":"a\\u0007"}')).toThrow();
  expect(() => parseTalk(3, '{"text":3}')).toThrow();
  expect(() => parseTalk(3, "[]")).toThrow();
  expect(() => parseTalk(7, "{}")).toThrow();
  expect(() => parseTalk(2, profileBody("a\u202Eb", true, keys))).toThrow();
  expect(parseTalk(2, profileBody("Ana", true, keys))).toMatchObject({ kind: "profile", name: "Ana", joined: true });
  expect(parseTalk(3, '{"text":"hi","later":[1]}')).toEqual({ kind: "message", text: "hi", mentions: [] });
});
